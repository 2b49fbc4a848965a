"""iRNN Fig. 2: trajectories against loops in NumPy, measures and leaks against closed forms, claims, the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import load

figure = load("irnn_fig2")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=0)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_trajectories_are_those_of_loops():
    found = figure.trajectories(3, 30)
    random = np.random.default_rng(3)
    U, W, b, start = (
        random.normal(size=(2, 2)),
        random.normal(size=(2, 1)),
        random.normal(size=2),
        random.normal(size=2),
    )
    walk = np.cumsum(random.normal(size=30) * math.sqrt(10))
    small, large = sigmoid(-3), sigmoid(3)
    h = {name: start for name in ("RNN", "FastRNN", "FastRNN outside the cube", "iRNN")}
    for m, x in enumerate(walk, 1):
        new = {name: np.tanh(U @ state + W[:, 0] * x + b) for name, state in h.items()}
        g = h["iRNN"]
        for _ in range(5):
            s = g + h["iRNN"]
            g = g + np.float32(0.01) * (np.tanh(U @ s + W[:, 0] * x + b) - s)
        residual = np.linalg.norm(np.tanh(U @ (g + h["iRNN"]) + W[:, 0] * x + b) - (g + h["iRNN"]))
        assert float(found["residual"].sel(shown="iRNN", time=m)) == pytest.approx(residual, rel=1e-6)
        h = {
            "RNN": new["RNN"],
            "FastRNN": small * new["FastRNN"] + large * h["FastRNN"],
            "FastRNN outside the cube": large * (new["FastRNN outside the cube"] + h["FastRNN outside the cube"]),
            "iRNN": g,
        }
        for name, state in h.items():
            np.testing.assert_allclose(found["trajectory"].sel(shown=name, time=m), state, rtol=1e-6, atol=1e-9)


def test_measures_of_known_curves():
    angle = np.linspace(0, 2 * np.pi, 1001)
    length, cosine = figure._measures(np.stack([np.cos(angle), np.sin(angle)], 1))
    assert length == pytest.approx(2 * np.pi / np.sqrt(8), rel=1e-4)
    assert cosine == pytest.approx(math.cos(2 * np.pi / 1000), rel=1e-6)
    length, cosine = figure._measures(np.array([[0.0, 0], [1, 0]] * 50))
    assert length == pytest.approx(99) and cosine == pytest.approx(-1)


@pytest.mark.parametrize("name", ["RNN", "FastRNN", "iRNN", "iRNN, eta = 0.3", "iRNN, g_0 = 0", "FastRNN, leak 0.03"])
def test_leak_is_the_step_jacobian_without_u(data: xr.Dataset, name: str):
    options = {**figure.BASE, **figure._variants()[name]}
    cell = figure._build(options, np.zeros((2, 2)), np.ones((2, 1)), np.zeros(2))
    jacobian = torch.func.jacrev(lambda h: cell(torch.ones(1, 1, dtype=torch.float64), h[None])[0])(
        torch.ones(2).double()
    )
    leak = float(data["leak"].sel(variant=name))
    np.testing.assert_allclose(jacobian.detach(), (1 - leak) * np.eye(2), atol=1e-6)


LENGTHS = {"RNN": 20.0, "FastRNN": 20.0, "iRNN": 3.0, "iRNN, eta = 0.003": 2.0, "iRNN, eta = 1": 3.0}


def told(lengths: dict[str, float], start: float = 2.0, settled: float = 0.01) -> xr.Dataset:
    """Ten draws in which every variant has these lengths, or 4 where nothing is said."""
    names = list(figure._variants())
    path = np.array([lengths.get(name, 4.0) for name in names]) * np.linspace(0.9, 1.1, 10)[:, None]
    return xr.Dataset(
        {
            "path_length": (("draw", "variant"), path),
            "turning": (("draw", "variant"), np.full_like(path, 0.9)),
            "residual_start": (("draw", "variant"), np.full_like(path, start)),
            "residual_settled": (("draw", "variant"), np.full_like(path, settled)),
        },
        {"variant": names},
    )


CHECKS = dict(zip(("RNN", "FastRNN", "surface", "every eta"), figure.ITEM.claims, strict=True))


@pytest.mark.parametrize("claim", CHECKS)
def test_claims_hold_where_it_is_so(claim: str):
    assert CHECKS[claim].check(told(LENGTHS)).holds is True


@pytest.mark.parametrize(
    "claim, data",
    [
        ("RNN", told({**LENGTHS, "RNN": 5.0})),
        ("FastRNN", told({**LENGTHS, "FastRNN": 3.0})),
        ("surface", told(LENGTHS, settled=0.5)),
        ("every eta", told({**LENGTHS, "iRNN, eta = 1": 300.0})),
    ],
)
def test_claims_fail_where_it_is_not(claim: str, data: xr.Dataset):
    assert CHECKS[claim].check(data).holds is False


def test_rnn_claim_at_smoke(data: xr.Dataset):
    assert CHECKS["RNN"].check(data).holds is True


def test_drawn_are_the_trajectories_and_lengths(data: xr.Dataset):
    axes = figure.draw(data).axes
    assert len(axes) == 6 and [ax.get_title() for ax in axes[:1]] == ["RNN"]
    np.testing.assert_allclose(axes[0].lines[0].get_xydata(), data["trajectory"].isel(draw=0).sel(shown="RNN"))
    swept = axes[5].lines[0]
    assert axes[5].get_xscale() == axes[5].get_yscale() == "log"
    names = [*(f"FastRNN, leak {leak:g}" for leak in (0.01, 0.03, 0.1, 0.3)), "FastRNN", "RNN"]
    expected = np.exp(np.log(data["path_length"].sel(variant=names)).mean("draw"))
    np.testing.assert_allclose(np.sort(swept.get_ydata()), np.sort(expected))
