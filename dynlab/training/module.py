"""``Learner``: a Network that learns a Task, as a LightningModule."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from dynlab import _check
from dynlab._specs import parse_spec
from dynlab.network import Network, Readout
from dynlab.tasks import Task
from dynlab.training.finite import check_gradients, check_loss
from dynlab.training.schedule import learning_rate_factor
from dynlab.training.settings import OPTIMIZERS


class Learner(LightningModule):
    """Minimises ``task.loss`` of what ``network`` reads, and scores it on the validation and test splits.

    It logs ``loss`` for every iteration, and ``validation_loss`` and ``validation_score`` (``test_...``) of a whole
    split. Batches are (inputs (time, batch, f), targets) as ``task.collate`` makes them. Whatever is random in an
    iteration (dropout) is drawn from (seed, iteration, device) alone, so that a resumed training draws the same.

    Arguments:
        network: dynlab cells with a readout of ``task.output_size`` numbers, where ``task.read_at`` says.
        optimizer, lr, lr_of, schedule, seed: as in ``Settings``.
        total: iterations in the whole training, for the schedule. unit: iterations an epoch, or 1.

    Raises:
        NonFiniteError: during training, for a loss or gradient that is NaN or infinite, before the update.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        *,
        optimizer: str = "adam",
        lr: float = 1e-3,
        lr_of: Mapping[str, float] | None = None,
        schedule: str = "constant",
        total: int = 1,
        unit: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.task = network, task
        self.optimizer_spec, self.lr, self.lr_of = optimizer, lr, dict(lr_of or {})
        self.factor = learning_rate_factor(schedule, total, unit)
        self.seed = seed
        self._loss = float("nan")
        self._sums: list[Tensor] = []
        _groups(network, self.lr, self.lr_of)  # says now what would be wrong later

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (time, batch, f) -> (batch, output), or (time, batch, output) where every step is read."""
        network, readout = self.network, self.network.readout
        if isinstance(readout, Readout) and readout.at == "last":
            # Without a hidden sequence that nobody reads.
            return readout.linear(network.hidden(network.scan(inputs, keep="last")))
        return network.read(inputs)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the schedule in updates."""
        optimizer = make_optimizer(self.optimizer_spec, _groups(self.network, self.lr, self.lr_of), self.lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what is random in this iteration."""
        seed = np.random.SeedSequence((self.seed, self.global_step, self.global_rank)).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0]))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        inputs, targets = batch
        loss = self.task.loss(self(inputs), targets)
        check_loss(loss, self.network, inputs, self.global_step)
        self._loss = float(loss.detach())
        self.log("loss", loss.detach(), prog_bar=True, batch_size=inputs.shape[1])
        if self.trainer.world_size > 1:
            # Devices average their gradients: what is left over at the end of an epoch gives them unequal batches.
            count = torch.tensor(float(inputs.shape[1]), device=loss.device)
            loss = loss * count / self.trainer.strategy.reduce(count.clone(), reduce_op="mean")
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Refuse to make an update of NaNs."""
        check_gradients(self.network, self._loss, self.global_step)

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forget the sums of the last evaluation."""
        self._sums = []

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add up the loss and the parts of the score."""
        inputs, targets = batch
        outputs, count = self(inputs), float(inputs.shape[1])
        loss = self.task.loss(outputs, targets).double()
        # Accelerators without float64 add on the CPU.
        parts = [part.cpu() for part in (loss * count, *self.task.score_parts(outputs, targets))]
        self._sums.append(torch.stack([torch.tensor(count, dtype=torch.float64), *parts]))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Loss and score of the whole validation split."""
        self._log_evaluation("validation")

    def on_test_epoch_end(self) -> None:
        """Loss and score of the whole test split."""
        self._log_evaluation("test")

    def _log_evaluation(self, split: str) -> None:
        sums = torch.stack(self._sums).sum(0) if self._sums else torch.zeros(4, dtype=torch.float64)
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum").cpu()
        count, loss, *parts = sums
        self.log(f"{split}_loss", loss / count, rank_zero_only=True)
        score = self.task.score_of(torch.stack(parts))
        self.log(f"{split}_score", torch.tensor(score, dtype=torch.float64), prog_bar=True, rank_zero_only=True)


def make_optimizer(spec: str, groups: Any, lr: float) -> torch.optim.Optimizer:
    """The optimizer of a specification such as "sgd:momentum=0.9".

    Raises:
        ValueError: for an unknown optimizer, or an option it does not have.
    """
    key, options = parse_spec(spec)
    _check.choice("optimizer", key, tuple(OPTIMIZERS), "train")
    try:
        return getattr(torch.optim, OPTIMIZERS[key])(groups, lr=lr, **options)
    except TypeError as error:
        raise ValueError(f"train: {spec!r}: expected options of torch.optim.{OPTIMIZERS[key]}: {error}") from None


def _groups(network: Network, lr: float, lr_of: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameter groups, one a learning rate: those of ``lr_of``, and the others."""
    rates: dict[str, float] = {}
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    for pattern, rate in lr_of.items():
        found = [name for name in names if fnmatch.fnmatch(name, pattern) or name.rpartition(".")[2] == pattern]
        if not found:
            raise ValueError(f"train: expected lr_of to name parameters among {', '.join(names)}; got {pattern!r}")
        rates.update(dict.fromkeys(found, rate))
    parameters = dict(network.named_parameters())
    by_rate: dict[float, list[Tensor]] = {}
    for name in names:
        by_rate.setdefault(rates.get(name, lr), []).append(parameters[name])
    return [{"params": members, "lr": rate} for rate, members in by_rate.items()]
