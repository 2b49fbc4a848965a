"""Places in the views: where an eigenvalue lies, which step stands for a time, when limits change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import dynlab
from dynlab.plots.style import cell_look
from dynlab.widgets.laboratory import Measured
from dynlab.widgets.views.base import Scene, at_time, looks
from dynlab.widgets.views.curves import GradientView
from dynlab.widgets.views.eigenvalues import EigenvalueView, squeeze
from dynlab.widgets.views.grid import VIEWS
from dynlab.widgets.views.panel import composed
from dynlab.widgets.views.phase import PhaseView

LINEAR = np.array([[0.8, 0.3], [-0.3, 0.8]])


def measured(weight=LINEAR, steps=9, spec="mine") -> Measured:
    matrix = torch.tensor(weight)
    cell = dynlab.as_cell(lambda x, h: h @ matrix.T + x, input_size=2, state_size=2)
    torch.manual_seed(0)
    probes = ["GradientNorm", dynlab.StepSpectrum(every=3), "EndToEndSpectrum", "PhasePortrait", "LyapunovSpectrum"]
    return Measured(spec, spec, dynlab.record(cell, torch.randn(steps, 2, 2).double(), probes))


@given(st.lists(st.floats(-319, 319), min_size=2, max_size=20))
def test_squeezing_keeps_the_order_and_the_unit_circle(decades):
    values = np.sort(np.array(decades))
    radius = squeeze(values)
    assert (np.diff(radius) >= 0).all() and (radius >= 0).all() and (radius <= 1).all()
    np.testing.assert_allclose(squeeze(-values), 1 - radius, atol=1e-12)
    assert squeeze(np.array(0.0)) == 0.5


def test_eigenvalues_lie_where_they_are():
    one = measured()
    view = EigenvalueView(Figure())
    scene = Scene((one,), time=5, steps=9)
    view.build(scene)
    view.update(scene)
    expected = np.linalg.eigvals(LINEAR)
    shown = np.array(view.points[0].get_data()).T @ [1, 1j]
    np.testing.assert_allclose(np.unique(shown.round(9)), np.unique(expected.round(9)))
    assert view.heading.get_text() == "step t = 4 (nearest measured)"
    view.update(Scene((one,), time=7, steps=9))
    assert view.heading.get_text() == "step t = 7"
    ends = np.array(view.ends[0].get_data()).T @ [1, 1j]
    whole = np.linalg.eigvals(np.linalg.matrix_power(LINEAR, 9))
    np.testing.assert_allclose(np.abs(ends), squeeze(np.log10(np.abs(whole)))[0], rtol=1e-9)
    angles = np.sort(np.unique(np.angle(whole).round(6)))
    np.testing.assert_allclose(np.sort(np.unique(np.angle(ends).round(6))), angles)


def test_unresolved_eigenvalues_are_counted_and_not_drawn():
    one = measured(np.diag([1.0, 1e-9]), 9)
    view = EigenvalueView(Figure())
    scene = Scene((one,), time=9, steps=9)
    view.build(scene)
    view.update(scene)
    assert len(view.ends[0].get_xdata()) == 2 and view.note.get_text() == "2 below rounding, not shown"


def test_at_time_finds_the_nearest_whatever_the_dim_is_called():
    values = xr.DataArray([1.0, 2.0, 3.0], dims="step_eigenvalue_transition")
    values = values.assign_coords(step_eigenvalue_transition=[1, 4, 7])
    assert [(float(found), when) for found, when in (at_time(values, t) for t in (0, 2, 6, 100))] == [
        (1, 1), (1, 1), (3, 7), (3, 7),
    ]  # fmt: skip
    assert at_time(xr.DataArray([1.0], dims="unit"), 3)[1] is None


def test_limits_are_held_until_the_data_leave_them():
    view = PhaseView(Figure())
    one = measured()
    scene = Scene((one,), time=0, steps=9)
    view.build(scene)
    view.update(scene)
    assert view.fit(scene) and not view.fit(scene)
    held = view.panels[0].get_xlim()
    plane = one.dataset.trajectory_plane

    def scaled(factor: float) -> Scene:
        data = one.dataset.assign(trajectory_plane=plane * factor)
        return Scene((Measured("mine", "mine", data),), time=0, steps=9)

    for factor, changes in ((0.9, False), (0.5, False), (1.5, True), (0.1, True)):
        view.update(scaled(factor))
        assert view.fit(scaled(factor)) == changes, factor
        view.fit(scene)
    assert view.panels[0].get_xlim() != held
    gradient = GradientView(Figure())
    gradient.build(scene)
    gradient.update(scene)
    assert gradient.fit(scene) and not gradient.fit(scene)


def test_cells_of_a_kind_differ_in_shade_and_dashes():
    found = looks([measured(spec=spec) for spec in ("irnn:K=1", "gru", "irnn:K=5", "irnn:K=9")])
    assert found[0] == cell_look("irnn") and found[1] == cell_look("gru")
    assert len({one["color"] for one in found}) == 4 and len({str(one["linestyle"]) for one in found[::2]}) == 2


@pytest.mark.parametrize("cells", [0, 1, 8])
def test_all_views_as_one_figure(cells, tmp_path):
    found = tuple(measured(spec=f"cell{index}") for index in range(cells))
    figure = composed(list(VIEWS.values()), Scene(found, pinned=found[:1], time=3, steps=9))
    figure.savefig(tmp_path / "all.png", dpi=50)
    legends = [legend for sub in figure.subfigs for legend in sub.legends]
    assert [text.get_text() for legend in legends for text in legend.get_texts()] == [one.label for one in found]
