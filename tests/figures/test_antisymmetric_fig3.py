"""AntisymmetricRNN Fig. 3: draws and paths against NumPy, the classification on maps that are known, the claims."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load, planar

figure = load("antisymmetric_fig3")
STARTS = np.array([[0.0, 0.5], [-0.5, -0.5], [0.5, -0.75]])


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


def test_draws_and_paths_are_those_of_a_loop(data: xr.Dataset):
    for index, draw in enumerate(range(1, 7)):
        W = np.random.RandomState(draw).standard_normal((2, 2))
        states = [STARTS]
        for _ in range(50):
            states.append(np.tanh(states[-1] @ W.T))
        one = data.isel(draw=index)
        np.testing.assert_allclose(one["weight"], W)
        np.testing.assert_allclose(one["trajectory"].transpose("time", "batch", "unit"), np.stack(states), atol=1e-10)
        first = np.diff(np.stack(states), axis=0)
        expected = np.sqrt((np.diff(first, axis=0) ** 2).sum() / (first**2).sum())
        assert float(one["wobble"]) == pytest.approx(expected, rel=1e-9)


def test_gradient_is_the_product_of_the_steps(data: xr.Dataset):
    one = data.isel(draw=3)
    W, path = one["weight"].values, one["trajectory"].isel(batch=1).transpose("time", "unit").values
    product = np.eye(2)
    for state in path[1:]:
        product = (1 - state**2)[:, None] * W @ product
    expected = np.log(np.linalg.norm(product) / np.sqrt(2))
    assert float(one["log_gradient_norm"].isel(batch=1, time=0)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "matrix, kind",
    [
        ([[0.5, 0], [0, 0.3]], "origin"),
        ([[1.5, 0], [0, 0.3]], "2 fixed points"),
        ([[1.5, 0], [0, 1.4]], "4 fixed points"),
        ([[-1.5, 0], [0, 0.3]], "one 2-cycle"),
        ([[0, 1.5], [-1.5, 0]], "one 4-cycle"),
        ([[1.2 * np.cos(1), -1.2 * np.sin(1)], [1.2 * np.sin(1), 1.2 * np.cos(1)]], "ring"),
    ],
)
def test_kinds_of_known_maps(matrix: list[list[float]], kind: str):
    """Decoupled units have a pitchfork or flip at slope 1; four quadrants of a product have an attractor each."""
    found = planar.ends(planar.vanilla(matrix), 2000)
    if kind == "one 4-cycle":
        # (h1, h2) -> (tanh 1.5 h2, -tanh 1.5 h1): signs go round in four steps.
        assert int(found["period"]) == 4
    else:
        assert planar.kind(found) == kind


def made(periods: list[int], attractors: list[int], wobble: float, radius: list[float]) -> xr.Dataset:
    """Draws that end as told; every W has a spectral radius that goes with it."""
    count = len(periods)
    return xr.Dataset(
        {
            "period": ("draw", periods),
            "attractors": ("draw", attractors),
            "late_radius_max": ("draw", [0.0 if one < 1 else 0.9 for one in radius]),
            "wobble": ("draw", np.full(count, wobble)),
            "log_gradient_norm": (("draw", "time", "batch"), np.full((count, 2, 3), -20.0)),
            "scaled_late_radius_max": ("draw", np.zeros(count)),
            "weight": (("draw", "row", "column"), [one * np.eye(2) for one in radius]),
        },
        {"draw": 1 + np.arange(count)},
    )


GOOD = {"periods": [1, 1, 2, 2], "attractors": [1, 2, 1, 2], "wobble": 1.0, "radius": [0.5, 1.5, 1.5, 1.5]}


def test_collapse():
    assert figure.collapse(made(**GOOD)).holds is True
    found = figure.collapse(made(**{**GOOD, "periods": [1, 0, 2, 2]}))
    assert found.holds is False and "Draws 2" in found.why


def test_erratic():
    assert figure.erratic(made(**GOOD)).holds is True
    assert figure.erratic(made(**{**GOOD, "wobble": 0.2})).holds is False
    assert figure.erratic(made(**{**GOOD, "periods": [1, 1, 1, 1], "attractors": [1, 2, 2, 2]})).holds is False


def test_fate_by_eigenvalues():
    data = made(**GOOD)
    assert figure.fate_by_eigenvalues(data).holds is True
    alive = data.assign(late_radius_max=data["late_radius_max"] + 0.5)
    assert figure.fate_by_eigenvalues(alive).holds is False


def test_drawn_are_the_paths(data: xr.Dataset):
    axes = [ax for ax in figure.draw(data).axes if ax.get_visible()]
    assert len(axes) == 6
    kinds = planar.kinds(data)
    for index, ax in enumerate(axes):
        assert ax.get_title() == f"{index + 1}: {kinds[index]}"
        expected = data["trajectory"].isel(draw=index, batch=0).transpose("time", "unit")
        np.testing.assert_allclose(ax.collections[0].get_offsets(), expected)
