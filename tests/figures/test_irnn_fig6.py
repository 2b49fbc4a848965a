"""iRNN Fig. 6: distances, roots and rates against NumPy, claims that can fail, and the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.cells import build_cell
from dynlab.figures import load

figure = load("irnn_fig6")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_distances_are_those_of_a_loop(phi: str):
    random = np.random.default_rng(0)
    d, eta = 6, 0.2
    U, W, x, h = (random.normal(size=shape) for shape in ((d, d), (d, 2), 2, d))
    U *= 0.5 / np.linalg.norm(U, 2)
    cell = build_cell(f"irnn:K=300,eta={eta},recurrent=full,nonlinearity={phi},start=zero", 2, d).double()
    with torch.no_grad():
        cell.weight_full.copy_(torch.from_numpy(U))
        cell.eta.fill_(eta)
    term = torch.from_numpy(W @ x)
    with torch.no_grad():
        distance, _, predicted, found, radius, size = figure._one(cell, term, torch.from_numpy(h), eta)
    function = np.tanh if phi == "tanh" else lambda a: np.maximum(a, 0)
    s = np.zeros(d)
    for _ in range(200):  # a contraction by 0.5
        s = function(U @ s + W @ x)
    total = U @ s + W @ x
    slope = 1 - np.tanh(total) ** 2 if phi == "tanh" else (total > 0).astype(float)
    A = np.eye(d) + eta * (slope[:, None] * U - np.eye(d))
    assert found and radius == pytest.approx(np.abs(np.linalg.eigvals(A)).max(), rel=1e-6)
    assert size == pytest.approx(np.linalg.norm(s - h), rel=1e-9)
    g, expected = np.zeros(d), []
    for _ in range(301):
        expected.append(np.linalg.norm(g - (s - h)))
        g = g + eta * (function(U @ (g + h) + W @ x) - (g + h))
    np.testing.assert_allclose(distance, expected, rtol=1e-4, atol=1e-12)
    near = np.isfinite(predicted) & (distance > 1e-9)
    assert near.sum() > 20
    np.testing.assert_allclose(predicted[near], distance[near], rtol=1e-3)


def test_bound_is_proposition_2s(data: xr.Dataset):
    one = data.sel(variant="eta = 0.5").isel(repeat=0)
    assert float(one["bound"]) == pytest.approx(1 - 0.5 + 0.5 * 0.5, rel=1e-6)
    assert np.isnan(float(data["bound"].sel(variant="U = I + V H").isel(repeat=0)))


def decaying(
    rate: float, bound: float = 0.95, radius: float = 0.9, residual: float = 0.9, wave: float = 0.0
) -> xr.Dataset:
    """A base that decays at a rate, in waves or not, and U = I + V H whose residual does at another."""
    k = np.arange(200)
    distance = np.exp(k * np.log(rate) + wave * np.sin(k / 5.0))[None, None, None]
    both = np.concatenate([distance, distance], axis=1)
    data = xr.Dataset(
        {
            "distance": (("repeat", "variant", "transition", "k"), both),
            "predicted": (("repeat", "variant", "transition", "k"), np.where(k >= 100, both, np.nan)),
            "residual": (("repeat", "variant", "transition", "k"), np.broadcast_to(residual**k, both.shape)),
            "found": (("repeat", "variant", "transition"), np.ones((1, 2, 1), bool)),
            "spectral_radius": (("repeat", "variant", "transition"), np.full((1, 2, 1), radius)),
            "root_size": (("repeat", "variant", "transition"), np.ones((1, 2, 1))),
            "norm_U": (("repeat", "variant"), [[0.5, 1.2]]),
            "eta": (("repeat", "variant"), [[0.1, 0.1]]),
            "bound": (("repeat", "variant"), [[bound, np.nan]]),
        },
        {"variant": ["base", "U = I + V H"]},
    )
    for name, values in zip(("rate", "straightness", "largest_ratio"), figure._rates(data), strict=True):
        data[name] = (("repeat", "variant", "transition"), values)
    return data


def test_rates_of_a_known_decay():
    data = decaying(0.9)
    assert float(data["rate"][0, 0, 0]) == pytest.approx(0.9, rel=1e-9)
    assert float(data["straightness"][0, 0, 0]) == pytest.approx(1)
    assert float(data["largest_ratio"][0, 0, 0]) == pytest.approx(0.9, rel=1e-9)


LINEAR, BOUNDED, THEORY, LOW_RANK = (claim.check for claim in figure.ITEM.claims)


def test_claims_hold_where_it_is_so():
    assert [claim.check(decaying(0.9)).holds for claim in figure.ITEM.claims] == [True] * 4


def test_claims_fail_where_it_is_not():
    assert LINEAR(decaying(0.9, wave=5.0)).holds is False
    assert LINEAR(decaying(1.001)).holds is False
    lost = decaying(0.9)
    assert LINEAR(lost.assign(found=~lost["found"])).holds is False
    assert BOUNDED(decaying(0.96)).holds is False
    assert THEORY(lost.assign(predicted=lost["predicted"] * 1.05)).holds is False
    assert LOW_RANK(decaying(0.9, residual=1.001)).holds is False


def test_contraction_at_smoke(data: xr.Dataset):
    assert LINEAR(data).holds is True and BOUNDED(data).holds is True
    assert LOW_RANK(data).holds is False


def test_drawn_are_the_distances_and_rates(data: xr.Dataset):
    left, middle, right = figure.draw(data).axes
    assert left.get_yscale() == right.get_yscale() == "log"
    base = data.sel(variant="base").isel(repeat=0).dropna("k", subset=["distance"])
    np.testing.assert_allclose(left.lines[0].get_ydata(), base["distance"].isel(transition=0))
    drawn = {line.get_label(): line for line in middle.lines}
    np.testing.assert_allclose(drawn["tanh"].get_ydata(), 1 - data["rate"].sel(variant="tanh").values.ravel())
