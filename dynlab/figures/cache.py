"""Computed datasets on disk: whole or not there at all, each made by one process at a time."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynlab.figures.pieces import Piece
from dynlab.figures.workspaces import working_in
from dynlab.store import open_dataset, save_dataset

DATASET, ORIGIN = "dataset.zarr", "origin.json"


@dataclass(frozen=True)
class Kept:
    """A dataset of the cache.

    Attributes:
        dataset: in memory. origin: the piece, when, where and in how many seconds it was computed.
    """

    dataset: xr.Dataset
    origin: dict[str, Any] = field(default_factory=dict)


def default_folder() -> Path:
    """Where computed pieces are kept: under DYNLAB_CACHE_DIR, else under the cache of the user."""
    import pooch

    chosen = os.environ.get("DYNLAB_CACHE_DIR")
    return Path(chosen or pooch.os_cache("dynlab")).expanduser().absolute() / "figures"


class Cache:
    """Pieces under ``folder``, each in a folder named after its key.

    ``pieces/<script>/<key>/`` holds a finished one; ``work/<script>/<key>/`` is the workspace of one that is being
    computed, or was when it was interrupted; ``locks/`` keeps two processes from one piece.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, piece: Piece) -> Path:
        """Where a finished piece stands."""
        return self.folder / "pieces" / piece.script / piece.key

    def __contains__(self, piece: Piece) -> bool:
        return self.place(piece).is_dir()

    def find(self, piece: Piece) -> Kept | None:
        """The piece if it is there."""
        place = self.place(piece)
        if piece not in self:
            return None
        try:
            return Kept(read(place / DATASET), json.loads((place / ORIGIN).read_text(encoding="utf-8")))
        except Exception as error:  # of Zarr, of a codec, of the file system: not by us, who write all or nothing
            raise OSError(f"figures: {place} is damaged ({error}); remove that folder, it is computed again") from error

    def _keep(self, piece: Piece, kept: Kept) -> None:
        """Store a piece beside its place, then move it there, so that what is there is whole."""
        place, making = self.place(piece), self.folder / "partial"
        for left in making.glob(f"{piece.key}-*"):  # by a process that was killed: who holds the lock is alone here
            shutil.rmtree(left, ignore_errors=True)
        partial = making / f"{piece.key}-{uuid.uuid4().hex}"
        try:
            save_dataset(kept.dataset, partial / DATASET)
            (partial / ORIGIN).write_text(json.dumps(kept.origin, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            place.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def once(self, piece: Piece, compute: Callable[[], tuple[xr.Dataset, dict[str, Any]]]) -> Kept:
        """The piece, computed if it is not there; a second process that wants it waits for the first.

        What is given back has been through the store, so that it is the same whoever computed it, and when.
        """
        if (kept := self.find(piece)) is not None:
            return kept
        with self._alone_with(piece):
            if (kept := self.find(piece)) is not None:
                return kept
            work = self.folder / "work" / piece.script / piece.key
            with working_in(work):
                dataset, origin = compute()
            self._keep(piece, Kept(dataset, origin))
            shutil.rmtree(work, ignore_errors=True)
        found = self.find(piece)
        if found is None:
            raise OSError(f"figures: {self.place(piece)} was removed while it was being written")
        return found

    @contextmanager
    def _alone_with(self, piece: Piece) -> Iterator[None]:
        from dynlab.native.cache import _locked

        path = self.folder / "locks" / piece.key
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, f"figures: waiting for another process that computes {piece}"):
            yield


def read(path: Path) -> xr.Dataset:
    """A stored dataset as it was when it was saved, in memory.

    Raises:
        TypeError: if it is a tree of datasets.
    """
    opened = open_dataset(path)
    if not isinstance(opened, xr.Dataset):
        raise TypeError(f"figures: expected a dataset at {path}, got a tree of datasets")
    with opened:
        dataset = opened.load().drop_encoding()
    # Zarr has strings of any length only; scripts make NumPy's, and get them back.
    strings = {name: one for name, one in dataset.variables.items() if one.dtype.kind == "T"}
    plain = {name: (one.dims, np.array(one.values.tolist(), dtype=str), one.attrs) for name, one in strings.items()}
    return dataset.assign_coords({name: one for name, one in plain.items() if name in dataset.coords}).assign(
        {name: one for name, one in plain.items() if name not in dataset.coords}
    )


def compute(piece: Piece) -> tuple[xr.Dataset, dict[str, Any]]:
    """The piece, and where and when it was computed."""
    from dynlab.figures.machine import hardware

    begin = time.perf_counter()
    dataset = piece.compute()
    return dataset, {
        "piece": str(piece),
        "hardware": hardware(),
        "seconds": round(time.perf_counter() - begin, 3),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
