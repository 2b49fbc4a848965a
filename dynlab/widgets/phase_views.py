"""The views of the phase explorer: artists that are made once and moved, each view on one Axes.

A view draws a ``Motion`` with ``show`` and names in ``moving`` the artists that change while a control is dragged.
``show`` says whether they are all that changed, or limits and titles too: then the whole figure is to be drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, Polygon
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from dynlab.plots.phase_plane import PATH_COLOURS, point_along, resize, square, vector_field
from dynlab.widgets import planar_stability
from dynlab.widgets.planar import MOST_STARTS, Motion

Change = Literal["same", "moved", "framed"]

LADDER = (1.3, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5, 1e6)
"""Half widths of a complex plane: few, so that the axes stand still while a slider moves."""
REGION = "#56B4E9"
_PAD = 20
"""Points between axes and title: room for a line of numbers."""


def half_width(values: np.ndarray) -> float:
    """The first of ``LADDER`` in which complex ``values`` are well inside."""
    largest = 1.1 * float(np.abs(values).max())
    return next((step for step in LADDER if step >= largest), LADDER[-1])


class View(ABC):
    """One picture.

    Attributes:
        ax: where. moving: see the module.
    """

    title = ""
    alt = ""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self.moving: list[Artist] = []
        self._frame: object = None

    def show(self, motion: Motion, cursor: int, window: float) -> Change:
        """Draw; ``cursor`` is a time 0..T, ``window`` half the width of the phase plane."""
        moved = self._draw(motion, cursor)
        wanted = self._wanted(motion, window)
        if wanted != self._frame:
            self._frame = wanted
            self._reframe(motion, window)
            return "framed"
        return "moved" if moved else "same"

    @abstractmethod
    def _draw(self, motion: Motion, cursor: int) -> bool:
        """Move the artists; False if they were there already."""

    @abstractmethod
    def _wanted(self, motion: Motion, window: float) -> object:
        """What limits and titles depend on."""

    @abstractmethod
    def _reframe(self, motion: Motion, window: float) -> None:
        """Change limits and titles."""


class PhasePlane(View):
    """Trajectories over the vector field; stars are the starts, rings the states at the cursor."""

    alt = "phase plane: trajectories of the state over the vector field, a star at each start"

    def __init__(self, ax: Axes) -> None:
        super().__init__(ax)
        square(ax, 1.0)
        self._line = np.zeros(1)
        self._field = vector_field(self._line, np.zeros((1, 1, 2)), ax)
        self._paths = _lines(ax, 1.0, 2)
        self._dots = _dots(ax, 8, 3)
        self._stars = ax.scatter([], [], s=130, marker="*", edgecolors="black", linewidths=0.6, zorder=5)
        self._rings = ax.scatter([], [], s=70, marker="o", facecolors="none", linewidths=1.6, zorder=6)
        self._names = [
            ax.annotate(
                str(index + 1), (0, 0), (7, 5), textcoords="offset points", zorder=7, clip_on=True,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
            for index in range(MOST_STARTS)
        ]  # fmt: skip
        self.moving = [self._field, self._paths, self._dots, self._stars, self._rings, *self._names]

    def _draw(self, motion: Motion, cursor: int) -> bool:
        states, colours = motion.states, _colours(motion)
        self._paths.set_segments(list(states.transpose(1, 0, 2)))
        self._paths.set_color([to_rgba(colour, 0.35) for colour in colours])
        self._dots.set_offsets(states.reshape(-1, 2))
        self._dots.set_facecolor(list(_fading(colours, len(states))))
        for artist, places in ((self._stars, states[0]), (self._rings, states[min(cursor, len(states) - 1)])):
            artist.set_offsets(places)
        self._stars.set_facecolor(colours)
        self._rings.set_visible(cursor > 0)  # they would hide the stars
        self._rings.set_edgecolor(colours)
        for index, name in enumerate(self._names):
            name.set_visible(index < len(colours))
            if index < len(colours):
                name.xy = tuple(states[0, index])
        if np.array_equal(self._line, motion.line):
            point_along(self._field, motion.flow)
        return True

    def _wanted(self, motion: Motion, window: float) -> object:
        return window, motion.model.kind

    def _reframe(self, motion: Motion, window: float) -> None:
        at = self.moving.index(self._field)
        self._field.remove()
        self._field = vector_field(motion.line, motion.flow, self.ax)
        self.moving[at] = self._field
        self._line = motion.line
        resize(self.ax, window)
        first, second = motion.model.recurrence.axes
        self.ax.set(xlabel=first, ylabel=second)
        self.ax.set_title("phase plane", pad=_PAD)


class Linear(View):
    """Eigenvalues of the linear part in the complex plane, over the stability region."""

    alt = "complex plane: eigenvalues of the matrix inside tanh over the shaded stability region"

    def __init__(self, ax: Axes) -> None:
        super().__init__(ax)
        square(ax, 1.0)
        self._region = Polygon(np.zeros((1, 2)), closed=True, zorder=1, facecolor=to_rgba(REGION, 0.3),
                               edgecolor=REGION, linewidth=2.0)  # fmt: skip
        ax.add_patch(self._region)
        (self._values,) = ax.plot([], [], "D", markersize=7, color="#D55E00", markeredgecolor="black", zorder=4)
        self._text = _above(ax)
        self.moving = [self._region, self._values, self._text]
        self._drawn: object = None

    def _draw(self, motion: Motion, cursor: int) -> bool:
        drawn = motion.model.kind, motion.model.W, motion.model.options
        if drawn == self._drawn:
            return False
        self._drawn = drawn
        self._region.set_xy(np.column_stack([motion.region.real, motion.region.imag]))
        self._values.set_data(motion.eigenvalues.real, motion.eigenvalues.imag)
        self._text.set_text(
            f"λ = {eigenvalue_text(motion.eigenvalues)};  {planar_stability.growth_name(motion.model)} = "
            + " and ".join(dict.fromkeys(f"{one:.4g}" for one in motion.growth))
        )
        return True

    def _wanted(self, motion: Motion, window: float) -> object:
        return half_width(motion.eigenvalues), motion.model.kind

    def _reframe(self, motion: Motion, window: float) -> None:
        resize(self.ax, half_width(motion.eigenvalues))
        self.ax.set(xlabel="Re λ  (blue: a step is stable)", ylabel="Im λ")
        self.ax.set_title(f"λ: eigenvalues of {motion.model.recurrence.linear}", pad=_PAD)


class Steps(View):
    """Eigenvalues of the step Jacobian along the trajectories, and the unit circle."""

    alt = "complex plane: eigenvalues of the step Jacobian along the trajectories, with the unit circle"

    def __init__(self, ax: Axes) -> None:
        super().__init__(ax)
        square(ax, 1.0)
        ax.add_patch(Circle((0, 0), 1, facecolor=to_rgba(REGION, 0.15), edgecolor="#555555", linewidth=1.0, zorder=1))
        self._dots = _dots(ax, 10, 3)
        self._rings = ax.scatter([], [], s=70, marker="o", facecolors="none", linewidths=1.6, zorder=6)
        self._text = _above(ax)
        self.moving = [self._dots, self._rings, self._text]

    def _draw(self, motion: Motion, cursor: int) -> bool:
        values, colours = motion.step_eigenvalues, _colours(motion)
        self._dots.set_offsets(_plane(values.reshape(-1)))
        self._dots.set_facecolor(list(np.repeat(_fading(colours, len(values)), 2, axis=0)))
        # At time t the step that led there; at 0 the one that leaves it.
        step = min(max(cursor, 1), len(values))
        now = values[step - 1]
        least, most = np.abs(now).min(), np.abs(now).max()
        self._text.set_text(f"rings: step {step}, |µ| from {least:.4g} to {most:.4g}")
        self._rings.set_offsets(_plane(now.reshape(-1)))
        self._rings.set_edgecolor([to_rgba(colour) for colour in colours for _ in range(2)])
        return True

    def _wanted(self, motion: Motion, window: float) -> object:
        return half_width(motion.step_eigenvalues)

    def _reframe(self, motion: Motion, window: float) -> None:
        resize(self.ax, half_width(motion.step_eigenvalues))
        self.ax.set(xlabel="Re µ", ylabel="Im µ")
        self.ax.set_title("µ: eigenvalues of the step Jacobians", pad=_PAD)


class Components(View):
    """Both components against time, and the cursor."""

    alt = "the two state components against time, with the time cursor"

    def __init__(self, ax: Axes) -> None:
        super().__init__(ax)
        self._first, self._second = _lines(ax, 1.5, 3), _lines(ax, 1.5, 2, (0, (3, 1.5)))
        self._cursor = ax.axvline(0, color="black", linewidth=1.2, zorder=4)
        self.moving = [self._first, self._second, self._cursor]

    def _draw(self, motion: Motion, cursor: int) -> bool:
        time = np.arange(len(motion.states))
        for axis, lines in enumerate((self._first, self._second)):
            lines.set_segments([np.column_stack([time, path]) for path in motion.states[..., axis].T])
            lines.set_color(_colours(motion))
        self._cursor.set_xdata([cursor, cursor])
        return True

    def _wanted(self, motion: Motion, window: float) -> object:
        return window, motion.model.steps, motion.model.kind

    def _reframe(self, motion: Motion, window: float) -> None:
        first, second = motion.model.recurrence.axes
        self.ax.set(xlim=(0, motion.model.steps), ylim=(-window, window), xlabel="t (steps)",
                    ylabel=f"{first} (line), {second} (dashes)")  # fmt: skip
        self.ax.locator_params(nbins=5)
        self.ax.set_title("states against time", pad=_PAD)


VIEWS: tuple[type[View], ...] = (PhasePlane, Linear, Steps, Components)


def eigenvalue_text(values: np.ndarray) -> str:
    """Two eigenvalues of a real matrix, "-0.15 ± 2i" or "2 and -1"."""
    first, second = values
    if abs(first.imag) > 1e-12 * (1 + abs(first)):
        real = "" if abs(first.real) < 1e-12 else f"{first.real:.3g} "
        return f"{real}± {abs(first.imag):.3g}i"
    return f"{first.real:.3g} and {second.real:.3g}"


def _lines(ax: Axes, width: float, zorder: int, dashes: object = "-") -> LineCollection:
    lines = LineCollection([], linewidths=width, zorder=zorder, linestyles=[dashes])
    ax.add_collection(lines, autolim=False)
    return lines


def _dots(ax: Axes, size: float, zorder: int) -> PathCollection:
    return ax.scatter([], [], s=size, linewidths=0, zorder=zorder)


def _above(ax: Axes) -> Text:
    """A line of numbers between axes and title."""
    return ax.text(0.5, 1.02, "", transform=ax.transAxes, ha="center", fontsize=10, clip_on=False)


def _colours(motion: Motion) -> Sequence[str]:
    return PATH_COLOURS[: motion.states.shape[1]]


def _fading(colours: Sequence[str], times: int) -> np.ndarray:
    """(times * colours, 4), time first, earlier ones more translucent."""
    rgba = np.tile(np.array([to_rgba(colour) for colour in colours]), (times, 1, 1))
    rgba[..., 3] = np.linspace(0.15, 1.0, times)[:, None]
    return rgba.reshape(-1, 4)


def _plane(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values.real, values.imag])
