"""``Task``: labelled sequences, how they are split, what is asked about them, and how the answers are scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dynlab import _check
from dynlab.tasks.metrics import METRICS
from dynlab.tasks.samples import SPLITS, Sample, Samples, Split

DRAWN_SIZES = {"train": 100_000, "validation": 10_000, "test": 10_000}
"""Of tasks that draw their samples, where no size is given; our choice."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What every task offers, to training, to ``compare`` and to the lists.

    Attributes:
        key: specification that ``get_task`` turns into this task, options included: "adding:T=500".
        summary: one line for lists.
        input_size: f, numbers a step. output_size: numbers a network answers with, classes or values.
        length: T, time steps unless told otherwise. least_steps, most_steps: bounds of T; None is no bound.
        target: "class", an int64 label for cross-entropy, or "value", float32 numbers for the squared error.
        read_at: "last", one target a sequence, or "every", one a step.
        metric: what a score is, a key of ``METRICS``.
        splits: where train, validation and test come from. normalisation: how the source's numbers become inputs.
        source: who made the data, or posed the task. license: under which terms.
    """

    key: str
    summary: str
    input_size: int
    output_size: int
    length: int
    target: Literal["class", "value"]
    read_at: Literal["last", "every"]
    metric: str
    splits: str
    normalisation: str
    source: str
    license: str
    least_steps: int = 1
    most_steps: int | None = None

    @property
    @abstractmethod
    def baseline(self) -> float:
        """The score without a memory: of guessing, of a constant answer, or of the present as the forecast."""

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Whether a higher or a lower score is the better one."""
        return METRICS[self.metric].better

    @abstractmethod
    def _open(self, split: Split, steps: int, seed: int) -> tuple[int | None, Callable[[int], Sample]]:
        """How many samples a split has, None for as many as are wanted, and the function that gives the i-th."""

    def available(self, split: Split = "train") -> int | None:
        """How many samples a split has; None where they are drawn, as many as are wanted."""
        return self._open(*self._checked(split, None, 0, f"{self.key}.available"))[0]

    def dataset(
        self, split: Split = "train", steps: int | None = None, seed: int = 0, size: int | None = None
    ) -> Samples:
        """A split, as items (sequence (time, f) float32, target); batch them with ``collate``.

        Arguments:
            split: "train", "validation" or "test"; no sample is in two of them.
            steps: T, ``length`` unless given.
            seed: >= 0, of what is drawn: the noise of a noise-padded task, the samples of a synthetic one.
            size: the first ``size`` items only; a synthetic task draws as many as are asked for.

        Raises:
            TypeError, ValueError: for an argument out of range.
            DataError: if the data cannot be had, or are damaged.
        """
        where = f"{self.key}.dataset"
        available, get = self._open(*self._checked(split, steps, seed, where))
        if size is None:
            return Samples(DRAWN_SIZES[split] if available is None else available, get)
        return Samples(self._at_most("size", size, available, split, where), get)

    def sequences(
        self, count: int, steps: int | None = None, seed: int = 0, split: Split = "train"
    ) -> tuple[Tensor, Tensor]:
        """One batch of ``count`` different samples. The same seed gives the same batch.

        Arguments, errors: as ``dataset``.

        Returns:
            inputs (time, batch, f) float32, and targets as ``collate`` gives them.
        """
        where = f"{self.key}.sequences"
        available, get = self._open(*self._checked(split, steps, seed, where))
        return self.collate([get(i) for i in range(self._at_most("count", count, available, split, where))])

    def collate(self, items: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """Items of ``dataset`` as a batch; a DataLoader's ``collate_fn``.

        Returns:
            inputs (time, batch, f) and targets: labels (batch,), or (time, batch) where every step has one; values
            (batch, output_size), or (time, batch, output_size).
        """
        sequences, targets = zip(*items, strict=True)
        return torch.stack(sequences, 1), torch.stack(targets, 1 if self.read_at == "every" else 0)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training minimises, a scalar: the mean cross-entropy in nats, or the mean squared error.

        Arguments:
            outputs: (batch, output_size), or (time, batch, output_size) where every step is read.
            targets: as ``collate`` gives them.

        Raises:
            TypeError, ValueError: for other types and shapes; nothing is broadcast.
        """
        outputs, targets = self._matched(outputs, targets, "loss")
        return (
            functional.cross_entropy(outputs, targets)
            if self.target == "class"
            else functional.mse_loss(outputs, targets)
        )

    def score_parts(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Numerator and denominator of the score (2,), float64: add them up over batches, then ``score_of``.

        Raises:
            TypeError, ValueError: as ``loss``, and for outputs that are not finite.
        """
        outputs, targets = self._matched(outputs, targets, "score")
        outputs = _check.finite("outputs", outputs.detach(), f"{self.key}.score").double()
        targets = targets if self.target == "class" else targets.double()
        return torch.stack([part.double() for part in METRICS[self.metric].parts(outputs, targets)])

    def score_of(self, parts: Tensor) -> float:
        """The score of summed ``score_parts``."""
        return METRICS[self.metric].of(parts)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """The metric of one batch. Arguments and errors as ``score_parts``."""
        return self.score_of(self.score_parts(outputs, targets))

    def _matched(self, outputs: Tensor, targets: Tensor, method: str) -> Sample:
        """Outputs (n, k) and targets (n,) or (n, k), n over batch and steps, of shapes that belong together."""
        where = f"{self.key}.{method}"
        leading: tuple[int | str, ...] = ("batch",) if self.read_at == "last" else ("time", "batch")
        _check.shaped("outputs", _check.floating("outputs", outputs, where), (*leading, self.output_size), where)
        if self.target == "class":
            _check.shaped("targets", targets, outputs.shape[:-1], where)
            if targets.dtype != torch.int64:
                raise TypeError(f"{where}: expected int64 targets, got {_check.describe(targets)}")
            return outputs.flatten(0, -2), targets.flatten()
        _check.shaped("targets", targets, outputs.shape, where)
        return outputs.flatten(0, -2), targets.flatten(0, -2)

    def _checked(self, split: Split, steps: int | None, seed: int, where: str) -> tuple[Split, int, int]:
        _check.choice("split", split, SPLITS, where)
        steps = _check.integer("steps", self.length if steps is None else steps, where, least=self.least_steps)
        if self.most_steps is not None and steps > self.most_steps:
            raise ValueError(f"{where}: expected steps <= {self.most_steps}, the length of its sequences, got {steps}")
        return split, steps, _check.integer("seed", seed, where, least=0)

    def _at_most(self, name: str, value: int, available: int | None, split: str, where: str) -> int:
        _check.integer(name, value, where)
        if available is not None and value > available:
            raise ValueError(f"{where}: expected {name} <= {available}, the size of the {split} split, got {value}")
        return value
