"""Saving and opening datasets as Zarr, complex variables included."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


def save_dataset(dataset: xr.Dataset | xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write a dataset or a tree of them to a Zarr store, replacing one that is there.

    It is written beside ``path`` and moved into place, so that what is there is always whole.

    Raises:
        FileExistsError: if ``path`` exists and is not a Zarr store. OSError: if it cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path / "zarr.json").exists():
        raise FileExistsError(f"save_dataset: expected a Zarr store or nothing at {path}, got something else there")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        _prepared(dataset).to_zarr(partial, mode="w", consolidated=False)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


ORDER = "groups"


def _prepared(data: Any) -> Any:
    """What is written: plain strings, and for a tree the order of its groups, which Zarr forgets."""
    import xarray as xr

    plain = _with_plain_strings(data)
    if isinstance(plain, xr.DataTree):
        plain.attrs[ORDER] = list(plain.children)
    return plain


def _in_order(tree: xr.DataTree) -> xr.DataTree:
    names = tree.attrs.pop(ORDER, list(tree.children))
    tree.children = {name: tree.children[name] for name in names}
    return tree


def _with_plain_strings(data: Any) -> Any:
    """Fixed-width strings, which Zarr has no specification for, as strings of any length."""
    import xarray as xr

    if isinstance(data, xr.DataTree):
        return data.map_over_datasets(_with_plain_strings)
    # Variables, not arrays: an array would bring its own coordinates along, not yet plain.
    wide = {name: one.astype(object) for name, one in data.variables.items() if one.dtype.kind == "U"}
    return data.assign_coords({k: v for k, v in wide.items() if k in data.coords}).assign(
        {k: v for k, v in wide.items() if k not in data.coords}
    )


def open_dataset(path: str | os.PathLike[str]) -> xr.Dataset | xr.DataTree:
    """Open what ``save_dataset`` wrote: a Dataset, or a DataTree if it has groups. Data are read when used.

    Raises:
        FileNotFoundError: if there is no Zarr store at ``path``.
    """
    import xarray as xr

    path = Path(path)
    if not (path / "zarr.json").exists():
        raise FileNotFoundError(f"open_dataset: expected a Zarr store at {path}, found none")
    tree = xr.open_datatree(path, engine="zarr", consolidated=False)
    return _in_order(tree) if tree.children else tree.to_dataset()
