"""What a browser test does in a page of JupyterLab or voila.

Every wait ends by itself with an error; nothing depends on how fast the machine is.
"""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import Any

from tests.browser.servers import START, Server

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SIZES = {1280: 800, 1920: 1080}
"""The widths of window, in pixels, at which everything must be readable, and their heights."""
RUN = 240
"""Seconds for all cells of a notebook."""

_PANEL = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    let panel;
    while (!(panel = app.shell.currentWidget)?.sessionContext) await new Promise(done => setTimeout(done, 50));
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    return panel;
}"""
# The command's promise is kept when the last cell is idle; an error ends the run, and the cells after it have no count.
_RUN = f"""async () => {{
    const panel = await ({_PANEL})();
    await window.jupyterapp.commands.execute('notebook:run-all-cells');
    return panel.context.model.toJSON().cells.filter(cell => cell.cell_type === 'code');
}}"""


def open_notebook(page: Any, server: Server, name: str) -> None:
    """Open a notebook of the server in JupyterLab, with the file browser beside it as a user has it, and its kernel."""
    page.servers.append(server)
    page.goto(f"{server.url}/lab/tree/{name}?reset", timeout=START * 1000)
    page.wait_for_function("window.jupyterapp !== undefined", timeout=START * 1000)
    _within(page, f"async () => {{ await ({_PANEL})(); }}", START)


def run_all(page: Any, seconds: float = RUN) -> list[str]:
    """Run all cells of the notebook that is open; returns what went wrong, a line each.

    When it returns all cells are idle and all widgets are in the page.
    """
    problems = []
    for number, cell in enumerate(_within(page, _RUN, seconds), 1):
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        problems += [f"code cell {number}: {error['ename']}: {error['evalue']}" for error in errors]
        if "".join(cell["source"]).strip() and cell["execution_count"] is None:
            problems.append(f"code cell {number}: did not run")
    page.wait_for_function("!document.body.innerText.includes('Loading widget...')")
    return problems


def open_dashboard(page: Any, server: Server, name: str, ready: str) -> list[str]:
    """Open a notebook of a voila server as a page, and wait until the selector ``ready`` is visible.

    Returns:
        what went wrong, a line each.
    """
    page.goto(f"{server.url}/voila/render/{name}", timeout=RUN * 1000)
    errors = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
    page.locator(f"{ready}, {errors}").first.wait_for(timeout=START * 1000)
    problems = page.locator(errors).all_inner_texts()
    if not problems:
        page.locator(ready).first.wait_for(timeout=START * 1000)
    return problems


def press(page: Any, selector: str, key: str, times: int = 1) -> None:
    """Give the keyboard to what the selector finds (".my-class .noUi-handle" for a slider) and press a key."""
    found = page.locator(selector).first
    found.focus()
    for _ in range(times):
        found.press(key)


_BYTES = """async (found) => {
    const image = found.matches('img') ? found : found.querySelector('img');
    await image.decode();
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""


def picture_bytes(page: Any, selector: str) -> bytes:
    """The file that an image shows, once it is decoded: PNG for the widgets' pictures.

    Arguments:
        selector: finds the ``img`` or what is around it, ".dynlab-picture".
    """
    # A widget sets the source anew while this reads: an image that was replaced cannot be decoded.
    for _ in range(20):
        try:
            return base64.b64decode(page.locator(selector).first.evaluate(_BYTES))
        except Exception as error:
            if not any(word in str(error) for word in ("EncodingError", "Failed to fetch", "cannot be decoded")):
                raise
            page.wait_for_timeout(50)
    raise AssertionError(f"the image {selector} could not be read")


def settled_picture(page: Any, selector: str, quiet: float = 1.5, seconds: float = 60) -> bytes:
    """The bytes of an image once they are the same for ``quiet`` seconds: what a change is to be compared with."""
    give_up = time.monotonic() + seconds
    now, since = picture_bytes(page, selector), time.monotonic()
    while time.monotonic() < since + quiet:
        assert time.monotonic() < give_up, f"the picture {selector} was still changing after {seconds} s"
        page.wait_for_timeout(100)
        if (newer := picture_bytes(page, selector)) != now:
            now, since = newer, time.monotonic()
    return now


def changed_picture(page: Any, selector: str, before: bytes, seconds: float = 60) -> bytes:
    """The bytes of an image as soon as they are other than ``before``."""
    give_up = time.monotonic() + seconds
    while (now := picture_bytes(page, selector)) == before:
        assert time.monotonic() < give_up, f"the picture {selector} did not change within {seconds} s"
        page.wait_for_timeout(50)
    return now


_SCROLLBARS = """(root) => {
    const found = [];
    for (const outer of document.querySelectorAll(root)) {
        for (const one of [outer, ...outer.querySelectorAll('*')].filter(one => !one.closest('.jp-InputArea'))) {
            const scrolls = ['auto', 'scroll'].includes(getComputedStyle(one).overflowX);
            if (scrolls && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1)
                found.push(`${one.tagName.toLowerCase()}.${[...one.classList].join('.')}: ` +
                           `${one.scrollWidth} in ${one.clientWidth} pixels: ${one.textContent.trim().slice(0, 60)}`);
        }
    }
    return found;
}"""


def scrollbars(page: Any, selector: str = ".jp-WindowedPanel-outer, .jp-OutputArea") -> list[str]:
    """What can be scrolled sideways in what the selector finds, except the code of cells; a line each."""
    return list(dict.fromkeys(page.evaluate(_SCROLLBARS, selector)))


def at_width(page: Any, width: int) -> None:
    """Set the window's width (one of ``SIZES``) and wait until the page is laid out anew."""
    page.set_viewport_size({"width": width, "height": SIZES[width]})
    page.wait_for_timeout(500)


def screenshot(page: Any, name: str, widths: tuple[int, ...] = (1280, 1920), whole: bool = False) -> None:
    """Keep pictures of the page as NAME-WIDTH.png in $DYNLAB_SCREENSHOTS; without that variable nothing happens.

    Arguments:
        whole: with a window as high as the notebook that is open.
    """
    if not (folder := os.environ.get("DYNLAB_SCREENSHOTS")):
        return
    for width in widths:
        at_width(page, width)
        if whole:
            outer = page.locator(".jp-WindowedPanel-outer").first
            height = outer.evaluate("outer => outer.scrollHeight")
            page.set_viewport_size({"width": width, "height": min(height + 150, 16_000)})
            outer.evaluate("outer => outer.scrollTo(0, 0)")
            page.wait_for_timeout(500)
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}-{width}.png")
    at_width(page, widths[0])


def _within(page: Any, function: str, seconds: float) -> Any:
    """What an asynchronous function gives in the page; Playwright's ``evaluate`` would wait for ever."""
    late = f"""new Promise((_, fail) => setTimeout(
        () => fail(new Error('nothing after {seconds:g} s')), {seconds * 1000:g}))"""
    return page.evaluate(f"() => Promise.race([({function})(), {late}])")
