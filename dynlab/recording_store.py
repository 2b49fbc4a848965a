"""Records of a training, appended along ``step`` to one Zarr store that is readable at any moment.

The store is plain Zarr: an array a variable, with xarray's dimension names. Its attribute ``records`` counts the whole
records and is written last, so that what a killed append left beyond it is not read, and is taken away by the next one.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    import zarr

CHUNK_BYTES = 2**16
"""Small records share a chunk of about this size; an append rewrites the last one."""

RECORDS = "records"


class Template(NamedTuple):
    """What the first record decided: (dims, shape, dtype) of each variable, and the coordinates."""

    variables: dict[str, tuple[tuple[str, ...], tuple[int, ...], Any]]
    coords: dict[str, np.ndarray]


class RecordingStore:
    """The store at ``path``, open for appending.

    Attributes:
        group: the open Zarr group, None before the first record.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.group: zarr.Group | None = None
        _recover(self.path)
        if (self.path / "zarr.json").exists():
            self._open()
        elif self.path.exists():
            raise FileExistsError(f"Recorder: expected a recording or nothing at {self.path}, got something else there")

    def _open(self) -> None:
        """Read once what every append needs."""
        group = open_group(self.path, "r+")
        if RECORDS not in group.attrs:
            raise FileExistsError(f"Recorder: expected a recording or nothing at {self.path}, got another Zarr store")
        for unfinished in self.path.rglob(f"*.{32 * '[0-9a-f]'}.partial"):
            unfinished.unlink(missing_ok=True)  # a write of Zarr's that was killed
        self._recorded, self._coords = {}, {}
        for name, array in arrays_of(group, self.path).items():
            if dims_of(array)[:1] == ("step",):
                self._recorded[name] = array
            else:
                self._coords[name] = values_of(array)
        self._steps: list[int] = values_of(self._recorded["step"])[: _count(group)].tolist()
        self.group = group

    _recorded: dict[str, Any]
    _coords: dict[str, np.ndarray]

    @property
    def steps(self) -> list[int]:
        """The step of every record, ascending."""
        return [] if self.group is None else self._steps

    @property
    def bytes(self) -> int:
        """Size of all records, uncompressed."""
        if self.group is None:
            return 0
        return len(self.steps) * sum(_record_bytes(array.shape[1:], array.dtype) for array in self._recorded.values())

    @property
    def template(self) -> Template | None:
        """What the first record decided; None before it."""
        if self.group is None:
            return None
        own = {name: array for name, array in self._recorded.items() if name != "step"}
        return Template(
            {name: (dims_of(array)[1:], array.shape[1:], array.dtype) for name, array in own.items()}, self._coords
        )

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the store."""
        return default if self.group is None else self.group.attrs.get(name, default)

    def append(self, record: xr.Dataset, step: int) -> None:
        """Add a record, a dataset without ``step``; the first one decides on variables, sizes and coordinates.

        Raises:
            ValueError: for another set of variables, or sizes, than the first record's.
        """
        if self.group is None:
            self._create(record, step)
            return
        count = len(self._steps)
        values = {**{str(name): variable.values for name, variable in record.data_vars.items()}, "step": np.int64(step)}
        _check_same(values, {name: array.shape[1:] for name, array in self._recorded.items()}, step)
        for name, array in self._recorded.items():
            if array.shape[0] != count + 1:  # as a killed append may have left it
                array.resize((count + 1, *array.shape[1:]))
            array[count] = values[name]
        self.group.attrs[RECORDS] = count + 1
        self._steps.append(step)

    def truncate(self, step: int) -> None:
        """Take away the records of ``step`` and later ones."""
        if self.group is not None:
            self._steps = [earlier for earlier in self._steps if earlier < step]
            self.group.attrs[RECORDS] = len(self._steps)

    def thin(self, keep: Callable[[int], bool], **attrs: Any) -> None:
        """Keep the records whose step ``keep`` names, and set attributes.

        The thinned store is written beside the old one and takes its place.
        """
        if self.group is None:
            return
        kept = np.array([index for index, step in enumerate(self._steps) if keep(step)], dtype=np.int64)
        fresh, old = _beside(self.path, "thinned"), _beside(self.path, "old")
        shutil.rmtree(fresh, ignore_errors=True)
        target = _new_group(fresh)
        for name, array in arrays_of(self.group, self.path).items():
            values = values_of(array)
            _add(target, name, dims_of(array), values[kept] if name in self._recorded else values, array.attrs)
        target.attrs.put({**dict(self.group.attrs), **attrs, RECORDS: len(kept)})
        self.path.rename(old)
        fresh.rename(self.path)
        shutil.rmtree(old)
        self._open()

    def _create(self, record: xr.Dataset, step: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = _beside(self.path, "partial")
        shutil.rmtree(fresh, ignore_errors=True)
        group = _new_group(fresh)
        for name, coordinate in record.coords.items():
            _add(group, str(name), coordinate.dims, coordinate.values, coordinate.attrs)
        for name, variable in record.data_vars.items():
            _add(group, str(name), ("step", *variable.dims), variable.values[None], variable.attrs)
        meaning = {"units": "1", "long_name": "updates of the parameters made before"}
        _add(group, "step", ("step",), np.array([step], np.int64), meaning)
        group.attrs.put({**record.attrs, RECORDS: 1})
        fresh.rename(self.path)
        self._open()


def open_recording(path: str | os.PathLike[str]) -> xr.Dataset:
    """The records of a ``Recorder``, as one Dataset with a ``step`` dimension; also while it is being written.

    Raises:
        FileNotFoundError: if there is none at ``path``. ValueError: if something else is there.
    """
    import xarray as xr

    path = Path(path)
    if not (path / "zarr.json").exists() and (_beside(path, "old") / "zarr.json").exists():
        path = _beside(path, "old")  # between the two renames of a thinning that was killed
    if not (path / "zarr.json").exists():
        raise FileNotFoundError(f"open_recording: expected a recording at {path}, found none")
    group = open_group(path, "r")
    if RECORDS not in group.attrs:
        raise ValueError(f"open_recording: expected a recording at {path}, got another Zarr store; try open_dataset")
    attrs = dict(group.attrs)
    del attrs[RECORDS]
    count = _count(group)
    coords: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    for name, array in arrays_of(group, path).items():
        dims, values = dims_of(array), values_of(array)
        if dims[:1] == ("step",):
            values = values[:count]
        (coords if name == "step" or "step" not in dims else variables)[name] = (dims, values, dict(array.attrs))
    return xr.Dataset(variables, coords, attrs)


# ---- Zarr ------------------------------------------------------------------------------------------------------------


def open_group(path: Path, mode: Any) -> zarr.Group:
    """The Zarr group at ``path``."""
    import zarr

    return zarr.open_group(path, mode=mode, zarr_format=3, use_consolidated=False)


def arrays_of(group: zarr.Group, path: Path) -> dict[str, Any]:
    """The arrays of the group at ``path``, by name.

    Looked up one by one: Zarr's own listing also takes up, with a warning, the temporary file of a write of the group's
    attributes that goes on or was killed.
    """
    return {entry.parent.name: group[entry.parent.name] for entry in sorted(path.glob("*/zarr.json"))}


def _new_group(path: Path) -> zarr.Group:
    import zarr

    return zarr.create_group(path, zarr_format=3)


def _add(group: zarr.Group, name: str, dims: tuple[Any, ...], values: np.ndarray, attrs: Mapping[str, Any]) -> None:
    """An array with its values; along ``step`` in chunks that hold several small records."""
    texts = values.dtype.kind in "UO"
    chunks: Any = "auto"
    if dims[:1] == ("step",):
        per_chunk = max(1, min(256, CHUNK_BYTES // _record_bytes(values.shape[1:], values.dtype)))
        chunks = (per_chunk, *(max(1, size) for size in values.shape[1:]))
    array: Any = group.create_array(
        name,
        shape=values.shape,
        dtype=str if texts else values.dtype,
        chunks=chunks,
        fill_value="" if texts else np.nan if values.dtype.kind in "fc" else 0,
        dimension_names=[str(dim) for dim in dims],
        attributes=dict(attrs),
    )
    array[...] = values.astype(object) if texts else values


def _count(group: zarr.Group) -> int:
    """Whole records."""
    count: Any = group.attrs[RECORDS]
    return int(count)


def values_of(array: Any) -> np.ndarray:
    """All values of a Zarr array; texts as objects, which is what xarray makes of them too."""
    values = np.asarray(array[...])
    if values.dtype.kind in "biufc":
        return values
    return np.array([str(text) for text in values.ravel()], dtype=object).reshape(values.shape)


def dims_of(array: Any) -> tuple[str, ...]:
    """Names of a Zarr array's dimensions."""
    return tuple(array.metadata.dimension_names or ())


def _record_bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return max(1, math.prod(shape) * np.dtype(dtype).itemsize)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _recover(path: Path) -> None:
    """Mend what a killed thinning left: the old store is whole until the new one is in its place."""
    old = _beside(path, "old")
    if old.exists() and not path.exists():
        old.rename(path)
    for what in ("old", "thinned", "partial"):
        shutil.rmtree(_beside(path, what), ignore_errors=True)


def _check_same(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], step: int) -> None:
    if set(values) != set(shapes):
        wrong = ", ".join(sorted(set(values) ^ set(shapes)))
        raise ValueError(f"Recorder: step {step}: expected the variables of the first record; they differ in {wrong}")
    for name, value in values.items():
        if value.shape != shapes[name]:
            raise ValueError(
                f"Recorder: step {step}: expected {name} of shape {shapes[name]}, that of the first record, "
                f"got {value.shape}"
            )
