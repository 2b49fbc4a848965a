"""UnICORNN Fig. 7: the norms are the network's, the bound is Eq. (12), claims can fail, the drawing shows the data."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load
from dynlab.tasks import get_task
from dynlab.training import Settings
from dynlab.training.network import build_network

figure = load("unicornn_fig7")
folder = os.environ.get("DYNLAB_DATA_DIR")
needs_cifar = pytest.mark.skipif(
    not folder or not (Path(folder) / "cifar10_subset.npz").is_file(),
    reason="needs cifar10_subset.npz under DYNLAB_DATA_DIR",
)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=2)


def made(drop: np.ndarray, constant: np.ndarray) -> xr.Dataset:
    """A dataset of two seeds with these norms (update,) in every layer, but for a small scatter."""
    scatter = 0.001 * np.arange(6).reshape(1, 2, 1, 3)
    norms = np.stack([drop, constant])[:, None, :, None] + scatter
    return xr.Dataset(
        {
            "weight_norm": (("schedule", "seed", "update", "layer"), norms),
            "input_weight_norm": (("schedule", "seed", "layer"), np.full((2, 2, 3), 1.5)),
            "test_accuracy": (("schedule", "seed"), np.full((2, 2), 0.2)),
        },
        {
            "schedule": ["drop", "constant"],
            "seed": [0, 1],
            "update": np.linspace(0, 600, drop.size),
            "layer": [1, 2, 3],
        },
        {"updates": 600, "alpha": figure.ALPHA, "dt": figure.DT, "steps": 1000, "scale": "laptop"},
    )


TIME = np.linspace(0, 1, 31)
LINEAR = 1 + TIME
SATURATED = np.where(TIME < 0.5, 1 + TIME, 1.5 + 0.1 * (TIME - 0.5))
EXPLODED = np.exp(6 * TIME)


@needs_cifar
def test_norms_begin_with_the_networks(data: xr.Dataset):
    settings = {**figure.SCALES["smoke"], "seed": 2, "probes": ()}
    settings.pop("seeds")
    network = build_network(Settings(**settings), get_task(settings["task"]))
    expected = [float(cell.weight_hh.detach().numpy().__abs__().max()) for cell in network.layers]
    for schedule in ("drop", "constant"):
        np.testing.assert_allclose(data["weight_norm"].sel(schedule=schedule, seed=2, update=0), expected, rtol=1e-6)
    # Up to the drop the two are one training, bit for bit.
    half = data["weight_norm"].sel(update=slice(0, data.attrs["updates"] / 2))
    assert bool((half.sel(schedule="drop") == half.sel(schedule="constant")).all())
    end = data["weight_norm"].isel(update=-1)
    assert bool((end.sel(schedule="drop") != end.sel(schedule="constant")).any())


@needs_cifar
def test_what_is_kept(data: xr.Dataset):
    assert data["weight_norm"].sizes == {"schedule": 2, "seed": 1, "update": 5, "layer": 3}
    assert list(data["update"].values) == [0, 2, 4, 6, 8]
    assert data.attrs["steps"] == 40 and data.attrs["seed"] == 2
    assert figure.finite_bound(data).holds is True


def test_paper_scale_is_the_preset():
    from dynlab.training import find_preset

    values, ours = find_preset("unicornn-cifar10").values, {**figure.SCALES["paper"], "schedule": figure.DROP}
    shared = set(values) & set(ours)
    assert {name: ours[name] for name in shared} == {name: values[name] for name in shared}
    assert set(values) - shared == {"optimizer", "select"} and values["optimizer"] == "adam"
    assert ours["seeds"] == 10


def test_an_explosion_is_noticed():
    assert figure.no_explosion(made(SATURATED, LINEAR)).holds is True
    assert figure.no_explosion(made(EXPLODED, LINEAR)).holds is False
    assert figure.no_explosion(made(np.where(TIME > 0.9, np.inf, SATURATED), LINEAR)).holds is False


def test_saturation():
    assert figure.saturation(made(SATURATED, LINEAR)).holds is True
    assert figure.saturation(made(LINEAR, LINEAR)).holds is False
    # Norms that fall as fast as they rose have not saturated.
    assert figure.saturation(made(1 + 0.5 - abs(TIME - 0.5), LINEAR)).holds is False


def test_the_drop_is_blamed_only_where_its_absence_matters():
    assert figure.on_account_of_the_rate(made(SATURATED, LINEAR)).holds is True
    assert figure.on_account_of_the_rate(made(SATURATED, SATURATED)).holds is False


def test_the_bound_is_eq_12():
    """Against the formula written out in rational numbers, where every square root is one of a square."""
    # alpha = 2, dt = 1/2, N = 2: T = 1, beta = 16; growth = 33 is no square, so the roots are taken in floats.
    alpha, dt, steps, w, V = 2.0, 0.5, 2, 1.0, [3.0, 0.5]
    gamma = Fraction(3) + Fraction(9, 2)
    F = 1.0 * 33
    delta = 2 + 66**0.5 + 4 * 1.0 * 33
    expected = float(Fraction(3, 2) * (1 + 2 * gamma)) * 3 * (1 + F) * delta
    assert 10 ** figure.log_gradient_bound(w, V, alpha, dt, steps) == pytest.approx(expected)


def test_a_bound_of_infinite_weights_is_not_finite():
    good = made(SATURATED, LINEAR)
    assert figure.finite_bound(good).holds is True
    good["input_weight_norm"][0, 1, 2] = np.inf
    assert figure.finite_bound(good).holds is False


def test_drawn_are_means_and_bands():
    data = made(SATURATED, LINEAR)
    drawn = figure.draw(data)
    axes = drawn.axes
    assert [one.get_title() for one in axes] == ["layer 1", "layer 2", "layer 3"]
    for one, layer in zip(axes, (1, 2, 3), strict=True):
        drop, constant, half = one.lines
        norms = data["weight_norm"].sel(layer=layer)
        np.testing.assert_allclose(drop.get_ydata(), norms.sel(schedule="drop").mean("seed"))
        np.testing.assert_allclose(constant.get_ydata(), norms.sel(schedule="constant").mean("seed"))
        assert list(half.get_xdata()) == [300, 300]
        assert len(one.collections) == 2
    assert "n = 2" in drawn.legends[0].get_title().get_text()
