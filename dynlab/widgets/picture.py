"""A matplotlib figure as an image widget: drawn off screen, sent as PNG, no pyplot.

Of eight ways to bring a figure into a notebook this had the shortest time from key press to picture: an Agg canvas,
Pillow's fastest compression, and while a control is dragged only the artists that move, on a kept background. The
picture also says where it is touched, in the figure's own coordinates (``picture.js``).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anywidget
import numpy as np
import traitlets
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DRAWING = threading.RLock()
"""Held while a figure is changed or drawn: matplotlib's settings and font cache are shared by all threads."""
FORMATS = ("pdf", "png", "svg")


Phase = Literal["down", "move", "up"]


@dataclass(frozen=True)
class Touch:
    """Where a pointer is, in data coordinates.

    Attributes:
        phase: "down", "move" (with the button held) or "up", the last place of a drag.
        axes: in which the pointer went down.
        x, y: in the coordinates of these axes, also outside of their limits.
    """

    phase: Phase
    axes: Axes
    x: float
    y: float


class Picture(anywidget.AnyWidget):
    """What a figure looks like now.

    Change the figure within ``changing``, then call ``draw`` or ``draw_moving``; both send one image.

    Arguments:
        figure: without a canvas of pyplot's; its size in pixels is figsize times dpi.
        moving: artists that change while a control is dragged. They are drawn last, above everything else.
        alt: what the picture shows, for those who cannot see it.
        on_touch: called with a ``Touch`` while a pointer is held down on one of the figure's axes.

    Attributes:
        value: the PNG.
    """

    # As text: anywidget would keep every widget of a file that it watches.
    _esm = Path(__file__).with_name("picture.js").read_text(encoding="utf-8")
    value = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    pixels = traitlets.Tuple((1, 1)).tag(sync=True)
    listens = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        figure: Figure,
        moving: list[Artist] | None = None,
        alt: str = "",
        on_touch: Callable[[Touch], None] | None = None,
    ) -> None:
        self.figure = figure
        self._canvas = FigureCanvasAgg(figure)
        self._background: Any = None
        self._moving: list[Artist] = []
        self._on_touch = on_touch
        self._touched: Axes | None = None
        super().__init__(alt=alt, pixels=self._canvas.get_width_height(), listens=on_touch is not None)
        self.add_class("dynlab-picture")
        self.on_msg(self._received)
        self.move(moving or [])
        self.draw()

    def _received(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        if content.get("kind") == "pointer":
            try:
                self.touch(content["phase"], content["x"], content["y"])
            finally:
                self.send({"kind": "seen"})

    def touch(self, phase: Phase, x: float, y: float) -> None:
        """As if a pointer were there: ``x`` from the left and ``y`` from the top, as shares of the picture."""
        with DRAWING:
            width, height = self._canvas.get_width_height()
            place = (x * width, (1 - y) * height)
            if phase == "down":
                within = [axes for axes in self.figure.axes if axes.get_visible() and axes.bbox.contains(*place)]
                self._touched = within[-1] if within else None
            axes = self._touched
            if phase == "up":
                self._touched = None
            if axes is None or self._on_touch is None:
                return
            across, up = axes.transData.inverted().transform(place)
        self._on_touch(Touch(phase, axes, float(across), float(up)))

    def move(self, artists: list[Artist]) -> None:
        """Say anew which artists move; ``draw`` comes next."""
        with DRAWING:
            for artist in self._moving:
                artist.set_animated(False)
            self._moving = list(artists)
            for artist in self._moving:
                artist.set_animated(True)
            self._background = None

    @contextmanager
    def changing(self) -> Iterator[Figure]:
        """The figure, for the thread that changes its artists."""
        with DRAWING:
            yield self.figure

    def draw(self) -> None:
        """Draw everything, ticks and titles too."""
        with DRAWING:
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(self.figure.bbox)
            self._finish()

    def draw_moving(self) -> None:
        """Draw the moving artists on what was there at the last ``draw``: axes and their limits stay as they are."""
        with DRAWING:
            if self._background is None:
                self.draw()
                return
            self._canvas.restore_region(self._background)
            self._finish()

    def _finish(self) -> None:
        renderer = self._canvas.get_renderer()
        for artist in sorted(self._moving, key=lambda artist: artist.get_zorder()):
            artist.draw(renderer)
        self.value = png(np.asarray(self._canvas.buffer_rgba()))

    def export(self, kind: str) -> bytes:
        """The figure as a file, "pdf", "png" or "svg".

        Raises:
            ValueError: for another format.
        """
        if kind not in FORMATS:
            raise ValueError(f"expected a format among {', '.join(FORMATS)}; got {kind!r}")
        file = io.BytesIO()
        with DRAWING:
            self.figure.savefig(file, format=kind)
            self._background = None  # savefig draws with settings of its own
        return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """(height, width, 4) uint8 as PNG, compressed for speed; figures are opaque."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()
