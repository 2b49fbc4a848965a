"""Handwritten digits of 8 x 8 pixels: small, and installed with scikit-learn, so that they need no network."""

from __future__ import annotations

from functools import cache

import numpy as np

from dynlab.tasks.base import Task

TRAIN_SIZE = 1437
"""The first 80 % of the 1797 digits train. They stand in the order of their writers, so the split by position keeps
most writers apart; the source has no split of its own, this one is our choice."""


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.uint8)


def _read(split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _digits()
    part = slice(None, TRAIN_SIZE) if split == "train" else slice(TRAIN_SIZE, None)
    return images[part], labels[part]


DIGITS = Task(
    key="digits",
    summary="8x8 handwritten digits by rows, then Gaussian noise",
    input_size=8,
    rows=8,
    length=1000,
    num_classes=10,
    mean=4.8861778,
    std=6.0081137,
    source="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository "
    "(1998), the test set of 1797, grey values 0 .. 16; read with sklearn.datasets.load_digits",
    license="CC BY 4.0 as the UCI repository states it",
    read=_read,
)
