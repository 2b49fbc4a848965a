"""Servers and a browser for the tests of this folder, which are all marked ``slow`` and ``browser``.

Fixtures:

- ``lab``: a JupyterLab server, ``voila``: a voila server; each is a ``tests.browser.servers.Server``, started by the
  first test that asks for it and ended with the session. Settings, data and notebooks lie in a temporary folder.
  Kernels have DYNLAB_SMOKE=1 and OMP_NUM_THREADS=1.
- ``page``: a fresh Playwright page of 1280 x 800 pixels; kernels that a test started end with it.

A test with a notebook of its own, and one of ours::

    from tests.browser.lab import NOTEBOOKS, open_dashboard, open_notebook, picture_bytes, press, run_all, scrollbars
    from tests.browser.lab import changed_picture, screenshot, settled_picture

    def test_slider(page, lab):
        open_notebook(page, lab, lab.write("slider", "import dynlab.widgets as w", "w.Compare()"))  # code of two cells
        assert run_all(page) == []  # error outputs, one line each
        before = settled_picture(page, ".dynlab-picture")  # or picture_bytes: what is shown at this moment
        press(page, ".dynlab-scale .noUi-handle", "ArrowRight")
        after = changed_picture(page, ".dynlab-picture", before)  # PNG; an AssertionError if nothing changes in 60 s
        assert scrollbars(page) == []
        screenshot(page, "slider")  # at 1280 and 1920 pixels, kept in the folder $DYNLAB_SCREENSHOTS if that is set

    def test_ours(page, lab):
        open_notebook(page, lab, lab.copy(NOTEBOOKS / "01_a_first_look.ipynb"))

    def test_dashboard(page, voila):
        name = voila.write("dashboard", "...")
        assert open_dashboard(page, voila, name, ".dynlab-picture") == []  # waits for this selector

``lab.py`` and ``servers.py`` have the details. Without chromium or playwright the tests are skipped and say why.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.servers import Server, jupyterlab_server, voila_server

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'dynlab[test]'")
    return found


# Of a module, not of the session: while Playwright lives no other test could run an event loop in this thread.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def terminated() -> Iterator[None]:
    """A test run that is told to end ends its servers."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def lab(chromium: str, terminated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with jupyterlab_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def voila(chromium: str, terminated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with voila_server(tmp_path_factory.mktemp("voila")) as server:
        yield server


@pytest.fixture
def page(browser: object) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    servers: list[Server] = []
    opened.servers = servers  # what ``open_notebook`` opened
    yield opened
    opened.goto("about:blank")  # a page of voila's ends its kernel when it is left
    context.close()
    for server in servers:
        server.end_kernels()
