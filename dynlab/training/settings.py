"""``Settings``: every number that the outcome of a training depends on; ``Machine``: what it runs on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from dynlab import _check
from dynlab._specs import parse_spec

OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}
"""Keys and classes of ``torch.optim``; options as torch names them: "sgd:momentum=0.9"."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A training, in numbers. Two runs of equal settings on one machine are equal bit for bit.

    Attributes:
        task, cell: specifications, "adding:T=500", "irnn:K=5"; a cell of one's own is FILE.py:NAME.
        first_cell: of the first layer, where it differs. layers: how many. residual: S of ``Network``.
        hidden_size: d of every layer. dropout: between layers.
        iterations, epochs: how long, one of the two. batch: sequences an iteration, over all devices.
        optimizer: a key of ``OPTIMIZERS`` with options. lr: learning rate.
        lr_of: learning rates of their own, by name of the parameter: "eta", or "cells.0.*".
        schedule: of the learning rate, see ``dynlab.training.schedule``.
        clip: largest norm of the gradient. None does not clip, for gradients are what dynlab studies.
        seed: of the initial parameters, the order of the batches, what the task draws, and dropout.
        deterministic: refuse operations whose results vary from run to run.
        train_size, validation_size, test_size: samples. None: all of a stored task; of one that draws its samples,
            fresh ones in every iteration (with ``epochs``: 100,000), 1,000 to validate, 10,000 to test.
        evaluate_every: iterations between validations; by default an epoch, or a twentieth of the iterations.
        patience: stop after so many validations without a better score. target: stop once the score is as good.
        select: keep the parameters of the "last" iteration, or of the "best" validation.
        log_every, checkpoint_every: iterations; checkpoints are also written at every validation.
        record_every: iterations between records of the Recorder, or "log"; None records nothing.
        probes: what it records on ``record_batch`` sequences of the validation split.
        preset: the preset they come from.
    """

    task: str
    cell: str
    first_cell: str | None = None
    hidden_size: int = 128
    layers: int = 1
    residual: int | None = None
    dropout: float = 0.0
    iterations: int | None = None
    epochs: int | None = None
    batch: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    lr_of: Mapping[str, float] = field(default_factory=dict)
    schedule: str = "constant"
    clip: float | None = None
    seed: int = 0
    deterministic: bool = False
    train_size: int | None = None
    validation_size: int | None = None
    test_size: int | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    target: float | None = None
    select: Literal["last", "best"] = "last"
    log_every: int = 10
    checkpoint_every: int | None = None
    record_every: int | Literal["log"] | None = None
    probes: tuple[str, ...] = ("GradientNorm",)
    record_batch: int = 2
    preset: str | None = None

    def __post_init__(self) -> None:
        where = "train"
        for name in ("hidden_size", "layers", "batch", "log_every", "record_batch"):
            _check.integer(name, getattr(self, name), where)
        for name in ("iterations", "epochs", "train_size", "validation_size", "test_size", "evaluate_every", "patience",
                     "checkpoint_every"):  # fmt: skip
            if getattr(self, name) is not None:
                _check.integer(name, getattr(self, name), where)
        if (self.iterations is None) == (self.epochs is None):
            both = "neither" if self.iterations is None else "both"
            raise ValueError(f"{where}: expected either iterations or epochs, got {both}")
        _check.integer("seed", self.seed, where, least=0)
        _check.number("lr", self.lr, where, above=0)
        for name, rate in self.lr_of.items():
            _check.number(f"lr_of {name}", rate, where, least=0)
        if self.clip is not None:
            _check.number("clip", self.clip, where, above=0)
        if self.target is not None:
            _check.number("target", self.target, where)
        if self.record_every != "log" and self.record_every is not None:
            _check.integer("record_every", self.record_every, where)
        _check.choice("select", self.select, ("last", "best"), where)
        _check.choice("optimizer", parse_spec(self.optimizer)[0], tuple(OPTIMIZERS), where)
        if self.first_cell is not None and self.layers < 2:
            raise ValueError(f"{where}: expected layers >= 2 with a first_cell, got {self.layers}")

    def differences(self, other: Settings) -> list[str]:
        """Every setting in which they differ, as "name: this value, not that one"."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: {mine!r}, not {theirs!r}" for name, mine, theirs in pairs if mine != theirs]

    def describe(self) -> str:
        """The training in one line."""
        cell = self.cell if self.layers == 1 else f"{self.layers} x {self.cell}"
        length = f"{self.iterations:,} iterations" if self.iterations else f"{self.epochs:,} epochs"
        schedule = "" if self.schedule == "constant" else f", {self.schedule}"
        return (
            f"{self.task}: {cell}, {self.hidden_size} units, {length}, batch {self.batch}, {self.optimizer} "
            f"{self.lr:g}{schedule}, seed {self.seed}"
        )

    def save(self, path: Path) -> None:
        """Write them as JSON, whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """What ``save`` wrote.

        Raises:
            FileNotFoundError: no file there. ValueError: it holds something else.
        """
        if not path.is_file():
            raise FileNotFoundError(f"train: expected the settings of a training at {path}, found none")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**content, "probes": tuple(content["probes"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"train: expected the settings of a training at {path}, got: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training runs on, in Lightning's words; results do not depend on it but for rounding.

    Attributes:
        accelerator: "auto", "cpu", "gpu". devices: how many, or "auto", or which, "0,1".
        strategy: "auto", "ddp", ... workers: processes that make batches. progress: show a progress bar.
        tensorboard: write logs for TensorBoard.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    strategy: str = "auto"
    workers: int = 0
    progress: bool = True
    tensorboard: bool = True

    def __post_init__(self) -> None:
        _check.integer("workers", self.workers, "train", least=0)


def write_json(path: Path, content: Any) -> None:
    """A JSON file, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
