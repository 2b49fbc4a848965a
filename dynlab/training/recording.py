"""The Recorder as a callback of Lightning's Trainer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dynlab import _check
from dynlab.adjoints import watch_adjoints
from dynlab.cell import Cell
from dynlab.recorder import Recorder


class RecorderCallback(Recorder, Callback):
    """What ``dynlab.Recorder(...)`` is where Lightning is in use; on the first of several devices only.

    Of a model that was not given, it takes the LightningModule's ``network``.
    """

    _context: Any = None
    _loss: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the model."""
        if self.model is not None:
            return
        model = getattr(pl_module, "network", None)
        if not isinstance(model, Cell):
            raise TypeError(
                "Recorder: expected a model, or a LightningModule whose attribute network is a dynlab cell or Network, "
                f"got {_check.describe(model)} in {type(pl_module).__name__}"
            )
        self.model = model

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Watch the forward pass of a step whose record is due."""
        if not trainer.is_global_zero:
            return
        self.begin(trainer.global_step)
        if self.due:
            self._context = watch_adjoints()
            self._adjoints = self._context.__enter__()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """Stop watching, keep the loss."""
        self._leave()
        self._loss = loss.detach()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record."""
        if trainer.is_global_zero:
            self.step(self._loss)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching."""
        self._leave()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As ``close``."""
        self.close()

    def _leave(self) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None
