"""The view of eigenvalues: of one step's Jacobian, and of the Jacobian over all steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dynlab.widgets.views.base import Scene, View, at_time, looks, occurrences, variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from dynlab.widgets.laboratory import Measured

_RADII = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1e3, 1e6)
"""Half widths of the plane of a step's eigenvalues."""
_RINGS = (-100, -10, -2, 0, 2, 10, 100)
"""Decades with a ring of their own in the plane of the end-to-end eigenvalues."""
_MARKERS = "os^Dv"
"""Of variants of a cell."""
_NAMED = (-100, -2, 2, 100)
_EDGE = 320
"""Decades at its centre (below) and rim (above): what double precision can hold."""


def squeeze(decades: np.ndarray) -> np.ndarray:
    """Where log10 |eigenvalue| lies between the centre, 0, and the rim, 1; linear within 2 decades of 1, then log."""
    size = np.abs(decades)
    outer = 1 + np.log10(np.maximum(size, 2) / 2)
    folded = np.sign(decades) * np.where(size <= 2, size / 2, outer)
    edge = 1 + math.log10(_EDGE / 2)
    return np.clip((folded / edge + 1) / 2, 0, 1)


class EigenvalueView(View):
    """Eigenvalues of d state_t / d state_{t-1} at the cursor, and of d state_T / d state_0 on a logarithmic radius."""

    name, label, title = "eigenvalues", "Eigenvalues", "Eigenvalues of a step, and from 0 to T"
    probes = ("StepSpectrum", "EndToEndSpectrum")

    def build(self, scene: Scene) -> None:
        self.step, self.end = self.figure.subplots(1, 2)
        self.figure.subplots_adjust(left=0.14, right=0.99, bottom=0.14, top=0.9, wspace=0.1)
        angle = np.linspace(0, 2 * np.pi, 200)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        self.step.plot(*circle, color="#333333", linewidth=1)
        self.step.set(aspect="equal", xlabel="real part", ylabel="imaginary part")
        self.end.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
        self.end.set_axis_off()
        for ring in _RINGS:
            radius = float(squeeze(np.array(ring)))
            self.end.plot(
                *(radius * circle), color="#333333" if ring == 0 else "#cccccc", linewidth=1 if ring == 0 else 0.6
            )
            if ring in _NAMED:
                self.end.text(
                    0, radius, rf"$10^{{{ring}}}$", fontsize=6, ha="center", va="center", color="#333333",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
                )  # fmt: skip
        self.end.set_title("0 to T, log radius")
        self._radius = 0.0
        self.points: list[Line2D] = []
        self.ends: list[Line2D] = []
        for one, look in zip(scene.pinned, looks(scene.pinned), strict=True):
            for axes, values in ((self.step, _of_step(one, scene.time)[0]), (self.end, _of_end(one)[0])):
                axes.plot(
                    values.real, values.imag, "o", color=look["color"], markersize=6, alpha=0.2, markeredgewidth=0
                )
        kinds = occurrences([one.spec for one in scene.measured])
        for look, variant in zip(looks(scene.measured), kinds, strict=True):
            marker = _MARKERS[variant % len(_MARKERS)]
            dots = {"marker": marker, "markersize": 3.2, "linestyle": "", "color": look["color"], "alpha": 0.75}
            self.points += self.step.plot([], [], markeredgewidth=0, **dots)
            self.ends += self.end.plot([], [], markeredgewidth=0, **dots)
        # Over the axes, where a title would be: it moves with the cursor.
        self.heading = self.step.text(
            0.5, 1.03, "", transform=self.step.transAxes, ha="center", va="bottom", fontsize=9
        )
        self.note = self.end.text(
            0.5, -0.02, "", transform=self.end.transAxes, ha="center", va="top", fontsize=6.5, color="#333333"
        )
        self.moving = [*self.points, *self.ends, self.heading, self.note]

    def update(self, scene: Scene) -> None:
        shown: set[int] = set()
        hidden = 0
        self._largest = 1.0
        for one, point, end in zip(scene.measured, self.points, self.ends, strict=True):
            values, transition = _of_step(one, scene.time)
            if transition is not None:
                shown.add(transition)
                self._largest = max(self._largest, float(np.abs(values).max(initial=0)))
            point.set_data(values.real, values.imag)
            placed, lost = _of_end(one)
            hidden += lost
            end.set_data(placed.real, placed.imag)
        elsewhere = " (nearest measured)" if shown - {scene.time} else ""
        self.heading.set_text(f"step t = {', '.join(map(str, sorted(shown)))}{elsewhere}" if shown else "")
        self.note.set_text(f"{hidden} below rounding, not shown" if hidden else "")

    def fit(self, scene: Scene) -> bool:
        radius = next((one for one in _RADII if self._largest <= one), _RADII[-1])
        if radius == self._radius:
            return False
        self._radius = radius
        self.step.set(xlim=(-radius, radius), ylim=(-radius, radius))
        return True

    def time_at(self, axes: Axes, x: float) -> int | None:
        return None


def _of_step(one: Measured, time: int) -> tuple[np.ndarray, int | None]:
    """Eigenvalues of the measured step that is nearest to the cursor, of all samples, and which it is."""
    values = variable(one, "step_eigenvalue")
    if values is None:
        return np.empty(0, complex), None
    here, transition = at_time(values, time)
    return here.values.ravel(), transition


def _of_end(one: Measured) -> tuple[np.ndarray, int]:
    """Places of the end-to-end eigenvalues in their plane, and how many have none: lost in rounding."""
    values, decades = variable(one, "end_to_end_eigenvalue"), variable(one, "log_end_to_end_modulus")
    if values is None or decades is None:
        return np.empty(0, complex), 0
    eigenvalue, log = values.values.ravel(), decades.values.ravel() / math.log(10)
    known = np.isfinite(eigenvalue) & np.isfinite(log)
    eigenvalue, log = eigenvalue[known], log[known]
    direction = eigenvalue / np.where(np.abs(eigenvalue) > 0, np.abs(eigenvalue), 1)
    return direction * squeeze(log), int((~known).sum())
