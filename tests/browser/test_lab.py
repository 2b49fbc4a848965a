"""The helpers of ``lab.py`` see what they look for."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from tests.browser.lab import (
    Server,
    changed_picture,
    open_dashboard,
    open_notebook,
    press,
    run_all,
    scrollbars,
    settled_picture,
)

SLIDER = """
import io
import ipywidgets
from PIL import Image

shown, slider = ipywidgets.Image(format="png"), ipywidgets.IntSlider(20, 0, 100)
shown.add_class("shown")
slider.add_class("slider")

def draw(change=None):
    file = io.BytesIO()
    Image.new("RGB", (slider.value, 10)).save(file, "PNG")
    shown.value = file.getvalue()

slider.observe(draw, "value")
draw()
ipywidgets.VBox([slider, shown])
"""
WIDE = "from IPython.display import HTML\n\nHTML('<div style=\"width: 3000px\">wide</div>')"


def move(page: Any) -> None:
    """A key press moves the slider by one, and the picture becomes one pixel wider."""
    before = settled_picture(page, ".shown")
    press(page, ".slider .noUi-handle", "ArrowRight")
    after = changed_picture(page, ".shown", before)
    assert [Image.open(io.BytesIO(picture)).width for picture in (before, after)] == [20, 21]


def test_a_notebook(page: Any, lab: Server) -> None:
    open_notebook(page, lab, lab.write("helpers", SLIDER, WIDE, "1 / 0", "2"))
    assert run_all(page) == ["code cell 3: ZeroDivisionError: division by zero", "code cell 4: did not run"]
    move(page)
    (wide,) = scrollbars(page)
    assert wide.endswith("wide") and ": 30" in wide


def test_a_page(page: Any, voila: Server) -> None:
    assert open_dashboard(page, voila, voila.write("helpers", SLIDER), ".shown") == []
    move(page)
    (problem,) = open_dashboard(page, voila, voila.write("broken", "1 / 0"), ".shown")
    assert "ZeroDivisionError: division by zero" in problem
