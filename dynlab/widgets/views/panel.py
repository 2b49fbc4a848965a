"""A view as a widget."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import ipywidgets
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynlab.plots.style import style
from dynlab.widgets.picture import DRAWING, Picture, Touch
from dynlab.widgets.views.base import Scene, View, looks

DPI = 100


class Panel(ipywidgets.VBox):
    """A title, and the view's figure as a picture.

    Arguments:
        kind: of view. on_time: called with a time that was touched in the picture.
    """

    def __init__(self, kind: type[View], on_time: Callable[[int], None]) -> None:
        self._on_time = on_time
        self._built: Hashable = None
        with DRAWING, style():
            self.view = kind(Figure(figsize=kind.size, dpi=DPI))
            self.picture = Picture(self.view.figure, on_touch=self._touched)  # type: ignore[arg-type]
        heading = ipywidgets.HTML(f"<b>{kind.title}</b>", layout={"margin": "0 0 0 8px"})
        super().__init__([heading, self.picture], layout={"min_width": "0"})
        self.add_class(f"dynlab-view-{kind.name}")

    def show(self, scene: Scene, settled: bool = True) -> None:
        """Draw the scene.

        Arguments:
            settled: whether this will be looked at; else, while something newer is on its way, limits are held.
        """
        with DRAWING, style():
            structure = self.view.structure(scene)
            whole = structure != self._built
            if whole:
                self.view.figure.clear()
                self.view.build(scene)
                self._built = structure
            self.view.update(scene)
            if whole or settled:
                whole = self.view.fit(scene) or whole
            if whole:
                self.picture.move(self.view.moving)
                self.picture.draw()
            else:
                self.picture.draw_moving()
        self.picture.alt = self.view.sentence(scene)

    def _touched(self, touch: Touch) -> None:
        time = self.view.time_at(touch.axes, touch.x)
        if time is not None:
            self._on_time(time)


def composed(kinds: list[type[View]], scene: Scene) -> Figure:
    """A new figure with several views, for paper: titles, and one legend for all."""
    columns = min(2, max(1, len(kinds)))
    rows = -(-len(kinds) // columns) or 1
    legend = 0.35 + 0.2 * -(-len(scene.measured) // 3)
    width, height = (max((kind.size[axis] for kind in kinds), default=4.0) for axis in (0, 1))
    height += 0.3  # titles
    figure = Figure(figsize=(columns * width, rows * height + legend))
    top, bottom = list(figure.subfigures(2, 1, squeeze=False, height_ratios=[legend, rows * height]).flat)
    parts: list[Any] = list(bottom.subfigures(rows, columns, squeeze=False).flat) if kinds else []
    for kind, part in zip(kinds, parts, strict=False):
        head, body = list(part.subfigures(2, 1, height_ratios=[0.3, height - 0.3]).flat)
        head.suptitle(kind.title, fontsize=9, fontweight="bold", y=0.5, va="center")
        view = kind(body)
        view.build(scene)
        view.update(scene)
        view.fit(scene)
    lines = [Line2D([], [], **look) for look in looks(scene.measured)]
    if lines:
        top.legend(lines, [one.label for one in scene.measured], loc="center", ncols=min(3, len(lines)))
    return figure
