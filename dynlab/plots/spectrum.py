"""Eigenvalues of end-to-end Jacobians."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.plots.style import cell_colour, cell_dashes

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def end_to_end_modulus(dataset: xr.Dataset, ax: Axes, label: str | None = None) -> None:
    """log10 |eigenvalue| of the end-to-end Jacobian, by rank; unresolved ones are left out.

    Ranks are fractions of the number of modes, so that cells of different state sizes can be compared.
    """
    spec = str(dataset.attrs.get("spec", dataset.attrs.get("cell", "")))
    values = dataset["log_end_to_end_modulus"] / math.log(10)
    others = [dim for dim in values.dims if dim != "mode"]
    resolved = np.isfinite(values)
    # A rank is drawn where every sample resolves it: a mean over fewer would bend upward.
    mean = values.where(resolved).mean(others).where(resolved.all(others))
    rank = (np.arange(mean.sizes["mode"]) + 0.5) / mean.sizes["mode"]
    ax.plot(rank, mean, color=cell_colour(spec), linestyle=cell_dashes(spec), label=label or spec)  # type: ignore[arg-type]
