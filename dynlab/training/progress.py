"""The progress bar of a training; in a file or a pipe, a line a validation."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dynlab.training.module import Learner


class Bar(Callback):
    """What is trained, iterations, loss and last validation score, on standard error."""

    def __init__(self, title: str, metric: str, total: int) -> None:
        self.title, self.metric, self.total = title, metric, total
        self._score = ""
        self._progress: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show it."""
        if not trainer.is_global_zero:
            return
        begun = f"; goes on after {trainer.global_step:,}" if trainer.global_step else ""
        print(f"{self.title}{begun}", file=sys.stderr, flush=True)
        if not sys.stderr.isatty():
            return
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=self.total, completed=trainer.global_step)
        self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move it."""
        if self._progress is not None and isinstance(pl_module, Learner):
            text = f"loss {pl_module._loss:.3g}{self._score}"
            self._progress.update(self._task, completed=trainer.global_step, description=text)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say the score."""
        if trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        score = float(trainer.callback_metrics["validation_score"])
        self._score = f", validation {self.metric} {score:.3g}"
        if self._progress is None and isinstance(pl_module, Learner):
            step, loss = f"{trainer.global_step:,}/{self.total:,}", pl_module._loss
            print(f"{step}  loss {loss:.4g}  validation {self.metric} {score:.4g}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it away."""
        if self._progress is not None:
            self._progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take it away before the message."""
        self.on_train_end(trainer, pl_module)
