"""Gradient norms against time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.plots.style import cell_colour, cell_dashes
from dynlab.verdicts import THRESHOLD

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def gradient_norm(dataset: xr.Dataset, ax: Axes, label: str | None = None) -> None:
    """log10 of ``log_gradient_norm`` against t: the mean over samples and seeds, and a band of one standard deviation.

    The axis is linear between -2 and 2 and logarithmic beyond, so that cells that hold their gradient and cells
    that lose it by hundreds of decades can be read in one panel; the shaded strip is the verdict's "stable".
    """
    spec = str(dataset.attrs.get("spec", dataset.attrs.get("cell", "")))
    values = dataset["log_gradient_norm"] / math.log(10)
    others = [dim for dim in values.dims if dim != "time"]
    finite = values.where(np.isfinite(values))
    mean, spread = finite.mean(others), finite.std(others)
    time = dataset["time"].values
    colour = cell_colour(spec)
    ax.plot(time, mean, color=colour, linestyle=cell_dashes(spec), label=label or spec)  # type: ignore[arg-type]
    ax.fill_between(time, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def dress_gradient_axis(ax: Axes) -> None:
    """Scale, ticks and labels of the gradient-norm panel, after all cells are drawn."""
    ax.set_yscale("symlog", linthresh=2, linscale=1.2, base=10)
    low, high = ax.get_ylim()
    # Whole decades beyond the data, and never less than the stable strip.
    low = -(10 ** math.ceil(math.log10(max(-low, 3)))) if low < -3 else -3
    high = 10 ** math.ceil(math.log10(max(high, 3))) if high > 3 else 3
    ax.set_ylim(low, high)
    ticks = [-2, 0, 2, *(s * 10**k for k in range(1, 7) for s in (-1, 1))]
    shown = sorted(tick for tick in ticks if low <= tick <= high)
    ax.set_yticks(shown, [f"{tick:d}" for tick in shown])
    ax.minorticks_off()
    strip = THRESHOLD / math.log(10)
    ax.axhspan(-strip, strip, color="#000000", alpha=0.06, linewidth=0)
    ax.set_xlabel("time step t")
    ax.set_ylabel(r"$\log_{10}\ \|\partial s_T / \partial s_t\|$")
