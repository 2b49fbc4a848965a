"""The comparison's figure, read back from its artists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dynlab
from dynlab.cells import registry
from dynlab.compare import compare
from dynlab.plots import cell_look, evgp_figure
from dynlab.tasks import get_task


@pytest.fixture(scope="module")
def tree():
    grow = dynlab.as_cell(lambda x, h: 100 * h + 1 + 0 * x[:, :1], input_size=8, state_size=3)
    cells = ["unicornn", "irnn:K=2", "irnn:K=5", "elman", ("mine", grow)]
    return compare(cells, get_task("digits"), hidden_size=6, steps=60, batch_size=3, seeds=(0, 1))


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines() if not line.get_label().startswith("_")}


def test_lines_are_means_in_decades(tree):
    left, right = evgp_figure(tree).axes
    assert list(lines(left)) == ["unicornn", "irnn:K=2", "irnn:K=5", "elman", "mine (overflow at 21)"]
    for spec in ("unicornn", "elman"):
        expected = tree[spec]["log_gradient_norm"].mean(("seed", "batch")) / math.log(10)
        np.testing.assert_allclose(lines(left)[spec].get_ydata(), expected)
        modulus = tree[spec]["log_end_to_end_modulus"].transpose("mode", ...).values.reshape(-1, 6) / math.log(10)
        drawn = np.asarray(lines(right)[spec].get_ydata())
        np.testing.assert_allclose(drawn[0], modulus[0].mean())
        assert np.isnan(drawn).sum() == (~np.isfinite(modulus).all(1)).sum()


def test_axes_hold_the_data_and_the_strip_is_the_verdicts(tree):
    left, right = evgp_figure(tree).axes
    for axis in (left, right):
        low, high = axis.get_ylim()
        data = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()])
        assert low <= np.nanmin(data) and np.nanmax(data) <= high
        ticks = axis.get_yticks()
        assert {-2, 0, 2} <= set(ticks)
        (strip,) = (patch for patch in axis.patches)
        assert strip.get_y() == pytest.approx(-2) and strip.get_height() == pytest.approx(4)
    assert left.get_xlabel() and left.get_ylabel() and right.get_xlabel() and right.get_ylabel()


def test_no_text_overlaps_another_or_leaves_the_figure(tree):
    figure = evgp_figure(tree, "a title")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [t for axis in figure.axes for t in (axis.title, axis.xaxis.label, axis.yaxis.label)]
    for axis in figure.axes:
        for along, low, high in ((axis.xaxis, *sorted(axis.get_xlim())), (axis.yaxis, *sorted(axis.get_ylim()))):
            # Tick labels outside the axis are not drawn.
            ticks = zip(along.get_ticklocs(), along.get_ticklabels(), strict=True)
            texts += [label for place, label in ticks if low <= place <= high]
    texts += [*figure.legends[0].get_texts(), figure._suptitle]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text() and t.get_visible()]
    for index, (name, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, name
        for other, beside in boxes[index + 1 :]:
            assert not box.overlaps(beside), (name, other)


def test_a_cell_that_overflows_at_once_is_named():
    burst = dynlab.as_cell(lambda x, h: h + torch.inf + 0 * x[:, :1], input_size=8, state_size=2)
    tree = compare([("burst", burst), "gru"], get_task("digits"), hidden_size=3, steps=5, batch_size=2)
    left, _ = evgp_figure(tree).axes
    assert list(lines(left)) == ["burst (state overflow)", "gru"]


def test_every_cell_has_a_look_of_its_own():
    looks = [str(sorted(cell_look(key).items(), key=str)) for key in registry]
    assert len(set(looks)) == len(registry)
    first, second = cell_look("irnn:K=1"), cell_look("irnn:K=5", occurrence=1)
    assert first["color"] == second["color"] and first["linestyle"] != second["linestyle"]
