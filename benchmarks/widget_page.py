"""A comparison widget in a browser, watched from both ends: when keys were pressed, and when pictures were shown.

The page notes when a key or the pointer came (the event's own time stamp) and when a view's new image was decoded and
a frame with it was painted. The kernel notes when it computed and drew. Both clocks are the machine's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.browser.conftest import ARGUMENTS
from tests.browser.lab import open_dashboard, open_notebook, run_all
from tests.browser.servers import Server, jupyterlab_server, voila_server

ROOT = Path(__file__).parents[1]
FRONT_ENDS = {"JupyterLab": jupyterlab_server, "voila": voila_server}
WINDOW = {"width": 1920, "height": 1080}
QUIET = 500
"""Milliseconds without a new picture after which there is nothing left to come."""
LIMIT = 120
"""Seconds for pictures to settle."""

_OBSERVE = """(views) => {
    const seen = window.dynlabSeen = {acts: [], shown: [], underWay: 0, last: performance.now()};
    for (const kind of ['keydown', 'pointermove'])
        window.addEventListener(kind, event => {
            if (kind === 'keydown' || event.buttons) seen.acts.push(event.timeStamp);
        }, {capture: true, passive: true});
    for (const view of views) {
        const image = document.querySelector(`.dynlab-view-${view} img`);
        const changed = async () => {
            seen.underWay += 1;
            seen.last = performance.now();
            try {
                await image.decode();
                await new Promise(requestAnimationFrame);
                await new Promise(done => {  // a task, so after the frame
                    const channel = new MessageChannel();
                    channel.port1.onmessage = done;
                    channel.port2.postMessage(0);
                });
                seen.last = performance.now();
                seen.shown.push([view, seen.last]);
            } catch (error) {
                if (error.name !== 'EncodingError') throw error;  // else it was replaced before anybody saw it
            } finally {
                seen.underWay -= 1;
            }
        };
        new MutationObserver(changed).observe(image, {attributes: true, attributeFilter: ['src']});
    }
}"""
_REST = """(quiet) => new Promise(done => {
    const begin = performance.now();
    const look = () => {
        const rest = performance.now() - Math.max(begin, window.dynlabSeen.last);
        if (!window.dynlabSeen.underWay && rest > quiet) done();
        else setTimeout(look, 20);
    };
    look();
})"""
_TAKE = """() => {
    const seen = window.dynlabSeen, origin = performance.timeOrigin;
    const taken = {
        acts: seen.acts.map(time => (origin + time) / 1000),
        shown: seen.shown.map(([view, time]) => [view, (origin + time) / 1000]),
    };
    seen.acts = [];
    seen.shown = [];
    return taken;
}"""


class Span(NamedTuple):
    """What the kernel did ("compute", "draw" or, when a computation has left nothing to do, "idle"), and when."""

    kind: str
    begin: float
    end: float


class Seen(NamedTuple):
    """What came of one or more acts, in seconds since 1970.

    Attributes:
        acts: keys and moves of the pointer. shown: (view, time) of the new pictures. spans: of the kernel.
    """

    acts: list[float]
    shown: list[tuple[str, float]]
    spans: list[Span]


def watch(widget: Any, path: str) -> None:
    """In the kernel: have a ``Compare`` write its spans to a file, a line each."""

    def noted(inner: Any, kind: str, wanted: Any = lambda *_: True) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            begin = time.time()
            try:
                return inner(*arguments, **options)
            finally:
                if wanted(*arguments):
                    line = json.dumps([kind, begin, time.time()]) + "\n"
                    with open(path, "a", encoding="utf-8") as out:
                        out.write(line)

        return call

    widget._laboratory.compute = noted(widget._laboratory.compute, "compute")
    widget.grid.show = noted(widget.grid.show, "draw")
    widget.busy = noted(widget.busy, "idle", lambda share: share is None)


class Bench:
    """A page with a comparison, at rest.

    Arguments:
        page: of Playwright. views: that are open. spans: the file of ``watch``.
    """

    def __init__(self, page: Any, views: tuple[str, ...], spans: Path) -> None:
        self.page, self._spans, self._read = page, spans, 0
        self._keys: dict[tuple[int, str], str] = {}
        for view in views:
            page.locator(f".dynlab-view-{view} img").wait_for()
        page.evaluate(_OBSERVE, list(views))
        page.evaluate(_REST, 4 * QUIET)
        self._take()

    def press(self, cell: int, name: str, times: int = 1, every: float = 0.0) -> Seen:
        """Press an arrow key on a cell's slider, away from the nearer end, so that every value is a new one.

        Arguments:
            every: seconds from one press to the next.
        """
        handle = self.page.locator(".dynlab-cell").nth(cell).locator(f".dynlab-{name} .noUi-handle")
        if (cell, name) not in self._keys:  # always the same one: what was measured before is kept
            low, high, now = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "max", "now"))
            self._keys[cell, name] = "ArrowRight" if now - low < high - now else "ArrowLeft"
        handle.focus()
        return self._acted([lambda: self.page.keyboard.press(self._keys[cell, name])] * times, every, "idle")

    def drag(self, view: str, places: list[float], every: float | None = None) -> list[Seen]:
        """Drag the cursor in a view to places, shares of its width; at rest between them, or ``every`` so many s."""
        image = self.page.locator(f".dynlab-view-{view} img")
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        moves = [
            lambda at=box["x"] + place * box["width"]: self.page.mouse.move(at, box["y"] + box["height"] / 2)
            for place in places
        ]
        moves[0]()
        self.page.mouse.down()
        self._settle("draw", moved=False)
        self._take()
        try:
            if every is not None:
                return [self._acted(moves[1:], every, "draw")]
            return [self._acted([move], 0.0, "draw") for move in moves[1:]]
        finally:
            self.page.mouse.up()
            self._settle("draw", moved=False)
            self._take()

    def _acted(self, acts: list[Any], every: float, last: str) -> Seen:
        begin = time.monotonic()
        for count, act in enumerate(acts):
            time.sleep(max(0.0, begin + count * every - time.monotonic()))
            act()
        self._settle(last)
        return self._take()

    def _settle(self, last: str, moved: bool = True) -> None:
        """Wait until nothing is left to come: the kernel did ``last`` last, and no picture comes for a while."""
        give_up = time.monotonic() + LIMIT
        known = -1
        while time.monotonic() < give_up:
            spans = self._new_spans()
            if (spans and spans[-1].kind == last) or not (moved or spans):
                if len(spans) == known:
                    return
                known = len(spans)
                self.page.evaluate(_REST, QUIET)
            time.sleep(0.02)
        raise RuntimeError(f"expected {last!r} last of what the kernel did, got {spans[-3:]} in {LIMIT} s")

    def _new_spans(self) -> list[Span]:
        text = self._spans.read_text(encoding="utf-8")[self._read :]
        return [Span(*json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]

    def _take(self) -> Seen:
        taken, spans = self.page.evaluate(_TAKE), self._new_spans()
        self._read = len(self._spans.read_text(encoding="utf-8"))
        return Seen(taken["acts"], [(view, at) for view, at in taken["shown"]], spans)


@contextmanager
def opened(
    browser: Any, front_end: str, server: Server, views: tuple[str, ...], comparison: str, threads: int
) -> Iterator[Bench]:
    """A ``Bench`` on a notebook of its own.

    Arguments:
        comparison: code of further arguments of ``Compare``. threads: of torch in the kernel.
    """
    name = "latency_" + "_".join(views)
    spans = server.folder / f"{name}.jsonl"
    spans.write_text("")
    cell = "\n".join(
        [
            f"import sys; sys.path.insert(0, {str(ROOT)!r})",
            "import torch; from dynlab.widgets import Compare; from benchmarks.widget_page import watch",
            f"torch.set_num_threads({threads})",
            f"widget = Compare(views={views!r}, {comparison})",
            "widget.settle(120)",
            f"watch(widget, {str(spans)!r})",
            "widget",
        ]
    )
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(1000 * LIMIT)
    page.servers = []
    notebook = server.write(name, cell)
    try:
        if front_end == "voila":
            problems = open_dashboard(page, server, notebook, ".dynlab-compare img")
        else:
            open_notebook(page, server, notebook)
            problems = run_all(page)
        if problems:
            raise RuntimeError(f"expected a comparison in {front_end}, got {'; '.join(problems)}")
        yield Bench(page, views, spans)
    finally:
        page.goto("about:blank")  # a page of voila's ends its kernel when it is left
        page.close()
        for one in page.servers:
            one.end_kernels()


@contextmanager
def browser_of(chromium: str) -> Iterator[Any]:
    """This browser, without a window, drawing on the CPU."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            started.close()
