"""iRNN against its paper's equations, and the limits that have closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import root

from dynlab.cells import IncrementalRNN, SiRNN
from dynlab.jacobian.autodiff import linearize_by_autodiff

F, D, K, T = 3, 4, 3, 5
EYE = torch.eye(D, dtype=torch.float64)


def make(seed: int = 0, shift: float = 0.3, **options: object) -> IncrementalRNN:
    torch.manual_seed(seed)
    cell = IncrementalRNN(F, D, **{"K": K, **options}).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(shift * torch.randn_like(parameter))
    return cell


def contraction(norm: float = 0.5, **options: object) -> IncrementalRNN:
    """A cell with ||U|| = norm < alpha = 1, whose inner iteration converges."""
    cell = make(**{"eta": 0.1, "nonlinearity": "tanh", **options})
    with torch.no_grad():
        cell.weight_full.mul_(norm / torch.linalg.matrix_norm(cell.weight_full, 2))
        cell.eta.fill_(0.1)
    return cell


OPTIONS = list(
    itertools.product(
        ("relu", "tanh", "sigmoid"),
        ("full", "identity_plus_low_rank"),
        (False, True),
        ("previous", "zero"),
        (1, -1),
        (None, T),
    )
)


@pytest.mark.parametrize(("nonlinearity", "recurrent", "projection", "start", "sign", "eta_steps"), OPTIONS)
def test_every_option_against_autodiff(nonlinearity, recurrent, projection, start, sign, eta_steps):
    rank = None if recurrent == "full" else 2
    cell = make(
        nonlinearity=nonlinearity,
        recurrent=recurrent,
        rank=rank,
        projection=projection,
        start=start,
        sign=sign,
        eta_steps=eta_steps,
        alpha=0.8,
    )
    x, states = torch.randn(T, 2, F).double(), torch.randn(T, 2, D).double()
    ours = cell.linearization(x, states)
    for t in range(T):
        exact = linearize_by_autodiff(lambda u, s, t=t: cell.advance(cell.terms(u, t), s), x[t], states[t])
        by_state, by_input = exact.jacobian.to_dense().detach(), exact.drive.to_dense().detach()
        torch.testing.assert_close(ours.jacobian.to_dense()[t], by_state, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours.drive.to_dense()[t], by_input, rtol=1e-10, atol=1e-12)
        step = cell.step_jacobian(x[t], states[t], step=t + 1)
        torch.testing.assert_close(step.to_dense(), by_state, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours.jacobian.right(EYE.expand(T, 2, D, D))[t], by_state, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("start", ["previous", "zero"])
@pytest.mark.parametrize("sign", [1, -1])
def test_step_is_equation_5(start, sign):
    cell = make(alpha=0.7, start=start, sign=sign, nonlinearity="tanh")
    x, h = torch.randn(2, F).double(), torch.randn(2, D).double()
    g = h if start == "previous" else torch.zeros_like(h)
    for eta in cell.eta:
        total = g + sign * h
        pre = total @ cell.weight_full.T + x @ cell.weight_ih.T + cell.bias
        g = g + eta * (torch.tanh(pre) - 0.7 * total)
    torch.testing.assert_close(cell(x, h), g, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("recurrent", ["full", "identity_plus_low_rank"])
def test_projection_is_equation_9(recurrent):
    cell = make(K=1, projection=True, recurrent=recurrent, nonlinearity="tanh")
    x, h = torch.randn(2, F).double(), torch.randn(2, D).double()
    u = cell.weight_hh
    inside = 2 * h @ u.T + x @ cell.weight_ih.T + cell.bias
    expected = h + cell.eta[0] * (torch.tanh(inside @ u.T) - 2 * h)
    torch.testing.assert_close(cell(x, h), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("projection", [False, True])
def test_low_rank_equals_the_full_cell_of_the_same_u(projection):
    low = make(recurrent="identity_plus_low_rank", rank=2, projection=projection)
    torch.testing.assert_close(low.weight_hh, EYE + low.weight_v @ low.weight_h)
    full = make(projection=projection)
    with torch.no_grad():
        full.weight_full.copy_(low.weight_hh)
        for name in ("weight_ih", "bias", "eta"):
            getattr(full, name).copy_(getattr(low, name))
    x = torch.randn(T, 2, F).double()
    torch.testing.assert_close(low.scan(x), full.scan(x), rtol=1e-11, atol=1e-12)
    x, h = x[0], torch.randn(2, D).double()
    torch.testing.assert_close(low.step_jacobian(x, h).to_dense(), full.step_jacobian(x, h).to_dense())
    torch.testing.assert_close(low.input_jacobian(x, h), full.input_jacobian(x, h))


@pytest.mark.parametrize("steps", [1, 4, 30])
@pytest.mark.parametrize(("start", "factor"), [("previous", 2), ("zero", 1)])
def test_without_u_the_jacobian_is_a_multiple_of_i(steps, start, factor):
    cell = make(K=steps, start=start)
    with torch.no_grad():
        cell.weight_full.zero_()
        cell.eta.fill_(0.07)
    dense = cell.step_jacobian(torch.randn(2, F).double(), torch.randn(2, D).double()).to_dense()
    expected = (factor * (1 - 0.07) ** steps - 1) * EYE
    torch.testing.assert_close(dense, expected.expand(2, D, D), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 7])
def test_minus_sign_is_an_exact_accumulator(steps):
    cell = make(K=steps, sign=-1)
    x, h = torch.randn(2, F).double(), torch.randn(2, D).double()
    assert torch.equal(cell.step_jacobian(x, h).to_dense(), EYE.expand(2, D, D))
    torch.testing.assert_close(cell(x, h) - h, cell(x, torch.zeros_like(h)), rtol=1e-11, atol=1e-12)


def test_step_jacobian_tends_to_minus_i():
    x, h = torch.randn(2, F).double(), torch.randn(2, D).double()
    distances = []
    for steps in (40, 80, 160):
        dense = contraction(K=steps).step_jacobian(x, h).to_dense().detach()
        distances.append(torch.linalg.matrix_norm(dense + EYE, 2).max().item())
    # Each factor has norm <= 1 - eta (alpha - ||U||) = 0.95, and F_0 = 2 I.
    for steps, distance in zip((40, 80, 160), distances, strict=True):
        assert 0 < distance <= 2 * 0.95**steps
    assert distances[2] < 1e-3 * distances[0]


def test_inner_states_converge_linearly_to_the_root():
    cell = contraction(K=200)
    x, h = torch.randn(1, F).double(), torch.randn(1, D).double()
    term = cell.terms(x)

    def residual(g):
        return cell.residual(term, torch.from_numpy(g)[None], h)[0].detach().numpy()

    found = root(residual, np.zeros(D), tol=1e-14)
    assert found.success
    exact = torch.from_numpy(found.x)
    errors = [(g[0] - exact).norm().item() for g in cell.inner_states(term, h)]
    assert torch.equal(cell.inner_states(term, h)[-1], cell(x, h))
    assert errors[-1] < 1e-3 * errors[0]
    assert all(after <= 0.95 * before + 1e-12 for before, after in itertools.pairwise(errors))
    # One rate to the end: linear, neither faster nor stalled.
    assert errors[-1] / errors[-2] == pytest.approx(errors[-20] / errors[-21], rel=0.02)


@pytest.mark.parametrize("sign", [1, -1])
def test_equilibrium_jacobian_is_minus_i(sign):
    cell = contraction(K=700, sign=sign, start="zero")
    x, h = torch.randn(2, F).double(), torch.randn(2, D).double()
    equilibrium = cell(x, h).detach()
    assert cell.residual(cell.terms(x), equilibrium, h).abs().max() < 1e-12
    expected = (-sign * EYE).expand(2, D, D)
    torch.testing.assert_close(cell.equilibrium_jacobian(x, h, equilibrium), expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(cell.step_jacobian(x, h).to_dense(), expected, rtol=1e-9, atol=1e-9)


def test_a_singular_equilibrium_is_an_error():
    cell = make(alpha=1.0, nonlinearity="relu", recurrent="full")
    with torch.no_grad():
        cell.weight_full.copy_(EYE)
        cell.bias.fill_(100.0)
    h = torch.zeros(1, D).double()
    with pytest.raises(ValueError, match="regular"):
        cell.equilibrium_jacobian(torch.zeros(1, F).double(), h, h)


def test_etas_of_each_step():
    cell = make(eta_steps=T)
    assert cell.eta.shape == (T, K) and cell.time_varying
    x, state = torch.randn(T, 2, F).double(), torch.randn(2, D).double()
    states = cell.scan(x, state)
    for t in range(T):
        one = make()
        with torch.no_grad():
            one.load_state_dict({**cell.state_dict(), "eta": cell.eta[t]})
        state = one(x[t], state)
        torch.testing.assert_close(states[t + 1], state, rtol=1e-12, atol=1e-13)
    step = cell.time_steps()
    assert step.dims == ("time", "k") and torch.equal(step.values, cell.eta)


def test_a_sequence_longer_than_eta_steps():
    cell = make(eta_steps=T)
    x = torch.randn(T + 1, 2, F).double()
    with pytest.raises(ValueError, match=rf"at most eta_steps = {T} time steps, got a step {T + 1}"):
        cell.scan(x)
    with pytest.raises(ValueError, match="eta_steps"):
        cell(x[0], torch.zeros(2, D).double(), step=T + 1)
    assert cell.scan(x[:2]).shape == (3, 2, D)


def test_sirnn_is_one_inner_step():
    torch.manual_seed(0)
    single = SiRNN(F, D, nonlinearity="tanh")
    torch.manual_seed(0)
    general = IncrementalRNN(F, D, 1, nonlinearity="tanh")
    x = torch.randn(T, 2, F)
    assert torch.equal(single.scan(x), general.scan(x))
    assert SiRNN(F, D, K=1).K == 1
    with pytest.raises(ValueError, match="K = 1"):
        SiRNN(F, D, K=2)


def test_rank_belongs_to_low_rank_only():
    with pytest.raises(ValueError, match="rank only with"):
        IncrementalRNN(F, D, 1, rank=2)
    assert IncrementalRNN(F, 64, 1, recurrent="identity_plus_low_rank").weight_v.shape == (64, 8)
