"""The view of a network's gradients: a heat map over layer and time."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import SymLogNorm

from dynlab.plots.gradient import log_axis_limits
from dynlab.widgets.views.base import Scene, View, short, variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from dynlab.widgets.laboratory import Measured

_WITH_LAYERS = "log_gradient_norm_by_layer"


class LayerView(View):
    """log10 |d top state_T / d layer's state_t| of every network among the cells."""

    name, label, title = "layers", "Layers", "Gradient norm by layer"
    probes = ("GradientNorm",)

    def structure(self, scene: Scene) -> Hashable:
        shown = tuple((one.label, _map(one).shape) for one in _networks(scene))
        return super().structure(scene), shown

    def build(self, scene: Scene) -> None:
        shown = _networks(scene)
        self.images: list[AxesImage] = []
        self.cursors = []
        self.moving = []
        self._limit = 0.0
        if not shown:
            self.figure.text(0.5, 0.5, "no network of several layers\namong the cells", ha="center", va="center")
            return
        panels = self.figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        self.figure.subplots_adjust(left=0.1, right=0.8, bottom=0.17, top=0.9, hspace=0.6)
        for axes, one in zip(panels, shown, strict=True):
            layers, times = _map(one).shape
            image = axes.imshow(
                np.zeros((layers, times)), aspect="auto", origin="lower", cmap="RdBu_r", interpolation="nearest",
                extent=(-0.5, times - 0.5, -0.5, layers - 0.5),
            )  # fmt: skip
            axes.set(ylabel="layer", yticks=range(layers))
            axes.set_title(short(one.label, 60), fontsize=7, pad=3)
            axes.grid(False)
            self.images.append(image)
            self.cursors.append(axes.axvline(0, color="#000000", linewidth=1))
        panels[-1].set_xlabel("time step t")
        self._bar = self.figure.colorbar(
            self.images[0], cax=self.figure.add_axes((0.83, 0.17, 0.025, 0.73)), label="log10 of the norm"
        )
        self.moving = [*self.images, *self.cursors]

    def update(self, scene: Scene) -> None:
        for one, image, cursor in zip(_networks(scene), self.images, self.cursors, strict=True):
            image.set_data(_map(one))
            cursor.set_xdata([scene.time, scene.time])

    def fit(self, scene: Scene) -> bool:
        values = np.concatenate([_map(one).ravel() for one in _networks(scene)] or [np.empty(0)])
        values = values[np.isfinite(values)]
        limit = max(map(abs, log_axis_limits(values.min(initial=0.0), values.max(initial=0.0))))
        if limit == self._limit:
            return False
        self._limit = limit
        norm = SymLogNorm(linthresh=2, vmin=-limit, vmax=limit)
        for image in self.images:
            image.set_norm(norm)
        if self.images:
            ticks = [tick for tick in (-1000, -100, -10, -2, 0, 2, 10, 100, 1000) if abs(tick) <= limit]
            self._bar.set_ticks(ticks, labels=[f"{tick:d}" for tick in ticks])
            self._bar.minorticks_off()
        return True

    def time_at(self, axes: Axes, x: float) -> int | None:
        return round(x)

    def sentence(self, scene: Scene) -> str:
        return f"{self.title} of {', '.join(one.label for one in _networks(scene)) or 'no network'}; t = {scene.time}"


def _networks(scene: Scene) -> list[Measured]:
    return [
        one
        for one in scene.measured
        if (values := variable(one, _WITH_LAYERS)) is not None and values.sizes["layer"] > 1
    ]


def _map(one: Measured) -> np.ndarray:
    """(layer, time), the mean over samples; where a norm is exactly zero there is no number."""
    values = variable(one, _WITH_LAYERS)
    assert values is not None
    table = values.transpose("layer", "time", "batch").values.mean(-1) / math.log(10)
    return np.where(np.isfinite(table), table, np.nan)
