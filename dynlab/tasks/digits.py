"""Handwritten digits of 8 x 8 pixels: small, and installed with scikit-learn, so that they need no network."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from dynlab import _check
from dynlab.tasks.noise import Noise
from dynlab.tasks.scaling import standardised
from dynlab.tasks.stored import StoredTask, held_out

TRAIN_SIZE = 1437
"""The first 80 % of the 1797 digits train. They stand in the order of their writers, so the split by position keeps
most writers apart; the source has no split of its own, this one is our choice."""

MEAN, STD = 4.8861778, 6.0081137


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.uint8)


def _read(split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _digits()
    part = slice(None, TRAIN_SIZE) if split == "train" else slice(TRAIN_SIZE, None)
    return images[part], labels[part]


def digits(T: int = 1000, noise: Noise = "gaussian", validation: float = 0.2) -> StoredTask:
    """The digits row by row, then noise up to T steps."""
    return StoredTask(
        key="digits",
        summary="8x8 handwritten digits by rows, then noise",
        input_size=8,
        output_size=10,
        rows=8,
        length=_check.integer("T", T, "digits"),
        noise=noise,
        mean=MEAN,
        std=STD,
        normalisation=standardised((MEAN,), (STD,)),
        validation=validation,
        splits=f"by position: the first 1,437 train, {held_out(validation, 'digits')}; the last 360 test",
        source="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository "
        "(1998), the test set of 1797, grey values 0 .. 16; read with sklearn.datasets.load_digits",
        license="CC BY 4.0 as the UCI repository states it",
        read=_read,
    )


def digits_rows(validation: float = 0.2) -> StoredTask:
    """The digits row by row, and nothing else."""
    return replace(
        digits(8, validation=validation),
        key="digits_rows",
        summary="8x8 handwritten digits by rows",
        noise=None,
        most_steps=8,
    )
