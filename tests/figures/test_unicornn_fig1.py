"""UnICORNN Fig. 1: connections against Eq. (6) by finite differences, the orbit by hand, claims, the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.cells import UnICORNN
from dynlab.figures import load

figure = load("unicornn_fig1")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=2)


def test_connections_of_the_first_layer_by_hand(data: xr.Dataset):
    torch.manual_seed(2)
    layers = [UnICORNN(3 if index else 2, 3, 0.126, 13.0).double() for index in range(3)]
    inputs = torch.randn(60, 1, 2, dtype=torch.float64)
    state = torch.randn(6, dtype=torch.float64).numpy()
    V, w, b = (getattr(layers[0], name).detach().numpy() for name in ("weight_ih", "weight_hh", "bias"))
    h = 0.126 / (1 + np.exp(-layers[0].c.detach().numpy()))
    y = state[:3]
    slope = 1 - np.tanh(w * y + V @ inputs[-1, 0].numpy() + b) ** 2
    # z' = z - h (tanh(w y + V u + b) + alpha y), y' = y + h z'.
    of_y = -h * (slope * w + 13)
    np.testing.assert_allclose(data["drive"].sel(layer=0)[:, :2], np.abs(h**2 * slope)[:, None] * np.abs(V), rtol=1e-9)
    expected = np.max(np.abs([1 + h * of_y, h, of_y, np.ones(3)]), axis=0)
    np.testing.assert_allclose(np.diag(data["step"].sel(layer=0)), expected, rtol=1e-9)


def test_orbit_is_symplectic_eulers(data: xr.Dataset):
    random = np.random.default_rng(2)
    w, b, (y, z) = random.uniform(0, 1), random.normal(), (0.4, 0.0)
    for n in range(1, 61):
        z -= 0.126 * (np.tanh(w * y + b) + 13 * y)
        y += 0.126 * z
        np.testing.assert_allclose(data["orbit"].isel(time=n), [y, z], rtol=1e-9, atol=1e-12)
    at = data["energy"].isel(y=3, z=4)
    ys, zs = float(at["y"]), float(at["z"])
    # Eq. (4), less its value at rest.
    expected = 6.5 * ys**2 + zs**2 / 2 + (np.log(np.cosh(w * ys + b)) - np.log(np.cosh(b))) / w
    assert float(at) == pytest.approx(expected, rel=1e-9)


def test_claims_hold(data: xr.Dataset):
    assert [claim.check(data).holds for claim in figure.ITEM.claims] == [True] * 4


def test_claims_fail_on_other_networks(data: xr.Dataset):
    dense, apart, back, level = (claim.check for claim in figure.ITEM.claims)
    assert dense(data.assign(drive=data["drive"].where(data["source"] != 1, 0))).holds is False
    assert apart(data.assign(step=data["step"] + 1e-12)).holds is False
    assert apart(data.assign(step=0 * data["step"])).holds is False
    assert back(data.assign(error=data["error"] + 1e-6)).holds is False
    assert level(data.assign(swing=data["swing"] ** 0)).holds is False


def test_a_line_for_every_connection(data: xr.Dataset):
    network, plane = figure.draw(data).axes
    dense = [line for line in network.lines if line.get_linewidth() == 0.6]
    assert len(dense) == 3 * (3 * 2 + 3 * 3 + 3 * 3)
    arrows = [patch for patch in network.patches if hasattr(patch, "get_arrowstyle")]
    assert len(arrows) == 2 * 2 * 3 * 3
    orbit = {line.get_label(): line for line in plane.lines}["onwards, Eq. (6)"]
    np.testing.assert_allclose(orbit.get_xydata(), data["orbit"][:60])
    fewer = data.assign(drive=data["drive"].where(data["source"] != 1, 0))
    assert len([line for line in figure.draw(fewer).axes[0].lines if line.get_linewidth() == 0.6]) < len(dense)
