"""A matplotlib figure as an image widget: drawn off screen, sent as PNG, no pyplot.

Of eight ways to bring a figure into a notebook this had the shortest time from key press to picture: an Agg canvas,
Pillow's fastest compression, and while a control is dragged only the artists that move, on a kept background.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DRAWING = threading.RLock()
"""Held while a figure is changed or drawn: matplotlib's settings and font cache are shared by all threads."""
FORMATS = ("pdf", "png", "svg")


class Picture(ipywidgets.Image):
    """What a figure looks like now.

    Change the figure within ``changing``, then call ``draw`` or ``draw_moving``; both send one image.

    Arguments:
        figure: without a canvas of pyplot's; its size in pixels is figsize times dpi.
        moving: artists that change while a control is dragged. They are drawn last, above everything else.
        tooltip: what the picture shows, for those who cannot see it.
    """

    def __init__(self, figure: Figure, moving: list[Artist] | None = None, tooltip: str = "") -> None:
        self.figure = figure
        self._canvas = FigureCanvasAgg(figure)
        self._background: Any = None
        self._moving: list[Artist] = []
        width, height = self._canvas.get_width_height()
        super().__init__(format="png", tooltip=tooltip, layout={"width": f"{width}px", "max_width": "100%"})
        self.move(moving or [])
        self.draw()

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
    """(height, width, 4) uint8 as PNG, compressed for speed."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
