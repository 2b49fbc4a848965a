"""Scores as sums: those of batches add up to that of the whole split, whatever the sizes of the batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Metric:
    """A score numerator / denominator, or its square root.

    Attributes:
        better: which way is better.
        parts: outputs (n, k), targets (n,) or (n, k) -> numerator, denominator, each a sum over n.
        root: the score is the square root of the ratio.
    """

    better: Literal["higher", "lower"]
    parts: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    root: bool = False

    def of(self, parts: Tensor) -> float:
        """The score of ``parts`` (2,), those of one batch or their sum over batches."""
        numerator, denominator = parts.tolist()
        if not denominator > 0:
            raise ValueError(f"score: expected a denominator > 0, got {denominator}: no targets, or all of them 0")
        ratio = numerator / denominator
        return math.sqrt(ratio) if self.root else ratio


def _count(targets: Tensor) -> Tensor:
    return torch.tensor(float(targets.numel()), dtype=torch.float64, device=targets.device)


def _accuracy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return (outputs.argmax(-1) == targets).sum(), _count(targets)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return functional.cross_entropy(outputs, targets, reduction="sum"), _count(targets)


def _squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return (outputs - targets).square().sum(), _count(targets)


def _relative_squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return (outputs - targets).square().sum(), targets.square().sum()


METRICS = {
    "accuracy": Metric("higher", _accuracy),
    "cross-entropy": Metric("lower", _cross_entropy),
    "MSE": Metric("lower", _squared_error),
    "NRMSE": Metric("lower", _relative_squared_error, root=True),
}
"""Accuracy as a fraction; cross-entropy in nats a step; mean squared error; and the root mean squared error over the
root mean square of the targets."""
