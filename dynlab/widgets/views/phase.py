"""The view of trajectories in their plane, one panel a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.widgets.views.base import Scene, View, looks, short, variable

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

    from dynlab.widgets.laboratory import Measured

PANELS = 6
"""More would be too small to read; the first ones are drawn."""
ROOM = 3.0
"""How much of a window may be empty, as a factor on the data's extent, before the limits change."""


class PhaseView(View):
    """Trajectories of all samples: a state of two components as it is, a larger one in its two principal directions."""

    name, label, title = "phase", "Phase portrait", "Phase portrait"
    probes = ("PhasePortrait",)

    def build(self, scene: Scene) -> None:
        drawn = scene.measured[:PANELS]
        columns = min(3, max(1, len(drawn)))
        rows = -(-max(1, len(drawn)) // columns)
        self.panels = list(self.figure.subplots(rows, columns, squeeze=False).flat)
        self.figure.subplots_adjust(left=0.1, right=0.98, bottom=0.14, top=0.92, wspace=0.3, hspace=0.5)
        self.paths: list[Line2D] = []
        self.here: list[Line2D] = []
        ghosts = {one.spec.partition(":")[0]: one for one in reversed(scene.pinned)}
        for axes, one, look in zip(self.panels, drawn, looks(drawn), strict=False):
            ghost = ghosts.get(one.spec.partition(":")[0])
            if ghost is not None:
                axes.plot(*_path(ghost), color=look["color"], linewidth=2.5, alpha=0.2)
            self.paths += axes.plot([], [], color=look["color"], linewidth=0.8, alpha=0.8)
            self.here += axes.plot([], [], "o", color="#000000", markersize=4, zorder=5)
            axes.set_title(" ", fontsize=7, pad=3)
            axes.tick_params(labelsize=6, pad=1)
            axes.locator_params(nbins=3)
        for axes in self.panels[len(drawn) :]:
            axes.set_visible(False)
        names = ("component 1", "component 2") if _flat(scene) else ("PC 1", "PC 2")
        self.figure.supxlabel(names[0], fontsize=8, y=0.01)
        self.figure.supylabel(names[1], fontsize=8, x=0.012)
        self.limits: list[tuple[float, ...]] = [()] * len(drawn)
        self._width = 40 // columns + 8
        self.moving = [*self.paths, *self.here, *(axes.title for axes in self.panels[: len(drawn)])]

    def update(self, scene: Scene) -> None:
        for one, axes, path, here in zip(scene.measured, self.panels, self.paths, self.here, strict=False):
            axes.title.set_text(short(one.label, self._width))
            path.set_data(*_path(one))
            plane = variable(one, "trajectory_plane")
            if plane is None or scene.time >= plane.sizes["time"]:
                here.set_data([], [])
            else:
                here.set_data(*plane.isel(time=scene.time).values.T)

    def fit(self, scene: Scene) -> bool:
        changed = False
        for index, (axes, path) in enumerate(zip(self.panels, self.paths, strict=False)):
            points = np.stack(path.get_data())
            points = points[:, np.isfinite(points).all(0)]
            if not points.shape[1]:
                continue
            low, high = points.min(1), points.max(1)
            size = np.maximum(high - low, 1e-9 + 1e-6 * np.abs(points).max())
            held = self.limits[index]
            if held:
                x0, x1, y0, y1 = held
                inside = (low >= (x0, y0)).all() and (high <= (x1, y1)).all()
                if inside and ((x1 - x0, y1 - y0) <= ROOM * size).all():
                    continue
            margin = 0.1 * size
            self.limits[index] = limits = (
                low[0] - margin[0],
                high[0] + margin[0],
                low[1] - margin[1],
                high[1] + margin[1],
            )
            axes.set(xlim=limits[:2], ylim=limits[2:])
            changed = True
        return changed

    def sentence(self, scene: Scene) -> str:
        left = len(scene.measured) - PANELS
        return super().sentence(scene) + (f"; {left} more are not drawn" if left > 0 else "")


def _path(one: Measured) -> tuple[np.ndarray, np.ndarray]:
    """All samples' trajectories as one line, with gaps between them."""
    plane = variable(one, "trajectory_plane")
    if plane is None:
        return np.empty(0), np.empty(0)
    values = plane.transpose("batch", "time", "axis").values
    gaps = np.full((len(values), 1, 2), np.nan)
    joined = np.concatenate([values, gaps], 1).reshape(-1, 2)
    return joined[:, 0], joined[:, 1]


def _flat(scene: Scene) -> bool:
    """Whether the states are planes themselves."""
    return all(one.dataset is None or one.dataset.attrs["state_size"] == 2 for one in scene.measured)
