"""Views of one curve a cell: gradient norms, singular values, exponents, time-steps."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from dynlab.plots.gradient import dress_log_axis, log_axis_limits
from dynlab.verdicts import THRESHOLD
from dynlab.widgets.views.base import Scene, View, at_time, looks, variable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection
    from matplotlib.lines import Line2D

    from dynlab.widgets.laboratory import Measured

_DOT: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "", "zorder": 5}


class Curve(NamedTuple):
    """A curve and its band, all of one length."""

    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


_NONE = Curve(*(np.empty(0),) * 4)


class CurveView(View):
    """A line and a band a cell; pinned cells as thin lines below.

    Attributes:
        labels: of the axes. against_time: whether x is time, so that the cursor is drawn and can be set here.
    """

    labels: ClassVar[tuple[str, str]]
    against_time: ClassVar[bool] = False

    @abstractmethod
    def curve(self, one: Measured, time: int) -> Curve | None:
        """What is drawn of a cell; None where it does not have that."""

    @abstractmethod
    def dress(self, low: float, high: float) -> None:
        """Scale and ticks of y, for data from low to high."""

    def build(self, scene: Scene) -> None:
        self.axes: Axes = self.figure.subplots()
        self.figure.subplots_adjust(left=0.14, right=0.96, bottom=0.17, top=0.95)
        self.axes.set(xlabel=self.labels[0], ylabel=self.labels[1])
        self.lines: list[Line2D] = []
        self.bands: list[FillBetweenPolyCollection] = []
        self.dots: list[Line2D] = []
        self._range: tuple[Any, ...] = ()
        for one, look in zip(scene.pinned, looks(scene.pinned), strict=True):
            ghost = self.curve(one, scene.time) or _NONE
            self.axes.plot(ghost.x, ghost.middle, color=look["color"], linewidth=3.5, alpha=0.3, zorder=1.5)
        for one, look in zip(scene.measured, looks(scene.measured), strict=True):
            self.bands.append(self.axes.fill_between([], [], [], color=look["color"], alpha=0.2, linewidth=0))
            self.lines += self.axes.plot([], [], label=one.label, **look)
            if self.against_time:
                self.dots += self.axes.plot([], [], color=look["color"], **_DOT)
        self.moving = [*self.bands, *self.lines, *self.dots]
        if self.against_time:
            self.cursor = self.axes.axvline(scene.time, color="#333333", linewidth=1, zorder=4)
            self.moving.append(self.cursor)

    def update(self, scene: Scene) -> None:
        self._curves = [self.curve(one, scene.time) or _NONE for one in scene.measured]
        for curve, line, band in zip(self._curves, self.lines, self.bands, strict=True):
            line.set_data(curve.x, curve.middle)
            band.set_data(curve.x, curve.low, curve.high)
        if self.against_time:
            self.cursor.set_xdata([scene.time, scene.time])
            for curve, dot in zip(self._curves, self.dots, strict=True):
                here = curve.x == scene.time
                dot.set_data(curve.x[here], curve.middle[here])

    def fit(self, scene: Scene) -> bool:
        curves = [*self._curves, *(self.curve(one, scene.time) or _NONE for one in scene.pinned)]
        # The middle, not the band: one sample may be far off.
        values = np.concatenate([curve.middle for curve in curves]) if curves else np.empty(0)
        values = values[np.isfinite(values)]
        last = scene.steps if self.against_time else max((curve.x[-1] for curve in curves if len(curve.x)), default=1)
        wanted = (0 if self.against_time else 1, last, *self.range_of(values))
        if wanted == self._range:
            return False
        self._range = wanted
        self.axes.set_xlim(wanted[0], max(wanted[1], wanted[0] + 1))
        self.dress(*wanted[2:])
        return True

    def range_of(self, values: np.ndarray) -> tuple[float, float]:
        """The y limits for these values, rounded so that they seldom change."""
        return log_axis_limits(values.min(initial=0.0), values.max(initial=0.0))

    def time_at(self, axes: Axes, x: float) -> int | None:
        return round(x) if self.against_time else None


class _LogView(CurveView):
    """log10 of something whose natural size is 1."""

    def build(self, scene: Scene) -> None:
        super().build(scene)
        strip = THRESHOLD / math.log(10)
        self.axes.axhspan(-strip, strip, color="#000000", alpha=0.06, linewidth=0)

    def dress(self, low: float, high: float) -> None:
        dress_log_axis(self.axes, low, high)


class GradientView(_LogView):
    """|d state_T / d state_t| against t."""

    name, label, title = "gradient", "Gradient", "Gradient norm"
    probes = ("GradientNorm",)
    labels = ("time step t", r"log10 |$\partial s_T/\partial s_t$|")
    against_time = True

    def curve(self, one: Measured, time: int) -> Curve | None:
        values = variable(one, "log_gradient_norm")
        return None if values is None else _over_samples(values / math.log(10), "time")


class SingularView(_LogView):
    """Singular values of d state_T / d state_0."""

    name, label, title = "singular", "Singular values", "Singular values from 0 to T"
    probes = ("SingularValues",)
    labels = ("rank", r"log10 $\sigma(\partial s_T/\partial s_0)$")
    timed = False

    def curve(self, one: Measured, time: int) -> Curve | None:
        values = variable(one, "log_singular_value")
        return None if values is None else _by_rank(values / math.log(10))


class ExponentView(CurveView):
    """Lyapunov exponents."""

    name, label, title = "exponents", "Exponents", "Lyapunov exponents"
    probes = ("LyapunovSpectrum",)
    labels = ("rank", "exponent (nat per step)")
    timed = False
    threshold = 0.01

    def build(self, scene: Scene) -> None:
        super().build(scene)
        self.axes.axhline(0, color="#333333", linewidth=0.8, zorder=1)

    def curve(self, one: Measured, time: int) -> Curve | None:
        values = variable(one, "lyapunov_exponent")
        return None if values is None else _by_rank(values)

    def range_of(self, values: np.ndarray) -> tuple[float, float]:
        return tuple(sign * max(self.threshold, _decade(float((sign * values).max(initial=0)))) for sign in (-1.0, 1.0))  # type: ignore[return-value]

    def dress(self, low: float, high: float) -> None:
        self.axes.set_yscale("symlog", linthresh=self.threshold, linscale=1.0)
        self.axes.set_ylim(low, high)
        decades = [self.threshold * 10**k for k in range(6)]
        ticks = [-one for one in reversed(decades)] + [0.0] + decades
        shown = [tick for tick in ticks if low * (1 + 1e-9) <= tick <= high * (1 + 1e-9)]
        self.axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
        self.axes.minorticks_off()


class TimeStepView(CurveView):
    """Effective time-steps, sorted; those that vary with time at the cursor."""

    name, label, title = "time_steps", "Time-steps", "Effective time-steps"
    probes = ("TimeSteps",)
    labels = ("unit, sorted", "effective time-step")

    def curve(self, one: Measured, time: int) -> Curve | None:
        if one.dataset is None:
            return None
        parts = [_steps_at(values, time) for name, values in one.dataset.items() if str(name).startswith("time_step")]
        if not parts:
            return None
        values = np.sort(np.concatenate(parts))[::-1]
        return Curve(np.arange(1, len(values) + 1), values, values, values)

    def range_of(self, values: np.ndarray) -> tuple[float, float]:
        found = values[values > 0]
        if not len(found):
            return (0.1, 1.0)
        low, high = 10 ** math.floor(math.log10(found.min()) + 1e-9), 10 ** math.ceil(math.log10(found.max()) - 1e-9)
        return (low, high if high > low else 10 * low)

    def dress(self, low: float, high: float) -> None:
        self.axes.set_yscale("log")
        self.axes.set_ylim(low * 0.9, high * 1.1)


def _over_samples(values: xr.DataArray, along: str) -> Curve:
    """Mean and standard deviation over samples, where every sample has a finite value."""
    others = [dim for dim in values.dims if dim != along]
    table = values.transpose(along, *others).values.reshape(values.sizes[along], -1)
    kept = np.isfinite(table).all(1)
    table, x = table[kept], values[along].values[kept]
    mean, spread = table.mean(1), table.std(1)
    return Curve(x, mean, mean - spread, mean + spread)


def _by_rank(values: xr.DataArray) -> Curve:
    curve = _over_samples(values, "mode")
    return curve._replace(x=curve.x + 1)


def _steps_at(values: xr.DataArray, time: int) -> np.ndarray:
    """One number a unit: at the cursor, the mean over samples and inner steps."""
    values, _ = at_time(values, time)
    values = values.mean([dim for dim in values.dims if dim == "batch" or str(dim).startswith("k")])
    return values.values.ravel().astype(float)


def _decade(value: float) -> float:
    """The power of ten above a value, 0 for what is not above 0."""
    return 10.0 ** math.ceil(math.log10(value) - 1e-9) if value > 0 else 0.0
