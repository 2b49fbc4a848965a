"""Pictures of findings, read back from their artists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import dynlab
from dynlab.plots.theory import bound_overlay, gamma_along_trace, theory_figure
from dynlab.theory import Hypothesis, finding
from dynlab.theory.antisymmetric_gamma import needed_gamma
from dynlab.theory.irnn import identity_gradient
from dynlab.theory.irnn_map import jacobian_map
from dynlab.theory.parameter_counts import antisymmetric_counts


def made(measured, bound=1.0, relation="<=", tolerance=0.0, coords=None):
    measured = xr.DataArray(
        measured, dims=("K", "batch")[: np.ndim(measured)], coords=coords,
        attrs={"long_name": "a thing", "units": "nat"},
    )  # fmt: skip
    return finding(
        key="key-1", reference="r", statement="thing <= 1", relation=relation, bound=bound, measured=measured,
        hypotheses=(Hypothesis("h", True),), tolerance=tolerance,
    )  # fmt: skip


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}


def drawn(found):
    ax = Figure().subplots()
    bound_overlay(found, ax)
    return ax


def test_the_bound_is_laid_over_the_worst_of_the_measured():
    values = np.array([[0.1, 0.5], [0.2, 1.5], [0.3, 0.4]])
    ax = drawn(made(values, coords={"K": [1, 10, 100]}))
    artists = lines(ax)
    assert list(artists["measured"].get_xdata()) == [1, 10, 100]
    assert list(artists["measured"].get_ydata()) == [0.5, 1.5, 0.4]
    assert list(artists["upper bound"].get_ydata()) == [1, 1, 1]
    assert (list(artists["broken"].get_xdata()), list(artists["broken"].get_ydata())) == ([10], [1.5])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 0.1 and band[:, 1].max() == 1.5
    assert ax.get_xscale() == "log" and ax.get_yscale() == "linear"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("K", "a thing (nat)")


def test_of_a_lower_bound_the_worst_is_the_least():
    artists = lines(drawn(made([[2.0, 3.0], [0.5, 4.0]], relation=">=")))
    assert list(artists["measured"].get_ydata()) == [2.0, 0.5] and list(artists["broken"].get_ydata()) == [0.5]
    assert "lower bound" in artists


def test_what_only_the_tolerance_keeps_is_shown_with_it():
    artists = lines(drawn(made([1.0, 1.01], tolerance=0.02)))
    assert list(artists["with its tolerance"].get_ydata()) == [1.02] * 2
    assert "with its tolerance" not in lines(drawn(made([0.9, 0.8], tolerance=0.02)))


def test_named_places_are_rows():
    ax = drawn(made([0.5, 1.5, 0.7], coords={"K": ["one", "two", "three"]}))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two", "three"]
    artists = lines(ax)
    assert list(artists["measured, broken"].get_xdata()) == [1.5] and list(artists["measured"].get_ydata()) == [0, 2]
    assert ax.yaxis_inverted() and ax.get_xlabel() == "a thing (nat)"


def test_values_beyond_float_range_do_not_break_it():
    found = made([0.5, np.inf, np.nan])
    assert found.attrs["verdict"] == "fails"
    assert list(lines(drawn(found))["broken"].get_xdata()) == [1, 2]


def test_a_dim_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"bound_overlay: expected a dim among \('K',\), got 'eta'"):
        bound_overlay(made([0.5, 0.7]), Figure().subplots(), "eta")
    assert theory_figure(made(0.5)) is None


def test_gamma_along_the_trace_against_the_cells():
    cell = dynlab.build_cell("antisymmetric:epsilon=0.1,gamma=0.02", 2, 5)
    found = needed_gamma(cell, steps=6)
    ax = Figure().subplots()
    gamma_along_trace(found, ax)
    artists = lines(ax)
    np.testing.assert_array_equal(artists["smallest gamma, each transition"].get_ydata(), found["gamma_along_trace"])
    assert set(artists["the cell's gamma"].get_ydata()) == {0.02}
    assert set(artists["smallest gamma, all of them"].get_ydata()) == {float(found["gamma_along_trace"].max())}
    low, high = ax.get_ylim()
    assert low == 0 and high > float(found["gamma_along_trace"].max())


def test_transitions_for_which_no_gamma_does_are_marked(rotation):
    found = needed_gamma(rotation(11.0, 0.1, gamma=0.5), torch.zeros(3, 1, 2, dtype=torch.float64))
    ax = Figure().subplots()
    gamma_along_trace(found, ax)
    assert list(lines(ax)["no gamma does"].get_xdata()) == [1, 2, 3]
    assert "smallest gamma, all of them" not in lines(ax)


@pytest.fixture(scope="module")
def mapped():
    return jacobian_map(grid=np.geomspace(1e-3, 1, 12).tolist(), depths=(1, 3, 5, 10, 20))


def test_the_map_has_the_gain_its_zero_and_the_settings(mapped):
    figure = theory_figure(mapped)
    left, right = figure.axes[:2]
    (mesh,) = (one for one in left.collections if type(one).__name__ == "QuadMesh")
    expected = mapped["gain"].sel(start="previous").transpose("K", "eta").values
    np.testing.assert_allclose(np.ravel(mesh.get_array()), expected.ravel())
    # The line of zero: K log(1 - eta) = -log 2.
    contour = next(one for one in left.collections if type(one).__name__ == "QuadContourSet")
    eta, K = contour.get_paths()[0].vertices.T
    np.testing.assert_allclose(K * -np.log1p(-eta), np.log(2), rtol=0.25)
    marks = [one for one in left.collections if type(one).__name__ == "PathCollection" and one.get_array() is not None]
    shown = np.concatenate([one.get_array() for one in marks])
    np.testing.assert_allclose(np.sort(shown), np.sort(mapped["setting_gain"].values))
    assert not any(type(one).__name__ == "QuadContourSet" for one in right.collections)


@pytest.mark.parametrize("which", ["theorem", "gamma", "counts", "map"])
def test_no_text_overlaps_another_or_leaves_the_figure(which, mapped):
    found = {
        "theorem": lambda: identity_gradient(steps=1),
        "gamma": lambda: needed_gamma(dynlab.build_cell("antisymmetric", 1, 4), steps=5),
        "counts": antisymmetric_counts,
        "map": lambda: mapped,
    }[which]()
    figure = theory_figure(found)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [figure._suptitle] if figure._suptitle else []
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    for legend in legends:
        texts += [*legend.get_texts(), legend.get_title()]
    for ax in (ax for ax in figure.axes if ax.get_label() != "<colorbar>"):
        texts += [ax.title, ax.xaxis.label, ax.yaxis.label]
        for along, low, high in ((ax.xaxis, *sorted(ax.get_xlim())), (ax.yaxis, *sorted(ax.get_ylim()))):
            ticks = [tick for tick in along.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text() and t.get_visible()]
    for index, (name, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, name
        for other, beside in boxes[index + 1 :]:
            assert not box.overlaps(beside), (name, other)
