"""MNIST: by rows and then noise, pixel by pixel, and pixel by pixel in a fixed random order."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from dynlab import _check
from dynlab.tasks.data import DataError, locate
from dynlab.tasks.idx import read_idx
from dynlab.tasks.noise import Noise
from dynlab.tasks.permutation import ORDERS, PIXELS, permutation
from dynlab.tasks.scaling import Scale, pixel_scale
from dynlab.tasks.stored import StoredTask, held_out

SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""Of the original files. Fashion-MNIST and others use the same names and shapes, so every copy is checked."""

MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]
"""Where downloads come from, tried in this order; put your own first."""

VALIDATION = 0.05
"""3,000 of the 60,000, as many as in the public code of coRNN's and UnICORNN's authors; theirs are random ones."""

_BY_PIXEL: dict[str, Any] = {"input_size": 1, "rows": PIXELS, "length": PIXELS, "most_steps": PIXELS}
_PREFIX = {"train": "train", "test": "t10k"}


@lru_cache(maxsize=2)
def _parse(images_file: Path, labels_file: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(images_file, axes=3), read_idx(labels_file, axes=1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_file}: expected images of 28 x 28 pixels, got {images.shape[1]} x {images.shape[2]}")
    if len(labels) != len(images):
        raise DataError(f"{labels_file}: expected {len(images)} labels, one an image, got {len(labels)}")
    if labels.size and labels.max() > 9:
        raise DataError(f"{labels_file}: expected labels 0 to 9, got {labels.max()}")
    return images, labels


def _read(split: str) -> tuple[np.ndarray, np.ndarray]:
    names = [f"{_PREFIX[split]}-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
    images, labels = (locate("mnist", name, SHA256[name], [mirror + name for mirror in MIRRORS]) for name in names)
    return _parse(images, labels)


def _read_pixels(split: str, order: str | None) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _read(split)
    pixels = images.reshape(len(images), -1, 1)
    return (pixels if order is None else pixels[:, permutation(order)]), labels


def _mnist(key: str, scale: Scale, validation: float, **fields: Any) -> StoredTask:
    return StoredTask(
        key=key,
        output_size=10,
        validation=validation,
        splits=f"60,000 train, {held_out(validation, key)}; 10,000 test",
        source="Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits; Y. LeCun, "
        "L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 86 "
        "(1998)",
        license="commonly given as CC BY-SA 3.0; its makers' page is the authority",
        **pixel_scale(scale, (33.318421,), (78.567490,)),
        **fields,
    )


def mnist(
    T: int = 1000, noise: Noise = "gaussian", scale: Scale = "standard", validation: float = VALIDATION
) -> StoredTask:
    """MNIST row by row, then noise up to T steps: the Noisy-MNIST of iRNN A.4."""
    return _mnist(
        "mnist",
        scale,
        validation,
        summary="28x28 handwritten digits by rows, then noise",
        input_size=28,
        rows=28,
        length=_check.integer("T", T, "mnist"),
        noise=noise,
        read=_read,
    )


def mnist_pixel(scale: Scale = "standard", validation: float = VALIDATION) -> StoredTask:
    """Sequential MNIST: a pixel a step."""
    return _mnist(
        "mnist_pixel",
        scale,
        validation,
        summary="28x28 handwritten digits pixel by pixel",
        **_BY_PIXEL,
        read=partial(_read_pixels, order=None),
    )


def mnist_permuted(
    permutation: str = "unicornn", scale: Scale = "standard", validation: float = VALIDATION
) -> StoredTask:
    """Permuted sequential MNIST: a pixel a step, in one of the papers' fixed random orders."""
    _check.choice("permutation", permutation, ORDERS, "mnist_permuted")
    return _mnist(
        "mnist_permuted",
        scale,
        validation,
        summary="28x28 handwritten digits pixel by pixel, in a fixed random order",
        **_BY_PIXEL,
        read=partial(_read_pixels, order=permutation),
    )
