"""AntisymmetricRNN Fig. 5: the driven paths against a loop in NumPy, claims that can fail, and the picture."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load

figure = load("antisymmetric_fig5")
STARTS = np.array([[0.0, 0.5], [-0.5, -0.5], [0.5, -0.75]])


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=5)


@pytest.mark.parametrize("panel", "efgh")
def test_paths_are_those_of_a_loop(data: xr.Dataset, panel: str):
    W = np.array(figure.MATRICES[panel])
    inputs = np.random.default_rng(5).standard_normal((50, 16, 1, 2))
    for scale in (0.0, 1.0, 2.0):
        state = np.broadcast_to(STARTS, (16, 3, 2))
        distances = [np.linalg.norm(state, axis=-1)]
        turned = np.zeros((16, 3))
        for x in inputs:
            new = state + 0.1 * np.tanh(state @ W.T + scale * x)
            cross = state[..., 0] * new[..., 1] - state[..., 1] * new[..., 0]
            turned += np.arctan2(cross, (state * new).sum(-1))
            state = new
            distances.append(np.linalg.norm(state, axis=-1))
        chosen = data.sel(panel=panel, input_scale=scale)
        found = chosen["distance"].transpose("time", "realisation", "batch")
        np.testing.assert_allclose(found, np.stack(distances), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(chosen["turns"].transpose("realisation", "batch"), turned / (2 * np.pi), atol=1e-5)


def driven(grow: dict[str, float], scatter: float = 0.0, turns: float = 1.0) -> xr.Dataset:
    """Distances that change by these factors over the run, but for a scatter that the input of scale 1 brings."""
    time = np.linspace(0, 1, 51)
    radius = np.linalg.norm(STARTS, axis=-1)
    ripple = np.linspace(-1, 1, 8)[:, None, None] * scatter * np.sin(np.pi * time)[:, None]
    distance = np.stack(
        [
            np.stack([radius * factor ** time[:, None] * np.exp(ripple * scale) for scale in (0.0, 1.0)])
            for factor in grow.values()
        ]
    )
    return xr.Dataset(
        {
            "distance": (("panel", "input_scale", "realisation", "time", "batch"), distance),
            "turns": (("panel", "input_scale", "realisation", "batch"), np.full((len(grow), 2, 8, 3), turns)),
        },
        {"panel": list(grow), "input_scale": [0.0, 1.0]},
    )


AS_PUBLISHED = {"e": 10.0, "f": 1e-3, "g": 1.5, "h": 1.05}
CHECKS = {"e": figure.away, "f": figure.to_origin, "g": figure.outward_spirals, "h": figure.constant_distance}


@pytest.mark.parametrize("panel", "efgh")
def test_claims_hold_where_it_is_so(panel: str):
    assert CHECKS[panel](driven(AS_PUBLISHED)).holds is True


@pytest.mark.parametrize("panel, factor", [("e", 1.2), ("f", 0.9), ("g", 0.8), ("h", 2.0)])
def test_claims_fail_where_it_is_not(panel: str, factor: float):
    assert CHECKS[panel](driven({**AS_PUBLISHED, panel: factor})).holds is False


def test_spirals_turn_one_way():
    assert figure.outward_spirals(driven(AS_PUBLISHED, turns=-1.0)).holds is False


def test_distance_that_the_input_scatters_is_not_constant():
    found = figure.constant_distance(driven(AS_PUBLISHED, scatter=0.8))
    assert found.holds is False and "0: 1.05 to 1.05" in found.why


def test_drawn_are_a_path_and_the_distances(data: xr.Dataset):
    axes = figure.draw(data).axes
    assert len(axes) == 8
    by_title = {ax.get_title()[:3]: ax for ax in axes if ax.get_title()}
    for panel in "efgh":
        dots = by_title[f"({panel})"].collections[1].get_offsets()
        path = data["trajectory"].sel(panel=panel).isel(batch=0).transpose("time", "unit")
        np.testing.assert_allclose(dots, path)
    below = axes[axes.index(by_title["(e)"]) + 4]
    median = data["distance"].sel(panel="e", input_scale=1.0).isel(batch=0).median("realisation")
    np.testing.assert_allclose(below.lines[0].get_ydata(), median, rtol=1e-5)
    assert below.get_xlabel() == "time step t"
