"""The idx format of MNIST: a magic number, the sizes, the bytes. Nothing in it is executed, unlike in a pickle."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from dynlab.tasks.data import DataError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The array in a gzipped idx file of unsigned bytes, read-only.

    Arguments:
        axes: how many it must have; 3 for images (sample, row, column), 1 for labels.

    Raises:
        DataError: if the file is not gzip, is cut short, or is not such an array.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: expected a complete gzip file, got one that does not unpack ({error})") from error
    return parse_idx(content, axes, str(path))


def parse_idx(content: bytes, axes: int, where: str) -> np.ndarray:
    """The uint8 array of unpacked idx ``content``; ``where`` names it in errors. As ``read_idx``."""
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(f"{where}: expected an idx header of {header} bytes, got {len(content)} bytes in all")
    magic, *shape = (int(number) for number in np.frombuffer(content, dtype=">u4", count=1 + axes))
    expected = (_UNSIGNED_BYTE << 8) + axes
    if magic != expected:
        raise DataError(f"{where}: expected magic number {expected} (unsigned bytes, {axes} axes), got {magic}")
    if len(content) - header != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise DataError(f"{where}: expected {size} bytes after the header, got {len(content) - header}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
