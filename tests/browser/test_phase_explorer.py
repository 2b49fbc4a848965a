"""The phase explorer in JupyterLab: a slider by keyboard, a start by mouse, the code that is shown runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.lab import (
    changed_picture,
    open_dashboard,
    open_notebook,
    picture_bytes,
    press,
    run_all,
    screenshot,
    scrollbars,
)

OPEN = "from dynlab.widgets.phase_explorer import PhaseExplorer\nexplorer = PhaseExplorer()\nexplorer"
PLANE = ".dynlab-plane img"


@pytest.fixture
def opened(page, lab):
    open_notebook(page, lab, lab.write("phase_explorer", OPEN))
    assert run_all(page) == []
    page.locator(PLANE).wait_for()
    return page


def read(page, name):
    """The number beside a slider."""
    return float(page.locator(f".dynlab-{name} .widget-readout").inner_text().replace("−", "-"))


def test_a_slider_by_keyboard(opened):
    assert scrollbars(opened) == []
    # Showing the sliders has moved none of them to one of its steps.
    assert opened.locator(".dynlab-changed").inner_text() == ""
    assert read(opened, "W11") == -0.15
    screenshot(opened, "phase_explorer", whole=True)
    pictures = {name: picture_bytes(opened, f".dynlab-{name} img") for name in ("plane", "linear", "steps")}
    press(opened, ".dynlab-gamma .noUi-handle", "ArrowRight", 5)
    for name, before in pictures.items():
        changed_picture(opened, f".dynlab-{name} img", before)
    assert read(opened, "gamma") == pytest.approx(0.1)
    before = picture_bytes(opened, PLANE)
    opened.locator(".dynlab-preset select").select_option("UnICORNN oscillator")
    changed_picture(opened, PLANE, before)
    opened.locator(".dynlab-dt").wait_for()
    assert opened.locator(".dynlab-gamma").count() == 0
    opened.locator("button.dynlab-show-code").click()
    opened.wait_for_function("document.querySelector('.dynlab-code textarea').value.includes('UnICORNN')")
    code = opened.locator(".dynlab-code textarea").input_value()
    names: dict[str, object] = {}
    exec(code, names)
    assert names["data"]["trajectory"].shape == (101, 3, 2)


def test_a_start_by_mouse(opened):
    before = picture_bytes(opened, PLANE)
    image = opened.locator(PLANE)
    image.scroll_into_view_if_needed()
    box = image.bounding_box()

    def place(x, y):
        """Pixels of a point of the plane: its axes fill (0.17, 0.13) to (0.96, 0.87), squared, of -1.1 to 1.1."""
        side = min(0.79, 0.74)
        left, bottom = 0.17 + (0.79 - side) / 2, 0.13 + (0.74 - side) / 2
        share = left + side * (x + 1.1) / 2.2, 1 - bottom - side * (y + 1.1) / 2.2
        return box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"]

    opened.mouse.move(*place(-0.5, -0.5))
    opened.mouse.down()
    for share in np.linspace(0, 1, 6):
        opened.mouse.move(*place(-0.5 - 0.3 * share, -0.5 + 1.3 * share))
    opened.mouse.up()
    changed_picture(opened, PLANE, before)
    opened.wait_for_function(
        "document.querySelector('.dynlab-chosen .widget-readout').innerText.trim() === '2'"
        " && Math.abs(parseFloat(document.querySelector('.dynlab-y .widget-readout').innerText) - 0.8) < 0.03"
    )
    assert image.bounding_box() == box  # it stayed under the pointer
    assert read(opened, "x") == pytest.approx(-0.8, abs=0.03)
    press(opened, ".dynlab-y .noUi-handle", "ArrowRight")
    opened.wait_for_function("parseFloat(document.querySelector('.dynlab-y .widget-readout').innerText) > 0.82")


def test_as_a_page(page, voila):
    assert open_dashboard(page, voila, voila.write("phase_explorer", OPEN), PLANE) == []
    assert scrollbars(page, "body") == []
    before = picture_bytes(page, PLANE)
    press(page, ".dynlab-W12 .noUi-handle", "ArrowRight")
    changed_picture(page, PLANE, before)
    screenshot(page, "phase_explorer_page")
