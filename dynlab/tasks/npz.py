"""Arrays out of an npz file; one that holds a pickle is refused."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from dynlab.tasks.data import DataError


def read_npz(path: Path, shapes: Mapping[str, tuple[int, ...]], *dtypes: DTypeLike) -> dict[str, np.ndarray]:
    """The named arrays.

    Arguments:
        shapes: name -> the shape of one sample; the axis of the samples comes first.
        dtypes: those an array may have.

    Raises:
        DataError: if the file is damaged or holds pickled objects, or an array is missing or is another.
    """
    arrays = {}
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: expected a complete npz file, got one that does not unpack")
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in shapes:
                arrays[name] = file[name]
    except KeyError:
        raise DataError(f"{path}: expected an array {name}, found none") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: expected an npz file without pickles, got one that does not load ({error})"
        ) from error
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape[1:] != shape or array.dtype not in dtypes or array.ndim < 1:
            wanted = ", ".join(map(str, ("sample", *shape)))
            raise DataError(f"{path}: expected {name} of shape ({wanted}), got {array.dtype} {array.shape}")
    return arrays
