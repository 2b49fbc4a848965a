"""AntisymmetricRNN Fig. 1: paths against NumPy, fixed points against SciPy, claims that can fail, the picture."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import fsolve

from dynlab.figures import load

figure = load("antisymmetric_fig1")
STARTS = np.array([[0.0, 0.5], [-0.5, -0.5], [0.5, -0.75]])
CLAIMS = {claim.says[:3]: claim for claim in figure.ITEM.claims[:8]}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


@pytest.mark.parametrize("panel", "abcdefgh")
def test_paths_are_those_of_a_loop(data: xr.Dataset, panel: str):
    W = data["weight"].sel(panel=panel).values
    states = [STARTS]
    for _ in range(figure.STEPS):
        pushed = np.tanh(states[-1] @ W.T)
        states.append(pushed if panel in "abcd" else states[-1] + 0.1 * pushed)
    path = data["trajectory"].sel(panel=panel).transpose("time", "batch", "unit")
    np.testing.assert_allclose(path, np.stack(states), rtol=1e-10, atol=1e-12)


def test_matrices_are_the_papers(data: xr.Dataset):
    expected = {"b": [1, 1], "e": [2, 2], "f": [-2, -2], "g": [-2j, 2j], "h": [-0.15 - 2j, -0.15 + 2j]}
    for panel, values in expected.items():
        found = np.sort_complex(np.linalg.eigvals(data["weight"].sel(panel=panel).values))
        np.testing.assert_allclose(found, values, atol=1e-7)
    for panel, sign in (("c", 1), ("d", -1)):
        W = data["weight"].sel(panel=panel).values
        np.testing.assert_allclose(W @ W.T, np.eye(2), atol=1e-12)
        assert np.sign(np.linalg.det(W)) == sign


def test_fixed_points_are_scipys(data: xr.Dataset):
    W = data["weight"].sel(panel="a").values
    roots = [fsolve(lambda h: np.tanh(W @ h) - h, sign * np.ones(2), xtol=1e-13) for sign in (-1, 1)]
    np.testing.assert_allclose(data["fixed_point"], roots, atol=1e-4)


def test_field_is_the_odes(data: xr.Dataset):
    W = np.array(figure.MATRICES["h"])
    line, flow = data["field_line"].sel(field_panel="h").values, data["flow"].sel(field_panel="h").values
    for row, column in ((0, 0), (2, 5)):
        np.testing.assert_allclose(flow[row, column], np.tanh(W @ [line[column], line[row]]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_the_paper_says_is_seen(data: xr.Dataset, claim: str):
    assert CLAIMS[claim].check(data).holds is True


def test_proposition_2_is_missed_by_panel_h(data: xr.Dataset):
    found = figure.ring_needs_euler(data)
    assert found.holds is False and f"{abs(1 + 0.1 * (-0.15 + 2j)):.4f}" in found.value
    assert figure.ring_needs_euler(data.isel(control=[3, 4])).holds is True
    # A ring of Euler's making shrinks as |1 + eps lambda| falls, and is gone below 1.
    growth, radius = data["control_growth"].values, data["control_radius_max"].values
    assert radius[growth < 1].max() < 0.01 < radius[growth > 1].min()


def exchanged(data: xr.Dataset, panel: str, other: str) -> xr.Dataset:
    """``panel`` with what ``other`` does."""
    index = list(data["panel"].values).index(panel)
    panels = np.arange(data.sizes["panel"])
    panels[index] = list(data["panel"].values).index(other)
    return data.isel(panel=panels).assign_coords(panel=data["panel"])


@pytest.mark.parametrize("panel, other", ["ba", "ce", "de", "ef", "fg", "gf", "gh", "he", "hf"])
def test_claims_fail_on_other_dynamics(data: xr.Dataset, panel: str, other: str):
    assert CLAIMS[f"({panel})"].check(exchanged(data, panel, other)).holds is False


def test_one_fixed_point_is_not_two(data: xr.Dataset):
    assert figure.two_fixed_points(data.isel(fixed=[0])).holds is False
    assert figure.two_fixed_points(data.assign(fixed_point=0.5 * data["fixed_point"])).holds is False


def test_drawn_are_the_paths(data: xr.Dataset):
    axes = figure.draw(data).axes
    assert len(axes) == 8
    for ax, panel in zip(axes, "abcdefgh", strict=True):
        assert ax.get_title().startswith(f"({panel})")
        dots = ax.collections[-1].get_offsets()
        np.testing.assert_allclose(dots, data["trajectory"].sel(panel=panel).isel(batch=2).transpose("time", "unit"))
        assert len([line for line in ax.lines if line.get_marker() == "*"]) == 3
        low, high = ax.get_xlim()
        assert (dots[:, 0] >= low).all() and (dots[:, 0] <= high).all()


def test_another_seed_is_another_draw(data: xr.Dataset):
    # Panel (a) asks for two attractors: the next such draw.
    chosen = figure.choose(1, 400)
    assert chosen["a"][0] > 0 and not np.allclose(chosen["a"][1], data["weight"].sel(panel="a"))
