"""iRNN's map: the gain against NumPy, claims that can fail, and the picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr

import dynlab
from dynlab.figures import load

figure = load("irnn_map")
EXPLAINED, ZERO, ENDS, IDENTITY, NEAR_ONE, BEFORE_ZERO = (claim.check for claim in figure.ITEM.claims)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


def made(factor: float = 1.0, trained_eta: float = 0.05, gaussian: float = 2.0, low_rank: float = 0.5) -> xr.Dataset:
    """The closed form, with eta multiplied by ``factor``, and settings whose distance from 1 is so many times K eta."""
    eta, K = np.geomspace(1e-3, 1, 61), np.array([1, 5, 50])
    keep = (1 - np.minimum(factor * eta[:, None], 1)) ** K
    gain = np.stack([2 * keep - 1, keep - 1])
    depths = [1.0, 3.0, 5.0, 10.0]
    rows = [(f"Gaussian U, K = {K:.0f} (section 3.1)", 0.01, K, 1 - gaussian * K * 0.01) for K in depths]
    rows += [(f"U = I + V H, K = {K:.0f} (section 3.2)", 0.01, K, 1 - low_rank * K * 0.01) for K in depths]
    rows += [("irnn:K=5 after 100 updates", trained_eta, 5.0, 2 * (1 - trained_eta) ** 5 - 1)]
    labels, etas, count, gains = zip(*rows, strict=True)
    dims = ("start", "eta", "K")
    return xr.Dataset(
        {
            "gain": (dims, gain),
            "closed_form": (dims, gain),
            "measured": (dims, np.full(gain.shape, 0.1)),
            "bound": (dims, np.full(gain.shape, 0.2)),
            "satisfied": (dims, np.ones(gain.shape, bool)),
            "setting_eta": ("setting", list(etas)),
            "setting_K": ("setting", list(count)),
            "setting_gain": ("setting", list(gains)),
            "setting_gain_spread": ("setting", [0.01] * len(rows)),
        },
        {"start": ["previous", "zero"], "eta": eta, "K": K, "setting": list(labels)},
        {"hyperparameters": json.dumps({"alpha": 1.0})},
    )


def test_the_gain_is_that_of_finite_differences(data: xr.Dataset):
    from dynlab.theory._subject import subject
    from dynlab.theory.irnn import GAUSSIAN, KEYS

    cell, inputs = subject(None, None, where="t", keys=KEYS, spec=GAUSSIAN, sizes=(2, 32), steps=2, batch=2, seed=1)
    U, W, b = (getattr(cell, name).detach().numpy() for name in ("weight_hh", "weight_ih", "bias"))
    with torch.no_grad():
        h, x = cell.scan(inputs)[-2].numpy(), inputs[-1].numpy()
    eta, K = float(data["eta"][8]), 5

    def step(state: np.ndarray, start: str) -> np.ndarray:
        g = state if start == "previous" else np.zeros_like(state)
        for _ in range(K):
            g = g + eta * (np.maximum(U @ (g + state) + W @ x[sample] + b, 0) - (g + state))
        return g

    for start in ("previous", "zero"):
        entries = []
        for sample in range(2):
            for unit in range(32):
                move = 1e-6 * np.eye(32)[unit]
                difference = step(h[sample] + move, start) - step(h[sample] - move, start)
                entries.append(difference[unit] / 2e-6)
        found = float(data["gain"].sel(start=start, K=K).isel(eta=8))
        assert found == pytest.approx(np.mean(entries), abs=1e-6)


def test_the_zero_of_the_closed_form():
    found = figure.crossings(made())
    np.testing.assert_allclose(found, [K * (1 - 0.5 ** (1 / K)) for K in (1, 5, 50)], rtol=2e-3)
    never = made().assign(gain=abs(made()["gain"]))
    assert np.isnan(figure.crossings(never)).all() and ZERO(never).holds is False


def test_claims_hold_where_it_is_so():
    one = made()
    assert [check(one).holds for check in (EXPLAINED, ZERO, ENDS, NEAR_ONE, BEFORE_ZERO)] == [True] * 5
    assert IDENTITY(one).holds is False
    assert IDENTITY(made(gaussian=-1, low_rank=-1)).holds is True


def test_claims_fail_where_it_is_not():
    assert EXPLAINED(made().assign(satisfied=made()["satisfied"] & (made()["eta"] < 0.5))).holds is False
    assert ZERO(made(factor=1.05)).holds is False
    assert ENDS(made(factor=4)).holds is False
    assert ENDS(made(factor=0.5)).holds is False
    assert NEAR_ONE(made(low_rank=1.5)).holds is False  # 0.85 at K = 10
    assert NEAR_ONE(made(gaussian=0.2)).holds is False
    assert BEFORE_ZERO(made(trained_eta=0.2)).holds is False


def test_at_smoke(data: xr.Dataset):
    assert EXPLAINED(data).holds is True and ENDS(data).holds is True and BEFORE_ZERO(data).holds is True
    assert IDENTITY(data).holds is False
    assert data.attrs["scale"] == "smoke" and data.attrs["seed"] == 1
    assert all("units" in data[name].attrs for name in ("gain", "closed_form", "setting_gain"))


def test_alpha_is_counted():
    one = dynlab.build_cell("irnn:K=2,alpha=0.8", 2, 3)
    other = made(factor=0.8).assign_attrs(hyperparameters=json.dumps(one.hyperparameters))
    assert ZERO(other).holds is True and ZERO(made(factor=0.8)).holds is False


def test_drawn_are_the_gains(data: xr.Dataset):
    drawn = figure.draw(data)
    below = next(axes for axes in drawn.axes if axes.get_ylabel() == "gain")
    lines = {line.get_label(): line for line in below.lines}
    for K in (1, 5, 50):
        expected = data["gain"].sel(start="previous", K=K)
        np.testing.assert_allclose(lines[f"map, K = {K}"].get_ydata(), expected)
        np.testing.assert_allclose(lines[f"map, K = {K}"].get_xdata(), K * data["eta"])
    trained = data["setting_gain"][[str(one).endswith("updates") for one in data["setting"].values]]
    stars = next(line for line in below.lines if line.get_marker() == "*")
    np.testing.assert_allclose(stars.get_ydata(), trained)
    titles = [axes.get_title() for axes in drawn.axes]
    assert titles[0].startswith("(a)") and titles[1].startswith("(b)")
