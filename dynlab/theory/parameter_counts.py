"""The numbers of parameters in the papers' tables, counted again on the cells and readouts built here.

What is counted: every parameter of the cells and of an affine readout of the last hidden state (with its bias), as the
papers' numbers suggest. torch's RNN, LSTM and GRU have two biases a gate. A published number counts as met where ours
rounds to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

import dynlab
from dynlab.cells import build_cell
from dynlab.network import Network, Readout
from dynlab.theory._published import ANTISYMMETRIC, INCREMENTAL, LEFT_OUT, UNICORNN, Published
from dynlab.theory._subject import array
from dynlab.theory.base import Proposition, finding

MOST_UNITS = 1024


@dataclass(frozen=True)
class Count:
    """Ours for one published number.

    Attributes:
        count: parameters. rounded: to the digits that are published. rank: that comes nearest, for a cell whose rank is
            not published, else 0. units: at which the cell comes nearest, whatever the table's units.
    """

    count: int
    rounded: float
    rank: int
    units: int


def parameters(row: Published, units: int | None = None, rank: int = 0) -> int:
    """Parameters of the row's network: ``layers`` cells of ``units`` (the row's own) and its readout."""
    units = row.units if units is None else units
    spec = row.cell if not rank else f"{row.cell}{',' if ':' in row.cell else ':'}rank={rank}"
    sizes = [row.inputs, *[units] * (row.layers - 1)]
    with torch.random.fork_rng(devices=[]):  # the values do not matter
        network = Network([build_cell(spec, size, units) for size in sizes], Readout(units, row.outputs))
    return sum(parameter.numel() for parameter in network.parameters())


def recount(row: Published) -> Count:
    """Ours beside a published number."""
    rank = 0
    if row.free == "rank":
        one, two = parameters(row, rank=1), parameters(row, rank=2)
        rank = max(1, round((row.value - one) / (two - one)) + 1)
    count = parameters(row, rank=rank)
    return Count(count, round(count / row.unit) * row.unit, rank, _nearest_units(row, rank))


def _nearest_units(row: Published, rank: int) -> int:
    """Units with the count nearest to the published one: counts are quadratic in the units."""
    known = [max(rank, 4), max(rank, 4) + 8, max(rank, 4) + 16]
    curve = np.polyfit(known, [parameters(row, units, rank) for units in known], 2)
    return int(np.abs(np.polyval(curve, np.arange(1, MOST_UNITS)) - row.value).argmin()) + 1


def _table(key: str, paper: str, rows: Sequence[Published], cell: Any, inputs: Tensor | None, seed: int) -> xr.Dataset:
    if cell is not None or inputs is not None:
        raise TypeError(f"{key}: expected no cell and no inputs, for the tables' own are built; got one")
    ours = [recount(row) for row in rows]
    labels = [f"{row.table}: {row.model}" for row in rows]
    met = [one.rounded == row.value for one, row in zip(ours, rows, strict=True)]
    fitted = sum(bool(row.free) for row in rows)
    plain = [one for one, row in zip(met, rows, strict=True) if not row.free]

    def column(values: Sequence[Any], meaning: str, units: str = "parameters") -> xr.DataArray:
        return array(("row",), np.array(values), meaning, units, row=labels)

    return finding(
        key=key,
        reference=f"{paper}, {', '.join(dict.fromkeys(row.table.partition(',')[0] for row in rows))}",
        statement="the published number of parameters, to its published digits",
        relation="==",
        bound=column([row.value for row in rows], "published"),
        measured=column([one.rounded for one in ours], "ours, rounded to the published digits"),
        hypotheses=(),
        extra={
            "count": column([one.count for one in ours], "ours"),
            "units": column([row.units for row in rows], "hidden units a layer", "1"),
            "rank": column([one.rank for one in ours], "rank of V H that comes nearest; 0: no free rank", "1"),
            "fitting_units": column([one.units for one in ours], "hidden units that come nearest", "1"),
            "published": column([row.published for row in rows], "as printed", "text"),
            "cell": column([row.cell for row in rows], "what was built", "text"),
            "reason": column([row.reason for row in rows], "what is known of a difference", "text"),
        },
        note=f"{sum(plain)} of {len(plain)} numbers met with nothing fitted"
        + (f", {sum(met) - sum(plain)} of {fitted} with the unpublished rank fitted" if fitted else ""),
        left_out=LEFT_OUT[paper],
        seed=seed,
        dynlab_version=dynlab.__version__,
    )  # fmt: skip


def antisymmetric_counts(cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0) -> xr.Dataset:
    """AntisymmetricRNN's two accuracy tables: all counts fit 1 (MNIST) or 3 (CIFAR-10 pixels) inputs a step.

    One column stands for pixel-by-pixel CIFAR-10 and the noise-padded one, whose rows have 96 inputs; with 96 no count
    fits.

    Returns:
        bound, measured (row): published and ours, rounded to the published digits; ``count`` ours exactly, ``reason``.
    """
    return _table("antisymmetric-parameters", "AntisymmetricRNN", ANTISYMMETRIC, cell, inputs, seed)


def irnn_counts(cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0) -> xr.Dataset:
    """iRNN's Tables 1 to 3 and 10, at the units of Table 5; the rank of V H is not published, the nearest is taken.

    Returns:
        As ``antisymmetric_counts``; ``rank``, and ``fitting_units``, the units that would come nearest.
    """
    return _table("irnn-parameters", "iRNN", INCREMENTAL, cell, inputs, seed)


def unicornn_counts(cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0) -> xr.Dataset:
    """UnICORNN's Tables 1, 2, 3, 5 and 7.

    Returns:
        As ``antisymmetric_counts``.
    """
    return _table("unicornn-parameters", "UnICORNN", UNICORNN, cell, inputs, seed)


PROPOSITIONS = tuple(
    Proposition(f"{name}-parameters", "parameter counts of the tables", f"{paper}, tables", (), function)
    for name, paper, function in (
        ("antisymmetric", "AntisymmetricRNN", antisymmetric_counts),
        ("irnn", "iRNN", irnn_counts),
        ("unicornn", "UnICORNN", unicornn_counts),
    )
)
