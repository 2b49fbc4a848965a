"""The comparison in JupyterLab and as a page of its own: keys, clicks, what is saved, and what the picture shows."""

from __future__ import annotations

import time

import xarray as xr

import dynlab
from dynlab.widgets.compare import Compare
from dynlab.widgets.comparison import Comparison
from tests.browser.lab import (
    changed_picture,
    open_dashboard,
    open_notebook,
    picture_bytes,
    press,
    run_all,
    screenshot,
    scrollbars,
    settled_picture,
)

GRADIENT = ".dynlab-view-gradient img"
SMALL = "dict(steps=30, hidden_size=8, batch_size=2)"
CODE = ("from dynlab.widgets import Compare", f"widget = Compare(**{SMALL}, folder='out')\nwidget")


def opened(page, lab, name="compare", code=CODE):
    open_notebook(page, lab, lab.write(name, *code))
    assert run_all(page) == []
    page.locator(".dynlab-numbers tr").nth(3).wait_for()
    return page


def as_drawn(**fields) -> bytes:
    """The gradient view of a comparison, drawn here."""
    comparison = Comparison(**{"steps": 30, "hidden_size": 8, "batch_size": 2} | fields)
    widget = Compare(comparison=comparison, views=("gradient",), threaded=False)
    return widget.grid.panels["gradient"].picture.value


def shows(page, expected: bytes, seconds: float = 60) -> None:
    """The picture becomes exactly this one."""
    give_up = time.monotonic() + seconds
    while picture_bytes(page, GRADIENT) != expected:
        assert time.monotonic() < give_up, "the picture is another one"
        page.wait_for_timeout(100)


def test_it_opens_with_what_the_papers_cells_do(page, lab):
    opened(page, lab, code=("from dynlab.widgets import Compare", "Compare()"))
    screenshot(page, "compare")
    assert scrollbars(page) == []
    shows(page, as_drawn(steps=200, hidden_size=64, batch_size=4))
    described = page.locator(GRADIENT).get_attribute("alt")
    assert "unicornn, irnn:K=5, antisymmetric; t = 200" in described


def test_every_kind_of_control(page, lab):
    opened(page, lab)
    shows(page, as_drawn())
    changes = (
        (".dynlab-dt .noUi-handle", "ArrowRight"),  # a logarithmic slider
        (".dynlab-alpha .noUi-handle", "ArrowRight"),  # a linear one
        (".dynlab-gamma .noUi-handle", "ArrowLeft"),  # values, zero among them
        (".dynlab-K .noUi-handle", "ArrowLeft"),  # whole numbers
        (".dynlab-steps .noUi-handle", "ArrowRight"),
        (".dynlab-scale .noUi-handle", "ArrowRight"),
        (".dynlab-time .noUi-handle", "ArrowLeft"),
    )
    for selector, key in changes:
        before = settled_picture(page, GRADIENT)
        press(page, selector, key)
        changed_picture(page, GRADIENT, before)
    for selector, text in ((".dynlab-seed input", "4"), (".dynlab-spec input >> nth=2", "gru")):
        before = settled_picture(page, GRADIENT)
        page.locator(selector).fill(text)
        page.locator(selector).press("Enter")
        changed_picture(page, GRADIENT, before)
    before = settled_picture(page, GRADIENT)
    page.locator(".dynlab-inputs select").select_option("sine")
    changed_picture(page, GRADIENT, before)
    page.locator(".dynlab-more >> nth=1").click()
    before = settled_picture(page, GRADIENT)
    page.locator(".dynlab-recurrent select").select_option("full")
    changed_picture(page, GRADIENT, before)
    # Back to the start: the picture is what it was, to the last pixel but for the cursor.
    page.locator(".dynlab-reset").click()
    press(page, ".dynlab-time .noUi-handle", "End")
    shows(page, as_drawn())
    # A preset, a view that was closed, a cell more, a ghost.
    page.locator(".dynlab-toggle-singular").click()
    page.locator(".dynlab-view-singular img").wait_for()
    page.locator(".dynlab-add select").select_option("elman")
    page.locator(".dynlab-numbers tr").nth(4).wait_for()
    before = settled_picture(page, GRADIENT)
    page.locator(".dynlab-pin").click()
    changed_picture(page, GRADIENT, before)
    page.locator(".dynlab-remove >> nth=3").click()
    page.locator(".dynlab-unpin").click()
    shows(page, as_drawn())


def test_a_click_in_a_picture_moves_the_cursor_of_all(page, lab):
    opened(page, lab)
    shows(page, as_drawn())
    others = {name: settled_picture(page, f".dynlab-view-{name} img") for name in ("phase", "eigenvalues")}
    box = page.locator(GRADIENT).bounding_box()
    place = {"x": 0.14 * box["width"] + 0.5 * 0.82 * box["width"], "y": 0.5 * box["height"]}
    page.locator(GRADIENT).click(position=place)
    page.wait_for_function("document.querySelector('.dynlab-time .widget-readout').innerText.trim() === '15'")
    for name, before in others.items():
        changed_picture(page, f".dynlab-view-{name} img", before)


def test_taking_it_home(page, lab):
    opened(page, lab)
    press(page, ".dynlab-dt .noUi-handle", "ArrowRight", times=3)
    page.locator(".dynlab-show-code").click()
    page.wait_for_function("document.querySelector('.dynlab-code textarea')?.value.includes('unicornn:dt=')")
    settled_picture(page, GRADIENT)
    names: dict[str, object] = {}
    exec(page.locator(".dynlab-code textarea").input_value(), names)
    page.locator(".dynlab-copy").click()
    page.wait_for_function("document.querySelector('.dynlab-copy').innerText === 'Copied'")
    page.locator(".dynlab-save-data").click()
    status = page.locator(".dynlab-status")
    page.wait_for_function("document.querySelector('.dynlab-status').innerText.includes('comparison.zarr')")
    tree = dynlab.open_dataset(lab.folder / "out" / "comparison.zarr")
    assert len(names["data"]) == len(tree.children) == 3
    for label, dataset in names["data"].items():
        for name in ("log_gradient_norm", "lyapunov_exponent", "step_eigenvalue"):
            xr.testing.assert_equal(tree[label][name].drop_attrs(), dataset[name].drop_attrs())
    for kind in ("pdf", "png", "svg"):
        page.locator(".dynlab-format select").select_option(kind)
        page.locator(".dynlab-save-figure").click()
        page.wait_for_function(f"document.querySelector('.dynlab-status').innerText.includes('comparison.{kind}')")
        assert (lab.folder / "out" / f"comparison.{kind}").stat().st_size > 1000
    page.locator(".dynlab-folder input").fill("/proc/nothing")
    page.locator(".dynlab-folder input").press("Enter")
    page.locator(".dynlab-save-figure").click()
    page.wait_for_function("document.querySelector('.dynlab-status').innerText.includes('cannot save in')")
    assert "\n" not in status.inner_text().strip()


def test_errors_and_cancelling_leave_it_usable(page, lab):
    opened(page, lab)
    spec = page.locator(".dynlab-spec input >> nth=0")
    spec.fill("unicornn:dt=0")
    spec.press("Enter")
    page.wait_for_function("document.querySelector('.dynlab-status').innerText.includes('dt > 0')")
    spec.fill("lstm")
    spec.press("Enter")
    page.wait_for_function("document.querySelector('.dynlab-status').innerText.trim() === ''")
    before = settled_picture(page, GRADIENT)
    steps = page.locator(".dynlab-steps input")
    steps.fill("200000")
    steps.press("Enter")
    page.locator(".dynlab-cancel").click(timeout=60_000)  # it is visible only while something is computed
    page.locator(".dynlab-cancel").wait_for(state="hidden", timeout=30_000)
    steps.fill("30")
    steps.press("Enter")
    spec.fill("unicornn")
    spec.press("Enter")
    shows(page, as_drawn())
    assert before != as_drawn()


def test_as_a_page(page, voila):
    ready = open_dashboard(page, voila, voila.write("dashboard", "\n".join(CODE)), GRADIENT)
    assert ready == []
    page.locator(".dynlab-numbers tr").nth(3).wait_for()
    screenshot(page, "compare-page")
    assert scrollbars(page, "body") == []
    shows(page, as_drawn())
    before = settled_picture(page, GRADIENT)
    press(page, ".dynlab-dt .noUi-handle", "ArrowRight")
    changed_picture(page, GRADIENT, before)
