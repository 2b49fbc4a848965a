"""Trainings against their updates: scores, and gradients in powers of ten."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dynlab.plots.style import cell_look

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes


def run_looks(cells: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and width of each run, from its name to its cell's specification; variants fade and differ."""
    seen: dict[str, int] = {}
    looks = {}
    for name, spec in cells.items():
        key = spec.partition(":")[0]
        occurrence = seen[key] = seen.get(key, -1) + 1
        looks[name] = {**cell_look(spec, occurrence), "alpha": max(0.6, 1 - 0.2 * occurrence), "linewidth": 1.3}
    return looks


def run_curves(
    data: xr.Dataset, ax: Axes, variable: str, along: str, looks: Mapping[str, Mapping[str, Any]], log10: bool = False
) -> None:
    """A variable of every run in ``looks`` that the dataset has; the mean over ``sequence`` where it has one.

    Arguments:
        along: "update" or "recorded". log10: the variable is a natural logarithm, shown to base 10.
    """
    for name, look in looks.items():
        if name not in data["run"].values:
            continue
        values = data[variable].sel(run=name)
        if "sequence" in values.dims:
            values = values.mean("sequence")
        ax.plot(data[along], values / math.log(10) if log10 else values, label=name, **look)
    ax.set_xlabel("update")
