"""AntisymmetricRNN against its paper's equations and claims."""

from __future__ import annotations

import pytest
import torch

from dynlab.cells import AntisymmetricRNN

F, D = 3, 6


def make(seed: int = 0, **options: object) -> AntisymmetricRNN:
    torch.manual_seed(seed)
    cell = AntisymmetricRNN(F, D, **options).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter))
    return cell


def batch(size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, F).double(), torch.randn(size, D).double()


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_recurrent_matrix_is_antisymmetric_minus_gamma(gamma):
    m = make(gamma=gamma).recurrent_matrix()
    torch.testing.assert_close(m + m.T, -2 * gamma * torch.eye(D).double())
    assert (m - m.T).abs().max() > 1


def test_packed_parameter():
    cell = make()
    assert cell.weight_packed.shape == (D * (D - 1) // 2,)
    w = cell.weight_hh
    assert torch.equal(w, torch.triu(w, diagonal=1))
    row, column = torch.triu_indices(D, D, offset=1)
    assert torch.equal(w[row, column], cell.weight_packed)
    assert not hasattr(cell, "weight_free")
    assert make(structured=False).weight_hh.shape == (D, D)


def by_hand(cell: AntisymmetricRNN, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    w = torch.zeros(D, D).double()
    w[tuple(torch.triu_indices(D, D, offset=1))] = cell.weight_packed.detach()
    recurrent = h @ (w - w.T - cell.gamma * torch.eye(D).double()).T
    change = torch.tanh(recurrent + x @ cell.weight_ih.T + cell.bias)
    if cell.gated:
        change = change / (1 + torch.exp(-(recurrent + x @ cell.weight_ih_gate.T + cell.bias_gate)))
    return h + cell.epsilon * change


@pytest.mark.parametrize("gated", [False, True])
def test_step_is_equation_12_or_13(gated):
    cell = make(gated=gated, epsilon=0.2, gamma=0.1)
    x, h = batch()
    torch.testing.assert_close(cell(x, h), by_hand(cell, x, h), rtol=1e-12, atol=1e-13)


def test_ablation_has_no_structure():
    cell = make(gated=True, structured=False, epsilon=0.2, gamma=0.1)
    x, h = batch()
    recurrent = h @ (cell.weight_free - 0.1 * torch.eye(D).double()).T
    gate = torch.sigmoid(recurrent + x @ cell.weight_ih_gate.T + cell.bias_gate)
    expected = h + 0.2 * gate * torch.tanh(recurrent + x @ cell.weight_ih.T + cell.bias)
    torch.testing.assert_close(cell(x, h), expected, rtol=1e-12, atol=1e-13)


def real_parts(cell: AntisymmetricRNN) -> torch.Tensor:
    return torch.linalg.eigvals(cell.ode_jacobian(*batch(32))).real.abs()


@pytest.mark.parametrize("seed", range(4))
def test_plain_eigenvalues_are_imaginary(seed):
    """diag(tanh') (W - W^T) is similar to an antisymmetric matrix."""
    assert real_parts(make(seed, gamma=0.0, epsilon=1.0)).max() < 1e-10


def test_gated_eigenvalues_are_not():
    """The slope of gate and candidate together, tanh' z + tanh z', can be negative: D M with a D of both signs."""
    assert real_parts(make(0, gamma=0.0, epsilon=1.0, gated=True)).max() > 0.01


def test_diffusion_moves_them_to_the_left():
    cell = make(gamma=0.5, epsilon=1.0)
    assert torch.linalg.eigvals(cell.ode_jacobian(*batch())).real.max() < 0


def test_ode_jacobian_is_the_right_hand_side_s():
    cell = make(gamma=0.2, epsilon=0.05)
    x, h = batch(2)
    slope = 1 - torch.tanh(h @ cell.recurrent_matrix().T + x @ cell.weight_ih.T + cell.bias) ** 2
    expected = (slope.unsqueeze(-1) * cell.recurrent_matrix()).detach()
    torch.testing.assert_close(cell.ode_jacobian(x, h), expected, rtol=1e-9, atol=1e-11)


def test_time_steps():
    cell = make(epsilon=0.2)
    assert torch.equal(cell.time_steps().values, torch.full((D,), 0.2, dtype=torch.float64))
    gated = make(epsilon=0.2, gated=True)
    x, h = torch.randn(4, 2, F).double(), torch.randn(4, 2, D).double()
    gate = torch.sigmoid(h @ gated.recurrent_matrix().T + x @ gated.weight_ih_gate.T + gated.bias_gate)
    torch.testing.assert_close(gated.time_steps(x, h).values, 0.2 * gate)


def test_initial_values():
    torch.manual_seed(0)
    cell = AntisymmetricRNN(100, 200, sigma_w=4.0)
    assert cell.weight_ih.std().item() == pytest.approx(0.1, rel=0.05)
    assert cell.weight_packed.std().item() == pytest.approx(4 / 200**0.5, rel=0.05)
    assert not cell.bias.any()
    assert not AntisymmetricRNN(3, 4, sigma_w=0).weight_packed.any()
