"""What the Recorder records, that nobody notices it, and that nothing loses more than the last record."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import dynlab
from dynlab.recorder import Grid, Recorder
from dynlab.recording_store import RecordingStore, open_recording
from dynlab.widgets.replay import Replay

STEPS, BATCH = 12, 3


def network(*specs: str, hidden: int = 5) -> dynlab.Network:
    torch.manual_seed(0)
    sizes = [2, *[hidden] * len(specs)]
    cells = [dynlab.build_cell(spec, size, hidden) for spec, size in zip(specs, sizes, strict=False)]
    return dynlab.Network(cells, dynlab.Readout(hidden, 1), dropout=0.3 if len(specs) > 1 else 0.0)


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(STEPS, BATCH, 2, generator=generator) for _ in range(count)]


HELD = torch.randn(9, 2, 2, generator=torch.Generator().manual_seed(2))


def loop(
    model: dynlab.Network, count: int, recorder: Recorder | None = None, before: Callable[..., Any] | None = None
) -> None:
    """A plain training loop; ``before`` sees (step, model, loss) after backward."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step, inputs in enumerate(batches(count)):
        if recorder is None:
            loss = model.read(inputs).square().mean()
        else:
            with recorder.watching():
                loss = model.read(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if before is not None:
            before(step, model, loss)
        if recorder is not None:
            recorder.step(loss)
        optimizer.step()


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(PLAIN_LOOP,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Recorder(" in block]


def test_a_plain_loop_with_a_cell_of_ones_own(tmp_path: Path) -> None:
    loop = PLAIN_LOOP[PLAIN_LOOP.index("model =") :].strip().splitlines()
    assert len(loop) <= 15
    command = [sys.executable, "-W", "error", "-c", PLAIN_LOOP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert open_recording(tmp_path / "run.zarr").step.values.tolist() == [0, 10, 20]


# ---- values ----------------------------------------------------------------------------------------------------------


def test_probes_are_those_of_record(tmp_path: Path) -> None:
    model, expected = network("unicornn", "unicornn"), {}
    probes = ["GradientNorm", "EndToEndSpectrum", dynlab.LyapunovSpectrum(k=2)]

    def keep(step: int, model: dynlab.Network, loss: Tensor) -> None:
        expected[step] = dynlab.record(model, HELD, [*probes, "TimeSteps"])

    with Recorder(tmp_path / "run.zarr", model, HELD, probes, every=3) as recorder:
        loop(model, 8, recorder, keep)
    data = open_recording(tmp_path / "run.zarr")
    assert data.step.values.tolist() == [0, 3, 6]
    for step in (0, 3, 6):
        for name, variable in expected[step].data_vars.items():
            assert data[name].sel(step=step).dims == variable.dims
            assert data[name].dtype == variable.dtype
            np.testing.assert_array_equal(data[name].sel(step=step).values, variable.values, err_msg=str(name))
            assert data[name].attrs == variable.attrs
    assert data.attrs["cell"] == "Network" and data.attrs["dynlab_version"] == dynlab.__version__


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("of", ["state", "hidden"])
def test_live_gradients_are_autograds(of: str, backend: str, tmp_path: Path) -> None:
    """dL/d state_t from a loop written out, with every state a leaf of the graph."""
    model = network("unicornn", "gru")
    model.eval()
    for cell in model.layers:
        cell.backend = backend  # type: ignore[assignment]
    inputs = batches(1)[0]
    with Recorder(tmp_path / "run.zarr", model, every=1, of=of) as recorder:  # type: ignore[arg-type]
        with recorder.watching():
            loss = model.read(inputs).square().mean()
        loss.backward()
        recorder.step(loss)
    states: list[list[Tensor]] = []
    below = list(inputs)
    for cell in model.layers:
        state = cell.initial_state(BATCH).requires_grad_()
        own = [state]
        for x in below:
            state = cell(x, state)
            state.retain_grad()
            own.append(state)
        states.append(own)
        below = [cell.hidden(state) for state in own[1:]]
    assert model.readout is not None
    model.readout(torch.stack(below)).square().mean().backward()
    data = open_recording(tmp_path / "run.zarr")
    for layer, (cell, own) in enumerate(zip(model.layers, states, strict=True)):
        adjoints = torch.stack([state.grad for state in own if state.grad is not None])
        norms = (adjoints if of == "state" else cell.hidden(adjoints)).flatten(1).norm(dim=1).log()
        found = data.log_live_gradient_norm.sel(step=0, layer=layer)
        np.testing.assert_allclose(found.values, norms.numpy(), rtol=1e-4, atol=1e-5)
    assert float(data.loss[0]) == float(loss.detach())


def test_norms_of_weights_and_gradients(tmp_path: Path) -> None:
    model, expected = network("elman"), {}

    def keep(step: int, model: dynlab.Network, loss: Tensor) -> None:
        expected[step] = {
            n: (p.detach().clone(), p.grad.clone()) for n, p in model.named_parameters() if p.grad is not None
        }

    with Recorder(tmp_path / "run.zarr", model, every=2) as recorder:
        loop(model, 3, recorder, keep)
    data = open_recording(tmp_path / "run.zarr")
    assert data.parameter.values.tolist() == [name for name, _ in model.named_parameters()]
    for step in (0, 2):
        for name, (weight, gradient) in expected[step].items():
            row = data.sel(step=step, parameter=name)
            assert float(row.weight_norm) == pytest.approx(float(weight.norm()))
            assert float(row.weight_max) == pytest.approx(float(weight.abs().max()))
            assert float(row.parameter_gradient_norm) == pytest.approx(float(gradient.norm()))


def test_time_steps_of_cells_that_have_them(tmp_path: Path) -> None:
    for spec, has in (("unicornn", True), ("irnn:K=2", True), ("gru", False)):
        model = network(spec)
        with Recorder(tmp_path / f"{spec}.zarr", model, HELD, every=1) as recorder:
            loop(model, 1, recorder)
        assert ("time_step" in open_recording(tmp_path / f"{spec}.zarr")) is has


def test_gradients_that_add_up_are_one_batch(tmp_path: Path) -> None:
    """Two scans in a step, as in gradient accumulation, against one scan of both halves."""
    model = network("gru").eval()
    a, b = batches(2)
    for name, parts in (("two", [a, b]), ("one", [torch.cat([a, b], 1)])):
        with Recorder(tmp_path / name, model, every=1) as recorder:
            with recorder.watching():
                loss = torch.stack([model.read(part).square().sum() for part in parts]).sum()
            loss.backward()
            recorder.step(loss)
    one, two = (open_recording(tmp_path / name).log_live_gradient_norm for name in ("one", "two"))
    np.testing.assert_allclose(one.values, two.values, rtol=1e-5)


# ---- nobody notices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    "spec", ["antisymmetric", "unicornn", "irnn:K=3", "indrnn", "lstm", "gru", "fastgrnn", "cornn"]
)
def test_training_is_not_disturbed(spec: str, backend: str, tmp_path: Path) -> None:
    """Parameters, gradients, modes and random numbers, bit for bit."""
    ends = []
    for name in ("without", "with"):
        model = network(spec, spec)
        for cell in model.layers:
            cell.backend = backend  # type: ignore[assignment]
        model.layers[0].eval()
        random.seed(0)
        np.random.seed(0)
        if name == "with":
            probes = ["GradientNorm", "StepSpectrum", dynlab.GradientNorm(vectors=2), "LyapunovSpectrum"]
            probes = probes[1:]  # two norms would give one variable
            with Recorder(tmp_path / "run.zarr", model, HELD, probes, every=2, budget=3000) as recorder:
                loop(model, 7, recorder)
        else:
            loop(model, 7)
        ends.append(
            (
                [parameter.detach().clone() for parameter in model.parameters()],
                [parameter.grad for parameter in model.parameters()],
                [module.training for module in model.modules()],
                (torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tobytes()),  # type: ignore[union-attr]
                torch.is_grad_enabled(),
            )
        )
    without, with_ = ends
    for first, second in zip(without[0] + without[1], with_[0] + with_[1], strict=True):
        assert first is not None and second is not None and torch.equal(first, second)
    assert without[2] == with_[2] and without[4] == with_[4]
    assert torch.equal(without[3][0], with_[3][0]) and without[3][1:] == with_[3][1:]


# ---- when ------------------------------------------------------------------------------------------------------------


def test_grids() -> None:
    assert [step for step in range(10) if step in Grid(3)] == [0, 3, 6, 9]
    logs = [step for step in range(1001) if step in Grid("log")]
    expected = sorted({0, *(round(10 ** (index / 10)) for index in range(31))})
    assert logs == expected
    for stride in (2, 4, 8):
        assert {step for step in range(1001) if step in Grid("log", stride)} < set(logs)
        assert {step for step in range(100) if step in Grid(3, stride)} == set(range(0, 100, 3 * stride))


@pytest.mark.parametrize("every", [1, "log"])
def test_it_thins_itself_to_its_budget(every: Any, tmp_path: Path) -> None:
    model = network("gru")
    with Recorder(tmp_path / "whole", model, HELD, every=every, budget=None) as recorder:
        loop(model, 40, recorder)
    whole = open_recording(tmp_path / "whole")
    one_record = RecordingStore(tmp_path / "whole").bytes // whole.sizes["step"]
    model = network("gru")
    with Recorder(tmp_path / "thin", model, HELD, every=every, budget=9 * one_record) as recorder:
        loop(model, 40, recorder)
    thin = open_recording(tmp_path / "thin")
    stride = thin.attrs["stride"]
    assert stride > 1 and 3 <= thin.sizes["step"] <= 9
    assert thin.step.values.tolist() == [step for step in whole.step.values if step in Grid(every, stride)]
    xr.testing.assert_identical(thin.drop_attrs(deep=False), whole.sel(step=thin.step).drop_attrs(deep=False))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# ---- interruptions ---------------------------------------------------------------------------------------------------


def test_it_goes_on(tmp_path: Path) -> None:
    """Interrupted after 7 steps, resumed from a checkpoint of step 4: as if never interrupted."""
    model = network("gru")
    with Recorder(tmp_path / "whole", model, HELD, every=1) as recorder:
        loop(model, 10, recorder)
    model = network("gru")
    first = Recorder(tmp_path / "cut", model, HELD, every=1)
    loop(model, 7, first)
    model = network("gru")
    second = Recorder(tmp_path / "cut", model, HELD, every=1, resume=True)
    assert second.next_step == 7
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step, inputs in enumerate(batches(10)):
        if step < 4:
            loss = model.read(inputs).square().mean()
        else:
            with second.watching(step):
                loss = model.read(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if step >= 4:
            second.step(loss)
        optimizer.step()
    assert open_recording(tmp_path / "cut").identical(open_recording(tmp_path / "whole"))


CHILD = """
import sys, numpy as np, xarray as xr
from dynlab.recording_store import RecordingStore
from dynlab.recorder import Grid
store, grid = RecordingStore(sys.argv[1]), Grid(1)
grid.stride = store.attribute("stride", 1)
step = store.steps[-1] + 1 if store.steps else 0
while True:
    print(step, flush=True)
    if step in grid:
        values = {"a": ((), np.float64(step)), "b": ("x", np.full(5000, step)), "c": ("y", np.float32([step] * 3))}
        store.append(xr.Dataset(values, {"y": ["p", "q", "r"]}, {"stride": grid.stride}), step)
        if len(store.steps) >= 40:
            grid.stride *= 2
            store.thin(grid.__contains__, stride=grid.stride)
    step += 1
"""


def whole(path: Path) -> int:
    """The number of records, each of which must be what its step says."""
    try:
        data = open_recording(path)
    except FileNotFoundError:
        return 0
    steps = data.step.values
    assert (np.diff(steps) == data.attrs["stride"]).all()
    np.testing.assert_array_equal(data.a.values, steps)
    np.testing.assert_array_equal(data.b.values, np.repeat(steps[:, None], 5000, 1))
    np.testing.assert_array_equal(data.c.values, np.repeat(steps[:, None], 3, 1))
    assert data.y.values.tolist() == ["p", "q", "r"]
    return len(steps)


@pytest.mark.slow
def test_killed_while_writing(tmp_path: Path) -> None:
    """kill -9 at arbitrary moments of appending and thinning: every record that is read is whole."""
    path = tmp_path / "run.zarr"
    generator, counts = np.random.default_rng(0), []
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        with child:
            assert child.stdout is not None
            for _ in range(generator.integers(20, 60)):  # steps, not seconds: machines differ
                assert child.stdout.readline()
            time.sleep(generator.uniform(0, 0.05))
            os.kill(child.pid, signal.SIGKILL)
        counts.append(whole(path))
    assert max(counts) > 5
    assert open_recording(path).attrs["stride"] > 1


def test_a_write_killed_before_its_rename(tmp_path: Path) -> None:
    """Zarr's own listing would warn of the temporary file that such a write leaves; a warning fails a test here."""
    model = network("gru")
    with Recorder(tmp_path / "run", model, HELD, every=1) as recorder:
        loop(model, 3, recorder)
    before = open_recording(tmp_path / "run")
    left = [tmp_path / "run" / f"zarr.{'0' * 32}.partial", tmp_path / "run" / "loss" / "c" / f"0.{'0' * 32}.partial"]
    for path in left:
        path.write_text("{")
    assert open_recording(tmp_path / "run").identical(before)
    reader = Replay(tmp_path / "run")
    assert reader.poll() and reader.dataset is not None and reader.dataset.sizes == before.sizes
    Recorder(tmp_path / "run", model, HELD, every=1, resume=True)
    assert open_recording(tmp_path / "run").identical(before) and not any(path.exists() for path in left)


@pytest.mark.parametrize("zarr", [False, True])
def test_what_is_no_recording_keeps_its_files(zarr: bool, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    if zarr:
        xr.Dataset({"x": ("i", [1.0])}).to_zarr(folder, consolidated=False)
    kept = [folder / "film.partial", folder / "inside" / f"zarr.{'0' * 32}.partial"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with pytest.raises(FileExistsError, match="expected a recording or nothing"):
        Recorder(folder, network("gru"), HELD, every=1, resume=True)
    assert all(path.read_text() == "half" for path in kept)


@pytest.mark.parametrize("moment", ["resized", "half of the arrays", "not counted"])
def test_a_half_written_record_is_not_read(moment: str, tmp_path: Path) -> None:
    model = network("gru")
    with Recorder(tmp_path / "run", model, HELD, every=1) as recorder:
        loop(model, 3, recorder)
    before = open_recording(tmp_path / "run")
    store = RecordingStore(tmp_path / "run")
    arrays = list(store._recorded.values())
    for index, array in enumerate(arrays):
        if moment != "half of the arrays" or index < len(arrays) // 2:
            array.resize((4, *array.shape[1:]))
        if moment == "not counted":
            array[3] = 77
    assert open_recording(tmp_path / "run").identical(before)
    again = Recorder(tmp_path / "run", network("gru"), HELD, every=1, resume=True)
    model = again.model
    with again.watching(3):
        loss = model.read(batches(1)[0]).mean()  # type: ignore[union-attr]
    loss.backward()
    again.step(loss)
    after = open_recording(tmp_path / "run")
    assert after.isel(step=slice(3)).identical(before) and after.step.values.tolist() == [0, 1, 2, 3]


def test_a_thinning_killed_between_its_renames(tmp_path: Path) -> None:
    model = network("gru")
    with Recorder(tmp_path / "run", model, HELD, every=1) as recorder:
        loop(model, 3, recorder)
    before = open_recording(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / ".run.old")
    assert open_recording(tmp_path / "run").identical(before)
    Recorder(tmp_path / "run", model, HELD, every=1, resume=True)
    assert open_recording(tmp_path / "run").identical(before) and not (tmp_path / ".run.old").exists()


def test_the_store_is_plain_zarr(tmp_path: Path) -> None:
    model = network("gru")
    with Recorder(tmp_path / "run.zarr", model, HELD, every=1) as recorder:
        loop(model, 3, recorder)
    theirs = xr.open_zarr(tmp_path / "run.zarr", consolidated=False)
    ours = open_recording(tmp_path / "run.zarr")
    assert set(theirs.variables) == set(ours.variables)
    for name in ours.data_vars:
        np.testing.assert_array_equal(theirs[name].values, ours[name].values)


# ---- overflow --------------------------------------------------------------------------------------------------------


class Power(dynlab.Cell):
    """h_t = w h_{t-1} + 1: leaves float32 sooner the larger w is."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.w = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return self.w * state + 1 + 0 * x


@pytest.mark.parametrize("first", [1.0, 1e10])
def test_an_overflow_is_recorded(first: float, tmp_path: Path) -> None:
    """What lies beyond the first step out of range is missing, in a record of the same size."""
    model = Power()
    recorder = Recorder(tmp_path / "run", model, HELD, every=1)
    for weight in (first, 1e10, 1e39, 1.0):
        model.w.data.fill_(min(weight, 3e38))
        with recorder.watching():
            loss = model.scan(torch.zeros(1, 2, 2)).sum()
        loss.backward()
        recorder.step(loss)
    data = open_recording(tmp_path / "run")
    assert data.overflow_step.values[:, 0].tolist() == [0 if first == 1 else 5, 5, 3, 0]
    assert data.log_gradient_norm.dims == ("step", "time", "batch") and data.sizes["time"] == 10
    assert np.isnan(data.log_gradient_norm.values[1, 5:]).all()
    assert (
        np.isfinite(data.log_gradient_norm.values[1, :5]).all() and np.isfinite(data.log_gradient_norm.values[3]).all()
    )


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_step_after_the_optimizer(tmp_path: Path) -> None:
    model = network("gru")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    recorder = Recorder(tmp_path / "run", model, every=1)
    with recorder.watching():
        loss = model.read(batches(1)[0]).mean()
    loss.backward()
    optimizer.step()
    with pytest.raises(ValueError, match=r"expected step\(loss\) before the optimizer changes parameters"):
        recorder.step(loss)


def test_a_forward_pass_without_the_cells(tmp_path: Path) -> None:
    model = network("gru")
    recorder = Recorder(tmp_path / "run", model, every=1)
    with recorder.watching():
        loss = sum(parameter.sum() for parameter in model.parameters())
    assert isinstance(loss, Tensor)
    loss.backward()
    with pytest.raises(ValueError, match=r"expected the forward pass inside watching\(\) to run through scan"):
        recorder.step(loss)


def test_sequences_of_another_length(tmp_path: Path) -> None:
    model = network("gru")
    recorder = Recorder(tmp_path / "run", model, every=1)
    for index, inputs in enumerate((batches(1)[0], batches(1)[0][:5])):
        with recorder.watching():
            loss = model.read(inputs).mean()
        loss.backward()
        if index == 0:
            recorder.step(loss)
    with pytest.raises(ValueError, match=r"expected log_live_gradient_norm of shape \(1, 13\), .* got \(1, 6\)"):
        recorder.step(loss)
    assert open_recording(tmp_path / "run").sizes["step"] == 1


def test_what_is_there_already(tmp_path: Path) -> None:
    model = network("gru")
    with Recorder(tmp_path / "run", model, every=1) as recorder:
        loop(model, 1, recorder)
    with pytest.raises(FileExistsError, match="pass resume=True to go on with it"):
        Recorder(tmp_path / "run", model, every=1)
    with pytest.raises(ValueError, match="expected every=1 as in the recording"):
        Recorder(tmp_path / "run", model, every=2, resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="got something else there"):
        Recorder(tmp_path / "file", model, every=1)
    dynlab.save_dataset(xr.Dataset({"a": 1}), tmp_path / "other.zarr")
    with pytest.raises(FileExistsError, match="got another Zarr store"):
        Recorder(tmp_path / "other.zarr", model, resume=True)
    with pytest.raises(ValueError, match="try open_dataset"):
        open_recording(tmp_path / "other.zarr")
    with pytest.raises(FileNotFoundError, match="expected a recording at .*nothing, found none"):
        open_recording(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": 0}, "expected every >= 1"),
        ({"every": "often"}, "expected every to be an integer"),
        ({"of": "cell"}, "expected of to be one of"),
        ({"budget": 0}, "expected budget >= 1"),
        ({"probes": ["GradientNorm"]}, "expected inputs, a held batch"),
        ({"model": nn.LSTM(2, 3)}, "expected a dynlab cell or Network .* got LSTM"),
    ],
)
def test_bad_arguments(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        Recorder(tmp_path / "run", **{"model": network("gru"), **options})


# ---- Lightning -------------------------------------------------------------------------------------------------------


def test_as_a_callback_it_records_what_the_loop_records(tmp_path: Path) -> None:
    from dynlab.training import Machine, Settings, train

    options: dict[str, Any] = {"task": "adding:T=8", "cell": "gru", "hidden_size": 4, "batch": 4, "iterations": 9,
                               "validation_size": 4, "test_size": 4, "log_every": 1}  # fmt: skip
    machine = Machine(accelerator="cpu", progress=False, tensorboard=False)
    watched = Settings(**options, record_every=2, record_batch=3)
    result = train(watched, tmp_path / "with", machine)
    data = open_recording(tmp_path / "with" / "recording.zarr")
    assert data.step.values.tolist() == [0, 2, 4, 6, 8]
    assert data.attrs["task"] == "adding:T=8" and data.attrs["seed"] == 0
    import csv

    with (tmp_path / "with" / "training.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert data.loss.values.tolist() == losses[::2]
    without = train(Settings(**options), tmp_path / "without", machine)
    for a, b in zip(result.network.parameters(), without.network.parameters(), strict=True):
        assert torch.equal(a, b)
    # The same network in a plain loop.
    from dynlab.tasks import get_task
    from dynlab.training import build_network

    task = get_task("adding:T=8")
    model, samples = build_network(watched, task), task.dataset("train", size=36)
    held = task.sequences(3, split="validation")[0]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Recorder(tmp_path / "plain", model, held, every=2) as recorder:
        for step in range(9):
            inputs, target = task.collate([samples[4 * step + i] for i in range(4)])
            with recorder.watching():
                loss = task.loss(model.read(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            recorder.step(loss)
            optimizer.step()
    plain = open_recording(tmp_path / "plain")
    assert set(plain.data_vars) == set(data.data_vars)
    for name in plain.data_vars:
        np.testing.assert_allclose(plain[name].values, data[name].values, rtol=1e-4, atol=1e-6, err_msg=str(name))


def test_a_module_without_a_network(tmp_path: Path) -> None:
    from lightning.pytorch import Callback, LightningModule

    recorder = dynlab.Recorder(tmp_path / "run", inputs=HELD)
    assert isinstance(recorder, Callback)
    with pytest.raises(TypeError, match="expected a model, or a LightningModule whose attribute network"):
        recorder.on_fit_start(None, LightningModule())  # type: ignore[attr-defined]


def test_it_does_not_import_lightning_for_a_loop_of_ones_own(tmp_path: Path) -> None:
    code = (
        "import sys, dynlab\n"
        "cell = dynlab.registry['gru'](2, 3)\n"
        f"dynlab.Recorder({str(tmp_path / 'run')!r}, cell)\n"
        "print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
