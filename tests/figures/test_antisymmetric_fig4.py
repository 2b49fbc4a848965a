"""AntisymmetricRNN Fig. 4: paths against NumPy, growth against a closed form, claims that can fail, the picture."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load

figure = load("antisymmetric_fig4")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


def speeds() -> np.ndarray:
    """a = w_12 - w_21 of the draws."""
    draws = [np.random.RandomState(draw).standard_normal((2, 2)) for draw in range(1, 7)]
    return np.array([W[0, 1] - W[1, 0] for W in draws])


def test_paths_are_those_of_a_loop(data: xr.Dataset):
    for index, a in enumerate(speeds()):
        M = np.array([[-0.1, a], [-a, -0.1]])
        states = [np.array([[0.0, 0.5], [-0.5, -0.5], [0.5, -0.75]])]
        for _ in range(50):
            states.append(states[-1] + 0.1 * np.tanh(states[-1] @ M.T))
        one = data.isel(draw=index)
        np.testing.assert_allclose(one["weight"], M, atol=1e-12)
        np.testing.assert_allclose(one["trajectory"].transpose("time", "batch", "unit"), np.stack(states), atol=1e-10)


def test_growth_is_the_closed_form(data: xr.Dataset):
    np.testing.assert_allclose(figure.growth(data), np.hypot(1 - 0.1 * 0.1, 0.1 * speeds()), rtol=1e-9)


def test_rings_are_of_eulers_making(data: xr.Dataset):
    rings = figure.growth(data) > 1
    assert rings.any() and not rings.all()
    assert (data["late_radius_max"].values[rings] > 0.1).all()
    assert float(data["small_step_late_radius"].max()) < 1e-3


def test_what_the_paper_says_is_seen(data: xr.Dataset):
    verdicts = [claim.check(data).holds for claim in figure.ITEM.claims]
    assert verdicts == [True, True, True, True, False]


def test_spirals_that_turn_the_other_way_or_far(data: xr.Dataset):
    mirrored = data.assign(trajectory=data["trajectory"] * xr.DataArray([1, -1], dims="unit"))
    assert figure.same_spiral(mirrored).holds is False
    far = data.assign(trajectory=data["trajectory"] * (1 + 0.1 * data["time"]))
    assert figure.same_spiral(far).holds is False


def test_more_predictable(data: xr.Dataset):
    assert figure.more_predictable(data.assign(wobble=data["vanilla_wobble"])).holds is False
    names = {"period", "attractors", "late_radius_max"}
    same = data.assign({f"vanilla_{name}": data[name] for name in names})
    assert figure.more_predictable(same).holds is False


def test_fate_by_eigenvalues(data: xr.Dataset):
    rings = figure.growth(data) > 1
    slow = data["weight"].where(~rings[:, None, None], data["weight"] * 0.1)
    assert figure.fate_by_eigenvalues(data.assign(weight=slow)).holds is False


def test_remembers(data: xr.Dataset):
    exploding = data.assign(log_gradient_norm=data["log_gradient_norm"] + 5)
    assert figure.remembers(exploding).holds is False
    assert figure.remembers(data.assign(vanilla_log_gradient_norm=data["log_gradient_norm"])).holds is False


def test_prop2(data: xr.Dataset):
    slow = data.isel(draw=figure.growth(data) <= 1)
    assert figure.prop2(slow).holds is True


def test_drawn_are_the_paths_and_the_field(data: xr.Dataset):
    axes = [ax for ax in figure.draw(data).axes if ax.get_visible()]
    assert len(axes) == 6
    for index, ax in enumerate(axes):
        assert f"{abs(speeds()[index]):.2f}" in ax.get_title()
        arrows, first = ax.collections[:2]
        assert arrows.N == data.sizes["flow_row"] ** 2
        expected = data["trajectory"].isel(draw=index, batch=0).transpose("time", "unit")
        np.testing.assert_allclose(first.get_offsets(), expected)
