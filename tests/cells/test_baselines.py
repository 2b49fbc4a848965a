"""Each baseline against its update rule, written out, or torch's own layer; and its initial values."""

from __future__ import annotations

import pytest
import torch
import torchrecurrent
from torch import nn

from dynlab.cell import Cell
from dynlab.cells import CTRNN, GRU, LSTM, UGRNN, CoRNN, Elman, ExpRNN, FastGRNN, FastRNN, IndRNN, LipschitzRNN
from dynlab.jacobian.blocks import UnitBlocks

F, D, T = 3, 4, 6


def prepared(cell: Cell) -> tuple[Cell, torch.Tensor, torch.Tensor]:
    """The cell in float64 with shifted parameters, inputs (batch, f) and states (batch, n)."""
    torch.manual_seed(0)
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return cell, torch.randn(5, F).double(), torch.randn(5, cell.state_size).double()


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


def sigmoid(a: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-a))


@pytest.mark.parametrize(
    ("ours", "layer", "options"),
    [
        (Elman, nn.RNN, {"nonlinearity": "tanh"}),
        (Elman, nn.RNN, {"nonlinearity": "relu"}),
        (LSTM, nn.LSTM, {}),
        (GRU, nn.GRU, {}),
    ],
)
def test_torch_cells_against_torch_layers(ours, layer, options):
    cell, _, _ = prepared(ours(F, D, **options))
    layer = layer(F, D, **options).double()
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.module.state_dict().items()})
    x, state = torch.randn(T, 2, F).double(), torch.randn(2, cell.state_size).double()
    first = state[None]
    if ours is LSTM:
        first = (state[None, :, :D].contiguous(), state[None, :, D:].contiguous())
    outputs, last = layer(x, first)
    close(cell.scan(x, state, keep="hidden"), outputs)
    close(cell.scan(x, state, keep="last"), torch.cat(last, -1)[0] if ours is LSTM else last[0])


def test_lstm_by_hand():
    cell, x, state = prepared(LSTM(F, D))
    m = cell.module
    h, c = state.split(D, -1)
    i, f, g, o = (x @ m.weight_ih.T + m.bias_ih + h @ m.weight_hh.T + m.bias_hh).split(D, -1)
    new = sigmoid(f) * c + sigmoid(i) * torch.tanh(g)
    close(cell(x, state), torch.cat([sigmoid(o) * torch.tanh(new), new], -1))
    close(cell.time_steps(x, state).values, 1 - sigmoid(f))


@pytest.mark.parametrize("forget_bias", [1.0, -2.0])
def test_lstm_forget_bias_is_the_sum_of_both(forget_bias):
    cell = LSTM(F, D, forget_bias=forget_bias)
    total = (cell.module.bias_ih + cell.module.bias_hh).detach()
    assert torch.equal(total[D : 2 * D], torch.full((D,), forget_bias))
    assert (total[:D] != forget_bias).all() and (total[2 * D :] != forget_bias).all()


def test_gru_by_hand():
    cell, x, h = prepared(GRU(F, D))
    m = cell.module
    (xr, xz, xn), (hr, hz, hn) = (
        (a @ w.T + b).split(D, -1) for a, w, b in ((x, m.weight_ih, m.bias_ih), (h, m.weight_hh, m.bias_hh))
    )
    z = sigmoid(xz + hz)
    close(cell(x, h), (1 - z) * torch.tanh(xn + sigmoid(xr + hr) * hn) + z * h)
    close(cell.time_steps(x, h).values, 1 - z)


def test_elman_by_hand():
    cell, x, h = prepared(Elman(F, D))
    m = cell.module
    close(cell(x, h), torch.tanh(x @ m.weight_ih.T + m.bias_ih + h @ m.weight_hh.T + m.bias_hh))


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("bias", [True, False])
def test_wrapped_modules_with_and_without_bias(kind, bias):
    ours = {nn.RNNCell: Elman, nn.LSTMCell: LSTM, nn.GRUCell: GRU}[kind]
    module = kind(F, D, bias=bias).double()
    cell = ours.wrap(module)
    assert cell.module is module
    x, state = torch.randn(5, F).double(), torch.randn(5, cell.state_size).double()
    by_state = torch.autograd.functional.jacobian(lambda s: cell(x, s).sum(0), state).transpose(0, 1)
    torch.testing.assert_close(cell.step_jacobian(x, state).to_dense(), by_state, rtol=1e-10, atol=1e-12)
    cell.time_steps(x, state)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "sigmoid"])
def test_fastrnn_by_hand(nonlinearity):
    cell, x, h = prepared(FastRNN(F, D, nonlinearity=nonlinearity))
    m = cell.module
    candidate = getattr(torch, nonlinearity)(x @ m.weight_ih.T + h @ m.weight_hh.T + m.bias_ih)
    close(cell(x, h), sigmoid(m.alpha) * candidate + sigmoid(m.beta) * h)
    close(cell.time_steps().values, sigmoid(m.alpha).expand(D))
    by_state = torch.autograd.functional.jacobian(lambda s: cell(x, s).sum(0), h).transpose(0, 1)
    close(cell.step_jacobian(x, h).to_dense(), by_state)


def test_fastgrnn_by_hand():
    cell, x, h = prepared(FastGRNN(F, D))
    m = cell.module
    shared = x @ m.weight_ih.T + h @ m.weight_hh.T
    z = sigmoid(shared + m.bias_ih[:D])
    candidate = torch.tanh(shared + m.bias_ih[D:])
    close(cell(x, h), z * h + (sigmoid(m.zeta) * (1 - z) + sigmoid(m.nu)) * candidate)
    close(cell.time_steps(x, h).values, 1 - z)


def test_scalars_of_fastrnn_and_fastgrnn_start_as_the_authors_have_them():
    fast, gated = FastRNN(F, D), FastGRNN(F, D)
    assert (fast.module.alpha.item(), fast.module.beta.item()) == (-3, 3)
    assert (gated.module.zeta.item(), gated.module.nu.item()) == (1, -4)


def test_cornn_by_hand():
    cell, x, state = prepared(CoRNN(F, D, dt=0.2, gamma=1.5, epsilon=0.7))
    m = cell.module
    y, z = state.split(D, -1)
    force = torch.tanh(y @ m.weight_hh.T + z @ m.weight_ch.T + x @ m.weight_ih.T + m.bias_ih)
    z = z + 0.2 * (force - 1.5 * y - 0.7 * z)
    close(cell(x, state), torch.cat([y + 0.2 * z, z], -1))


def test_ugrnn_by_hand():
    cell, x, h = prepared(UGRNN(F, D))
    m = cell.module
    c, g = (x @ m.weight_ih.T + h @ m.weight_hh.T + m.bias_ih).split(D, -1)
    close(cell(x, h), sigmoid(g) * h + (1 - sigmoid(g)) * torch.tanh(c))
    close(cell.time_steps(x, h).values, 1 - sigmoid(g))
    fresh = UGRNN(F, D).module.bias_ih
    assert torch.equal(fresh.detach(), torch.tensor([0.0] * D + [1.0] * D))


def test_ctrnn_by_hand():
    cell, x, h = prepared(CTRNN(F, D, dt=0.3, tau=2.0, alpha=0.7))
    phi = torch.tanh(h @ cell.weight_hh.T + x @ cell.weight_ih.T + cell.bias)
    close(cell(x, h), h + 0.15 * (-0.7 * h + phi))
    assert cell.time_steps().values.tolist() == [0.15] * D


def test_exprnn_by_hand():
    cell, x, h = prepared(ExpRNN(F, D))
    a = torch.zeros(D, D).double()
    a[tuple(torch.triu_indices(D, D, offset=1))] = cell.weight_packed.detach()
    a = a - a.T
    b, term = torch.eye(D).double(), torch.eye(D).double()
    for k in range(1, 60):
        term = term @ a / k
        b = b + term
    total = h @ b.T + x @ cell.weight_ih.T
    modrelu = torch.sign(total) * torch.clamp(total.abs() + cell.bias, min=0)
    torch.testing.assert_close(cell(x, h), modrelu, rtol=1e-10, atol=1e-11)
    assert (modrelu == 0).any() and (modrelu != 0).any()


@pytest.mark.parametrize("hidden", [1, 6, 7])
def test_exprnn_starts_as_rotations(hidden):
    torch.manual_seed(0)
    cell = ExpRNN(F, hidden).double()
    b = cell.weight_hh.detach()
    close(b @ b.T, torch.eye(hidden).double())
    blocks = torch.block_diag(*[torch.ones(2, 2)] * (hidden // 2), *[torch.ones(1, 1)] * (hidden % 2))
    assert not b[blocks == 0].any()
    assert (b[blocks == 1] != 0).all()
    # modReLU with b = 0 passes everything, so the step keeps the norm.
    h = torch.randn(2, hidden).double()
    close(cell(torch.zeros(2, F).double(), h).norm(dim=1), h.norm(dim=1))


def test_exprnn_takes_its_exponential_once_a_rollout(monkeypatch):
    calls = []
    exponential = torch.linalg.matrix_exp
    monkeypatch.setattr(torch.linalg, "matrix_exp", lambda a: calls.append(1) or exponential(a))
    ExpRNN(F, D).scan(torch.randn(10, 2, F))
    assert len(calls) == 1


def test_indrnn_by_hand():
    cell, x, h = prepared(IndRNN(F, D))
    new = cell(x, h)
    close(new, torch.clamp(x @ cell.weight_ih.T + cell.weight_hh * h + cell.bias, min=0))
    assert (new == 0).any() and (new > 0).any()
    assert isinstance(cell.step_jacobian(x, h), UnitBlocks)


def test_lipschitz_by_hand():
    cell, x, h = prepared(LipschitzRNN(F, D, epsilon=0.2, beta=0.6, gamma=0.1))

    def mixed(m: torch.Tensor) -> torch.Tensor:
        return 0.6 * (m - m.T) + 0.4 * (m + m.T) - 0.1 * torch.eye(D).double()

    a, w = mixed(cell.weight_a), mixed(cell.weight_w)
    tanh = torch.tanh(h @ w.T + x @ cell.weight_ih.T + cell.bias)
    close(cell(x, h), h + 0.2 * h @ a.T + 0.2 * tanh)


def test_torchrecurrent_as_it_is():
    """Why its defaults are not used: should this fail, its initial values or its gate have been put right."""
    fast, gated = torchrecurrent.FastRNNCell(F, D), torchrecurrent.FastGRNNCell(F, D)
    assert (fast.alpha.item(), fast.beta.item()) == (3, -3)
    assert (gated.zeta.item(), gated.nu.item()) == (3, -3)
    assert type(gated.act) is nn.Tanh
