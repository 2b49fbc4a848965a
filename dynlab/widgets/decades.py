"""An axis of powers of ten whose limits stay where they are while the numbers move a little."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from dynlab.verdicts import THRESHOLD

LINEAR = 2
"""The axis is linear from -2 to 2 and logarithmic beyond, as in ``dynlab.plots``."""


def dress(ax: Axes, label: str) -> None:
    """Make y an axis of log10 norms, with the strip that is called stable."""
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=1.2, base=10)
    ax.minorticks_off()
    ax.set_ylabel(label)
    strip = THRESHOLD / math.log(10)
    ax.axhspan(-strip, strip, color="#000000", alpha=0.06, linewidth=0)
    fit(ax, np.zeros(1))


def fit(ax: Axes, log10: np.ndarray) -> bool:
    """Whole decades beyond the finite numbers, and never less than -3 .. 3; whether the limits changed."""
    finite = log10[np.isfinite(log10)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    low = -(10.0 ** math.ceil(math.log10(-low))) if low < -3 else -3.0
    high = 10.0 ** math.ceil(math.log10(high)) if high > 3 else 3.0
    if ax.get_ylim() == (low, high):
        return False
    ax.set_ylim(low, high)
    ticks = [-2, 0, 2, *(sign * 10**power for power in range(1, 7) for sign in (-1, 1))]
    shown = sorted(tick for tick in ticks if low <= tick <= high)
    ax.set_yticks(shown, [f"{tick:d}" for tick in shown])
    return True
