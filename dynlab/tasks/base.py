"""``Task``: a data set of images that a cell reads row by row, then noise, then a label to remember."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.tasks.noise import pad_with_noise

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Task:
    """A noise-padded classification task, as in section 4 of the AntisymmetricRNN paper and in iRNN's appendix.

    One image row a time step, then independent standard Gaussian noise up to T steps; the label is asked at T.

    Attributes:
        key: name on the command line. summary: one line for lists.
        input_size: f, numbers in a row. rows: steps that carry the image. length: T unless told otherwise.
        num_classes: labels are 0 .. num_classes - 1.
        metric: what a score on this task is. baseline: the score of guessing, as a fraction.
        mean, std: of all pixels of the training split, in the units of the source; inputs are (pixel - mean) / std.
        source: who made the data. license: under which terms.
        read: split -> (images (sample, row, f) uint8, labels (sample,) uint8), as the source has them.
    """

    key: str
    summary: str
    input_size: int
    rows: int
    length: int
    num_classes: int
    mean: float
    std: float
    source: str
    license: str
    read: Callable[[str], tuple[np.ndarray, np.ndarray]] = field(repr=False)
    metric: str = "accuracy"

    @property
    def baseline(self) -> float:
        return 1 / self.num_classes

    @property
    def normalisation(self) -> str:
        """How pixels become inputs, in words."""
        return f"(pixel - {self.mean:.6g}) / {self.std:.6g}, the mean and standard deviation of all training pixels"

    def load(self, split: Split = "train") -> tuple[Tensor, Tensor]:
        """All samples of a split, without noise.

        Returns:
            inputs (row, sample, f) float32, standardised, and labels (sample,) int64.

        Raises:
            ValueError: for an unknown split.
            DataError: if the data cannot be had, or are damaged.
        """
        images, labels = self._source(split, "load")
        return self._inputs(images), _labels(labels)

    def sequences(
        self, count: int, steps: int | None = None, seed: int = 0, split: Split = "train"
    ) -> tuple[Tensor, Tensor]:
        """``count`` different samples, padded with noise to ``steps`` time steps.

        The same seed gives the same samples and the same noise, and a longer sequence starts as a shorter one does.

        Arguments:
            count: number of samples, 1 .. size of the split.
            steps: T, ``length`` unless given; with fewer steps than ``rows``, the first rows and no noise.
            seed: >= 0. split: "train" or "test"; they differ in noise too.

        Returns:
            inputs (time, batch, f) float32 and labels (batch,) int64.

        Raises:
            TypeError, ValueError: for an argument out of range.
            DataError: if the data cannot be had, or are damaged.
        """
        where = f"{self.key}.sequences"
        _check.integer("count", count, where)
        steps = _check.integer("steps", self.length if steps is None else steps, where)
        _check.integer("seed", seed, where, least=0)
        images, labels = self._source(split, "sequences")
        if count > len(labels):
            raise ValueError(f"{where}: expected count <= {len(labels)}, the size of the {split} split, got {count}")
        generator = np.random.default_rng([seed, SPLITS.index(split)])
        chosen = generator.permutation(len(labels))[:count]
        return pad_with_noise(self._inputs(images[chosen]), steps, generator), _labels(labels[chosen])

    def _source(self, split: str, method: str) -> tuple[np.ndarray, np.ndarray]:
        _check.choice("split", split, SPLITS, f"{self.key}.{method}")
        return self.read(split)

    def _inputs(self, images: np.ndarray) -> Tensor:
        """Pixels (sample, row, f) to inputs (row, sample, f)."""
        pixels = np.ascontiguousarray(images.transpose(1, 0, 2), dtype=np.float32)
        return torch.from_numpy(pixels).sub_(self.mean).div_(self.std)


def _labels(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))
