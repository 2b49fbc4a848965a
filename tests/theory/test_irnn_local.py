"""Theorem 2 and Corollary 1 against linear cells and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import root

from dynlab.theory.irnn_local import local_convergence, local_corollary

BOTH = pytest.mark.parametrize("check", [local_convergence, local_corollary])


@BOTH
def test_a_linear_iteration_has_one_factor(check, linear, noise):
    """F(z) = (c - 1) (z + h) + b: r = (1 + eta (c - 1)) F, and the distance shrinks by the same."""
    found = check(linear(0.3, eta=0.4), noise(4, 2))
    factor = 1 - 0.4 * 0.7
    np.testing.assert_allclose(found["measured"], factor, rtol=1e-8)
    np.testing.assert_allclose(found["forcing"], factor, rtol=1e-8)
    np.testing.assert_allclose(found["bound"], (1 + factor) / 2, rtol=1e-8)
    assert found.attrs["verdict"] == "holds"


@BOTH
def test_an_eta_that_oversteps_is_not_applicable_and_diverges(check, linear, noise):
    found = check(linear(0.3, eta=4.0), noise(3, 2))
    assert found.attrs["verdict"] == "not applicable"
    np.testing.assert_allclose(found["measured"], 4 * 0.7 - 1, rtol=1e-6)


def test_forcing_and_factor_of_a_curved_cell_by_numpy(seeded, noise):
    cell, inputs = seeded("irnn:K=2,recurrent=full,nonlinearity=tanh,eta=0.3", 2, 4), noise(1, 2, scale=2.0)
    with torch.no_grad():
        cell.weight_full.mul_(6)
        cell.eta.copy_(torch.tensor([0.2, 0.5]))
    found, corollary = local_convergence(cell, inputs), local_corollary(cell, inputs)
    weight, drive = cell.weight_full.detach().numpy(), (cell.weight_ih @ inputs[0, 0]).detach().numpy()

    def residual(z):
        return np.tanh(weight @ z + drive) - z

    def gradient(z):
        return (1 - np.tanh(weight @ z + drive) ** 2)[:, None] * weight - np.eye(4)

    there = root(residual, np.zeros(4), tol=1e-14).x
    # The iteration starts 1e-3 away in a direction of the seed's; near the root each factor is that of the linear map.
    generator = torch.Generator().manual_seed(0)
    away = torch.randn(1, 4, generator=generator, dtype=torch.float64)[0].numpy()
    z, norms = there + 1e-3 * away / np.linalg.norm(away), []
    for k in range(20):
        eta, f = (0.2, 0.5)[k % 2], residual(z)
        forcing = np.linalg.norm(f + eta * gradient(z) @ f) / np.linalg.norm(f)
        assert found["forcing"][0, k, 0].item() == pytest.approx(forcing, rel=1e-5)
        norms.append(np.linalg.norm(np.eye(4) + eta * gradient(z), 2))
        before = np.linalg.norm(gradient(there) @ (z - there))
        z = z + eta * f
        ratio = np.linalg.norm(gradient(there) @ (z - there)) / before
        assert found["measured"][0, k, 0].item() == pytest.approx(ratio, rel=1e-4)
    assert corollary["bound"].item() == pytest.approx((1 + max(norms)) / 2, rel=1e-6)
    assert found.attrs["verdict"] == corollary.attrs["verdict"] == "holds"


def test_the_corollary_says_nothing_of_i_plus_low_rank(seeded, noise):
    """I + eta (phi' (I + V H) - I) keeps what H does not see where phi' is 1."""
    cell = seeded("irnn:K=2,recurrent=identity_plus_low_rank,rank=1", 2, 5)
    with torch.no_grad():
        cell.bias.fill_(0.5)
        cell.weight_v.mul_(0.1)
    found = local_corollary(cell, noise(2, 2, scale=0.1))
    assert found.attrs["verdict"] == "not applicable"
    assert not found["hypothesis_holds"].sel(hypothesis="|I + eta grad F| < 1")
