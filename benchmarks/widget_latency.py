"""From a key press on a slider of the comparison to the new pictures, measured in the browser.

    python -m benchmarks.widget_latency [--front-end voila] [--quick] [--out FILE]

It starts JupyterLab (and voila) and a chromium without a window, opens a comparison of the three papers' cells and
presses arrow keys on a slider of each, at rest in between. A press ends when the last of the open views has shown its
last new picture: decoded, and in a frame that was painted.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.timing import Report, machine
from benchmarks.widget_page import FRONT_ENDS, Bench, Seen, Span, browser_of, opened
from tests.browser.conftest import CHROMIUM

VIEWS: Mapping[str, tuple[tuple[str, ...], float | None]] = {
    "gradient alone": (("gradient",), 0.1),
    "the four of the start": (("gradient", "eigenvalues", "phase", "exponents"), 0.25),
    "all six": (("gradient", "eigenvalues", "phase", "exponents", "singular", "time_steps"), 0.25),
}
"""The open views, and the aim for the median latency in seconds. Layers and theory are views of other data."""
SLIDERS = {"unicornn": "dt", "irnn:K=5": "eta", "antisymmetric": "epsilon"}
"""The slider that is moved of each cell, in the widget's order."""
RATE = 30
"""Key presses a second in a burst, those of a key that is held."""


class Latency(NamedTuple):
    """Seconds from an act to the last new picture, its parts, and those to the first new picture."""

    total: float
    there: float
    compute: float
    draw: float
    first: float

    @property
    def rest(self) -> float:
        """What is none of the parts: from the kernel to the screen, and between the parts."""
        return self.total - self.there - self.compute - self.draw


def latency(seen: Seen) -> Latency | None:
    """Of one act; None where no picture changed."""
    if not seen.shown:
        return None
    act, times = seen.acts[0], [time for _, time in seen.shown]
    # What the kernel did after the last picture, such as drawing what then looked the same, made nobody wait.
    spans = [span for span in seen.spans if span.begin < max(times) and span.kind != "idle"]
    compute, draw = (covered([span for span in spans if span.kind == kind], max(times)) for kind in ("compute", "draw"))
    there = min(span.begin for span in spans) - act
    return Latency(max(times) - act, there, compute, draw, min(times) - act)


def covered(spans: Sequence[Span], end: float) -> float:
    """Seconds before ``end`` within at least one of these: threads draw at the same time."""
    total, reached = 0.0, 0.0
    for span in sorted(spans, key=lambda one: one.begin):
        total += max(0.0, min(span.end, end) - max(span.begin, reached))
        reached = max(reached, span.end)
    return total


def row(label: str, found: Sequence[Latency | None]) -> tuple[str, ...]:
    """A row of the table, in ms."""
    had = [one for one in found if one is not None]
    if not had:
        return (label, "no picture changed", *[""] * 6, f"0 of {len(found)}")
    low, middle, high = np.percentile([1000 * one.total for one in had], [25, 50, 75])
    parts = [np.median([1000 * getattr(one, part) for one in had]) for part in (*Latency._fields[1:4], "rest", "first")]
    count = str(len(had)) if len(had) == len(found) else f"{len(had)} of {len(found)}"
    return label, f"{middle:.0f}", f"{low:.0f} - {high:.0f}", *(f"{part:.0f}" for part in parts), count


COLUMNS = ("", "median", "quartiles", "to the kernel", "computing", "drawing", "the rest", "first picture", "presses")


def burst_row(label: str, seen: Seen) -> tuple[str, ...]:
    """What came of a burst: pictures of the gradient, and the time from the last act to the last picture of all."""
    pictures = sum(view == "gradient" for view, _ in seen.shown)
    if not seen.shown:
        return label, str(len(seen.acts)), "0", "", ""
    last = max(time for _, time in seen.shown)
    span = f"{seen.acts[-1] - seen.acts[0]:.2f}"
    return label, str(len(seen.acts)), span, str(pictures), f"{1000 * (last - seen.acts[-1]):.0f}"


BURST_COLUMNS = ("", "acts", "within [s]", "pictures of the gradient", "last act to last picture [ms]")


def measure(bench: Bench, chosen: argparse.Namespace) -> tuple[dict[str, list[Latency | None]], dict[str, Seen]]:
    """Latencies by what was moved, and what came of bursts."""
    singles: dict[str, list[Latency | None]] = {}
    bursts: dict[str, Seen] = {}
    for cell, (spec, name) in enumerate(SLIDERS.items()):
        seen = [bench.press(cell, name) for _ in range(chosen.warm_up + chosen.presses)]
        singles[f"{name} of {spec.partition(':')[0]}"] = [latency(one) for one in seen[chosen.warm_up :]]
    for cell, (spec, name) in enumerate(SLIDERS.items()):
        bursts[f"{name} of {spec.partition(':')[0]}"] = bench.press(cell, name, chosen.burst, 1 / RATE)
    places = np.linspace(0.5, 0.8, chosen.warm_up + chosen.presses + 1)
    dragged = bench.drag("gradient", list(places))
    singles["cursor, dragged"] = [latency(one) for one in dragged[chosen.warm_up :]]
    (bursts["cursor, dragged"],) = bench.drag("gradient", list(np.linspace(0.8, 0.3, chosen.burst + 1)), 1 / RATE)
    return singles, bursts


def report_on(report: Report, front_end: str, browser: Any, chosen: argparse.Namespace) -> None:
    """The tables of one front end."""
    rows, burst_rows, verdicts = [], [], []
    comparison = f"hidden_size={chosen.hidden_size}, steps={chosen.T}, cells={tuple(SLIDERS)!r}"
    with tempfile.TemporaryDirectory() as folder, FRONT_ENDS[front_end](Path(folder)) as server:
        for label in chosen.views:
            views, aim = VIEWS[label]
            with opened(browser, front_end, server, views, comparison, chosen.threads) as bench:
                singles, bursts = measure(bench, chosen)
            pressed = [one for name, found in singles.items() if not name.startswith("cursor") for one in found]
            rows += [row(f"{label}: all three sliders", pressed)]
            rows += [row(f"{label}: {name}", found) for name, found in singles.items()]
            burst_rows += [burst_row(f"{label}: {name}", seen) for name, seen in bursts.items()]
            totals = [one.total for one in pressed if one is not None]
            if aim is not None and totals:
                middle = float(np.median(totals))
                verdict = "reached" if middle < aim else "not reached"
                verdicts.append(f"{label}: {1000 * middle:.0f} ms, aim below {1000 * aim:.0f} ms, {verdict}")
    report.table(f"{front_end}: from a press to the new pictures, ms", COLUMNS, rows)
    report.note(f"Medians over the presses on all three sliders: {'; '.join(verdicts)}.")
    report.table(f"{front_end}: bursts of {chosen.burst}, {RATE} a second", BURST_COLUMNS, burst_rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.widget_latency", description=description)
    parser.add_argument("--front-end", choices=[*FRONT_ENDS, "both"], default="JupyterLab")
    parser.add_argument("--views", choices=list(VIEWS), nargs="+", default=list(VIEWS))
    parser.add_argument("--presses", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--burst", type=int, default=30)
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--T", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1, help="of torch in the kernel")
    parser.add_argument("--quick", action="store_true", help="few presses, gradient alone: a look, no result")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to this file, as Markdown")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.presses, chosen.warm_up, chosen.burst, chosen.views = 2, 1, 5, ["gradient alone"]
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None or find_spec("playwright") is None:
        missing = "chromium" if chromium is None else "playwright: pip install 'dynlab[test]'"
        print(f"benchmarks: expected a browser to measure in, there is no {missing}", file=sys.stderr)
        return 2
    report = Report()
    for line in machine(chosen.threads, apart=False):
        report.note(line)
    with ExitStack() as stack:
        # Told to end, it ends its servers.
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        browser = stack.enter_context(browser_of(chromium))
        packages = ("jupyterlab", "voila", "ipykernel", "ipywidgets", "anywidget", "matplotlib")
        versions = ", ".join(f"{name} {version(name)}" for name in packages)
        report.note(f"chromium {browser.version} without a window, drawing on the CPU, 1920 x 1080 pixels; {versions}")
        report.note(
            f"dynlab.widgets.Compare with {', '.join(SLIDERS)}; hidden size {chosen.hidden_size}, T = {chosen.T}. "
            f"{chosen.presses} presses on each slider after {chosen.warm_up} to warm up, each a new value, at rest in "
            "between. A press ends when the last open view has shown its last new picture, decoded and in a painted "
            'frame. "To the kernel" ends when it begins to compute (for the cursor: to draw); computing and drawing '
            'are the kernel\'s, all views together; "the rest" is the way to the screen, the table of numbers and '
            '"copy code". Columns are medians, each by itself.'
        )
        for front_end in FRONT_ENDS if chosen.front_end == "both" else [chosen.front_end]:
            report_on(report, front_end, browser, chosen)
    if chosen.out:
        report.write(chosen.out, "From a slider to the new picture")
        report.console.print(f"written to {chosen.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
