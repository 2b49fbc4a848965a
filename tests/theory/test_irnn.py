"""iRNN's propositions against linear cells, NumPy and autodiff."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynlab
from dynlab.theory.irnn import contraction, identity_gradient, linear_rate, recurrent_norm

LOW_RANK = "irnn:K=5,recurrent=identity_plus_low_rank,rank=2"


@pytest.mark.parametrize("c", [0.5, -0.7])
def test_a_linear_step_contracts_by_exactly_the_factor(c, linear, noise):
    """T(g) - T(g') = (1 - eta + eta c) (g - g'): for c > 0 the bound is attained."""
    found = contraction(linear(c), noise(6, 2))
    np.testing.assert_allclose(found["measured"].values, 1 - 0.05 + 0.05 * c, rtol=1e-10)
    np.testing.assert_allclose(found["bound"].values, 1 - 0.05 + 0.05 * abs(c), rtol=1e-12)
    assert found.attrs["verdict"] == "holds"


@pytest.mark.parametrize("options", ["K=3,projection=true,eta_steps=6", "K=2,sign=-1"])
def test_the_largest_ratio_is_below_the_norm_of_numpys_step(options, seeded, noise):
    cell, inputs = seeded(f"irnn:{options},recurrent=full,nonlinearity=tanh", 3, 6), noise(6, 3)
    with torch.no_grad():
        cell.weight_full.mul_(20)
        cell.eta.copy_(torch.linspace(0.01, 0.3, cell.eta.numel()).view_as(cell.eta))
    found = contraction(cell, inputs)
    weight = cell.weight_full.detach().numpy()
    weight = weight @ weight if cell.projection else weight
    norm = np.linalg.svd(weight, compute_uv=False)[0]
    assert recurrent_norm(cell) == pytest.approx(norm, rel=1e-12)
    eta = cell.eta.detach().numpy() if cell.eta.dim() == 2 else np.tile(cell.eta.detach().numpy(), (6, 1))
    np.testing.assert_allclose(found["bound"].values, 1 - eta + eta * norm, rtol=1e-12)
    # No pair can be closer after the step than the smallest singular value of (1 - eta) I + eta phi' U allows.
    assert (found["measured"] >= (1 - eta - eta * norm)[..., None]).all() and bool(found["satisfied"].all())


def test_contraction_with_u_above_alpha_is_not_applicable_and_can_break(linear, seeded, noise):
    found = contraction(linear(1.5), noise(4, 2))
    assert found.attrs["verdict"] == "not applicable" and float(found["measured"].min()) > 1
    assert contraction(seeded(LOW_RANK, 3, 8), noise(4, 3)).attrs["verdict"] == "not applicable"


def test_an_eta_beyond_one_over_alpha_breaks_the_bound(linear, noise):
    """The proof writes |1 - eta alpha| as 1 - eta alpha: at eta = 3 the factor is |1 - 3 + 1.5|, the bound -0.5."""
    found = contraction(linear(0.5, eta=3.0), noise(4, 2))
    assert found.attrs["verdict"] == "not applicable" and not found["satisfied"].any()
    assert not found["hypothesis_holds"].sel(hypothesis="eta alpha <= 1 (in the proof)")


@pytest.mark.parametrize("check", [contraction, linear_rate, identity_gradient])
def test_a_phi_that_is_not_1_lipschitz_is_noticed(check, linear, noise):
    cell = linear(0.5)
    cell.phi, cell.phi_derivative = (lambda a: 3 * a), (lambda a: torch.full_like(a, 3.0))
    found = check(cell, noise(4, 2))
    assert not found["hypothesis_holds"].sel(hypothesis="phi is 1-Lipschitz")
    assert found.attrs["verdict"] == "not applicable"
    assert not found["satisfied"].all()  # 1 - eta + 3 eta c is above 1 - eta + eta c


def test_the_linear_rate_of_a_linear_cell(linear, noise):
    """g_k - h_eq = (1 - eta + eta c)^k (g_0 - h_eq), and h_eq = (W x + b) / (1 - c) - h."""
    c, cell, inputs = 0.4, linear(0.4, K=8), noise(3, 2)
    found = linear_rate(cell, inputs)
    rate = 1 - 0.05 * (1 - c)
    states = cell.scan(inputs).detach().numpy()
    drive = inputs.numpy() @ cell.weight_ih.detach().numpy().T + cell.bias.detach().numpy()
    for m in found["transition"].values:
        start = states[m - 1] - (drive[m - 1] / (1 - c) - states[m - 1])
        expected = np.linalg.norm(start, axis=-1) * rate ** np.arange(9)
        np.testing.assert_allclose(found["measured"].sel(transition=m)[:, 0], expected, rtol=1e-7)
    np.testing.assert_allclose(found["rate"], rate, rtol=1e-7)
    np.testing.assert_allclose(found["bound"], found["measured"], rtol=1e-7)
    assert found.attrs["verdict"] == "holds"


def test_as_printed_it_is_false_for_one_step(linear, noise):
    assert not linear_rate(linear(0.4, K=1), noise(3, 2))["as_printed"].any()
    assert linear_rate(linear(0.4, K=3), noise(3, 2))["as_printed"].all()


def test_the_linear_rate_is_not_applicable_to_u_above_alpha(linear, noise):
    assert linear_rate(linear(1.2), noise(3, 2)).attrs["verdict"] == "not applicable"


@pytest.mark.parametrize("options", [{}, {"start": "zero"}, {"sign": -1}, {"start": "zero", "sign": -1}])
def test_theorem_1s_error_is_that_of_autodiff(options, seeded, noise):
    given = "".join(f",{name}={value}" for name, value in options.items())
    spec = f"irnn:recurrent=full,nonlinearity=tanh,eta=0.2{given}"
    cell, inputs = seeded(f"{spec},K=3", 2, 5), noise(4, 2)
    with torch.no_grad():
        cell.weight_full.mul_(5)
    found = identity_gradient(cell, inputs, depths=(1, 10))
    states = cell.scan(inputs)
    for depth in (1, 3, 10):
        deep = dynlab.build_cell(f"{spec},K={depth}", 2, 5).double()
        for name in ("weight_full", "weight_ih", "bias"):
            setattr(deep, name, getattr(cell, name))
        for m in found["transition"].values:
            one = torch.func.jacrev(lambda h, deep=deep, m=m: deep(inputs[m - 1], h[None])[0])(states[m - 1, 0])
            error = torch.linalg.matrix_norm(one + options.get("sign", 1) * torch.eye(5, dtype=torch.float64), 2)
            measured = found["measured"].sel(transition=m, K=depth).item()
            assert measured == pytest.approx(float(error.detach()), rel=1e-10, abs=1e-13)
    assert found.attrs["verdict"] == "holds"


def test_theorem_1_of_a_linear_cell_attains_its_bound(linear, noise):
    found = identity_gradient(linear(0.6), noise(2, 2), depths=(1, 50))
    np.testing.assert_allclose(found["measured"][..., 0], found["bound"], rtol=1e-12)
    np.testing.assert_allclose(found["bound"].sel(K=50), 2 * (1 - 0.05 * 0.4) ** 50, rtol=1e-12)
    assert found.attrs["verdict"] == "not applicable"  # ReLU is not continuously differentiable


def test_theorem_1_says_nothing_of_u_as_i_plus_low_rank(seeded, noise):
    found = identity_gradient(seeded(f"{LOW_RANK},nonlinearity=tanh", 2, 8), noise(2, 2), depths=(1, 200))
    assert found.attrs["verdict"] == "not applicable"
    assert not found["hypothesis_holds"].sel(hypothesis="||U|| < alpha")


def test_theorem_1_at_the_papers_settings():
    """At eta = 0.01 and K = 5 the step is nowhere near -I; it takes hundreds of inner steps."""
    found = identity_gradient(steps=1)
    assert found.attrs["verdict"] == "holds"
    assert float(found["measured"].sel(K=5).min()) > 1.8 and float(found["measured"].sel(K=1000).max()) < 1e-3
