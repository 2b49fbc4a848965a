"""What happens beside a training: logs, early stop, the best parameters, checkpoints."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from dynlab.training.module import Learner


class Interrupted(Exception):
    """The training was asked to stop; its checkpoint is written."""


class Curves(Callback):
    """``training.csv`` and ``validation.csv``; ``step`` counts the updates made before the loss was taken.

    A resumed training takes back what was written after its checkpoint.

    Arguments:
        per_epoch: iterations an epoch; None where there are no epochs.
    """

    def __init__(self, folder: Path, metric: str, every: int, per_epoch: int | None) -> None:
        self.every, self.per_epoch = every, per_epoch
        self.training = _Table(folder / "training.csv", ["step", "epoch", "learning_rate", "loss"])
        self.validation = _Table(folder / "validation.csv", ["step", "epoch", "loss", metric])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the tables at the first step of this run."""
        if trainer.is_global_zero:
            self.training.start(before=trainer.global_step)
            self.validation.start(before=trainer.global_step + 1)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the learning rate of the update to come."""
        self._step, self._rate = trainer.global_step, trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A row of ``training.csv``."""
        if trainer.is_global_zero and self._step % self.every == 0 and isinstance(pl_module, Learner):
            self.training.add(self._step, self._epoch(self._step), self._rate, pl_module._loss)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A row of ``validation.csv``."""
        if trainer.is_global_zero:
            loss, score = (float(trainer.callback_metrics[f"validation_{name}"]) for name in ("loss", "score"))
            self.validation.add(trainer.global_step, self._epoch(trainer.global_step), loss, score)

    def _epoch(self, step: int) -> float | str:
        return "" if self.per_epoch is None else step / self.per_epoch


class _Table:
    """A CSV file whose rows are on disk as soon as they are added."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.path, self.columns = path, columns
        kept = self.rows()
        self.last: int | None = int(kept[-1][0]) if kept else None

    def start(self, before: int) -> None:
        """Keep the rows of steps below ``before``."""
        kept = [row for row in self.rows() if int(row[0]) < before]
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.columns, *kept])
        os.replace(partial, self.path)
        self.last = int(kept[-1][0]) if kept else None

    def rows(self) -> list[list[str]]:
        """Whole rows; a killed training may leave a part of one at the end."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
        return [
            row for row in csv.reader(line for line in lines if line.endswith("\n")) if len(row) == len(self.columns)
        ]

    def add(self, *values: Any) -> None:
        """One row; numbers as Python writes them, so that they read back the same."""
        if values[0] == self.last:
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(values)
        self.last = values[0]


class EarlyStop(Callback):
    """Stops after ``patience`` validations without a better score, or at one as good as ``target``.

    Attributes:
        reason: why it stopped, None before.
    """

    def __init__(self, better: Literal["higher", "lower"], patience: int | None, target: float | None) -> None:
        self.sign = 1 if better == "higher" else -1
        self.patience, self.target = patience, target
        self.best, self.waited, self.reason = float("-inf"), 0, None

    best: float
    waited: int
    reason: str | None

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"best": self.best, "waited": self.waited, "reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.__dict__.update(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A checkpoint may be that of a training which had been stopped."""
        trainer.should_stop = trainer.should_stop or self.reason is not None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide."""
        if trainer.state.fn != "fit":
            return
        score = self.sign * float(trainer.callback_metrics["validation_score"])
        self.waited = 0 if score > self.best else self.waited + 1
        self.best = max(self.best, score)
        if self.target is not None and score >= self.sign * self.target:
            self.reason = f"the validation score reached {self.target:g}"
        elif self.patience is not None and self.waited >= self.patience:
            self.reason = f"no better validation score in {self.patience} validations"
        trainer.should_stop = trainer.should_stop or self.reason is not None


class Best(Callback):
    """Keeps the parameters of the best validation.

    Attributes:
        score: the best one. step: updates made at it. parameters: those of the network then, on the CPU.
    """

    def __init__(self, better: Literal["higher", "lower"]) -> None:
        self.sign = 1 if better == "higher" else -1
        self.score, self.step, self.parameters = None, 0, None

    score: float | None
    step: int
    parameters: dict[str, torch.Tensor] | None

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"score": self.score, "step": self.step, "parameters": self.parameters}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.__dict__.update(state_dict)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep them if the score is better."""
        score = float(trainer.callback_metrics["validation_score"])
        if isinstance(pl_module, Learner) and (self.score is None or self.sign * score > self.sign * self.score):
            state = pl_module.network.state_dict()
            self.score, self.step = score, trainer.global_step
            self.parameters = {name: value.detach().cpu().clone() for name, value in state.items()}


class Checkpoints(Callback):
    """Writes ``path`` at validations, every ``every`` iterations, and before stopping on request.

    Comes last among the callbacks, so that theirs is the state after the same event.

    Attributes:
        stop: set it to have the training stop after this iteration with ``Interrupted``.
    """

    def __init__(self, path: Path, evaluate_every: int, every: int | None) -> None:
        self.path, self.evaluate_every, self.every = path, evaluate_every, every
        self.stop = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation of the same step is about to."""
        step = trainer.global_step
        if step % self.evaluate_every and not trainer.should_stop:
            self._save(trainer, due=self.every is not None and step % self.every == 0)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save."""
        if trainer.state.fn == "fit":
            self._save(trainer, due=True)

    def _save(self, trainer: Trainer, due: bool) -> None:
        stop = self.stop
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if due or stop:
            partial = self.path.with_name(f".{self.path.name}.partial")
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                os.replace(partial, self.path)
        if stop:
            raise Interrupted
