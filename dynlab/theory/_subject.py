"""What a proposition is evaluated on: a cell and its inputs, in float64, and their description in the dataset."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

import dynlab
from dynlab import _check
from dynlab.cell import Cell
from dynlab.cells import registry
from dynlab.compare import seeded_cell


def check_kind(cell: Any, keys: Sequence[str], where: str) -> Cell:
    """``cell`` if it is one of the registry's cells ``keys``.

    Raises:
        TypeError: for anything else.
    """
    classes = tuple({registry[key].cls for key in keys})
    if not isinstance(cell, classes):
        names = " or ".join(sorted(cls.__name__ for cls in classes))
        raise TypeError(f"{where}: expected a cell of the kind {names}, got {type(cell).__name__}")
    return cell


def subject(
    cell: Cell | None,
    inputs: Tensor | None,
    *,
    where: str,
    keys: Sequence[str],
    spec: str,
    sizes: tuple[int, int],
    steps: int,
    batch: int = 1,
    seed: int = 0,
) -> tuple[Any, Tensor]:
    """A copy of the cell in float64 and eval mode, and inputs (time, batch, f) in float64.

    Arguments:
        cell: the user's, or None for ``spec`` with ``sizes`` (f, d), its parameters drawn from ``seed``.
        inputs: the user's, as the cell's ``scan`` takes them, or None for ``steps`` independent standard Gaussian ones,
            the noise of the papers' noise-padded tasks.
        keys: cells of the registry that will do. where: the proposition, for errors.

    Raises:
        TypeError: a cell of another kind. ValueError, TypeError: inputs that the cell does not take.
    """
    _check.integer("seed", seed, where, least=0)
    chosen = seeded_cell(spec, *sizes, seed) if cell is None else copy.deepcopy(check_kind(cell, keys, where))
    chosen = chosen.double().eval()
    if inputs is None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(steps, batch, chosen.input_size, generator=generator, dtype=torch.float64)
    else:
        drawn = chosen.check_inputs(_check.floating("inputs", inputs, where).double(), where)
    chosen.batch_first = False
    return chosen, drawn


def transitions_of(steps: int, most: int) -> list[int]:
    """Up to ``most`` evenly spaced ones of 1..steps."""
    return np.unique(np.linspace(1, steps, min(most, steps)).round().astype(int)).tolist()


def described(cell: Cell, inputs: Tensor, seed: int) -> dict[str, Any]:
    """Attributes that say what was measured."""
    return {
        "cell": cell.title,
        "hyperparameters": json.dumps(cell.hyperparameters, default=str),
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "T": inputs.shape[0],
        "batch": inputs.shape[1],
        "seed": seed,
        "dynlab_version": dynlab.__version__,
    }


def array(dims: Sequence[str], values: Any, meaning: str, units: str = "1", **coords: Any) -> xr.DataArray:
    """A variable with its units and meaning; transitions count from 1, other dims from 0 unless given."""
    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    made = xr.DataArray(values, dims=list(dims), attrs={"units": units, "long_name": meaning})
    for dim, size in made.sizes.items():
        first = 1 if dim == "transition" else 0
        made = made.assign_coords({dim: list(coords.get(str(dim), range(first, first + size)))})
    return made
