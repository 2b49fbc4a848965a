"""What is sent is what the figure shows; moving artists are drawn on the kept background and nowhere else."""

from __future__ import annotations

import gc
import io
import threading
import weakref

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from dynlab.widgets.picture import Picture


def shown(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.value)).convert("RGB")).astype(int)


def made():
    figure = Figure(figsize=(3, 2), dpi=100)
    axes = figure.subplots()
    (line,) = axes.plot([0, 1], [0, 1], color="red", lw=3)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure, axes, line


def plain(figure: Figure) -> np.ndarray:
    """The figure as savefig has it, at the same size."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def test_it_shows_the_figure_whether_artists_move_or_not():
    figure, _, line = made()
    picture = Picture(figure)
    assert shown(picture).shape == (200, 300, 3)
    np.testing.assert_array_equal(shown(picture), plain(figure))
    picture.move([line])
    picture.draw()
    assert np.abs(shown(picture) - plain(figure)).mean() < 1.0, "the line lies above the spines now, and is there"
    assert (shown(picture)[..., 0] - shown(picture)[..., 1] > 200).sum() > 200


def test_moving_artists_leave_no_trace():
    figure, axes, line = made()
    picture = Picture(figure, [line])
    first = picture.value
    for slope in (0.5, 0.1):
        with picture.changing():
            line.set_ydata([0, slope])
        picture.draw_moving()
        moved = shown(picture)
        picture.draw()
        np.testing.assert_array_equal(moved, shown(picture))
    with picture.changing():
        line.set_ydata([0, 1])
    picture.draw_moving()
    assert picture.value == first
    with picture.changing():
        axes.set_title("later")
    picture.draw_moving()
    assert picture.value == first, "only what moves is drawn"
    picture.draw()
    assert picture.value != first


@pytest.mark.parametrize(("kind", "begins"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_files_have_the_moving_artists(kind, begins):
    figure, _, line = made()
    picture = Picture(figure, [line])
    before = picture.value
    assert picture.export(kind).startswith(begins)
    picture.draw_moving()
    assert picture.value == before
    if kind == "png":
        pixels = np.asarray(Image.open(io.BytesIO(picture.export("png"))).convert("RGB")).astype(int)
        assert (pixels[..., 0] - pixels[..., 1] > 200).sum() > 100


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="among pdf, png, svg; got 'gif'"):
        Picture(made()[0]).export("gif")


def test_five_hundred_moves_keep_no_figures_and_no_artists():
    figure, axes, line = made()
    picture = Picture(figure, [line])
    picture.draw_moving()
    artists = len(figure.findobj())
    for number in range(500):
        with picture.changing():
            line.set_ydata([0, number / 500])
        picture.draw_moving()
    assert len(figure.findobj()) == artists
    assert pyplot.get_fignums() == []
    gone = weakref.ref(figure)
    picture.close()
    del figure, axes, line, picture
    gc.collect()
    assert gone() is None


def test_threads_may_draw_at_once():
    pictures = [Picture(figure, [line]) for figure, _, line in (made() for _ in range(4))]
    errors = []

    def work(picture: Picture) -> None:
        try:
            for number in range(20):
                with picture.changing() as figure:
                    figure.axes[0].lines[0].set_ydata([0, number / 20])
                picture.draw() if number % 2 else picture.draw_moving()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(picture,)) for picture in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == [] and len({picture.value for picture in pictures}) == 1
