"""``Samples``: one split of a task as a torch Dataset whose items do not depend on who asks for them, or when."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Literal, SupportsIndex

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
STREAM = {"train": 0, "test": 1, "validation": 2}
"""Numbers that keep the random streams of the splits apart. Recorded results rest on them."""

Sample = tuple[Tensor, Tensor]


def sample_generator(seed: int, split: str, index: int) -> np.random.Generator:
    """The generator of one sample, and of no other."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM[split], index)))


class Samples(Dataset[Sample]):
    """Items (sequence (time, f) float32, target), made when they are asked for.

    What is random in item i is drawn from (seed, split, i) alone: it is the same in any order and in any worker
    process, and a smaller data set is the beginning of a larger one. A task that draws its samples can so have as
    many as are wanted: with ``size`` = iterations x batch every one is fresh, with less they come again each epoch.

    Arguments:
        size: number of items. get: index -> item.
    """

    def __init__(self, size: int, get: Callable[[int], Sample]) -> None:
        self.size = size
        self.get = get

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: SupportsIndex) -> Sample:
        i = operator.index(index)
        if not -self.size <= i < self.size:
            raise IndexError(f"Samples: expected an index below {self.size}, got {i}")
        return self.get(i % self.size)
