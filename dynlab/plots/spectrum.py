"""Eigenvalues of end-to-end Jacobians."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.plots.style import cell_look

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def end_to_end_modulus(dataset: xr.Dataset, ax: Axes, label: str | None = None, occurrence: int = 0) -> None:
    """log10 |eigenvalue| of the end-to-end Jacobian by rank, from the largest; unresolved ones are left out.

    A line ends in a dot where the eigenvalues below are no longer resolved in some sample.
    """
    spec = str(dataset.attrs.get("spec", dataset.attrs.get("cell", "")))
    values = dataset["log_end_to_end_modulus"] / math.log(10)
    others = [dim for dim in values.dims if dim != "mode"]
    # A rank is drawn where every sample resolves it: a mean over fewer would bend upward.
    resolved = values.map_blocks(np.isfinite).all(others)
    mean = values.where(resolved).mean(others).values
    count = int(resolved.sum())
    rank = np.arange(1, len(mean) + 1)
    look = cell_look(spec, occurrence)
    ax.plot(rank, mean, label=label or spec, **look)
    if 0 < count < len(mean):
        ax.plot(rank[count - 1], mean[count - 1], "o", color=look["color"], markersize=4)
