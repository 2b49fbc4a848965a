"""Reading a recording of ``dynlab.Recorder`` while it grows: only what is new is read. No widget is imported here.

A recording may be written by another thread or process at any moment. Its attribute ``records`` counts whole records;
thinning puts another store in its place, and a training that goes on after it was interrupted takes records away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.recording_store import RECORDS, arrays_of, dims_of, open_group, values_of

if TYPE_CHECKING:
    import xarray as xr
    import zarr


class NotARecording(ValueError):
    """There is something at the path that no ``Recorder`` wrote, or it cannot be read."""


class Replay:
    """A recording as it is now, and after each ``poll``.

    Arguments:
        path: of the Zarr store; it need not exist yet.

    Attributes:
        path: where it is. dataset: the records, with dimension ``step``; None before the first one.
        records_read: how many records have been read from the store so far, those that were read again too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.dataset: xr.Dataset | None = None
        self.records_read = 0
        self._stamp: Any = None
        self._buffers: dict[str, np.ndarray] = {}
        self._steps = np.zeros(0, np.int64)

    @property
    def exists(self) -> bool:
        """Whether there is anything at the path."""
        return self.path.exists()

    def poll(self) -> bool:
        """Read what is new; whether anything was.

        Raises:
            NotARecording: if something else is there, or a store that cannot be read.
        """
        if not self.exists:
            return False
        stamp = self._present()
        if stamp is None:
            if not self.exists:  # between the two renames of a thinning
                return False
            raise NotARecording(f"expected a recording of dynlab.Recorder at {self.path}, got something else")
        if stamp == self._stamp:
            return False
        try:
            changed = self._read()
        except NotARecording:
            raise
        except Exception as error:  # whatever a broken file makes of zarr
            if self._present() != stamp:
                return False  # it was replaced while it was read
            text = " ".join(str(error).split()) or type(error).__name__
            raise NotARecording(f"cannot read the recording at {self.path}: {text[:200]}") from None
        self._stamp = stamp
        return changed

    def _present(self) -> tuple[int, int, int] | None:
        """What changes when a record is added; None if there is no store."""
        try:
            # Written last at every append; atomically, so that it is whole.
            stat = (self.path / "zarr.json").stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _read(self) -> bool:
        group, arrays = _open(self.path)
        recorded: Any = group.attrs[RECORDS]
        count = int(recorded)
        steps = np.asarray(arrays["step"][:count], np.int64)
        kept = self._agreement(steps, arrays)
        if kept == count == len(self._steps) and self.dataset is not None:
            return False
        self._append(group, arrays, kept, count)
        self._steps = steps
        return True

    def _agreement(self, steps: np.ndarray, arrays: dict[str, Any]) -> int:
        """How many records at the start are those that were read before: same step and, where there is one, loss."""
        shared = min(len(steps), len(self._steps))
        same = steps[:shared] == self._steps[:shared]
        if "loss" in arrays and "loss" in self._buffers:
            now, before = np.asarray(arrays["loss"][:shared]), self._buffers["loss"][:shared]
            same &= (now == before) | (np.isnan(now) & np.isnan(before))
        return int(np.argmin(same)) if not same.all() else shared

    def _append(self, group: zarr.Group, arrays: dict[str, Any], kept: int, count: int) -> None:
        import xarray as xr

        coords: dict[str, Any] = {}
        variables: dict[str, Any] = {}
        fresh: dict[str, np.ndarray] = {}
        for name, array in arrays.items():
            dims = dims_of(array)
            if dims[:1] != ("step",):
                coords[name] = (dims, values_of(array), dict(array.attrs))
                continue
            fresh[name] = _grown(self._buffers.get(name), len(self._steps), kept, count, array)
            values = fresh[name][:count]
            (coords if name == "step" else variables)[name] = (dims, values, dict(array.attrs))
        self._buffers = fresh
        self.records_read += count - kept
        attrs = {name: value for name, value in group.attrs.items() if name != RECORDS}
        self.dataset = xr.Dataset(variables, coords, attrs) if count else None


def _open(path: Path) -> tuple[zarr.Group, dict[str, Any]]:
    group = open_group(path, "r")
    found = arrays_of(group, path)
    if RECORDS not in group.attrs or "step" not in found:
        raise NotARecording(f"expected a recording of dynlab.Recorder at {path}, got another Zarr store")
    return group, found


def _grown(buffer: np.ndarray | None, before: int, kept: int, count: int, array: Any) -> np.ndarray:
    """A buffer of at least ``count`` records: the first ``kept`` of the ``before`` that it had, the rest read.

    What was handed out before is a view of the old buffer, so records in it are never changed.
    """
    shape = array.shape[1:]
    if buffer is None or (buffer.shape[1:], buffer.dtype) != (shape, array.dtype):
        buffer, kept = np.empty((0, *shape), array.dtype), 0
    if len(buffer) < count or kept < before:
        # Room for as many again, so that a long recording is not copied at every poll.
        larger = np.empty((max(2 * count, 16), *shape), array.dtype)
        larger[:kept] = buffer[:kept]
        buffer = larger
    if kept < count:
        buffer[kept:count] = array[kept:count]
    return buffer
