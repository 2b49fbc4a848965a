"""``StoredTask``: a data set of sequences, perhaps followed by noise, each with one label to give at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.tasks.base import Task
from dynlab.tasks.noise import NOISES, Noise, pad_with_noise
from dynlab.tasks.samples import STREAM, Sample, Split, sample_generator

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class StoredTask(Task):
    """Classification of stored sequences, as they are or padded with noise to T steps (AntisymmetricRNN, section 4).

    Attributes:
        rows: steps that carry data. noise: what follows them, None for nothing.
        mean, std: in the units of the source, one number or one a feature; inputs are (stored - mean) / std.
        validation: the share of the training samples, from the end of the source's order, that validates. None where
            ``read`` has a validation split of its own.
        read: "train", "test" -> (sequences (sample, row, f), labels (sample,)), as the source has them.
    """

    rows: int
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    noise: Noise | None = None
    validation: float | None = None
    read: Callable[[str], Arrays] = field(repr=False, compare=False)
    target: Literal["class", "value"] = "class"
    read_at: Literal["last", "every"] = "last"
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        if self.noise is not None:
            _check.choice("noise", self.noise, NOISES, self.key)
        if self.validation is not None:
            held_out(self.validation, self.key)

    @property
    def baseline(self) -> float:
        """The accuracy of guessing among equally likely classes."""
        return 1 / self.output_size

    def load(self, split: Split = "train") -> tuple[Tensor, Tensor]:
        """All samples of a split, without noise; of "train" also those that ``dataset`` keeps for validation.

        Returns:
            inputs (row, sample, f) float32, standardised, and labels (sample,) int64.

        Raises:
            ValueError: for an unknown split.
            DataError: if the data cannot be had, or are damaged.
        """
        self._checked(split, None, 0, f"{self.key}.load")
        stored, labels = self._arrays(split, whole=True)
        return self._inputs(stored), _labels(labels)

    def sequences(
        self, count: int, steps: int | None = None, seed: int = 0, split: Split = "train"
    ) -> tuple[Tensor, Tensor]:
        """``count`` different samples, padded with noise to ``steps`` time steps.

        The same seed gives the same samples and the same noise, and a longer sequence starts as a shorter one does.
        A batch to measure on, not to evaluate with: its "train" is all that the source has for training, with the
        samples that ``dataset`` keeps for validation.

        Arguments:
            count: number of samples, 1 .. size of the split.
            steps: T, ``length`` unless given; with fewer steps than ``rows``, the first rows and no noise.
            seed: >= 0. split: "train", "validation" or "test"; they differ in noise too.

        Returns:
            inputs (time, batch, f) float32 and labels (batch,) int64.

        Raises:
            TypeError, ValueError: for an argument out of range.
            DataError: if the data cannot be had, or are damaged.
        """
        where = f"{self.key}.sequences"
        split, steps, seed = self._checked(split, steps, seed, where)
        stored, labels = self._arrays(split, whole=True)
        self._at_most("count", count, len(labels), split, where)
        generator = np.random.default_rng([seed, STREAM[split]])
        chosen = generator.permutation(len(labels))[:count]
        return self._padded(self._inputs(stored[chosen]), steps, generator, seed), _labels(labels[chosen])

    def _open(self, split: Split, steps: int, seed: int) -> tuple[int, Callable[[int], Sample]]:
        stored, labels = self._arrays(split)
        return len(labels), partial(self._sample, stored, _labels(labels), split, steps, seed)

    def _sample(self, stored: np.ndarray, labels: Tensor, split: str, steps: int, seed: int, index: int) -> Sample:
        inputs = self._inputs(stored[index : index + 1])
        return self._padded(inputs, steps, sample_generator(seed, split, index), seed)[:, 0], labels[index].clone()

    def _padded(self, inputs: Tensor, steps: int, generator: np.random.Generator, seed: int) -> Tensor:
        if self.noise is None:
            return inputs[:steps]
        if self.noise == "shared":
            generator = np.random.default_rng(seed)
        return pad_with_noise(inputs, steps, generator, self.noise)

    def _arrays(self, split: Split, whole: bool = False) -> Arrays:
        """What is stored of a split; ``whole``: of "train", all that the source has."""
        if self.validation is None or split == "test" or (whole and split == "train"):
            return self.read(split)
        stored, labels = self.read("train")
        kept = len(labels) - round(self.validation * len(labels))
        part = slice(None, kept) if split == "train" else slice(kept, None)
        if not len(labels[part]):
            raise ValueError(
                f"{self.key}: expected samples in the {split} split, got none: validation={self.validation}"
            )
        return stored[part], labels[part]

    def _inputs(self, stored: np.ndarray) -> Tensor:
        """What is stored (sample, row, f) as inputs (row, sample, f)."""
        inputs = torch.from_numpy(np.array(stored.transpose(1, 0, 2), dtype=np.float32, order="C"))
        return inputs.sub_(torch.tensor(self.mean)).div_(torch.tensor(self.std))


def held_out(validation: float, where: str) -> str:
    """The share of the training samples that validates, in words.

    Raises:
        TypeError, ValueError: if it is no number from 0 to below 1.
    """
    if _check.number("validation", validation, where, least=0) >= 1:
        raise ValueError(f"{where}: expected validation < 1, the share of the training samples, got {validation!r}")
    return f"the last {100 * validation:g} % of them validate"


def _labels(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))
