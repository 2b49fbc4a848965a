"""iRNN's map over eta and K against autodiff and its closed form; norms of U."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dynlab
from dynlab.theory.irnn_map import closed_form, gain, jacobian_map, norm_of_experiments

SMALL = {"grid": (0.01, 0.2, 1.0), "depths": (1, 4)}


@pytest.fixture
def alone(monkeypatch):
    """Without the settings, where they are not asked about."""
    monkeypatch.setattr("dynlab.theory.irnn_map.settings", lambda seed, cells, depths=(): {})


@pytest.fixture(scope="module")
def default():
    return jacobian_map(**SMALL)


def test_where_u_is_zero_the_map_is_its_closed_form(alone):
    cell = dynlab.build_cell("irnn:K=2,recurrent=full,alpha=0.8", 2, 4)
    torch.nn.init.zeros_(cell.weight_full)
    found = jacobian_map(cell, **SMALL)
    np.testing.assert_allclose(found["measured"], 0, atol=1e-14)
    for eta in SMALL["grid"]:
        for K in SMALL["depths"]:
            keep = (1 - 0.8 * eta) ** K
            for start, expected in (("previous", 2 * keep - 1), ("zero", keep - 1)):
                here = found.sel(start=start, eta=eta, K=K)
                assert here["gain"].item() == pytest.approx(expected, abs=1e-14)
                assert here["closed_form"].item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_measured_distance_is_that_of_autodiff(sign, seeded, noise, alone):
    spec = f"irnn:recurrent=full,nonlinearity=tanh,sign={sign}"
    cell, inputs = seeded(f"{spec},K=3", 2, 4), noise(2, 2)
    with torch.no_grad():
        cell.weight_full.mul_(8)
    found = jacobian_map(cell, inputs, **SMALL)
    state = cell.scan(inputs)[1, 0]
    for start in ("previous", "zero"):
        for eta in SMALL["grid"]:
            for K in SMALL["depths"]:
                other = dynlab.build_cell(f"{spec},K={K},eta={eta},start={start}", 2, 4).double()
                for name in ("weight_full", "weight_ih", "bias"):
                    setattr(other, name, getattr(cell, name))
                torch.nn.init.constant_(other.eta, eta)  # again, in double precision
                jacobian = torch.func.jacrev(lambda h, other=other: other(inputs[1], h[None])[0])(state).detach()
                form = ((start == "previous") + sign) * (1 - eta) ** K - sign
                distance = float(torch.linalg.matrix_norm(jacobian - form * torch.eye(4, dtype=torch.float64), 2))
                here = found.sel(start=start, eta=eta, K=K)
                assert here["measured"].item() == pytest.approx(distance, rel=1e-9, abs=1e-13)
                assert here["gain"].item() == pytest.approx(float(jacobian.diagonal().mean()), rel=1e-9)
    assert found.attrs["verdict"] == "holds"


def test_the_gradient_is_zero_at_k_eta_of_ln_2():
    K = 1000
    eta = torch.full((K,), math.log(2) / K, dtype=torch.float64)
    assert abs(float(closed_form(eta, 1.0, "previous"))) < 1e-3
    assert float(closed_form(eta / 100, 1.0, "previous")) > 0.98
    assert float(closed_form(eta * 20, 1.0, "previous")) < -0.99


def test_a_phi_that_is_not_1_lipschitz_is_noticed(linear, noise, alone):
    cell = linear(0.5)
    cell.phi_derivative = lambda a: torch.full_like(a, 3.0)
    assert jacobian_map(cell, noise(2, 2), **SMALL).attrs["verdict"] == "not applicable"


def test_settings_lie_where_the_paper_puts_them(default):
    at = {str(label): index for index, label in enumerate(default["setting"].values)}
    for K in (1, 3, 5, 10):
        gaussian = default.isel(setting=at[f"Gaussian U, K = {K} (section 3.1)"])
        low_rank = default.isel(setting=at[f"U = I + V H, K = {K} (section 3.2)"])
        # phi' (I + V H) with about half of the units on: A = 1 - eta (1 - phi'), so between the two closed forms.
        assert gaussian["setting_gain"].item() == pytest.approx(2 * 0.99**K - 1, abs=2e-3)
        assert 2 * 0.99**K - 1 < low_rank["setting_gain"].item() < 1
        assert gaussian["setting_eta"].item() == pytest.approx(0.01) and int(gaussian["setting_K"]) == K
    trained = [label for label in at if label.endswith("after 100 updates")]
    assert len(trained) == 3
    assert all(abs(default["setting_eta"][at[label]].item() - 0.01) > 1e-3 for label in trained)
    assert default.attrs["verdict"] == "holds"


def test_the_gain_is_that_of_the_step_jacobians(seeded, noise):
    cell, inputs = seeded("irnn:K=2,recurrent=full,eta=0.3", 2, 4), noise(5, 2)
    states = cell.scan(inputs)
    dense = [
        torch.func.jacrev(lambda h, x=x: cell(x, h[None])[0])(state[0]).detach().numpy()
        for x, state in zip(inputs, states[:-1], strict=True)
    ]
    mean, spread, rms = gain(cell, inputs)
    diagonals = np.stack([one.diagonal() for one in dense])
    assert mean == pytest.approx(diagonals.mean(), rel=1e-12)
    assert spread == pytest.approx(diagonals.std(ddof=1), rel=1e-9)
    values = np.stack([np.linalg.svd(one, compute_uv=False) for one in dense])
    assert rms == pytest.approx(math.sqrt((values**2).mean()), rel=1e-12)


def test_a_given_cell_is_among_the_settings(default):
    cell = dynlab.build_cell("irnn:K=7,recurrent=full,eta=0.3", 2, 4)
    found = jacobian_map(cell, **SMALL)
    assert found.sizes["setting"] == default.sizes["setting"] + 1
    here = found.isel(setting=[str(one) == "the given cell" for one in found["setting"].values])
    assert here["setting_K"].item() == 7 and here["setting_eta"].item() == pytest.approx(0.3)


@pytest.mark.parametrize(("factor", "verdict"), [(0.99, "holds"), (1.01, "fails")])
def test_the_norm_of_a_given_cell(factor, verdict):
    cell = dynlab.build_cell("irnn:K=2,recurrent=full,alpha=0.7", 2, 6).double()
    with torch.no_grad():
        cell.weight_full.mul_(factor * 0.7 / np.linalg.norm(cell.weight_full.numpy(), 2))
    found = norm_of_experiments(cell)
    assert found["measured"].item() == pytest.approx(factor * 0.7, rel=1e-9)
    assert found["bound"].item() == 0.7 and found.attrs["verdict"] == verdict


def test_the_norms_of_the_papers_settings():
    """Section 3.2's I + V H is outside of what Props. 1, 2 and Theorem 1 ask for, from the start."""
    found = norm_of_experiments()
    norms = dict(zip(found["setting"].values.tolist(), found["measured"].values.tolist(), strict=True))
    assert norms["Gaussian U, K = 5 (section 3.1)"] < 1 < norms["U = I + V H, K = 5 (section 3.2)"]
    assert found.attrs["verdict"] == "fails"
