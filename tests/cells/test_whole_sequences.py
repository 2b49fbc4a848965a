"""Cells that run a whole sequence in one call compute what their steps compute, gradients too."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dynlab
from dynlab.cell import Cell
from dynlab.cells import GRU, LSTM, CoRNN, Elman

CELLS = [
    pytest.param(LSTM, {}, id="lstm"),
    pytest.param(GRU, {}, id="gru"),
    pytest.param(Elman, {"nonlinearity": "tanh"}, id="elman-tanh"),
    pytest.param(Elman, {"nonlinearity": "relu"}, id="elman-relu"),
    pytest.param(CoRNN, {"dt": 0.3, "gamma": 1.3, "epsilon": 0.7}, id="cornn"),
]


def twins(kind: type[Cell], options: dict[str, Any]) -> tuple[Cell, Cell]:
    """The cell in one call, and step by step."""
    torch.manual_seed(0)
    one, other = kind(3, 5, **options, backend="native").double(), kind(3, 5, **options).double()
    other.load_state_dict(one.state_dict())
    return one, other


def everything(cell: Cell, keep: Any, inputs: torch.Tensor, state: torch.Tensor) -> list[torch.Tensor]:
    inputs, state = inputs.clone().requires_grad_(), state.clone().requires_grad_()
    found = cell.scan(inputs, state, keep)
    weights = torch.cos(torch.arange(found.numel(), dtype=found.dtype)).view_as(found)
    return [found, *torch.autograd.grad((found * weights).sum(), [inputs, state, *cell.parameters()])]


@pytest.mark.parametrize(("kind", "options"), CELLS)
@pytest.mark.parametrize("keep", ["hidden", "last", "states"])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (17, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients_are_those_of_the_loop(kind, options, keep, steps, batch, training):
    one, other = (cell.train(training) for cell in twins(kind, options))
    torch.manual_seed(1)
    inputs, state = torch.randn(steps, batch, 3).double(), torch.randn(batch, one.state_size).double()
    found, expected = everything(one, keep, inputs, state), everything(other, keep, inputs, state)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_it_takes_another_way_than_the_loop(kind, options, monkeypatch):
    """Else the test above compares a loop with itself."""
    one, other = twins(kind, options)
    monkeypatch.setattr(kind, "advance", None)
    inputs = torch.randn(4, 2, 3).double()
    assert one.scan(inputs, keep="hidden").shape == (4, 2, 5)
    with pytest.raises(TypeError, match="not callable"):
        other.scan(inputs, keep="hidden")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch.func's own
@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_transforms_and_forward_mode_go_through_the_loop(kind, options):
    one, _ = twins(kind, options)
    inputs, state = torch.randn(4, 2, 3).double(), torch.randn(2, one.state_size).double()

    def last(start: torch.Tensor) -> torch.Tensor:
        return one.scan(inputs, start, keep="last")

    by_reverse = torch.autograd.functional.jacobian(last, state)
    torch.testing.assert_close(torch.func.jacrev(last)(state), by_reverse)
    torch.testing.assert_close(torch.func.jacfwd(last)(state), by_reverse)


def test_gradients_of_cornn_agree_with_differences():
    cell = twins(CoRNN, {"dt": 0.3, "gamma": 1.3, "epsilon": 0.7})[0]
    inputs = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(2, 10, dtype=torch.float64, requires_grad=True)
    for keep in ("states", "hidden", "last"):
        torch.autograd.gradcheck(lambda x, s, keep=keep: cell.scan(x, s, keep), (inputs, state))


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_watched_adjoints_come_from_the_loop(kind, options):
    one, other = twins(kind, options)
    inputs = torch.randn(4, 2, 3).double()
    found = []
    for cell in (one, other):
        with dynlab.watch_adjoints() as adjoints:
            loss = cell.scan(inputs, keep="hidden").square().sum()
        loss.backward()
        found.append(adjoints[cell])
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_the_variable_leaves_the_loop(monkeypatch):
    """So that it does not change what a Recorder disturbs."""
    monkeypatch.setenv("DYNLAB_BACKEND", "native")
    cell = Elman(3, 5)
    monkeypatch.setattr(Elman, "advance", None)
    with pytest.raises(TypeError, match="not callable"):
        cell.scan(torch.randn(4, 2, 3))


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_second_derivatives_are_had_from_the_loop(kind, options):
    _, other = twins(kind, options)
    state = torch.randn(2, other.state_size).double().requires_grad_()
    torch.autograd.gradgradcheck(lambda s: other.scan(torch.ones(3, 2, 3).double(), s, "last"), (state,))


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_states_handed_on_continue_the_sequence(kind, options):
    one, _ = twins(kind, options)
    inputs = torch.randn(9, 2, 3).double()
    half = one.scan(inputs[:4], keep="last")
    torch.testing.assert_close(one.scan(inputs[4:], half, "hidden"), one.scan(inputs, keep="hidden")[4:])
