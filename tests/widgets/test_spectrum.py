"""The pictures show the dataset, the ends follow hands and keys, and the script makes the same numbers again."""

from __future__ import annotations

import math
import re
import threading
import time

import matplotlib.pyplot as pyplot
import numpy as np
import pytest
import torch

import dynlab
from dynlab.widgets import between, spectrum
from dynlab.widgets.signals import signal
from dynlab.widgets.spectrum import Spectrum
from dynlab.widgets.spectrum_views import Plane, power_of_ten, spectrum_figure

LN10 = math.log(10)


def small(cell="antisymmetric:epsilon=0.5", steps=20, **options):
    inputs = options.pop("inputs", signal("noise", steps, 3, seed=1))
    return Spectrum(cell, inputs, hidden_size=6, threaded=False, **options)


def agrees(widget: Spectrum) -> None:
    """What the artists show is what the dataset says."""
    data = widget.dataset
    assert widget.interval == (data.attrs["start"], data.attrs["stop"]) and widget.sample == data.attrs["sample"]
    for line, name in ((widget.norms.forward, "log_growth"), (widget.norms.backward, "log_gradient_norm")):
        np.testing.assert_array_equal(line.get_xdata(), data["time"])
        np.testing.assert_array_equal(line.get_ydata(), data[name].values[:, 0] / LN10)
    np.testing.assert_array_equal(widget.ranks.singular.get_ydata(), data["log_singular_value"].values[0] / LN10)
    np.testing.assert_array_equal(
        widget.interval_view.line.get_ydata(), data["log_final_gradient_norm"].values[:, 0] / LN10
    )
    assert widget.interval_view.span.get_x() == data.attrs["start"]
    assert widget.interval_view.span.get_width() == data.attrs["stop"] - data.attrs["start"]
    low, high = widget.norms.ax.get_ylim()
    assert low <= widget.norms.forward.get_ydata().min() and widget.norms.forward.get_ydata().max() <= high


def test_it_opens_on_the_whole_sequence():
    widget = small()
    assert widget.status.text == "" and widget.interval == (0, 20)
    assert widget.slider.max == 20 and widget.samples.options == (0, 1, 2)
    agrees(widget)
    values = widget.dataset["end_to_end_eigenvalue"].values[0]
    x, y = widget.plane.points.get_data()
    np.testing.assert_allclose(x + 1j * y, values)
    assert all(picture.value.startswith(b"\x89PNG") for picture in widget.pictures.values())


def test_moving_the_ends_and_the_sample():
    widget = small()
    before = {name: picture.value for name, picture in widget.pictures.items()}
    widget.slider.value = (4, 9)
    agrees(widget)
    widget.interval = (4, 15)
    widget.samples.value = 2
    agrees(widget)
    assert widget.sample == 2 and widget.slider.value == (4, 15)
    assert all(widget.pictures[name].value != value for name, value in before.items())
    cell = dynlab.compare.seeded_cell("antisymmetric:epsilon=0.5", 2, 6, 0).double()
    again = between.between(cell, signal("noise", 20, 3, seed=1).double(), 4, 15, 2)
    np.testing.assert_allclose(widget.dataset["log_singular_value"], again["log_singular_value"], atol=1e-4)


def test_ends_that_meet_give_way():
    widget = small()
    for wanted, given in (((7, 7), (7, 8)), ((20, 20), (19, 20)), ((0, 0), (0, 1))):
        widget.slider.value = wanted
        assert widget.interval == widget.slider.value == given
        agrees(widget)


def test_dragging_takes_the_nearest_end_and_keeps_it():
    widget = small()
    picture, ax = widget.pictures["interval"], widget.interval_view.ax

    def at(time):
        x, _ = picture.figure.transFigure.inverted().transform(ax.transData.transform((time, 0)))
        return x

    picture.touch("down", at(6.2), 0.5)
    assert widget.interval == (6, 20)
    picture.touch("move", at(11.7), 0.5)
    assert widget.interval == (12, 20)
    picture.touch("move", 1.5, 0.5)
    assert widget.interval == (19, 20), "it does not pass the other end"
    picture.touch("up", at(3), 0.5)
    assert widget.interval == (3, 20)
    picture.touch("down", at(17), 0.5)
    picture.touch("move", -1.0, 0.5)
    assert widget.interval == (3, 4) and widget.slider.value == (3, 4)
    agrees(widget)


def test_radius_in_decades():
    widget = small(cell="elman")
    data = widget.dataset
    log10 = data["log_end_to_end_modulus"].values[0] / LN10
    seen = np.isfinite(log10)
    assert log10[seen].min() < -2, "the radius is logarithmic by itself"
    scale = widget.plane._drawn[0]
    x, y = widget.plane.points.get_data()
    np.testing.assert_allclose((np.hypot(x, y) - 1) * scale, log10[seen], atol=1e-9)
    np.testing.assert_allclose(np.angle(x + 1j * y), np.angle(data["end_to_end_eigenvalue"].values[0][seen]), atol=1e-9)
    widget.radii.value = "linear"
    x, y = widget.plane.points.get_data()
    np.testing.assert_allclose(x + 1j * y, data["end_to_end_eigenvalue"].values[0][seen])
    assert widget.plane.ax.get_xlabel() == r"Re $\lambda$"


def test_what_the_plane_leaves_out_is_counted():
    view = Plane(spectrum._axes())
    values = np.array([np.nan, 1.0, 0.5j, np.nan, np.nan], complex)
    log10 = np.array([400.0, 0.0, math.log10(0.5), -np.inf, -np.inf])
    view.plot(values, log10, np.isfinite(log10), "some")
    assert len(view.points.get_xdata()) == 2
    assert "2 of 5" in view.note.get_text() and "1 beyond" in view.note.get_text()
    assert [power_of_ten(one) for one in (-np.inf, 0.3, -641.0314, 5)] == ["0", "2", "9.30e-642", "1.00e+5"]


@pytest.mark.parametrize("cell", ["elman", "own"])
def test_the_script_makes_the_same_again(cell, tmp_path, monkeypatch):
    if cell == "own":
        made = "dynlab.as_cell(lambda x, h: torch.tanh(h + 0.1 * x), input_size=4, state_size=4)"
        scope = {"dynlab": dynlab, "torch": torch}
        widget = Spectrum(eval(made, scope), torch.ones(12, 2, 4), cell_code=made, inputs_code="torch.ones(12, 2, 4)",
                          dtype=torch.float64, threaded=False)  # fmt: skip
    else:
        widget = Spectrum(cell, hidden_size=4, seed=3, threaded=False)
    widget.interval, widget.sample, widget.radius = (2, 9), 1, "log"
    monkeypatch.chdir(tmp_path)
    exec(compile(widget.code(), "code", "exec"), {})
    again = dynlab.open_dataset(tmp_path / "spectrum.zarr").load()
    for name, variable in widget.dataset.data_vars.items():
        np.testing.assert_array_equal(again[name], variable, err_msg=name)
    assert again.attrs == widget.dataset.attrs
    assert (tmp_path / "spectrum.pdf").read_bytes().startswith(b"%PDF")


def test_taking_home(tmp_path):
    widget = small(folder=tmp_path)
    widget.interval = (3, 12)
    assert widget.take_home.save_figure() == tmp_path / "spectrum.pdf"
    again = dynlab.open_dataset(widget.take_home.save_data())
    np.testing.assert_array_equal(again["log_singular_value"], widget.dataset["log_singular_value"])
    widget.take_home.toggle_code()
    assert "between(cell, inputs, 3, 12, sample=0" in widget.take_home.code.value
    widget.interval = (3, 13)
    assert "3, 13, sample=0" in widget.take_home.code.value
    (tmp_path / "file").write_text("")
    widget.take_home.folder.value = str(tmp_path / "file" / "within")
    widget.take_home.buttons["save-data"].click()
    assert "cannot save in" in widget.status.text


@pytest.mark.slow
def test_five_hundred_moves_keep_no_artists_and_no_figures():
    widget = small(steps=12)
    places = [(start, stop) for start in range(11) for stop in range(start + 1, 13)]

    def artists():
        widget.interval, widget.radius = (0, 12), "auto"
        return sum(len(picture.figure.findobj()) for picture in widget.pictures.values())

    for number in range(60):
        widget.interval = places[number * 7 % len(places)]
    before = artists()
    for number in range(500):
        widget.interval = places[number * 7 % len(places)]
        if number % 50 == 0:
            widget.radius = ("auto", "log", "linear")[number % 3]
    assert artists() == before and pyplot.get_fignums() == []
    agrees(widget)


@pytest.mark.parametrize(
    ("cell", "inputs", "says"),
    [
        ("lstmm", None, "expected a cell among unicornn, .*got 'lstmm'"),
        ("irnn:K=0", None, "K"),
        (3, None, "as_cell: expected a dynlab cell.*got int"),
        ("elman", torch.zeros(5), "expected inputs of shape"),
        ("elman", torch.full((4, 1, 2), math.nan), "."),
        (dynlab.as_cell(lambda x, h: h[:, :1], input_size=2, state_size=3), None, "expected .*shape"),
        (dynlab.as_cell(lambda x, h: 1 / 0, input_size=2, state_size=3), None, "division"),
    ],
)
def test_bad_input_is_a_line(cell, inputs, says):
    widget = Spectrum(cell, inputs, hidden_size=3, threaded=False)
    assert re.search(says, widget.status.text), widget.status.text
    assert widget.slider.disabled and widget.pictures == {}
    for button in ("save-figure", "save-data"):
        widget.take_home.buttons[button].click()
        assert "nothing to take home yet" in widget.status.text


def test_a_state_that_overflows_is_shown_as_far_as_it_goes():
    cell = dynlab.as_cell(lambda x, h: 1e9 * h + 1, input_size=2, state_size=2)
    widget = Spectrum(cell, torch.zeros(12, 1, 2), threaded=False)
    assert "left the float range at step 6 of 12" in widget.status.text
    assert widget.slider.max == 5 and widget.interval == (0, 5)
    widget.interval = (1, 3)
    agrees(widget)


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_singular_values_come_when_the_ends_rest(monkeypatch):
    widget = Spectrum("elman", signal("noise", 30, 1), hidden_size=4)
    assert widget.settle(60) and widget.settle(60)
    slow = []
    measured = between.singular_values
    monkeypatch.setattr(between, "singular_values", lambda *of: slow.append(of[1:3]) or measured(*of))
    for stop in range(29, 9, -1):
        widget.interval = (2, stop)
        time.sleep(0.01)
    assert widget._quick.settle(60) and widget._slow.settle(60)
    assert slow[-1] == (2, 10) and len(slow) < 10
    agrees(widget)


def test_cancel_ends_slow_work_and_it_stays_usable(monkeypatch):
    widget = Spectrum("elman", signal("noise", 10, 1), hidden_size=4)
    assert widget.settle(60)
    entered, original = threading.Event(), between.singular_values

    def endless(trace, start, stop, sample, tick):
        entered.set()
        while True:
            tick(0.5)
            time.sleep(0.005)

    monkeypatch.setattr(between, "singular_values", endless)
    widget.interval = (0, 5)
    assert entered.wait(60)
    widget._cancel()
    assert widget.settle(10) and "log_singular_value" not in widget.dataset
    assert np.isnan(widget.ranks.singular.get_ydata()).all(), "no older values beside newer eigenvalues"
    assert "not measured yet" in widget.ranks.ax.get_title()
    assert "not measured yet" in widget._figure().axes[3].get_title()
    monkeypatch.setattr(between, "singular_values", original)
    widget.interval = (0, 6)
    assert widget._quick.settle(60) and widget._slow.settle(60)
    agrees(widget)


def test_the_sheet():
    data = between.between(dynlab.build_cell("lstm", 2, 3), signal("noise", 8, 1), 2, 7)
    figure = spectrum_figure(data)
    assert len(figure.axes) == 4 and "LSTM, sample 0" in figure.get_suptitle()
