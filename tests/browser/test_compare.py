"""The comparison in JupyterLab and as a page of its own: keys, clicks, what is saved, and what the picture shows."""

from __future__ import annotations

import pytest

from tests.browser.lab import changed_picture, open_notebook, picture_bytes, press, run_all, screenshot, scrollbars

GRADIENT = ".dynlab-view-gradient img"


@pytest.fixture
def opened(page, lab):
    open_notebook(page, lab, lab.write("compare", "from dynlab.widgets import Compare", "widget = Compare()\nwidget"))
    assert run_all(page) == []
    page.locator(GRADIENT).wait_for()
    page.locator(".dynlab-numbers tr").nth(3).wait_for()
    return page


def test_it_opens(opened):
    screenshot(opened, "compare")
    assert scrollbars(opened) == []
