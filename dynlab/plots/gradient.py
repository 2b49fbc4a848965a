"""Gradient norms against time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.plots.style import cell_look
from dynlab.verdicts import THRESHOLD

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def gradient_norm(dataset: xr.Dataset, ax: Axes, label: str | None = None, occurrence: int = 0) -> None:
    """log10 of ``log_gradient_norm`` against t: the mean over samples and seeds, and a band of one standard deviation.

    Times at which some sample's norm is exactly zero, or was not recorded, are left out.
    """
    spec = str(dataset.attrs.get("spec", dataset.attrs.get("cell", "")))
    values = dataset["log_gradient_norm"] / math.log(10)
    others = [dim for dim in values.dims if dim != "time"]
    values = values.isel(time=values.map_blocks(np.isfinite).all(others).values)
    mean, spread, look = values.mean(others), values.std(others), cell_look(spec, occurrence)
    ax.plot(values["time"], mean, label=label or spec, **look)
    ax.fill_between(values["time"], mean - spread, mean + spread, color=look["color"], alpha=0.2, linewidth=0)


def log_axis_limits(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis of log10 norms: whole decades beyond the data, and never less than the stable strip."""
    low = -(10 ** math.ceil(math.log10(max(-low, 3)))) if low < -3 else -3
    high = 10 ** math.ceil(math.log10(max(high, 3))) if high > 3 else 3
    return low, high


def dress_log_axis(ax: Axes, low: float | None = None, high: float | None = None) -> None:
    """Scale and ticks of an axis of log10 norms, after all cells are drawn, and the strip that is called stable.

    The axis is linear between -2 and 2 and logarithmic beyond, so that cells that hold their gradient and cells
    that lose it by hundreds of decades can be read in one panel.

    Arguments:
        low, high: of the data; what is drawn already, unless given. With them the strip is the caller's.
    """
    ax.set_yscale("symlog", linthresh=2, linscale=1.2, base=10)
    if low is None or high is None:
        strip = THRESHOLD / math.log(10)
        limits = ax.get_ylim()
        ax.axhspan(-strip, strip, color="#000000", alpha=0.06, linewidth=0)
    else:
        limits = (low, high)
    low, high = log_axis_limits(*limits)
    ax.set_ylim(low, high)
    ticks = [-2, 0, 2, *(s * 10**k for k in range(1, 7) for s in (-1, 1))]
    shown = sorted(tick for tick in ticks if low <= tick <= high)
    ax.set_yticks(shown, [f"{tick:d}" for tick in shown])
    ax.minorticks_off()
