"""CIFAR-10: by rows and then noise, and pixel by pixel. Read from the binary version, which has no pickle in it."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from dynlab import _check
from dynlab.tasks.archive import read_members
from dynlab.tasks.data import DataError, locate
from dynlab.tasks.noise import Noise
from dynlab.tasks.npz import read_npz
from dynlab.tasks.scaling import Scale, pixel_scale
from dynlab.tasks.stored import Arrays, StoredTask, held_out

ARCHIVE = "cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
"""Of the archive whose md5 its makers' page gives as c32a1d4ab5d03f1284b67883e8d87530."""
MIRRORS = ["https://www.cs.toronto.edu/~kriz/"]
SUBSET = "cifar10_subset.npz"
SUBSET_SHA256 = "78a33e26fad4f414d09d4944ee56fb584bf70ea67db8ccb8c8c47ada02823423"
"""The 10,000 images of data_batch_1 and the first 1,000 of test_batch."""
FILES = {
    "train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["cifar-10-batches-bin/test_batch.bin"],
}
VALIDATION = 0.06
"""3,000 of the 50,000, as many as in coRNN's public code; there they are random ones."""

# Of the 50,000 training images, a channel each; the values commonly quoted, times 255.
MEAN = tuple(255 * value for value in (0.49139968, 0.48215841, 0.44653091))
STD = tuple(255 * value for value in (0.24703223, 0.24348513, 0.26158784))

_RECORD = 1 + 3 * 32 * 32


def parse_records(content: bytes, where: str) -> Arrays:
    """Images (sample, channel, row, column) and labels in records of one label byte and 3072 pixel bytes.

    Raises:
        DataError: if the bytes are not whole records, or a label is above 9.
    """
    if not content or len(content) % _RECORD:
        raise DataError(f"{where}: expected records of {_RECORD} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if records[:, 0].max() > 9:
        raise DataError(f"{where}: expected labels 0 to 9, got {records[:, 0].max()}")
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


@lru_cache(maxsize=1)
def _complete(path: Path) -> dict[str, Arrays]:
    contents = iter(read_members(path, FILES["train"] + FILES["test"]))
    return {
        split: parse_records(b"".join(next(contents) for _ in names), f"{path}, {split}")
        for split, names in FILES.items()
    }


@lru_cache(maxsize=1)
def _subset(path: Path) -> dict[str, Arrays]:
    shapes = {"x_train": (32, 32, 3), "y_train": (), "x_test": (32, 32, 3), "y_test": ()}
    arrays = read_npz(path, shapes, np.uint8)
    return {split: (arrays[f"x_{split}"].transpose(0, 3, 1, 2), arrays[f"y_{split}"]) for split in FILES}


def _read(split: str, subset: bool, by_pixel: bool) -> Arrays:
    if subset:
        images, labels = _subset(locate("", SUBSET, SUBSET_SHA256, []))[split]
    else:
        images, labels = _complete(locate("cifar10", ARCHIVE, SHA256, [mirror + ARCHIVE for mirror in MIRRORS]))[split]
    # A row is its 32 red numbers, then green, then blue, as UnICORNN's and coRNN's code flatten it.
    steps = images.transpose(0, 2, 3, 1) if by_pixel else images.transpose(0, 2, 1, 3)
    return steps.reshape(len(steps), -1, 3 if by_pixel else 96), labels


def _cifar10(key: str, subset: bool, validation: float, **fields: Any) -> StoredTask:
    _check.choice("subset", subset, (False, True), key)
    train, test = ("10,000 (data_batch_1)", "the first 1,000") if subset else ("50,000", "10,000")
    return StoredTask(
        key=key,
        output_size=10,
        validation=validation,
        splits=f"{train} train, {held_out(validation, key)}; {test} test",
        source="A. Krizhevsky, Learning multiple layers of features from tiny images, tech. report, University of "
        "Toronto (2009)",
        license="none stated; its makers ask for a citation of the report",
        **fields,
    )


def cifar10(
    T: int = 1000,
    noise: Noise = "gaussian",
    scale: Scale = "standard",
    subset: bool = False,
    validation: float = VALIDATION,
) -> StoredTask:
    """CIFAR-10 row by row, then noise up to T steps: AntisymmetricRNN section 4, iRNN A.4, UnICORNN section 4."""
    return _cifar10(
        "cifar10",
        subset,
        validation,
        summary="32x32 colour images by rows, then noise",
        input_size=96,
        rows=32,
        length=_check.integer("T", T, "cifar10"),
        noise=noise,
        read=partial(_read, subset=subset, by_pixel=False),
        **pixel_scale(scale, MEAN, STD, repeat=32),
    )


def cifar10_pixel(scale: Scale = "standard", subset: bool = False, validation: float = VALIDATION) -> StoredTask:
    """CIFAR-10 a pixel of three colours a step: AntisymmetricRNN section 4."""
    return _cifar10(
        "cifar10_pixel",
        subset,
        validation,
        summary="32x32 colour images pixel by pixel",
        input_size=3,
        rows=1024,
        length=1024,
        most_steps=1024,
        read=partial(_read, subset=subset, by_pixel=True),
        **pixel_scale(scale, MEAN, STD),
    )
