"""The adding problem: two numbers of a long sequence are marked, their sum is asked at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from dynlab import _check
from dynlab.tasks.base import Task
from dynlab.tasks.samples import Sample, Split, sample_generator


@dataclass(frozen=True, kw_only=True)
class Adding(Task):
    """Inputs (number, mark): numbers uniform on [0, 1), one mark 1 in each half of the sequence, the others 0.

    iRNN A.4, after Arjovsky et al. (2016). Where T is odd, the middle step is in the second half (our choice).
    """

    input_size: int = 2
    output_size: int = 1
    target: Literal["class", "value"] = "value"
    read_at: Literal["last", "every"] = "last"
    metric: str = "MSE"
    least_steps: int = 2

    @property
    def baseline(self) -> float:
        """The variance of the sum of two uniform numbers: what the constant answer 1 leaves, 0.167 in the papers."""
        return 1 / 6

    def _open(self, split: Split, steps: int, seed: int) -> tuple[None, Callable[[int], Sample]]:
        return None, partial(_sample, split, steps, seed)


def _sample(split: str, steps: int, seed: int, index: int) -> Sample:
    generator = sample_generator(seed, split, index)
    inputs = np.zeros((steps, 2), np.float32)
    inputs[:, 0] = generator.random(steps, dtype=np.float32)
    half = steps // 2
    marked = [generator.integers(0, half), generator.integers(half, steps)]
    inputs[marked, 1] = 1
    return torch.from_numpy(inputs), torch.from_numpy(inputs[marked, 0].sum(keepdims=True))


def adding(T: int = 200) -> Adding:
    """The adding problem of T steps."""
    return Adding(
        key="adding",
        summary="the sum of two marked numbers",
        length=_check.integer("T", T, "adding", least=2),
        splits="drawn, each split from a stream of its own",
        normalisation="none, numbers are in [0, 1)",
        source="S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997); as in iRNN, A.4",
        license="generated",
    )
