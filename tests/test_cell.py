"""The base class: what a cell of one's own gets, and what every cell refuses."""

import math

import pytest
import torch

from dynlab import Cell, as_cell, registry
from dynlab.cell import derive_once
from dynlab.cells import build_cell


class Spiral(Cell):
    """A cell of one's own: forward and nothing else."""

    def __init__(self, input_size=2, hidden_size=3):
        super().__init__(input_size, hidden_size)
        self.weight = torch.nn.Parameter(torch.randn(hidden_size, hidden_size))

    def forward(self, x, state):
        return torch.tanh(state @ self.weight.T + x.sum(-1, keepdim=True))


def test_a_cell_of_ones_own():
    torch.manual_seed(0)
    cell = Spiral().double()
    x, state = torch.randn(4, 2, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    slope = 1 - cell(x, state).detach() ** 2
    found = cell.step_jacobian(x, state).to_dense()
    torch.testing.assert_close(found, slope[..., None] * cell.weight.detach())
    torch.testing.assert_close(cell.input_jacobian(x, state), slope[..., None].expand(4, 3, 2))
    assert not found.requires_grad
    inputs = torch.randn(6, 4, 2, dtype=torch.float64)
    states = cell.scan(inputs, state)
    assert states.shape == (7, 4, 3)
    torch.testing.assert_close(states[1], cell(inputs[0], state))
    assert (cell.title, cell.reference) == ("Spiral", "user-defined")


@pytest.mark.parametrize("name", ["step_jacobian", "input_jacobian"])
def test_a_jacobian_where_nothing_would_call_it(name):
    """Everything that measures reads ``linearize``: a closed form elsewhere would be ignored in silence."""
    with pytest.raises(TypeError, match=rf"Mine: expected .* linearize\(term, states\).* got {name} of its own"):
        type("Mine", (Cell,), {name: lambda self, x, state: None})
    own = type("Mine", (Cell,), {"forward": lambda self, x, state: state})
    assert own(1, 2).step_jacobian(torch.zeros(1, 1), torch.zeros(1, 2)).to_dense().shape == (1, 2, 2)


def test_a_cell_without_a_step():
    class Nothing(Cell):
        pass

    with pytest.raises(TypeError, match="Nothing: define forward"):
        Nothing(2, 3).scan(torch.zeros(3, 1, 2))


@pytest.mark.parametrize("key", ["unicornn", "irnn", "antisymmetric", "lstm", "gru", "cornn", "indrnn"])
def test_keep_modes_agree(key):
    cell = registry[key](3, 4)
    inputs, state = torch.randn(6, 2, 3), torch.randn(2, cell.state_size)
    states = cell.scan(inputs, state)
    assert states.shape == (7, 2, cell.state_size)
    assert torch.equal(states[0], state)
    assert torch.equal(cell.scan(inputs, state, keep="hidden"), cell.hidden(states[1:]))
    assert torch.equal(cell.scan(inputs, state, keep="last"), states[-1])
    assert torch.equal(cell.scan(inputs), cell.scan(inputs, torch.zeros(2, cell.state_size)))


def test_initial_state_follows_the_cell():
    assert registry["lstm"](3, 4).double().initial_state(5).dtype == torch.float64
    state = registry["lstm"](3, 4).initial_state(5)
    assert state.shape == (5, 8)
    assert not state.any()
    free = as_cell(lambda x, s: s, input_size=1, state_size=2)
    assert free.initial_state(1, dtype=torch.float64).dtype == torch.float64
    with pytest.raises(ValueError, match="expected batch_size >= 1, got 0"):
        free.initial_state(0)


def test_derived_weights_are_built_once_a_rollout():
    cell, built = Spiral(), []

    def build():
        built.append(1)
        return torch.zeros(1)

    cell.derived("w", build)
    cell.derived("w", build)
    assert len(built) == 2
    with derive_once():
        cell.derived("w", build)
        with derive_once():
            cell.derived("w", build)
        cell.derived("w", build)
        Spiral().derived("w", build)
    assert len(built) == 4
    cell.derived("w", build)
    assert len(built) == 5


# ---- bad input ------------------------------------------------------------------------------------------------


def bad(value):
    inputs = torch.zeros(5, 2, 3)
    inputs[3, 1, 2] = value
    return inputs


@pytest.mark.parametrize("key", ["unicornn", "irnn", "gated_antisymmetric", "lstm", "indrnn"])
@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (torch.zeros(5, 2, 4), ValueError, r"inputs of shape \(time, batch, 3\), got .*\(5, 2, 4\)"),
        (torch.zeros(5, 3), ValueError, r"inputs of shape \(time, batch, 3\), got .*\(5, 3\)"),
        (torch.zeros(0, 2, 3), ValueError, r"at least one time step and one sample, got .*\(0, 2, 3\)"),
        (torch.zeros(5, 0, 3), ValueError, r"at least one time step and one sample, got .*\(5, 0, 3\)"),
        (bad(math.nan), ValueError, r"finite inputs, got nan at index \(3, 1, 2\)"),
        (bad(-math.inf), ValueError, r"finite inputs, got -inf at index \(3, 1, 2\)"),
        (torch.zeros(5, 2, 3, dtype=torch.long), TypeError, "floating dtype, got a torch.int64 tensor"),
        (torch.zeros(5, 2, 3, dtype=torch.complex64), TypeError, "floating dtype, got a torch.complex64 tensor"),
        (torch.zeros(5, 2, 3, dtype=torch.float64), ValueError, r"\(torch.float32, cpu\), got a torch.float64 tensor"),
        (torch.zeros(5, 2, 3, device="meta"), ValueError, r"\(torch.float32, cpu\), got .* on meta"),
        ([[[0.0] * 3]], TypeError, "inputs to be a torch.Tensor, got list"),
    ],
)
def test_bad_inputs(key, inputs, error, message):
    cell = registry[key](3, 4)
    with pytest.raises(error, match=rf"{type(cell).__name__}.scan: expected .*{message}") as caught:
        cell.scan(inputs)
    assert "expected" in str(caught.value)


def test_bad_batch_first_inputs_are_named_in_their_order():
    cell = registry["gru"](3, 4)
    cell.batch_first = True
    with pytest.raises(ValueError, match=r"inputs of shape \(batch, time, 3\), got .*\(5, 2, 4\)"):
        cell.scan(torch.zeros(5, 2, 4))


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (torch.zeros(2, 5), ValueError, r"state of shape \(2, 4\), got .*\(2, 5\)"),
        (torch.zeros(1, 4), ValueError, r"state of shape \(2, 4\), got .*\(1, 4\)"),
        (torch.zeros(2, 4, dtype=torch.float64), ValueError, "got a torch.float64 tensor"),
        (torch.zeros(2, 4, dtype=torch.int32), TypeError, "state of a floating dtype, got a torch.int32 tensor"),
        (0.0, TypeError, "state to be a torch.Tensor, got float"),
    ],
)
def test_bad_states(state, error, message):
    with pytest.raises(error, match=message):
        registry["gru"](3, 4).scan(torch.zeros(5, 2, 3), state)


def test_bad_keep():
    with pytest.raises(ValueError, match="expected keep to be one of 'states', 'hidden', 'last', got 'all'"):
        registry["gru"](3, 4).scan(torch.zeros(5, 2, 3), keep="all")


@pytest.mark.parametrize("key", ["unicornn", "lstm", "irnn"])
def test_bad_steps(key):
    cell = registry[key](3, 4)
    state = torch.zeros(2, cell.state_size)
    for call in (cell, cell.step_jacobian, cell.input_jacobian):
        with pytest.raises(ValueError, match=r"expected x of shape \(batch, 3\), got .*\(2, 4\)"):
            call(torch.zeros(2, 4), state)
        with pytest.raises(ValueError, match=rf"expected state of shape \(2, {cell.state_size}\), got"):
            call(torch.zeros(2, 3), state[:1])
        with pytest.raises(ValueError, match="expected x with the dtype and device of the cell's parameters"):
            call(torch.zeros(2, 3).double(), state.double())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: registry["irnn"](3, 4, K=0), ValueError, "K >= 1, got 0"),
        (lambda: registry["irnn"](3, 4, K=2.0), TypeError, "K to be an integer"),
        (lambda: registry["irnn"](3, 4, alpha=-0.5), ValueError, "alpha.*got -0.5"),
        (lambda: registry["unicornn"](3, 4, dt=0.0), ValueError, "dt > 0, got 0.0"),
        (lambda: registry["unicornn"](3, 4, dt=-1), ValueError, "dt > 0, got -1"),
        (lambda: registry["unicornn"](3, 4, alpha=-1.0), ValueError, "alpha >= 0, got -1.0"),
        (lambda: registry["unicornn"](3, 4, dt=math.nan), ValueError, "finite dt > 0, got nan"),
        (lambda: registry["antisymmetric"](3, 4, epsilon=0.0), ValueError, "epsilon > 0, got 0.0"),
        (lambda: registry["antisymmetric"](3, 4, epsilon=-0.1), ValueError, "epsilon > 0, got -0.1"),
        (lambda: registry["gated_antisymmetric"](3, 4, epsilon="big"), TypeError, "epsilon to be a number, got 'big'"),
        (lambda: registry["gru"](-1, 4), ValueError, "input_size >= 0, got -1"),
        (lambda: registry["gru"](3, 0), ValueError, "hidden_size >= 1, got 0"),
        (lambda: registry["gru"](3, 4, dt=1), ValueError, "expected options among .*; got dt"),
        (lambda: build_cell("nonsense", 3, 4), ValueError, "expected a cell among .*unicornn.*; got 'nonsense'"),
    ],
)
def test_bad_hyperparameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Wider(Spiral):
    def forward(self, x, state):
        return torch.cat([state, state], -1)


class Pair(Spiral):
    def forward(self, x, state):
        return state, state


@pytest.mark.parametrize(("kind", "got"), [(Wider, r"\(2, 6\)"), (Pair, "tuple")])
def test_a_step_that_returns_another_shape(kind, got):
    message = rf"(?s){kind.__name__}: expected the step to return a state of shape \(2, 3\), got .*{got}"
    with pytest.raises(ValueError, match=message):
        kind().scan(torch.zeros(4, 2, 2))


def test_a_function_that_returns_another_shape():
    cell = as_cell(lambda x, s: s[:, :1], input_size=2, state_size=3, name="narrow")
    with pytest.raises(ValueError, match=r"narrow: expected the step to return .*\(2, 3\).*got .*\(2, 1\)"):
        cell.scan(torch.zeros(4, 2, 2))


def test_no_time_steps():
    with pytest.raises(ValueError, match="Spiral defines no time-step"):
        Spiral().time_steps()
