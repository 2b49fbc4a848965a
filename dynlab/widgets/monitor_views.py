"""The pictures of ``TrainingMonitor``: a recording drawn into axes whose artists stay. No widget is imported here.

Each view has ``moving``, the artists that change with the chosen record; ``grow``, which takes a longer recording; and
``at``, which shows one record.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import AutoLocator, FixedLocator, FuncFormatter, MaxNLocator

from dynlab.widgets import recorded_parts as parts
from dynlab.widgets.spectrum_views import BLUE, GREY, LN10, VERMILLION

if TYPE_CHECKING:
    import xarray as xr

COLUMNS, ROWS = 400, 300
"""Of the heat map; of longer recordings and sequences it shows so many, evenly spaced. Our choice."""
DEEPEST = 40
"""Decades below the largest norm at which colours end. Our choice."""


def place(data: xr.Dataset) -> np.ndarray:
    """Where each record stands on the axis: its step, or log10(1 + step) for records at log-spaced steps."""
    steps = data["step"].values.astype(float)
    return np.log10(1 + steps) if data.attrs.get("every") == "log" else steps


def nearest(data: xr.Dataset, x: float) -> int:
    """The record whose place is nearest."""
    return int(np.abs(place(data) - x).argmin())


class AgainstStep:
    """A view whose axis is the training step, with a cursor."""

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        self.ax, self.data = ax, data
        self.cursor = ax.axvline(0, color="#000000", linewidth=1, zorder=5)
        self.moving: list[Artist] = [self.cursor]
        ax.set_xlabel("training step")

    def grow(self, data: xr.Dataset) -> None:
        """Take a longer recording."""
        self.data = data
        steps = data["step"].values
        x = place(data)
        ends = (x[0], x[-1]) if len(x) > 1 else (x[0] - 0.5, x[0] + 0.5)
        self.ax.set_xlim(*ends)
        if data.attrs.get("every") == "log":
            decades = [0, *(10**power for power in range(math.ceil(math.log10(steps[-1] + 2))))]
            self.ax.xaxis.set_major_locator(FixedLocator([math.log10(1 + step) for step in decades]))
            self.ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{10**x - 1:.0f}"))
        else:
            self.ax.xaxis.set_major_locator(AutoLocator() if len(x) > 1 else FixedLocator(x.tolist()))

    def at(self, index: int) -> None:
        """Show one record."""
        x = place(self.data)[index]
        self.cursor.set_xdata([x, x])


class Loss(AgainstStep):
    """The live batch's loss."""

    shape: ClassVar[tuple[float, float, float, float]] = (0.145, 0.155, 0.83, 0.75)

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        super().__init__(ax, data)
        (self.line,) = ax.plot([], [], color=BLUE, marker=".", markersize=3, linewidth=1.2)
        (self.dot,) = ax.plot([], [], "o", color="#000000", markersize=5, zorder=6)
        self.moving += [self.dot, ax.title]
        ax.set_ylabel("loss of the live batch")
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        super().grow(data)
        loss = data["loss"].values
        self.line.set_data(place(data), loss)
        fit(self.ax, loss)

    def at(self, index: int) -> None:
        super().at(index)
        loss = float(self.data["loss"][index])
        self.dot.set_data([place(self.data)[index]], [loss])
        self.ax.title.set_text(f"step {int(self.data['step'][index])}: loss {loss:.4g}")


class HeatMap(AgainstStep):
    """Gradient norm over training step and t."""

    shape: ClassVar[tuple[float, float, float, float]] = (0.125, 0.155, 0.87, 0.75)

    def __init__(self, ax: Axes, data: xr.Dataset, variable: str, layer: int | None = None) -> None:
        super().__init__(ax, data)
        self.variable, self.layer = variable, layer
        colours = mpl.colormaps["viridis"].with_extremes(bad="#c8c8c8")
        self.image = ax.imshow(
            np.zeros((1, 1)), cmap=colours, origin="lower", aspect="auto", interpolation="nearest", zorder=0
        )
        self.cursor.set(color="#ffffff", path_effects=_outline())
        ax.grid(False)
        ax.set_ylabel("time t (steps)")
        self.colorbar = ax.figure.colorbar(self.image, ax=ax, pad=0.02, ticks=MaxNLocator(6, integer=True))
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        super().grow(data)
        values = parts.gradient(data, self.variable, self.layer)
        log10, x = values.values / LN10, place(data)
        time = values[str(values.dims[1])].values
        columns = _nearest(x, min(COLUMNS, max(1, 8 * len(x))))
        rows = _nearest(time, min(ROWS, len(time)))
        picture = log10[np.ix_(columns, rows)].T
        self.image.set_data(np.ma.masked_invalid(picture))
        left, right = self.ax.get_xlim()
        self.image.set_extent((left, right, time[0] - 0.5, time[-1] + 0.5))
        self.ax.set(xlim=(left, right), ylim=(time[0] - 0.5, time[-1] + 0.5))
        low, high = limits(log10)
        self.image.set_clim(low, high)
        name = {value: key for key, value in parts.gradients(data).items()}[(self.variable, self.layer)]
        notes = ["grey: 0 or none"] * (not np.isfinite(log10).all())
        notes += [f"darkest: $< 10^{{{low:.0f}}}$"] * bool((log10[np.isfinite(log10)] < low).any())
        self.ax.title.set_text("; ".join([rf"$\log_{{10}}$ norm of {name}", *notes]))


class Profile:
    """Gradient norm against t at the chosen record, and dotted at the first."""

    shape: ClassVar[tuple[float, float, float, float]] = (0.145, 0.155, 0.83, 0.75)

    def __init__(self, ax: Axes, data: xr.Dataset, variable: str, layer: int | None = None) -> None:
        self.ax, self.variable, self.layer = ax, variable, layer
        (self.first,) = ax.plot([], [], color=GREY, linestyle=":", label="first record")
        (self.line,) = ax.plot([], [], color=VERMILLION, label="chosen record")
        self.moving: list[Artist] = [self.line, ax.title]
        ax.set(xlabel="time t (steps)", ylabel=r"$\log_{10}$ norm")
        ax.legend(loc="best")
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        """Take a longer recording."""
        self.data = data
        self.values = parts.gradient(data, self.variable, self.layer)
        self.log10, self.time = self.values.values / LN10, self.values[str(self.values.dims[1])].values
        self.first.set_data(self.time, _gaps(self.log10[0]))
        self.ax.set(xlim=(self.time[0], self.time[-1]), ylim=limits(self.log10))

    def at(self, index: int) -> None:
        """Show one record."""
        self.line.set_data(self.time, _gaps(self.log10[index]))
        self.ax.title.set_text(f"gradient at step {int(self.data['step'][index])}")


def limits(log10: np.ndarray) -> tuple[float, float]:
    """Whole decades around the finite numbers, two at least and ``DEEPEST`` at most."""
    finite = log10[np.isfinite(log10)]
    if not finite.size:
        return -1.0, 1.0
    high = math.ceil(float(finite.max()))
    low = min(math.floor(float(finite.min())), high - 2)
    return float(max(low, high - DEEPEST)), float(high)


def _nearest(places: np.ndarray, count: int) -> np.ndarray:
    """For each of ``count`` equal cells over the places, the index of the place nearest to its middle."""
    if len(places) == 1:
        return np.zeros(1, int)
    middles = places[0] + (np.arange(count) + 0.5) / count * (places[-1] - places[0])
    return np.abs(places[None, :] - middles[:, None]).argmin(1)


def fit(ax: Axes, values: np.ndarray) -> None:
    """Limits around the finite numbers; a logarithmic axis for positive ones over more than 1.5 decades."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if 0 < low * 10**1.5 < high:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.4, high * 1.4)
    else:
        ax.set_yscale("linear")
        room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        ax.set_ylim(low - room, high + room)


def _gaps(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _outline() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="#000000")]
