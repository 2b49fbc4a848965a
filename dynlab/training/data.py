"""``TaskData``: the batches of a task, in an order that depends on the seed and the iteration alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from dynlab import _check
from dynlab.tasks import Samples, Task
from dynlab.tasks.samples import Split
from dynlab.training.settings import Settings

DRAWN_VALIDATION = 1_000
"""Samples to validate with, of a task that draws them; our choice."""


class Order(Sampler[list[int]]):
    """Batches of indices: each epoch a permutation drawn from (seed, epoch), or the samples as they come.

    The samples left over at the end of an epoch make a smaller batch.

    Arguments:
        size: samples. batch: indices a batch. total: batches in the whole training.
        shuffle: False takes every sample once, in order; ``size`` must be ``total * batch``.
        rank, world: of ``world`` processes, this one takes every ``world``-th index of a batch.

    Attributes:
        first: the batch to start with, that of an interrupted training.
    """

    def __init__(
        self, size: int, batch: int, total: int, seed: int, shuffle: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        self.size, self.batch, self.total, self.seed, self.shuffle = size, batch, total, seed, shuffle
        self.rank, self.world, self.first = rank, world, 0
        self._permuted: tuple[int, np.ndarray] | None = None

    @property
    def per_epoch(self) -> int:
        """Batches an epoch; one too small to give every process a sample is left out."""
        full, rest = divmod(self.size, self.batch)
        return full + (rest >= self.world if full else 1)

    def indices(self, step: int) -> list[int]:
        """The samples of batch ``step``, of all processes."""
        epoch, place = divmod(step, self.per_epoch)
        chosen = slice(place * self.batch, (place + 1) * self.batch)
        if not self.shuffle:
            return list(range(self.size)[chosen])
        if self._permuted is None or self._permuted[0] != epoch:
            self._permuted = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return self._permuted[1][chosen].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.total):
            yield self.indices(step)[self.rank :: self.world]

    def __len__(self) -> int:
        return self.total


class ResumableLoader(DataLoader[Any]):
    """Goes on where a training stopped: Lightning asks for its state, and gives it back.

    Arguments:
        done: how many batches have been trained on; those fetched ahead do not count.
    """

    def __init__(self, dataset: Samples, order: Order, done: Callable[[], int], **options: Any) -> None:
        super().__init__(dataset, batch_sampler=order, **options)
        self.order, self.done = order, done

    def state_dict(self) -> dict[str, int]:
        """The batches done."""
        return {"done": self.done()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start after them."""
        self.order.first = state["done"]


class TaskData(LightningDataModule):
    """The splits of ``task`` as ``settings`` want them, time first, through ``task.collate``.

    Attributes:
        total: iterations in the whole training. per_epoch: iterations an epoch.
        fresh: every sample is drawn once; there are no epochs.
    """

    def __init__(self, task: Task, settings: Settings, workers: int = 0) -> None:
        super().__init__()
        self.task, self.settings, self.workers = task, settings, workers
        self.drawn = task.available("train") is None
        self.fresh = self.drawn and settings.iterations is not None and settings.train_size is None
        if self.fresh:
            size: int | None = settings.batch * (settings.iterations or 0)
        else:
            size = settings.train_size
        self.train = task.dataset("train", seed=settings.seed, size=size)
        self.per_epoch = Order(len(self.train), settings.batch, 1, 0).per_epoch
        self.total = settings.iterations or self.per_epoch * (settings.epochs or 0)

    @property
    def evaluate_every(self) -> int:
        """Iterations between validations."""
        default = max(1, self.total // 20) if self.fresh else self.per_epoch
        return min(self.settings.evaluate_every or default, self.total)

    def split(self, split: Split) -> Samples:
        """The samples to validate or test with."""
        size = self.settings.validation_size if split == "validation" else self.settings.test_size
        if size is None and split == "validation" and self.drawn:
            size = DRAWN_VALIDATION
        return self.task.dataset(split, seed=self.settings.seed, size=size)

    def order(self) -> Order:
        """The order of the training's batches."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if world > self.settings.batch:
            raise ValueError(f"train: expected batch >= {world}, the number of devices, got {self.settings.batch}")
        options = self.settings.batch, self.total, self.settings.seed
        return Order(len(self.train), *options, shuffle=not self.fresh, rank=rank, world=world)

    def train_dataloader(self) -> ResumableLoader:
        """All batches of the training, as one epoch of Lightning's."""
        trainer = _check_trainer(self.trainer)
        return ResumableLoader(self.train, self.order(), lambda: trainer.global_step, **self._options())

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split."""
        return self._evaluation("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split."""
        return self._evaluation("test")

    def _evaluation(self, split: Split) -> DataLoader[Any]:
        samples = self.split(split)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        mine, batch = range(len(samples))[rank::world], max(self.settings.batch, 128)
        batches = [list(mine[left : left + batch]) for left in range(0, len(mine), batch)]
        return DataLoader(samples, batch_sampler=batches, **self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "collate_fn": self.task.collate,
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "pin_memory": self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        }


def _check_trainer(trainer: Any) -> Any:
    if trainer is None:
        raise TypeError(f"TaskData: expected a Lightning Trainer to be attached, got {_check.describe(trainer)}")
    return trainer
