"""``dynlab train``: learn a task with a cell, watched."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from dynlab.training import Machine, Settings
    from dynlab.training.run import Result

_Text: TypeAlias = str | None
_Number: TypeAlias = float | None
_Count: TypeAlias = int | None


def _option(text: str, name: str | None = None) -> Any:
    return typer.Option(name, help=text) if name else typer.Option(help=text)


def train(
    task: Annotated[_Text, typer.Argument(help="Task, with options: adding:T=500; see 'dynlab tasks'.")] = None,
    cell: Annotated[_Text, _option("Cell, with options: irnn:K=5,eta=0.01; or FILE.py:NAME.")] = None,
    preset: Annotated[_Text, _option("A paper (unicornn, irnn, antisymmetric) or one of --presets.")] = None,
    presets: Annotated[bool, _option("List the presets, each number with its source.", "--presets")] = False,
    hidden_size: Annotated[_Count, _option("Hidden units a layer (128).")] = None,
    layers: Annotated[_Count, _option("Layers (1).")] = None,
    first_cell: Annotated[_Text, _option("Cell of the first layer, where it differs.")] = None,
    residual: Annotated[_Count, _option("Layers skipped by residual connections (none).")] = None,
    dropout: Annotated[_Number, _option("Variational dropout between layers (0).")] = None,
    iterations: Annotated[_Count, _option("Iterations to train for.")] = None,
    epochs: Annotated[_Count, _option("Or epochs.")] = None,
    batch: Annotated[_Count, _option("Sequences an iteration, over all devices (128).")] = None,
    optimizer: Annotated[_Text, _option("adam, adamw, sgd, rmsprop, adagrad, with options: sgd:momentum=0.9.")] = None,
    lr: Annotated[_Number, _option("Learning rate (0.001).")] = None,
    lr_of: Annotated[
        list[str] | None, _option("Learning rate of one parameter: eta=1e-4. Can be given several times.")
    ] = None,
    schedule: Annotated[
        _Text, _option("constant, drop:at=0.5,factor=0.1, exponential, cosine; at < 1 is a share of the training.")
    ] = None,
    clip: Annotated[_Number, _option("Largest norm of the gradient (it is not clipped).")] = None,
    seed: Annotated[_Count, _option("Seed of parameters, data, order and dropout (0).")] = None,
    deterministic: Annotated[bool | None, _option("Refuse operations that vary from run to run.")] = None,
    train_size: Annotated[_Count, _option("Training samples.")] = None,
    validation_size: Annotated[_Count, _option("Validation samples.")] = None,
    test_size: Annotated[_Count, _option("Test samples.")] = None,
    evaluate_every: Annotated[_Count, _option("Iterations between validations.")] = None,
    patience: Annotated[_Count, _option("Stop after so many validations without a better score.")] = None,
    target: Annotated[_Number, _option("Stop at a validation score as good as this.")] = None,
    select: Annotated[_Text, _option("Keep the parameters of the last iteration, or of the best validation.")] = None,
    log_every: Annotated[_Count, _option("Iterations between rows of training.csv (10).")] = None,
    checkpoint_every: Annotated[_Count, _option("Iterations between checkpoints (each validation).")] = None,
    record_every: Annotated[_Text, _option("Iterations between records of the Recorder, or log.")] = None,
    probes: Annotated[_Text, _option("What it records, comma-separated (GradientNorm).")] = None,
    record_batch: Annotated[_Count, _option("Validation sequences it records on (2).")] = None,
    out: Annotated[Path, _option("Folder for everything; the same command goes on there.")] = Path("train"),
    resume: Annotated[Path | None, _option("Go on with the training in this folder, with its settings.")] = None,
    restart: Annotated[bool, _option("Begin again where the folder holds a training.", "--restart")] = False,
    no_test: Annotated[bool, _option("Leave the test split alone.", "--no-test")] = False,
    accelerator: Annotated[str, _option("auto, cpu, gpu, as Lightning names them.")] = "auto",
    devices: Annotated[str, _option("How many, auto, or which: 0,1.")] = "auto",
    strategy: Annotated[str, _option("Lightning's strategy: auto, ddp, ...")] = "auto",
    workers: Annotated[int, _option("Processes that make batches.")] = 0,
    no_tensorboard: Annotated[bool, _option("Write no TensorBoard logs.", "--no-tensorboard")] = False,
) -> None:
    """Train a cell on a task. Interrupted, even killed, the same command goes on to the same numbers."""
    if presets:
        _list_presets()
        return
    from dynlab.training import Machine, Settings

    given = {
        name: value
        for name, value in locals().items()
        if name in {field.name for field in dataclasses.fields(Settings)} and value is not None
    }
    if lr_of is not None:
        given["lr_of"] = dict(map(_rate, lr_of))
    if probes is not None:
        given["probes"] = tuple(part.strip() for part in probes.split(",") if part.strip())
    if record_every is not None and record_every != "log":
        given["record_every"] = _whole("--record-every", record_every)
    if resume is not None:
        settings, out = _resumed(resume, given, restart), resume
    else:
        settings = _settings(given)
    machine = Machine(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        workers=workers,
        tensorboard=not no_tensorboard,
    )
    _run(settings, out, machine, restart, test=not no_test)


def _run(settings: Settings, out: Path, machine: Machine, restart: bool, test: bool) -> None:
    from dynlab.tasks import get_task
    from dynlab.training.run import is_first_process, train

    try:
        result = train(settings, out, machine, existing="replace" if restart else "continue", test=test)
    except KeyboardInterrupt as stopped:
        reason = f"{stopped}. " if str(stopped) else ""
        print(f"dynlab: {reason}To go on: {shlex.join(['dynlab', 'train', '--resume', str(out)])}", file=sys.stderr)
        raise
    if is_first_process():
        _show(result, settings, get_task(settings.task).metric)


def _show(result: Result, settings: Settings, metric: str) -> None:
    if result.stopped:
        print(f"stopped after {result.steps:,} iterations: {result.stopped}")
    kept = "" if result.step == result.steps else f", parameters of iteration {result.step:,}"
    test = "" if result.test is None else f", test {metric} {result.test:.4g}"
    print(
        f"{result.parameters:,} parameters, {result.steps:,} iterations{kept}: validation {metric} "
        f"{result.validation:.4g}{test} (without a memory {result.baseline:.3g})"
    )
    names = [name for name in ("model.pt", "training.csv", "validation.csv", "recording.zarr", "tensorboard")
             if (result.out / name).exists()]  # fmt: skip
    print(f"written: {result.out}/{', '.join(names)}")
    task = settings.task.partition(":")[0]
    own = ["--cells", settings.cell] if ".py:" in settings.cell else []
    compare = ["dynlab", "compare", "--task", task, "--checkpoint", str(result.out / "model.pt"), *own]
    print(f"compare: {shlex.join(compare)}")


# ---- options ---------------------------------------------------------------------------------------------------------


def _settings(given: dict[str, Any]) -> Settings:
    """What was asked for, over what the preset says."""
    from dynlab.training import Settings, find_preset

    name = given.pop("preset", None)
    if name is not None:
        preset = find_preset(name, given.get("task"), given.get("cell"))
        values = preset.values
        if {"iterations", "epochs"} & set(given):
            values = {key: value for key, value in values.items() if key not in ("iterations", "epochs")}
        given = {**values, **given, "preset": preset.name}
    for missing in ("task", "cell"):
        if missing not in given:
            what = "a TASK ('dynlab tasks' lists them)" if missing == "task" else "--cell ('dynlab cells' lists them)"
            raise ValueError(f"train: expected {what} or a --preset ('dynlab train --presets'), got neither")
    return Settings(**given)


def _resumed(folder: Path, given: dict[str, Any], restart: bool) -> Settings:
    from dynlab.training import Settings
    from dynlab.training.run import SETTINGS

    if given or restart:
        what = ", ".join("TASK" if name == "task" else f"--{name.replace('_', '-')}" for name in given) or "--restart"
        raise ValueError(f"train: expected --resume alone, for the settings are those of {folder}; got {what} too")
    return Settings.load(folder / SETTINGS)


def _rate(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    try:
        return name, float(value) if equals and name else float("x")
    except ValueError:
        raise ValueError(f"train: expected --lr-of as NAME=RATE, for instance eta=1e-4; got {text!r}") from None


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"train: expected {name} to be a number of iterations, or log; got {text!r}") from None


def _list_presets() -> None:
    from dynlab.training import all_presets

    table = Table(show_lines=True, pad_edge=False)
    table.add_column("preset", no_wrap=True)
    table.add_column("settings, and where they come from")
    for preset in all_presets().values():
        lines = [preset.summary, *(f"{name}: {text}" for name, text in preset.lines())]
        table.add_row(preset.name, escape("\n".join(lines)))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
