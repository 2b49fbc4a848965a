"""A recording that grows is read as ``open_recording`` reads it, and no record twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynlab
from dynlab.recorder import Grid
from dynlab.widgets import recorded_parts as parts
from dynlab.widgets.replay import NotARecording, Replay
from tests.widgets.recordings import TIMES, record, write


def same(replay: Replay) -> bool:
    xr.testing.assert_identical(replay.dataset, dynlab.open_recording(replay.path))
    return True


def test_it_grows_and_only_what_is_new_is_read(tmp_path):
    replay = Replay(tmp_path / "run.zarr")
    assert not replay.exists and replay.poll() is False and replay.dataset is None
    store = write(replay.path, [0])
    count, early = 1, []
    for step in range(10, 500, 10):
        store.append(record(step), step)
        count += 1
        if step % 30 == 0:
            assert replay.poll() is True and replay.poll() is False
            assert replay.records_read == count
            early.append(replay.dataset)
    store.append(record(500), 500)
    assert replay.poll() and same(replay) and replay.records_read == 51
    for dataset in early:
        steps = dataset["step"].values
        np.testing.assert_array_equal(dataset["loss"], np.exp(-0.1 * steps), err_msg="what was given out stays")


def test_a_real_one_while_it_is_written(tmp_path):
    torch.manual_seed(0)
    model = dynlab.Network([dynlab.cells.Elman(2, 3)], dynlab.Readout(3, 1))
    replay = Replay(tmp_path / "run.zarr")
    inputs = torch.randn(7, 4, 2)
    with dynlab.Recorder(replay.path, model, inputs, every=1) as recorder:
        for number in range(3):
            with recorder.watching():
                loss = model.read(inputs).square().mean()
            loss.backward()
            recorder.step(loss)
            assert replay.poll() and replay.records_read == number + 1 and same(replay)


def test_thinned(tmp_path):
    store = write(tmp_path / "run.zarr", range(0, 100, 10))
    replay = Replay(tmp_path / "run.zarr")
    replay.poll()
    store.thin(Grid(10, 2).__contains__, stride=2)
    store.append(record(100), 100)
    assert replay.poll() and same(replay)
    assert replay.dataset["step"].values.tolist() == [0, 20, 40, 60, 80, 100] and replay.dataset.attrs["stride"] == 2


def test_a_training_that_went_on_from_earlier(tmp_path):
    store = write(tmp_path / "run.zarr", range(0, 60, 10))
    replay = Replay(tmp_path / "run.zarr")
    replay.poll()
    before = replay.dataset.copy(deep=True)
    kept = replay.dataset
    store.truncate(30)
    for step in (30, 40, 50):
        other = record(step)
        other["loss"] = other["loss"] + 1
        store.append(other, step)
    assert replay.poll() and same(replay)
    assert replay.records_read == 6 + 3
    xr.testing.assert_identical(kept, before)
    store.truncate(20)
    assert replay.poll() and same(replay) and replay.dataset.sizes["step"] == 2
    store.truncate(0)
    assert replay.poll() and replay.dataset is None


def test_what_is_no_recording(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("folder", "file"):
        with pytest.raises(NotARecording, match="expected a recording of dynlab.Recorder at .*, got something else"):
            Replay(tmp_path / name).poll()
    other = dynlab.save_dataset(record(0), tmp_path / "other.zarr")
    with pytest.raises(NotARecording, match="got another Zarr store"):
        Replay(other).poll()
    write(tmp_path / "run.zarr", [0, 10])
    (tmp_path / "run.zarr" / "loss" / "zarr.json").write_text("{")
    with pytest.raises(NotARecording, match="cannot read the recording at"):
        Replay(tmp_path / "run.zarr").poll()


def test_a_broken_store_that_is_mended(tmp_path):
    store = write(tmp_path / "run.zarr", [0, 10])
    place = tmp_path / "run.zarr" / "loss" / "zarr.json"
    text = place.read_text()
    place.write_text("")
    replay = Replay(tmp_path / "run.zarr")
    with pytest.raises(NotARecording):
        replay.poll()
    place.write_text(text)
    assert replay.poll() and same(replay)
    store.append(record(20), 20)
    assert replay.poll() and same(replay)


def test_reading_leaves_a_writer_alone(tmp_path):
    """``RecordingStore`` mends what a killed training left; a reader beside a living one must not."""
    write(tmp_path / "run.zarr", [0])
    unfinished = tmp_path / ".run.zarr.thinned"
    unfinished.mkdir()
    Replay(tmp_path / "run.zarr").poll()
    assert unfinished.exists()


def test_what_is_in_it():
    data = xr.concat([record(step) for step in (0, 10)], xr.DataArray([0, 10], dims="step", name="step"),
                     data_vars="all", coords="minimal", compat="override")  # fmt: skip
    found = parts.gradients(data)
    assert list(found.values()) == [
        ("log_live_gradient_norm", 0), ("log_live_gradient_norm", 1), ("log_gradient_norm", None)
    ]  # fmt: skip
    live = parts.gradient(data, "log_live_gradient_norm", 1)
    assert live.dims == ("step", "live_time") and live.shape == (2, TIMES)
    np.testing.assert_allclose(live[1], -1 - np.arange(TIMES) - 100)
    np.testing.assert_allclose(parts.gradient(data, "log_gradient_norm")[1], 11, err_msg="the mean of samples")
    steps = parts.time_steps(data)
    assert list(steps) == ["layer 0", "layer 1"]
    np.testing.assert_allclose(steps["layer 1"], [[3, 5, 7], [33, 55, 77]])
    assert parts.present(data, parts.RANKED) == {
        "singular values of d state_T/d state_0": "log_singular_value",
        "|eigenvalues| of d state_T/d state_0": "log_end_to_end_modulus",
        "Lyapunov exponents": "lyapunov_exponent",
    }
    inner = xr.Dataset({"time_step_layer1": (("step", "unit_layer1", "k_layer1"), np.ones((2, 3, 2)))},
                       {"step": [0, 10], "k_layer1": [1, 2]})  # fmt: skip
    assert list(parts.time_steps(inner)) == ["layer 1, k 1", "layer 1, k 2"]
