"""UnICORNN against its paper's equations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from dynlab.cells import UnICORNN
from dynlab.jacobian.autodiff import linearize_by_autodiff

UNITS = 4
SEEDS = st.integers(0, 2**31 - 1)


def make(seed: int = 0, **options: float) -> UnICORNN:
    torch.manual_seed(seed)
    cell = UnICORNN(3, UNITS, **options).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter))
    return cell


def test_step_is_equation_6():
    cell = make(dt=0.3, alpha=2.0)
    x, state = torch.randn(2, 3).double(), torch.randn(2, 2 * UNITS).double()
    y, z = state[:, :UNITS], state[:, UNITS:]
    h = 0.3 / (1 + torch.exp(-cell.c))
    new_z = z - h * (torch.tanh(cell.weight_hh * y + x @ cell.weight_ih.T + cell.bias) + 2 * y)
    torch.testing.assert_close(cell(x, state), torch.cat([y + h * new_z, new_z], 1), rtol=1e-13, atol=1e-14)


def test_blocks_are_equation_21():
    cell = make(dt=0.4, alpha=3.0)
    x, state = torch.randn(6, 3).double(), torch.randn(6, 2 * UNITS).double()
    y = state[:, :UNITS]
    h = 0.4 * torch.sigmoid(cell.c)
    force = cell.weight_hh / torch.cosh(cell.weight_hh * y + x @ cell.weight_ih.T + cell.bias) ** 2 + 3
    blocks = cell.linearization(x, state).jacobian.blocks
    torch.testing.assert_close(blocks[:, 0, 0], (1 - h**2 * force).detach())
    torch.testing.assert_close(blocks[:, 0, 1], h.expand_as(y).detach())
    torch.testing.assert_close(blocks[:, 1, 0], (-h * force).detach())
    torch.testing.assert_close(blocks[:, 1, 1], torch.ones_like(y))
    dense = (
        linearize_by_autodiff(lambda x, s: cell.advance(cell.input_term(x), s), x, state).jacobian.to_dense().detach()
    )
    apart = dense.unflatten(1, (2, UNITS)).unflatten(-1, (2, UNITS))
    torch.testing.assert_close(apart.diagonal(dim1=2, dim2=4), blocks, rtol=1e-12, atol=1e-14)
    assert apart.abs().sum() == pytest.approx(float(apart.diagonal(dim1=2, dim2=4).abs().sum()))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, dt=st.floats(1e-3, 2.0), alpha=st.floats(0, 20))
def test_determinant_is_one(seed, dt, alpha):
    cell = make(seed % 1000, dt=dt, alpha=alpha)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, generator=generator).double()
    state = torch.randn(5, 2 * UNITS, generator=generator).double()
    jacobian = cell.linearization(x, state).jacobian
    (a, b), (c, d) = (row.unbind(1) for row in jacobian.blocks.unbind(1))
    rounding = 8 * torch.finfo(torch.float64).eps * (1 + (a * d).abs() + (b * c).abs())
    assert ((a * d - b * c - 1).abs() <= rounding).all()
    assert torch.equal(jacobian.log_determinant(), torch.zeros(5, UNITS).double())


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_inverse_is_equation_7(seed):
    cell = make(seed % 1000, dt=0.2, alpha=1.0)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(30, 2, 3, generator=generator).double()
    states = cell.scan(x, torch.randn(2, 2 * UNITS, generator=generator).double())
    state = states[-1]
    for t in reversed(range(30)):
        state = cell.inverse(x[t], state)
        torch.testing.assert_close(state, states[t], rtol=1e-9, atol=1e-9)


def test_energy_is_equation_4():
    cell = make(dt=0.3, alpha=2.0)
    x, state = torch.randn(7, 3).double(), torch.randn(7, 2 * UNITS).double()
    y, z, w = state[:, :UNITS], state[:, UNITS:], cell.weight_hh
    drive = x @ cell.weight_ih.T + cell.bias
    naive = y**2 + z**2 / 2 + torch.log(torch.cosh(w * y + drive)) / w
    torch.testing.assert_close(cell.energy(x, state), naive, rtol=1e-11, atol=1e-11)
    at_rest = torch.log(torch.cosh(drive)) / w
    torch.testing.assert_close(cell.energy(x, state, from_rest=True), naive - at_rest, rtol=1e-11, atol=1e-11)


def test_energy_does_not_overflow():
    cell = make()
    with torch.no_grad():
        cell.bias.fill_(1e4)
    assert torch.isfinite(cell.energy(torch.zeros(1, 3).double(), torch.ones(1, 2 * UNITS).double())).all()


@pytest.mark.parametrize("w", [0.0, 1e-300, 1e-12, 1e-8, 5.9e-6, 6.2e-6, 1e-4, -1e-5, 0.3])
def test_energy_from_rest_is_continuous_in_w(w):
    """The potential is the integral of the force tanh(w s + u) from 0 to y."""
    cell = make(dt=0.3, alpha=2.0)
    with torch.no_grad():
        cell.weight_hh.fill_(w)
    x, state = torch.randn(1, 3).double(), torch.randn(1, 2 * UNITS).double()
    y, z = state[0, :UNITS], state[0, UNITS:]
    drive = (x @ cell.weight_ih.T + cell.bias)[0]
    for unit, energy in enumerate(cell.energy(x, state, from_rest=True)[0].tolist()):
        u = drive[unit].item()
        work = quad(lambda s, u=u: math.tanh(w * s + u), 0, float(y[unit]), epsabs=1e-13)[0]
        assert energy == pytest.approx(float(y[unit] ** 2 + z[unit] ** 2 / 2) + work, rel=1e-9, abs=1e-9)
    if w == 0:
        assert torch.equal(cell.energy(x, state), cell.energy(x, state, from_rest=True))


@pytest.mark.parametrize("w", [4e-3, -2e-3, 6e-3])
def test_energy_keeps_its_digits_in_float32(w):
    cell = make(alpha=0.0)
    with torch.no_grad():
        cell.weight_hh.fill_(w)
    x, state = torch.randn(50, 3), 2 * torch.randn(50, 2 * UNITS)
    state[:, UNITS:] = 0
    exact = cell.energy(x.double(), state.double(), from_rest=True)
    rounded = cell.float().energy(x, state, from_rest=True).double()
    # Below eps^(1/3) = 0.0049 the series is used; above it the difference loses a few digits.
    torch.testing.assert_close(rounded, exact, rtol=0, atol=1e-5 if abs(w) < 0.0049 else 5e-4)


def test_energy_is_kept_to_first_order():
    """Symplectic Euler keeps H up to O(h) for all time; a plain Euler step lets it grow."""
    spread = []
    for dt in (0.02, 0.01):
        cell = make(dt=dt, alpha=1.0)
        states = cell.scan(torch.zeros(4000, 1, 3).double(), torch.ones(1, 2 * UNITS).double())
        energy = cell.energy(torch.zeros(4001, 1, 3).double(), states, from_rest=True)
        spread.append((energy - energy[0]).abs().max().item())
    assert spread[0] < 0.1
    assert spread[1] == pytest.approx(spread[0] / 2, rel=0.1)


def test_frozen_time_step():
    cell = UnICORNN(3, UNITS, train_time_step=False)
    cell.scan(torch.randn(3, 2, 3)).sum().backward()
    assert cell.c.grad is None and cell.weight_hh.grad is not None
    assert "c" in cell.state_dict()
    assert UnICORNN(3, UNITS).c.requires_grad


def test_time_step_is_dt_sigmoid_c():
    cell = make(dt=0.7)
    step = cell.time_steps()
    assert step.dims == ("unit",)
    torch.testing.assert_close(step.values, 0.7 * torch.sigmoid(cell.c))


def test_initial_values_of_appendix_a():
    torch.manual_seed(0)
    cell = UnICORNN(50, 2000)
    assert 0 <= cell.weight_hh.min() < 0.01 and 0.99 < cell.weight_hh.max() <= 1
    assert -0.1 <= cell.c.min() < -0.099 and 0.099 < cell.c.max() <= 0.1
    assert not cell.bias.any()
    bound = math.sqrt(6 / ((1 + 8**2) * 50))
    assert cell.weight_ih.abs().max().item() == pytest.approx(bound, rel=1e-3)
