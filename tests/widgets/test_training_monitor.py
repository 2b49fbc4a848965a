"""All views show the chosen record; keys, hands and growing recordings choose it; nothing is kept that is not shown."""

from __future__ import annotations

import math
import threading
import time

import matplotlib.pyplot as pyplot
import numpy as np
import pytest

import dynlab
from dynlab.widgets import monitor_views, training_monitor
from dynlab.widgets.monitor_figure import monitor_figure
from dynlab.widgets.training_monitor import TrainingMonitor
from tests.widgets.recordings import TIMES, record, write

LN10 = math.log(10)
ALL = ["loss", "heat-map", "profile", "eigenvalues", "ranks", "time-steps", "weights"]


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "run.zarr", range(0, 60, 10))
    return tmp_path / "run.zarr"


def monitor(path, **options):
    return TrainingMonitor(path, threaded=False, **options)


def agrees(widget: TrainingMonitor) -> None:
    """What the artists show is what the dataset says, at the record of ``step``."""
    data, views = widget.dataset, widget.views
    here = data.sel(step=widget.step)
    assert widget.slider.value == widget.step and widget.slider.options == tuple(data["step"].values.tolist())
    np.testing.assert_array_equal(views["loss"].line.get_ydata(), data["loss"])
    assert views["loss"].dot.get_xydata().tolist() == [[widget.step, float(here["loss"])]]
    assert f"step {widget.step}:" in views["loss"].ax.get_title()
    for name in ("loss", "heat-map", "time-steps", "weights"):
        assert list(views[name].cursor.get_xdata()) == [widget.step] * 2
    variable, layer = views["profile"].variable, views["profile"].layer
    norm = here[variable].mean("batch") if layer is None else here[variable].isel(layer=layer)
    np.testing.assert_allclose(views["profile"].line.get_ydata(), norm.values / LN10)
    angles = np.angle(here[views["eigenvalues"].variable].values).ravel()
    x, y = views["eigenvalues"].plane.points.get_data()
    np.testing.assert_allclose(np.angle(x + 1j * y), angles)
    rates = views["ranks"].variable == "lyapunov_exponent"
    ranked = here[views["ranks"].variable].mean("batch").values / (1 if rates else LN10)
    np.testing.assert_allclose(views["ranks"].line.get_ydata(), ranked)


def test_it_shows_the_last_record_and_all_that_was_recorded(path):
    widget = monitor(path)
    assert list(widget.views) == ALL and widget.status.text == "" and widget.step == 50
    agrees(widget)
    lines = {line.get_label(): line.get_ydata() for line in widget.views["weights"].lines}
    np.testing.assert_array_equal(lines["layer 0 weight"], 1 + np.arange(0, 60, 10))
    assert list(lines) == ["layer 0 weight", "readout linear bias"]
    steps = {line.get_label(): line.get_ydata() for line in widget.views["time-steps"].lines}
    np.testing.assert_array_equal(steps["layer 0"], 2 * (1 + np.arange(0, 60, 10)))
    np.testing.assert_array_equal(steps["_layer 1|_max"], 7 * (1 + np.arange(0, 60, 10)))


def test_heat_map_has_each_record_where_its_step_is(path):
    view = monitor(path).views["heat-map"]
    image, (left, right, bottom, top) = view.image.get_array(), view.image.get_extent()
    assert (left, right, bottom, top) == (0, 50, -0.5, TIMES - 0.5) and len(image) == TIMES
    for step in range(0, 60, 10):
        column = min(int(step / 50 * image.shape[1]), image.shape[1] - 1)
        np.testing.assert_allclose(image[:, column], (-0.1 * step - np.arange(TIMES)) / LN10)
    low, high = view.image.get_clim()
    assert (low, high) == (-5, 0)


def test_zero_gradients_are_grey_and_colours_end(tmp_path):
    def make(step):
        found = record(step)
        found["log_live_gradient_norm"][0, 0] = -np.inf
        found["log_live_gradient_norm"][0, 1] = -1000
        return found

    write(tmp_path / "run.zarr", [0, 10], make)
    view = monitor(tmp_path / "run.zarr").views["heat-map"]
    assert view.image.get_array().mask[0].all() and not view.image.get_array().mask[1:].any()
    assert view.image.get_clim() == (-monitor_views.DEEPEST, 0)
    assert "grey: 0 or none" in view.ax.get_title() and "darkest" in view.ax.get_title()


def test_long_recordings_are_thinned_in_the_picture_only():
    places = np.arange(5000.0)
    columns = monitor_views._nearest(places, monitor_views.COLUMNS)
    assert len(columns) == 400 and columns[0] < 10 and columns[-1] > 4989 and (np.diff(columns) > 0).all()
    np.testing.assert_array_equal(monitor_views._nearest(np.array([0.0, 1, 9, 10]), 10), [0, 1, 1, 1, 1, 2, 2, 2, 2, 2])


def test_slider_and_touch_move_all_views_and_end_the_following(path):
    widget = monitor(path)
    before = {name: picture.value for name, picture in widget.pictures.items()}
    widget.slider.value = 20
    assert widget.step == 20 and not widget.follow and not widget.following.value
    agrees(widget)
    assert all(widget.pictures[name].value != value for name, value in before.items())
    for name, step, shown in (("loss", 33, 30), ("heat-map", 2, 0), ("weights", 46, 50), ("time-steps", 17, 20)):
        picture, ax = widget.pictures[name], widget.views[name].ax
        x, _ = picture.figure.transFigure.inverted().transform(ax.transAxes.transform((step / 50, 0.5)))
        picture.touch("down", x, 0.5)
        assert widget.step == shown
        agrees(widget)
    assert not widget.pictures["profile"].listens
    widget.following.value = True
    assert widget.step == 50
    widget.step = 31
    assert widget.step == 30 and not widget.follow, "the nearest record"
    agrees(widget)


def test_choices(path):
    widget = monitor(path)
    assert all(choice.layout.display is None for choice in widget._choices.values())
    widget._choices["gradient"].value = "d state_T/d state_t, held batch"
    widget.eigenvalues, widget.ranked, widget.weights = "step_eigenvalue", "lyapunov_exponent", "weight_max"
    agrees(widget)
    assert widget._choices["ranked"].value == "lyapunov_exponent"
    assert [line.get_ydata()[1] for line in widget.views["weights"].lines] == [10.5, 0.25]
    assert list(widget.views) == ALL and list(widget._grid.children) == [widget.pictures[name] for name in ALL]
    widget.slider.value = 30
    agrees(widget)
    widget.weights = "nothing"
    assert "expected weights among" in widget.status.text or "nothing" in widget.status.text


def test_it_follows(tmp_path):
    path = tmp_path / "run.zarr"
    widget = monitor(path)
    assert widget.status.text == f"waiting for a recording at {path}: there is nothing yet"
    assert widget.slider.disabled and widget.look() is False
    store = write(path, [0])
    assert widget.look() and widget.status.text == "" and widget.step == 0
    agrees(widget)
    for step in (10, 20, 30):
        store.append(record(step), step)
        assert widget.look() and widget.step == step
        agrees(widget)
    widget.slider.value = 10
    store.append(record(40), 40)
    assert widget.look() and widget.step == 10, "whoever chose a record stays there"
    agrees(widget)
    assert widget.look() is False and widget.replay.records_read == 5
    widget.follow = True
    assert widget.step == 40
    store.thin(lambda step: step % 20 == 0, stride=2)
    assert widget.look() and widget.step == 40
    agrees(widget)


def test_log_spaced_records(tmp_path):
    steps = [0, 1, 3, 10, 32, 100]
    write(tmp_path / "run.zarr", steps, lambda step: record(step).assign_attrs(every="log"))
    widget = monitor(tmp_path / "run.zarr")
    np.testing.assert_allclose(widget.views["loss"].line.get_xdata(), np.log10(1 + np.array(steps)))
    ticks = [label.get_text() for label in widget.views["loss"].ax.get_xticklabels()]
    assert ticks[:3] == ["0", "1", "10"]
    widget.step = 10
    assert widget.views["weights"].cursor.get_xdata()[0] == pytest.approx(math.log10(11))


def test_views_without_their_variable_are_absent(tmp_path):
    write(tmp_path / "run.zarr", [0, 10], lambda step: record(step)[["loss", "weight_norm", "weight_max"]])
    widget = monitor(tmp_path / "run.zarr")
    assert list(widget.views) == ["loss", "weights"]
    assert [name for name, one in widget._choices.items() if one.layout.display is None] == ["weights"]
    widget.slider.value = 0
    assert widget.step == 0 and widget.status.text == ""
    exec(widget.code().replace("training.pdf", str(tmp_path / "training.pdf")), {})


def test_taking_home(path, tmp_path):
    widget = monitor(path, folder=tmp_path)
    widget.step, widget.ranked = 20, "lyapunov_exponent"
    again = dynlab.open_dataset(widget.take_home.save_data())
    np.testing.assert_array_equal(again["time_step"], widget.dataset["time_step"])
    assert widget.take_home.save_figure().read_bytes().startswith(b"%PDF")
    scope = {}
    exec(widget.code().replace("training.pdf", str(tmp_path / "again.png")), scope)
    figure = scope["figure"]
    titles = [ax.get_title() for ax in figure.axes]
    for view in widget.views.values():
        assert view.ax.get_title() in titles
    (loss,) = [ax for ax in figure.axes if ax.get_title().startswith("step 20: loss")]
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), widget.dataset["loss"])
    with pytest.raises(ValueError, match="expected the step of a record, 0 .. 50; got 7"):
        monitor_figure(widget.dataset, 7)
    (tmp_path / "file").write_text("")
    widget.take_home.folder.value = str(tmp_path / "file" / "within")
    widget.take_home.buttons["save-figure"].click()
    assert "cannot save in" in widget.status.text


def test_bad_input_is_a_line(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    other = dynlab.save_dataset(record(0), tmp_path / "other.zarr")
    broken = tmp_path / "broken.zarr"
    write(broken, [0])
    (broken / "zarr.json").write_text("{")
    for path, says in (
        (tmp_path / "file", "got something else"),
        (tmp_path / "empty", "got something else"),
        (other, "got another Zarr store"),
        (broken, "cannot read the recording"),
    ):
        widget = monitor(path)
        assert says in widget.status.text and "\n" not in widget.status.text
        widget.take_home.buttons["save-figure"].click()
        assert "there is no record yet" in widget.status.text
    write(tmp_path / "run.zarr", [0]).truncate(0)
    assert "it has no record yet" in monitor(tmp_path / "run.zarr").status.text
    with pytest.raises(TypeError, match="expected the path of a recording or a Recorder, got"):
        TrainingMonitor(3)


def test_a_recorder_and_what_is_gone(tmp_path):
    recorder = dynlab.Recorder(tmp_path / "run.zarr", dynlab.Network([dynlab.cells.Elman(2, 3)]))
    widget = monitor(recorder)
    assert "waiting" in widget.status.text
    write(tmp_path / "run.zarr", [0, 10])
    assert widget.look()
    (tmp_path / "run.zarr").rename(tmp_path / "elsewhere.zarr")
    widget.look()
    assert "is gone; what was read is shown" in widget.status.text and widget.step == 10
    widget.slider.value = 0
    agrees(widget)


def test_it_looks_by_itself_until_it_is_closed(path, monkeypatch):
    monkeypatch.setattr(training_monitor, "EVERY", 0.02)
    store = write(path, [])
    widget = TrainingMonitor(path)
    store.append(record(60), 60)
    end = time.monotonic() + 60
    while widget.step != 60 and time.monotonic() < end:
        time.sleep(0.01)
    with widget._lock:
        agrees(widget)
    widget.close()
    while any(thread.name == "dynlab-monitor" for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(thread.name == "dynlab-monitor" for thread in threading.enumerate())


@pytest.mark.slow
def test_five_hundred_moves_and_growth_keep_no_artists_and_no_figures(path):
    widget = monitor(path)

    def artists():
        widget.step, widget.ranked = 50, "log_singular_value"
        return sum(len(picture.figure.findobj()) for picture in widget.pictures.values())

    for step in (0, 10, 20):
        widget.step, widget.ranked = step, "lyapunov_exponent"
    before = artists()
    for number in range(500):
        widget.step = 10 * (number % 6)
        if number % 100 == 0:
            widget.ranked = ("lyapunov_exponent", "log_end_to_end_modulus")[number // 100 % 2]
    for _ in range(10):
        widget._grow()
    assert artists() == before and pyplot.get_fignums() == []
    agrees(widget)
