"""``train``: a whole training, from settings to a checkpoint, that goes on where it was interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, Trainer

from dynlab.checkpoint import load_checkpoint, save_checkpoint
from dynlab.network import Network
from dynlab.tasks import Task, get_task
from dynlab.training._lightning import on_interrupt, quiet
from dynlab.training.callbacks import Best, Checkpoints, Curves, EarlyStop, Interrupted
from dynlab.training.data import TaskData
from dynlab.training.module import Learner
from dynlab.training.network import build_network, layer_specs
from dynlab.training.settings import Machine, Settings, write_json

SETTINGS, CHECKPOINT, MODEL, RESULT, RECORDING = (
    "settings.json",
    "resume.ckpt",
    "model.pt",
    "result.json",
    "recording.zarr",
)
WRITTEN = (SETTINGS, CHECKPOINT, RESULT, MODEL, "training.csv", "validation.csv", "tensorboard", RECORDING)


@dataclass(frozen=True)
class Result:
    """A finished training.

    Attributes:
        out: its folder. network: what was learned, in eval mode on the CPU.
        step: updates made to these parameters. steps: updates in the whole training.
        validation, test: scores of these parameters, in the task's metric; test is None where it was left out.
        baseline: the task's score without a memory. stopped: why before the end, or None.
        parameters: how many numbers were learned.
    """

    out: Path
    network: Network
    step: int
    steps: int
    validation: float
    test: float | None
    baseline: float
    stopped: str | None
    parameters: int


def train(
    settings: Settings,
    out: str | os.PathLike[str],
    machine: Machine | None = None,
    *,
    existing: Literal["continue", "replace"] = "continue",
    test: bool = True,
) -> Result:
    """Train as ``settings`` say, in the folder ``out``.

    Example:
        >>> settings = dynlab.training.Settings(task="adding:T=50", cell="irnn:K=1", iterations=200)
        >>> result = dynlab.train(settings, "run")
        >>> dynlab.record(result.network, inputs)

    An interrupted training, even a killed one, goes on from its last checkpoint when called again, and ends with the
    numbers of an uninterrupted one; a finished one is read from its folder.

    Arguments:
        out: gets training.csv, validation.csv, settings.json, result.json, tensorboard/, recording.zarr if
            ``record_every`` is set, resume.ckpt to go on from, and at the end model.pt, a checkpoint of dynlab.
        existing: "replace" begins again where ``out`` holds a training.
        test: score the test split at the end.

    Raises:
        ValueError, TypeError: for settings that cannot be, or ``out`` with a training of other settings.
        NonFiniteError: for a loss or gradient that is not finite; the checkpoint before it stays.
        KeyboardInterrupt: asked to stop by Ctrl-C or SIGTERM; the checkpoint is written.
        OSError: if ``out`` cannot be written to.
    """
    machine = Machine() if machine is None else machine
    folder = Path(out)
    task = get_task(settings.task)
    data = TaskData(task, settings, machine.workers)
    learner = make_learner(settings, task, data)
    if existing == "replace":
        _clear(folder)
    if (finished := _finished(folder, settings, task)) is not None:
        return finished
    _prepare(folder, settings)
    early = EarlyStop(task.better, settings.patience, settings.target)
    best = Best(task.better)
    checkpoints = Checkpoints(folder / CHECKPOINT, data.evaluate_every, settings.checkpoint_every)
    curves = Curves(folder, task.metric, settings.log_every, None if data.fresh else data.per_epoch)
    callbacks: list[Callback] = [curves, early, best]
    if machine.progress:
        from dynlab.training.progress import Bar

        callbacks.append(Bar(settings.describe(), task.metric, data.total))
    if settings.record_every is not None:
        callbacks.append(_recorder(folder, settings, task, data))
    callbacks.append(checkpoints)

    def ask() -> None:
        checkpoints.stop = True

    with quiet(), _global_state(), on_interrupt(ask):
        trainer = _trainer(folder, settings, machine, data, callbacks)
        begin = _resumable(folder / CHECKPOINT, learner)
        try:
            trainer.fit(learner, datamodule=data, ckpt_path=begin, weights_only=True)
        except Interrupted:
            raise KeyboardInterrupt(f"stopped after {trainer.global_step:,} of {data.total:,} iterations") from None
        if trainer.global_step % data.evaluate_every or "validation_score" not in trainer.callback_metrics:
            trainer.validate(learner, datamodule=data, verbose=False)
        score = float(trainer.callback_metrics["validation_score"])
        step, steps = trainer.global_step, trainer.global_step
        if settings.select == "best" and best.parameters is not None and best.score is not None:
            learner.network.load_state_dict(best.parameters)
            score, step = best.score, best.step
        tested = None
        if test:
            trainer.test(learner, datamodule=data, verbose=False)
            tested = float(trainer.callback_metrics["test_score"])
    network = learner.network.cpu().eval()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    result = Result(folder, network, step, steps, score, tested, task.baseline, early.reason, parameters)
    if trainer.is_global_zero:
        _save(result, settings)
    return result


def is_first_process() -> bool:
    """Whether this is the only process of a training, or the first one: the one that says how it went."""
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def make_learner(settings: Settings, task: Task, data: TaskData) -> Learner:
    """The LightningModule that ``settings`` describe."""
    unit = 1 if settings.epochs is None else data.per_epoch
    return Learner(
        build_network(settings, task),
        task,
        optimizer=settings.optimizer,
        lr=settings.lr,
        lr_of=settings.lr_of,
        schedule=settings.schedule,
        total=data.total,
        unit=unit,
        seed=settings.seed,
    )


def _trainer(folder: Path, settings: Settings, machine: Machine, data: TaskData, callbacks: list[Callback]) -> Trainer:
    logger: Any = False
    if machine.tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
    try:
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            strategy=machine.strategy,
            callbacks=callbacks,
            logger=logger,
            max_epochs=1,  # the order of the batches has the epochs
            val_check_interval=data.evaluate_every,
            check_val_every_n_epoch=None,
            log_every_n_steps=settings.log_every,
            gradient_clip_val=settings.clip,
            deterministic=settings.deterministic or None,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
    except Exception as error:  # Lightning's MisconfigurationException is a plain Exception
        if isinstance(error, (ValueError, TypeError, OSError)):
            raise
        raise ValueError(f"train: {error}") from None


def _recorder(folder: Path, settings: Settings, task: Task, data: TaskData) -> Callback:
    from dynlab.recorder import Recorder

    items = [data.split("validation")[index] for index in range(settings.record_batch)]
    recorder: Any = Recorder(
        folder / RECORDING,
        inputs=task.collate(items)[0],
        probes=settings.probes,
        every=settings.record_every or 1,
        resume=True,
        attrs={"task": settings.task, "spec": settings.cell, "seed": settings.seed},
    )
    return recorder


@contextmanager
def _global_state() -> Iterator[None]:
    """Lightning and the learner change global state; it is as it was after the training."""
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark = torch.backends.cudnn.benchmark
    with torch.random.fork_rng():
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark


# ---- the folder ------------------------------------------------------------------------------------------------------


def _clear(folder: Path) -> None:
    """Take away what a training wrote, and nothing else."""
    for name in WRITTEN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _check_settings(folder: Path, settings: Settings) -> bool:
    """Whether ``folder`` holds a training of these settings; of others is an error."""
    if not (folder / SETTINGS).exists():
        return False
    if differences := settings.differences(Settings.load(folder / SETTINGS)):
        raise ValueError(
            f"train: {folder} holds a training of other settings ({'; '.join(differences)}); choose another folder "
            "(--out), or begin again there (--restart)"
        )
    return True


def _finished(folder: Path, settings: Settings, task: Task) -> Result | None:
    if not _check_settings(folder, settings) or not (folder / RESULT).exists():
        return None
    content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    network = build_network(settings, task)
    saved, _ = load_checkpoint(folder / MODEL, specs=layer_specs(settings))
    network.load_state_dict(saved.state_dict())
    return Result(folder, network.eval(), **content)


def _resumable(path: Path, learner: Learner) -> Path | None:
    """The checkpoint to go on from, if there is one.

    Raises:
        ValueError: if it is damaged, or that of another cell.
    """
    if not path.exists():
        return None
    advice = "begin again with --restart, or choose another folder"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        learner.load_state_dict(content["state_dict"])
    except (pickle.UnpicklingError, EOFError, KeyError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"train: expected a checkpoint at {path}, could not read it ({reason}); {advice}") from None
    except RuntimeError as error:  # of torch, for a damaged archive and for parameters that do not fit
        reason = " ".join(str(error).split())
        raise ValueError(f"train: expected a checkpoint of this training at {path}: {reason}; {advice}") from None
    return path


def _prepare(folder: Path, settings: Settings) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings.save(folder / SETTINGS)
    except OSError as error:
        raise OSError(f"train: expected a folder that can be written to at {folder}, got: {error.strerror}") from None


def _save(result: Result, settings: Settings) -> None:
    save_checkpoint(
        result.network,
        layer_specs(settings),
        result.out / MODEL,
        task=settings.task,
        seed=settings.seed,
        step=result.step,
        validation=result.validation,
    )
    left_out = ("out", "network")
    content = {f.name: getattr(result, f.name) for f in dataclasses.fields(result) if f.name not in left_out}
    write_json(result.out / RESULT, content)
