"""``as_cell``."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchrecurrent
from torch import nn

from dynlab.adapt import as_cell
from dynlab.cells import GRU, LSTM, CoRNN, Elman, FastRNN, UnICORNN
from dynlab.network import Network

F, D, T, B = 3, 4, 6, 2
LAYERS = {nn.RNN: Elman, nn.LSTM: LSTM, nn.GRU: GRU}


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


def halve(x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """A step with f = n."""
    return state / 2 + torch.sin(x)


class Leaky(nn.Module):
    """A module that says its sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size, self.hidden_size = F, D
        self.linear = nn.Linear(F + D, D)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return 0.9 * state + 0.1 * torch.tanh(self.linear(torch.cat([x, state], -1)))


def test_a_cell_is_returned_as_it_is():
    cell = UnICORNN(F, D)
    assert as_cell(cell) is cell
    assert as_cell(cell, input_size=F, state_size=2 * D) is cell
    with pytest.raises(ValueError, match=rf"state_size = {2 * D}, which UnICORNN has, got {D}"):
        as_cell(cell, state_size=D)


@pytest.mark.parametrize(("kind", "ours"), [(nn.RNNCell, Elman), (nn.LSTMCell, LSTM), (nn.GRUCell, GRU)])
def test_torch_cells_share_their_parameters(kind, ours):
    module = kind(F, D).double()
    cell = as_cell(module)
    assert type(cell) is ours and set(cell.parameters()) == set(module.parameters())
    cell.scan(torch.randn(T, B, F).double()).sum().backward()
    assert module.weight_hh.grad.abs().sum() > 0


def test_relu_is_kept():
    assert as_cell(nn.RNNCell(F, D, nonlinearity="relu")).hyperparameters == {"nonlinearity": "relu"}
    layer = nn.RNN(F, D, nonlinearity="relu").double()
    x = torch.randn(T, B, F).double()
    close(as_cell(layer).scan(x, keep="hidden"), layer(x)[0])


@pytest.mark.parametrize("kind", list(LAYERS))
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_torch_layers_give_the_same_outputs(kind, layers, batch_first, bias):
    layer = kind(F, D, num_layers=layers, batch_first=batch_first, bias=bias).double()
    cell = as_cell(layer)
    assert cell.batch_first is batch_first
    assert type(cell) is (Network if layers > 1 else LAYERS[kind])
    x = torch.randn((B, T, F) if batch_first else (T, B, F)).double()
    outputs, _ = layer(x)
    close(cell.scan(x, keep="hidden"), outputs.transpose(0, 1) if batch_first else outputs)


def test_layers_share_their_parameters():
    layer = nn.LSTM(F, D, num_layers=2).double()
    cell = as_cell(layer)
    assert {id(p) for p in cell.parameters()} == {id(p) for p in layer.parameters()}
    x = torch.randn(T, B, F).double()
    cell.scan(x, keep="hidden").square().sum().backward()
    ours = {name: p.grad.clone() for name, p in layer.named_parameters()}
    layer.zero_grad()
    layer(x)[0].square().sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-10, atol=1e-12)
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    close(cell.scan(x, keep="hidden"), layer(x)[0])
    cell.float()
    assert layer.weight_hh_l1.dtype == torch.float32


def test_adapting_draws_no_random_numbers():
    layer = nn.GRU(F, D, num_layers=2)
    before = torch.get_rng_state()
    as_cell(layer)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_between_layers_is_kept():
    cell = as_cell(nn.LSTM(F, D, num_layers=2, dropout=0.3).eval())
    assert cell.dropout == 0.3 and not cell.training


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LSTM(F, D, bidirectional=True), "expected bidirectional=False"),
        (nn.LSTM(F, D, proj_size=2), "expected proj_size=0, got proj_size=2"),
        (torchrecurrent.MCLSTMCell(F, D), "shows something else"),
        (torchrecurrent.tauGRUCell(F, D), "reads older states"),
        (torchrecurrent.TGRU(F, D), "loop of its own"),
    ],
)
def test_refused_layers(layer, message):
    with pytest.raises(ValueError, match=message):
        as_cell(layer)


def test_parametrized_weights():
    cell = as_cell(nn.utils.parametrizations.orthogonal(nn.RNNCell(F, D).double(), "weight_hh"))
    x, state = torch.randn(B, F).double(), torch.randn(B, D).double()
    by_state = torch.autograd.functional.jacobian(lambda s: cell(x, s).sum(0), state).transpose(0, 1)
    torch.testing.assert_close(cell.step_jacobian(x, state).to_dense(), by_state)
    with pytest.raises(ValueError, match="Parameter that can be shared"):
        as_cell(nn.utils.parametrizations.orthogonal(nn.RNN(F, D), "weight_hh_l0"))


@pytest.mark.parametrize(
    "name",
    ["FastRNNCell", "FastGRNNCell", "coRNNCell", "UGRNNCell", "JANETCell", "LEMCell", "MGUCell", "NASCell", "TGRUCell"],
)
def test_torchrecurrent_cells(name):
    module = getattr(torchrecurrent, name)(F, D).double()
    cell = as_cell(module)
    x, state, outputs = torch.randn(T, B, F).double(), None, []
    for step in x:
        state = module(step, state)
        outputs.append(state if isinstance(state, torch.Tensor) else state[0])
    close(cell.scan(x, keep="hidden"), torch.stack(outputs))
    close(cell.scan(x, keep="last"), state if isinstance(state, torch.Tensor) else torch.cat(state, -1))
    assert set(cell.parameters()) == set(module.parameters())
    x, state = x[0], torch.randn(B, cell.state_size).double()
    by_state = torch.autograd.functional.jacobian(lambda s: cell(x, s).sum(0), state).transpose(0, 1)
    torch.testing.assert_close(cell.step_jacobian(x, state).to_dense(), by_state, rtol=1e-10, atol=1e-12)


def test_torchrecurrent_in_closed_form_only_for_the_same_equation():
    assert type(as_cell(torchrecurrent.FastRNNCell(F, D))) is FastRNN
    relu = as_cell(torchrecurrent.FastRNNCell(F, D, nonlinearity="relu"))
    assert type(relu) is FastRNN and relu.hyperparameters["nonlinearity"] == "relu"
    assert type(as_cell(torchrecurrent.FastRNNCell(F, D, nonlinearity="elu"))) is not FastRNN
    cell = as_cell(torchrecurrent.coRNNCell(F, D, dt=0.3))
    assert type(cell) is CoRNN and cell.hyperparameters["dt"] == 0.3


@pytest.mark.parametrize("name", ["FastRNN", "LEM", "UGRNN"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torchrecurrent_layers(name, layers, batch_first):
    layer = getattr(torchrecurrent, name)(F, D, num_layers=layers, batch_first=batch_first).double()
    x = torch.randn((B, T, F) if batch_first else (T, B, F)).double()
    outputs, _ = layer(x)
    close(as_cell(layer).scan(x, keep="hidden"), outputs.transpose(0, 1) if batch_first else outputs)


def test_a_function():
    cell = as_cell(halve, input_size=D, state_size=D)
    assert (cell.input_size, cell.hidden_size, cell.state_size) == (D, D, D) and cell.name == "halve"
    x, state = torch.randn(T, B, D).double(), torch.randn(B, D).double()
    states = cell.scan(x, state)
    for t in range(T):
        state = halve(x[t], state)
        close(states[t + 1], state)
    expected = torch.eye(D).double().expand(B, D, D) / 2
    close(cell.step_jacobian(x[0], state).to_dense(), expected)
    close(cell.input_jacobian(x[0], state), torch.diag_embed(torch.cos(x[0])))
    assert cell.linearization(x, states[:-1]).jacobian.to_dense().shape == (T, B, D, D)
    assert pickle.loads(pickle.dumps(cell)).name == "halve"


def test_hidden_size_and_name_of_a_function():
    cell = as_cell(halve, input_size=D, state_size=D, hidden_size=2, name="mine")
    assert cell.scan(torch.randn(T, B, D), keep="hidden").shape == (T, B, 2)
    assert cell.name == "mine" and "mine" in repr(cell)
    with pytest.raises(ValueError, match=f"hidden_size <= state_size = {D}, got 9"):
        as_cell(halve, input_size=D, state_size=D, hidden_size=9)


def test_a_module_is_registered():
    module = Leaky()
    cell = as_cell(module)
    assert (cell.input_size, cell.hidden_size, cell.state_size) == (F, D, D)
    assert {id(p) for p in cell.parameters()} == {id(p) for p in module.parameters()}
    cell.double()
    x = torch.randn(T, B, F).double()
    cell.scan(x).sum().backward()
    assert module.linear.weight.grad.dtype == torch.float64
    assert not as_cell(Leaky().eval()).training
    assert cell.initial_state(2).dtype == torch.float64


def test_data_dependent_python_is_differentiated_too():
    def step(x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return state * 3 if float(x.detach().sum()) > 1e9 else state * x

    x, state = torch.randn(B, D).double(), torch.randn(B, D).double()
    cell = as_cell(step, input_size=D, state_size=D)
    close(cell.step_jacobian(x, state).to_dense(), torch.diag_embed(x))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x, s: (s, s), TypeError, "expected the step to return one state tensor, got tuple; concatenate"),
        (lambda x, s: None, TypeError, "expected the step to return one state tensor, got NoneType"),
        (lambda x, s: s[:, :-1], ValueError, rf"shape \({B}, {D}\).*got .* shape \({B}, {D - 1}\)"),
        (lambda x, s: s.sum(0), ValueError, rf"got .* shape \({D},\)"),
        (lambda x, s: s.double(), ValueError, "got a torch.float64"),
    ],
)
def test_wrong_returns(function, error, message):
    cell = as_cell(function, input_size=F, state_size=D)
    with pytest.raises(error, match=message):
        cell(torch.randn(B, F), torch.randn(B, D))
    with pytest.raises(error, match=message):
        cell.scan(torch.randn(T, B, F))


def test_wrong_sizes_are_noted_on_the_error():
    cell = as_cell(nn.Bilinear(F, D, D), input_size=F, state_size=D + 1)
    with pytest.raises(RuntimeError) as caught:
        cell.scan(torch.randn(T, B, F))
    assert f"x of shape ({B}, {F}) and a state of shape ({B}, {D + 1})" in caught.value.__notes__[0]
    assert as_cell(nn.Bilinear(F, D, D), input_size=F, state_size=D).scan(torch.randn(T, B, F)).shape == (T + 1, B, D)


@pytest.mark.parametrize("thing", [3, "lstm", None, torch.zeros(2)])
def test_what_cannot_be_called(thing):
    with pytest.raises(TypeError, match=r"expected a dynlab cell; a torch.nn.RNNCell.*got"):
        as_cell(thing)


def test_a_class_is_no_cell():
    with pytest.raises(TypeError, match="got the class LSTM, not an object of it"):
        as_cell(nn.LSTM)


@pytest.mark.parametrize("sizes", [{}, {"input_size": F}, {"state_size": D}])
def test_a_function_of_unknown_sizes(sizes):
    with pytest.raises(TypeError, match=r"expected input_size=\.\.\. and state_size=\.\.\. for halve"):
        as_cell(halve, **sizes)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (1.5, TypeError)])
def test_bad_sizes(size, error):
    with pytest.raises(error, match="state_size"):
        as_cell(halve, input_size=F, state_size=size, hidden_size=1)


def test_subclasses_with_a_step_of_their_own_are_not_taken_for_torch_s():
    class Doubled(nn.RNNCell):
        def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x, state)

    module = Doubled(F, D).double()
    cell = as_cell(module)
    x, state = torch.randn(B, F).double(), torch.randn(B, D).double()
    assert type(cell) is not Elman
    by_state = torch.autograd.functional.jacobian(lambda s: module(x, s).sum(0), state).transpose(0, 1)
    torch.testing.assert_close(cell.step_jacobian(x, state).to_dense(), by_state)
