"""The comparison without a browser: set a control, look at the artists' data and the datasets."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib import pyplot

import dynlab
from dynlab.widgets.compare import OPEN, Compare
from dynlab.widgets.comparison import PAPERS, Comparison
from dynlab.widgets.runner import Cancelled
from dynlab.widgets.views.base import View
from dynlab.widgets.views.grid import VIEWS

SMALL = Comparison(steps=12, hidden_size=4, batch_size=2)


def made(*cells: str, views=OPEN, **options) -> Compare:
    comparison = replace(SMALL, cells=cells or PAPERS)
    return Compare(comparison=comparison, views=views, threaded=False, **options)


def view(widget: Compare, name: str) -> View:
    return widget.grid.panels[name].view


def test_it_begins_with_the_three_papers_and_shows_their_datasets():
    widget = made()
    assert [one.spec for one in widget.measured] == list(PAPERS)
    assert widget.status.text == "" and widget.status.share is None
    torch.manual_seed(0)
    cell = dynlab.build_cell("irnn:K=5", 2, 4)
    expected = dynlab.record(cell, SMALL.make_inputs(), ["GradientNorm"]).log_gradient_norm / math.log(10)
    line = view(widget, "gradient").lines[1]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(13))
    np.testing.assert_allclose(line.get_ydata(), expected.mean("batch"), rtol=1e-12)
    assert line.get_label() == "irnn:K=5"
    for name in ("stable", *PAPERS):
        assert name in widget.numbers.value.replace("<wbr>", "")


def test_a_slider_changes_its_cell_and_no_other():
    widget = made(views=("gradient",))  # one pass, whose datasets are shown as they are
    before = [line.get_ydata().copy() for line in view(widget, "gradient").lines]
    data = [one.dataset for one in widget.measured]
    widget.cells.rows[1].controls["eta"].value = 0.1
    assert widget.cells.rows[1].spec == widget.comparison.cells[1] == "irnn:K=5,eta=0.1"
    after = [line.get_ydata() for line in view(widget, "gradient").lines]
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 0.01
    assert [one.dataset is old for one, old in zip(widget.measured, data, strict=True)] == [True, False, True]


def test_each_view_is_drawn_once_for_a_change(monkeypatch):
    """Those of what is quick before, those of what takes long after the rest is measured."""
    widget = made(views=("gradient", "phase", "exponents"))
    drawn = []
    for name, panel in widget.grid.panels.items():
        monkeypatch.setattr(
            panel, "show", lambda *scene, name=name, show=panel.show: drawn.append(name) or show(*scene)
        )
    widget.cells.rows[1].controls["eta"].value = 0.1
    assert drawn == ["gradient", "phase", "exponents"]
    kept = widget.measured[1].dataset
    assert {"log_gradient_norm", "trajectory_plane", "lyapunov_exponent"} <= set(kept.data_vars)
    line = view(widget, "gradient").lines[1]
    np.testing.assert_allclose(line.get_ydata(), kept.log_gradient_norm.mean("batch") / math.log(10), rtol=1e-12)


def test_a_typed_specification_moves_the_controls():
    widget = made()
    widget.cells.rows[0].text.value = "unicornn:dt=0.3, alpha=2"
    assert widget.comparison.cells[0] == "unicornn:dt=0.3, alpha=2"
    assert widget.cells.rows[0].controls["dt"].value == pytest.approx(0.3)
    assert widget.cells.rows[0].controls["alpha"].value == 2
    assert widget.status.text == "" and widget.measured[0].dataset is not None
    widget.cells.rows[0].text.value = "gru"
    assert widget.measured[0].dataset.attrs["cell"] == "GRU"


def test_what_a_page_says_of_a_slider_that_nobody_moved_changes_nothing():
    widget = made("lstm:forget_bias=0", "irnn:eta=0.13,K=5")
    shown, spec = widget.measured, widget.comparison
    widget.cells.rows[0].controls["forget_bias"].value = -4.44089e-16
    widget.cells.rows[1].controls["eta"].value = 0.13 * (1 + 1e-9)
    assert widget.comparison == spec and widget.measured is shown
    widget.cells.rows[1].controls["eta"].value = 0.14
    assert widget.comparison.cells[1] == "irnn:K=5,eta=0.14"


def test_common_controls():
    widget = made()
    widget.common.fields["steps"].value = 20
    assert widget.comparison.steps == 20 and widget.cursor.max == 20 and widget.time == 20
    assert all(one.dataset.attrs["T"] == 20 for one in widget.measured)
    widget.common.fields["hidden_size"].value = 7
    widget.common.fields["seed"].value = 3
    widget.common.fields["inputs"].value = "digits"
    assert (widget.comparison.hidden_size, widget.comparison.seed) == (7, 3)
    assert all(one.dataset.attrs["input_size"] == 8 for one in widget.measured)
    widget.time = 5
    widget.common.fields["steps"].value = 30
    assert widget.time == 5, "only a cursor that stands at the end goes with it"


def test_adding_duplicating_removing():
    widget = made()
    widget.cells.add.value = "lstm"
    assert widget.comparison.cells == (*PAPERS, "lstm") and widget.cells.add.value == "add a cell"
    widget.cells.duplicate(widget.cells.rows[1])
    assert [one.label for one in widget.measured][1:3] == ["irnn:K=5", "irnn:K=5 (2)"]
    widget.cells.rows[2].controls["K"].value = 1
    assert [one.label for one in widget.measured][1:3] == ["irnn:K=5", "irnn:K=1"]
    lines = view(widget, "gradient").lines
    assert lines[1].get_color() != lines[2].get_color() and lines[1].get_linestyle() != lines[2].get_linestyle()
    for _ in range(5):
        widget.cells.remove(widget.cells.rows[0])
    assert widget.measured == () and widget.comparison.cells == ()
    widget.reset()
    assert widget.comparison == replace(SMALL, cells=PAPERS)


def test_the_cursor_is_shared():
    widget = made(views=("gradient", "phase", "eigenvalues", "layers"))
    gradient, phase = view(widget, "gradient"), view(widget, "phase")
    widget.cursor.value = 4
    assert widget.time == 4 and list(gradient.cursor.get_xdata()) == [4, 4]
    for one, dot in zip(widget.measured, gradient.dots, strict=True):
        expected = one.dataset.log_gradient_norm.sel(time=4).mean() / math.log(10)
        np.testing.assert_allclose(dot.get_ydata(), [expected])
    for one, here in zip(widget.measured, phase.here, strict=True):
        np.testing.assert_array_equal(np.stack(here.get_data(), -1), one.dataset.trajectory_plane.sel(time=4))
    # A touch in the picture of one view moves all.
    picture = widget.grid.panels["gradient"].picture
    width, height = picture.pixels
    x, y = gradient.axes.transData.transform((9, 0))
    picture.touch("down", x / width, 1 - y / height)
    assert widget.time == widget.cursor.value == 9
    np.testing.assert_array_equal(
        np.stack(phase.here[0].get_data(), -1), widget.measured[0].dataset.trajectory_plane.sel(time=9)
    )
    picture.touch("move", 2.0, 0.5)
    assert widget.time == 12, "not beyond the end"


def test_pinned_curves_stay_as_ghosts():
    widget = made()
    axes = view(widget, "gradient").axes
    count = len(axes.lines)
    kept = view(widget, "gradient").lines[1].get_ydata().copy()
    widget.pin()
    widget.cells.rows[1].controls["eta"].value = 0.1
    axes = view(widget, "gradient").axes
    assert len(axes.lines) == count + 3
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), kept)
    widget.unpin()
    assert len(view(widget, "gradient").axes.lines) == count


def test_views_open_and_close():
    widget = made(views=("gradient",))
    assert [panel.view.name for panel in widget.grid.children] == ["gradient"]
    assert "lyapunov_exponent" not in widget.measured[0].dataset
    widget.grid.toggles["exponents"].value = True
    assert widget.views == ("gradient", "exponents")
    expected = widget.measured[2].dataset.lyapunov_exponent.mean("batch")
    np.testing.assert_allclose(view(widget, "exponents").lines[2].get_ydata(), expected, rtol=1e-12)
    widget.views = tuple(VIEWS)
    assert all(toggle.value for toggle in widget.grid.toggles.values())
    widget.views = ("nothing", "gradient")
    assert widget.views == ("gradient",) and "expected views among" in widget.status.text
    widget.views = ()
    assert widget.grid.children == () and "stable" in widget.numbers.value


def test_presets_are_shown_as_they_say():
    widget = made()
    for name in ("iRNN Fig. 2: two units on a random walk", "dynlab train --preset irnn-har2-K5"):
        widget.preset.value = name
        assert widget.comparison == widget.presets[name].comparison
        assert all(one.problem == "" for one in widget.measured), widget.status.text
        assert tuple(row.spec for row in widget.cells.rows) == widget.comparison.cells
        assert widget.common.fields["hidden_size"].value == widget.comparison.hidden_size
    widget.reset()
    assert widget.preset.value == "" and widget.says.value == ""


@pytest.mark.parametrize("views", [OPEN, tuple(VIEWS)])
def test_code_makes_the_datasets_that_are_shown(views):
    widget = made("unicornn", "irnn:K=2", "lstm", "lstm", views=views)
    if "theory" in views:
        widget.proposition.value = "unicornn-volume on unicornn"
    names: dict[str, object] = {}
    exec(widget.code(), names)
    assert list(names["data"]) == [one.label for one in widget.measured]
    for one in widget.measured:
        xr.testing.assert_identical(one.dataset.drop_attrs(), names["data"][one.label].drop_attrs())
    if "theory" in views:
        xr.testing.assert_identical(names["finding"], widget._finding)


def test_taking_home(tmp_path):
    widget = made(folder=tmp_path / "new", views=tuple(VIEWS))
    for kind, begins in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")):
        widget.take_home.format.value = kind
        widget.take_home.buttons["save-figure"].click()
        assert (tmp_path / "new" / f"comparison.{kind}").read_bytes().startswith(begins)
    widget.take_home.buttons["save-data"].click()
    tree = dynlab.open_dataset(tmp_path / "new" / "comparison.zarr")
    assert Comparison.from_json(tree.attrs["comparison"]) == widget.wanted()
    for one in widget.measured:
        xr.testing.assert_allclose(tree[one.label].log_gradient_norm, one.dataset.log_gradient_norm)
    widget.take_home.buttons["show-code"].click()
    assert widget.take_home.code.value == widget.code()
    widget.cells.rows[0].controls["dt"].value = 0.5
    assert "dt=0.5" in widget.take_home.code.value
    assert pyplot.get_fignums() == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    widget = made(folder=tmp_path / "file" / "below")
    for name in ("save-figure", "save-data"):
        widget.status.say("")
        widget.take_home.buttons[name].click()
        assert "cannot save in" in widget.status.text and "\n" not in widget.status.text
    widget.cells.rows[0].controls["dt"].value = 0.5
    assert widget.measured[0].spec == "unicornn:dt=0.5"


class Mine(dynlab.Cell):
    def __init__(self, input_size, hidden_size, leak=0.1):
        super().__init__(input_size, hidden_size)
        if leak > 0.9:
            raise RuntimeError("leaks\ntoo much")
        self.leak = leak
        self.linear = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x, h):
        return (1 - self.leak) * h + self.leak * torch.tanh(self.linear(torch.cat([x, h], -1)))


def test_own_cells(tmp_path):
    torch.manual_seed(5)
    trained = dynlab.build_cell("elman", 5, 9)
    dynlab.save_checkpoint(trained, "elman", tmp_path / "model.pt")
    widget = Compare(
        own={"mine": Mine, "saved": tmp_path / "model.pt"}, ranges={"leak": (0.01, 1.0)}, steps=12, hidden_size=4,
        batch_size=2, threaded=False, code={"mine": "Mine"},
    )  # fmt: skip
    assert widget.comparison.cells == (*PAPERS, "mine", "saved")
    assert widget.comparison.features == 5, "as many as the trained cell takes"
    assert all(one.problem == "" for one in widget.measured)
    widget.cells.rows[3].controls["leak"].value = 0.5
    assert widget.measured[3].spec == "mine:leak=0.5"
    names: dict[str, object] = {"Mine": Mine}
    exec(widget.code(), names)
    for one in widget.measured:
        xr.testing.assert_identical(one.dataset.drop_attrs(), names["data"][one.label].drop_attrs())
    # An error of its own is one line, and the others are shown.
    widget.cells.rows[3].controls["leak"].value = 1.0
    assert widget.status.text == "mine:leak=1: leaks too much" and widget.measured[3].dataset is None
    assert widget.measured[0].dataset is not None and "leaks too much" in widget.numbers.value
    widget.cells.rows[3].controls["leak"].value = 0.1
    assert widget.status.text == "" and widget.measured[3].dataset is not None


def test_own_cells_that_cannot_be_taken(tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    given = {
        "gone": tmp_path / "nothing.pt",
        "broken": tmp_path / "broken.pt",
        "number": 3,
        "a b": Mine,
        "none": lambda x: x,
    }
    widget = Compare(own=given, steps=12, hidden_size=4, threaded=False)
    assert widget.comparison.cells == PAPERS
    for name in given:
        assert f"{name}: " in widget.status.text
    assert "\n" not in widget.status.text
    assert all(one.dataset is not None for one in widget.measured)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("unicornn:dt=0", "dt"),
        ("irnn:K=0", "K"),
        ("antisymmetric:gamma", "name=value"),
        ("nonsense", "expected a cell among"),
        ("", "expected a cell among"),
    ],
)
def test_impossible_cells(spec, says):
    widget = made()
    widget.cells.rows[1].text.value = spec
    assert says in widget.status.text and widget.measured[1].dataset is None
    assert [one.dataset is not None for one in widget.measured] == [True, False, True]
    assert len(view(widget, "gradient").lines[1].get_xdata()) == 0
    widget.cells.rows[1].text.value = "irnn:K=1"
    assert widget.status.text == "" and widget.measured[1].dataset is not None


def test_a_gamma_that_explodes_is_shown_as_far_as_it_goes():
    widget = made("lipschitz:epsilon=1e30", "elman")
    assert "exploding" in widget.numbers.value and "left the range" in widget.numbers.value


@pytest.mark.parametrize("name", ["steps", "hidden_size", "batch_size"])
def test_impossible_sizes(name):
    widget = made()
    shown = widget.measured
    widget.common.fields[name].value = 0
    assert name in widget.status.text and widget.measured is shown
    widget.common.fields[name].value = 3
    assert widget.status.text == "" and getattr(widget.comparison, name) == 3


def test_propositions():
    widget = made(views=("theory",))
    options = widget.proposition.options
    assert "unicornn-volume on unicornn" in options and "irnn-2 on irnn:K=5" in options
    widget.proposition.value = "unicornn-volume on unicornn"
    assert widget._finding.attrs["proposition"] == "unicornn-volume"
    torch.manual_seed(0)
    cell = dynlab.build_cell("unicornn", 2, 4)
    expected = dynlab.theory.PROPOSITIONS["unicornn-volume"].evaluate(cell, SMALL.make_inputs(), seed=0)
    xr.testing.assert_identical(widget._finding, expected)
    assert "unicornn-volume" in widget.grid.panels["theory"].picture.alt
    widget.cells.remove(widget.cells.rows[0])
    assert widget.proposition.value == "" and widget._finding is None


def test_layers_of_a_network():
    torch.manual_seed(0)
    network = dynlab.Network([dynlab.cells.UnICORNN(2, 4), dynlab.cells.UnICORNN(4, 4)])
    widget = Compare(["net"], own={"net": network}, steps=12, batch_size=2, threaded=False, views=("layers",))
    (image,) = view(widget, "layers").images
    expected = dynlab.record(network, replace(SMALL, cells=()).make_inputs()).log_gradient_norm_by_layer
    table = expected.transpose("layer", "time", "batch").values.mean(-1) / math.log(10)
    assert np.isneginf(table[0, -1])
    shown = np.ma.filled(image.get_array().astype(float), np.nan)
    np.testing.assert_allclose(shown[np.isfinite(table)], table[np.isfinite(table)])
    assert np.isnan(shown[0, -1])


def test_threads_progress_and_cancel(monkeypatch):
    """A long computation reports how far it is, and ends when it is cancelled; then the widget goes on."""
    widget = Compare(comparison=SMALL, views=("gradient",))
    assert widget.settle(60)
    measured = widget.measured
    begun, shares = threading.Event(), []
    compute = widget._laboratory.compute

    def long(comparison, tick):
        while True:
            begun.set()
            tick(0.5)
            threading.Event().wait(0.02)

    busy = widget.status.busy
    monkeypatch.setattr(widget.status, "busy", lambda share: (shares.append(share), busy(share)))
    widget._laboratory.compute = long
    widget.cells.rows[0].controls["dt"].value = 0.4
    assert begun.wait(10)
    while 0.5 not in shares:
        threading.Event().wait(0.02)
    widget.status._cancel.click()
    assert widget.settle(10) and shares[-1] is None
    assert widget.measured is measured
    widget._laboratory.compute = compute
    widget.cells.rows[0].controls["dt"].value = 0.5
    assert widget.settle(60) and widget.measured[0].spec == "unicornn:dt=0.5"
    widget.close()


@pytest.mark.parametrize("options", [{"steps": 0}, {"inputs": "square"}, {"no_such": 1}])
def test_refused_arguments_leave_nothing_behind(options):
    with pytest.raises((ValueError, TypeError)):
        Compare(threaded=False, **options)
    gc.collect()  # an error while the remains are closed would be a warning, which the tests make an error


def test_closing_ends_what_is_computed():
    widget = Compare(comparison=SMALL, views=("gradient",))
    assert widget.settle(60)

    def long(comparison, tick):
        while True:
            tick(0.5)
            threading.Event().wait(0.02)

    widget._laboratory.compute = long
    widget.cells.rows[0].controls["dt"].value = 0.4
    assert not widget.settle(0.2)
    widget.close()
    assert widget.settle(10)


def test_the_newest_of_a_burst_is_shown():
    widget = Compare(comparison=SMALL, views=("gradient",))
    for value in np.linspace(0.1, 0.9, 30):
        widget.cells.rows[0].controls["dt"].value = float(value)
    assert widget.settle(60)
    assert widget.measured[0].spec == "unicornn:dt=0.9"
    torch.manual_seed(0)
    cell = dynlab.build_cell("unicornn:dt=0.9", 2, 4)
    expected = dynlab.record(cell, SMALL.make_inputs()).log_gradient_norm.mean("batch") / math.log(10)
    np.testing.assert_allclose(view(widget, "gradient").lines[0].get_ydata(), expected)
    widget.close()


def artists_of(figure) -> int:
    """All but ticks, whose number follows the limits."""
    return sum(len(axes.get_children()) for axes in figure.axes) + len(figure.texts)


@pytest.mark.parametrize("moves", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_moves_keep_no_artists_and_no_figures(moves):
    widget = made("unicornn", "elman")
    figures = [panel.view.figure for panel in widget.grid.children]
    control = widget.cells.rows[0].controls["dt"]
    for value in (0.1, 0.5, 0.9):
        control.value = float(value)
    artists = [artists_of(figure) for figure in figures]
    for value in np.linspace(0.1, 0.9, moves):
        control.value = float(value)
    assert [artists_of(figure) for figure in figures] == artists
    assert pyplot.get_fignums() == []
    gone = [weakref.ref(figure) for figure in figures]
    widget.close()
    del widget, figures, control
    gc.collect()
    assert all(one() is None for one in gone)


def test_cancelled_is_no_error():
    widget = made()

    def stop(comparison, tick):
        raise Cancelled

    widget._laboratory.compute = stop
    widget.cells.rows[0].controls["dt"].value = 0.4
    assert widget.status.text == ""
