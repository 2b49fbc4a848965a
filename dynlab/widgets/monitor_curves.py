"""Curves of ``TrainingMonitor`` with a name each: parameters and time-steps. No widget is imported here."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from dynlab.widgets import recorded_parts as parts
from dynlab.widgets.monitor_views import AgainstStep, fit, place

if TYPE_CHECKING:
    import xarray as xr

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#A39A00")
"""The style's palette: here it tells parameters apart, not cells."""
NAMED = 10
"""Curves that have a name in the legend."""


class Curves(AgainstStep):
    """Several positive quantities on a logarithmic axis, named at the right."""

    shape: ClassVar[tuple[float, float, float, float]] = (0.145, 0.155, 0.51, 0.75)

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        super().__init__(ax, data)
        self.lines: list[Any] = []

    def draw(self, curves: dict[str, np.ndarray], widths: dict[str, float] | None = None) -> None:
        """Show these, (step,) each by name; a name that begins with "_" stands in no legend."""
        x = place(self.data)
        if [line.get_label() for line in self.lines] != list(curves):
            for line in self.lines:
                line.remove()
            looks = itertools.product(("-", "--", "-.", ":"), COLOURS)
            shown = {name.lstrip("_").rpartition("|")[0] or name: None for name in curves}
            look = dict(zip(shown, itertools.cycle(looks), strict=False))
            self.lines = []
            for name in curves:
                dashes, colour = look[name.lstrip("_").rpartition("|")[0] or name]
                width = (widths or {}).get(name, 1.3)
                self.lines += self.ax.plot([], [], label=name, color=colour, linestyle=dashes, linewidth=width)
            named = [line for line in self.lines if not str(line.get_label()).startswith("_")]
            self.ax.legend(
                handles=named[:NAMED], loc="upper left", bbox_to_anchor=(1.0, 1.03), fontsize=7, handlelength=1.6,
                title=f"{NAMED} of {len(named)}" if len(named) > NAMED else None, title_fontsize=7,
            )  # fmt: skip
        for line, values in zip(self.lines, curves.values(), strict=True):
            line.set_data(x, np.where(values > 0, values, np.nan))
            line.set_marker("." if len(x) == 1 else "")
        together = np.concatenate(list(curves.values()))
        fit(self.ax, together[together > 0])


class Weights(Curves):
    """Norms of parameters."""

    def __init__(self, ax: Axes, data: xr.Dataset, variable: str = "weight_norm") -> None:
        super().__init__(ax, data)
        self.variable = variable
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        super().grow(data)
        names = [_short(str(name)) for name in data["parameter"].values]
        self.draw(dict(zip(names, data[self.variable].values.T, strict=True)))
        self.ax.title.set_text(parts.WEIGHTS[self.variable])


class TimeStepCurves(Curves):
    """Effective time-steps: median, and thin the smallest and the largest."""

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        super().__init__(ax, data)
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        super().grow(data)
        curves, widths = {}, {}
        for name, three in parts.time_steps(data).items():
            for part, values in zip(("_min", "", "_max"), three.T, strict=True):
                label = f"_{name}|{part}" if part else name
                curves[label], widths[label] = values, 0.6 if part else 1.6
        self.draw(curves, widths)
        self.ax.title.set_text("effective time-steps: median, smallest, largest")


def _short(parameter: str) -> str:
    """A network's parameter as a legend has room for it."""
    parts = parameter.replace("module.", "").split(".")
    return " ".join(["layer", *parts[1:]] if parts[0] == "cells" else parts)
