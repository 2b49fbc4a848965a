"""Spectra of a recording, and all views of ``TrainingMonitor`` on one sheet. No widget is imported here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynlab import _check
from dynlab.plots.style import style
from dynlab.widgets import decades
from dynlab.widgets import recorded_parts as parts
from dynlab.widgets.monitor_curves import TimeStepCurves, Weights
from dynlab.widgets.monitor_views import HeatMap, Loss, Profile
from dynlab.widgets.spectrum_views import BLUE, GREY, LN10, Plane

if TYPE_CHECKING:
    import xarray as xr

POINTS = 2000
"""Eigenvalues drawn at most; of more step Jacobians, evenly spaced ones. Our choice."""


class Eigenvalues:
    """Eigenvalues at the chosen record, of all samples, in the complex plane."""

    shape: ClassVar[tuple[float, float, float, float]] = (0.145, 0.155, 0.83, 0.75)

    def __init__(self, ax: Axes, data: xr.Dataset, variable: str) -> None:
        self.ax, self.variable = ax, variable
        self.plane = Plane(ax)
        self.moving: list[Artist] = self.plane.moving
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        """Take a longer recording."""
        self.data = data
        values = data[self.variable].transpose("step", ..., "mode").values
        if values.ndim > 3:  # transitions and samples before the modes
            every = -(-values[0].size // POINTS)
            values = values[:, ::every]
        self.values = values.reshape(len(values), -1)
        with np.errstate(divide="ignore"):
            self.log10 = np.log10(np.abs(self.values))
        self.resolved = np.ones(self.values.shape, bool)
        if self.variable == "end_to_end_eigenvalue" and "log_end_to_end_modulus" in data:
            self.log10 = data["log_end_to_end_modulus"].values.reshape(self.values.shape) / LN10
            self.resolved = data["end_to_end_resolved"].values.reshape(self.values.shape)
        seen = self.log10[np.isfinite(self.values) & np.isfinite(self.log10)]
        self.extent = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        self.at(len(self.values) - 1)

    def at(self, index: int) -> None:
        """Show one record."""
        title = f"eigenvalues {parts.EIGENVALUES[self.variable]}, step {int(self.data['step'][index])}"
        self.plane.plot(self.values[index], self.log10[index], self.resolved[index], title, self.extent)


class Ranked:
    """Singular values, moduli or exponents by rank at the chosen record, and dotted at the first; means of samples."""

    shape: ClassVar[tuple[float, float, float, float]] = (0.145, 0.155, 0.83, 0.75)

    def __init__(self, ax: Axes, data: xr.Dataset, variable: str) -> None:
        self.ax, self.variable = ax, variable
        self.rates = variable == "lyapunov_exponent"
        if self.rates:
            ax.set_ylabel("nats a step")
            ax.axhline(0, color="#000000", linewidth=0.8)
        else:
            decades.dress(ax, r"$\log_{10}$")
        (self.first,) = ax.plot([], [], color=GREY, linestyle=":", label="first record")
        (self.line,) = ax.plot([], [], color=BLUE, marker=".", markersize=4, label="chosen record")
        self.moving: list[Artist] = [self.line, ax.title]
        ax.set_xlabel("rank")
        ax.legend(loc="upper right")
        self.grow(data)
        self.at(data.sizes["step"] - 1)

    def grow(self, data: xr.Dataset) -> None:
        """Take a longer recording."""
        self.data = data
        values = data[self.variable].mean("batch", skipna=False).values
        self.values = np.where(np.isfinite(values), values, np.nan) / (1 if self.rates else LN10)
        self.rank = np.arange(1, self.values.shape[1] + 1)
        self.first.set_data(self.rank, self.values[0])
        self.ax.set_xlim(0.5, len(self.rank) + 0.5)
        if not self.rates:
            decades.fit(self.ax, self.values)
            return
        finite = self.values[np.isfinite(self.values)]
        if finite.size:
            low, high = min(float(finite.min()), 0.0), max(float(finite.max()), 0.0)
            room = 0.08 * (high - low) or 1.0
            self.ax.set_ylim(low - room, high + room)

    def at(self, index: int) -> None:
        """Show one record."""
        self.line.set_data(self.rank, self.values[index])
        self.ax.title.set_text(f"{parts.RANKED[self.variable]}, step {int(self.data['step'][index])}")


@dataclass(frozen=True)
class Chosen:
    """What the views show, where a recording has more than one thing; None: the first that it has.

    Attributes:
        gradient: a name of ``parts.gradients``. eigenvalues, ranked, weights: a variable among ``parts.EIGENVALUES``,
            ``RANKED``, ``WEIGHTS``.
    """

    gradient: str | None = None
    eigenvalues: str | None = None
    ranked: str | None = None
    weights: str | None = None


def views_of(data: xr.Dataset, chosen: Chosen) -> dict[str, tuple[type[Any], Callable[[Axes], Any]]]:
    """The views that a recording has: (class, what makes one in given axes) by name.

    Raises:
        ValueError: for something chosen that the recording does not have.
    """
    found: dict[str, tuple[type[Any], Callable[[Axes], Any]]] = {}

    def add(name: str, view: type[Any], *options: Any) -> None:
        def make(ax: Axes) -> Any:
            return view(ax, data, *options)

        found[name] = (view, make)

    if "loss" in data:
        add("loss", Loss)
    gradients = parts.gradients(data)
    if gradients:
        variable, layer = gradients[_one("gradient", chosen.gradient, list(gradients))]
        add("heat-map", HeatMap, variable, layer)
        add("profile", Profile, variable, layer)
    for name, view, asked, names in (
        ("eigenvalues", Eigenvalues, chosen.eigenvalues, parts.EIGENVALUES),
        ("ranks", Ranked, chosen.ranked, parts.RANKED),
    ):
        if there := list(parts.present(data, names).values()):
            add(name, view, _one(name, asked, there))
    if any(str(name).startswith("time_step") for name in data.data_vars):
        add("time-steps", TimeStepCurves)
    if there := list(parts.present(data, parts.WEIGHTS).values()):
        add("weights", Weights, _one("weights", chosen.weights, there))
    return found


def _one(name: str, asked: str | None, there: list[str]) -> str:
    return there[0] if asked is None else str(_check.choice(name, asked, tuple(there), "monitor"))


def monitor_figure(data: xr.Dataset, step: int | None = None, **chosen: str | None) -> Figure:
    """All views of a recording on one sheet, at one record.

    Arguments:
        data: as ``dynlab.open_recording`` gives it. step: of the record, the last one by default.
        chosen: see ``Chosen``.

    Raises:
        ValueError: if there is no record of this step.
    """
    steps = data["step"].values.tolist()
    if step is not None and step not in steps:
        raise ValueError(f"monitor_figure: expected the step of a record, {steps[0]} .. {steps[-1]}; got {step!r}")
    index = len(steps) - 1 if step is None else steps.index(step)
    views = views_of(data, Chosen(**chosen))
    columns = min(2, len(views))
    rows = -(-len(views) // columns)
    with style():
        figure = Figure(figsize=(4.8 * columns, 3.0 * rows))
        panels: Any = figure.subfigures(rows, columns, squeeze=False)
        for panel, (view, make) in zip(panels.flat, views.values(), strict=False):
            make(panel.add_axes(view.shape)).at(index)
    return figure
