"""Time-steps against the cells' own formulas."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dynlab.cell import Cell, TimeStep
from dynlab.cells.antisymmetric import AntisymmetricRNN
from dynlab.cells.incremental import IncrementalRNN
from dynlab.cells.unicornn import UnICORNN
from dynlab.probes.time_steps import TimeSteps
from dynlab.trace import Trace, rollout


def observed(trace: Trace) -> dict:
    return {variable.name: variable for variable in TimeSteps().observe(trace).variables()}


def test_unicornn():
    cell = UnICORNN(2, 5)
    step = observed(rollout(cell, torch.randn(4, 3, 2)))["time_step"]
    assert step.dims == ("layer", "unit")
    assert torch.equal(step.values, (cell.dt * torch.sigmoid(cell.c)).detach()[None])
    assert not step.values.requires_grad
    assert "sigmoid(c)" in step.attrs["long_name"]


def test_gate_varies_with_transition_and_sample():
    cell = AntisymmetricRNN(2, 5, gated=True)
    trace = rollout(cell, torch.randn(4, 3, 2))
    step = observed(trace)["time_step"]
    assert step.dims == ("layer", "unit", "transition", "batch")
    gate = torch.sigmoid(
        trace.states[2, 1] @ cell.recurrent_matrix().T + cell.weight_ih_gate @ trace.inputs[2, 1] + cell.bias_gate
    )
    torch.testing.assert_close(step.values[0, :, 2, 1], cell.epsilon * gate.detach())


@pytest.mark.parametrize("eta_steps", [None, 9])
def test_eta_is_every_units_and_counts_inner_steps_from_one(eta_steps):
    cell = IncrementalRNN(2, 5, K=3, eta_steps=eta_steps)
    with torch.no_grad():
        cell.eta.copy_(torch.rand_like(cell.eta))
    step = observed(rollout(cell, torch.randn(4, 3, 2)))["time_step"]
    assert step.coords["k"].tolist() == [1, 2, 3]
    if eta_steps is None:
        assert step.dims == ("layer", "unit", "k")
        assert torch.equal(step.values, cell.eta.detach().expand(1, 5, 3))
    else:
        # Of nine steps' etas, the four that this sequence used.
        assert step.dims == ("layer", "unit", "transition", "k")
        assert torch.equal(step.values, cell.eta.detach()[:4].expand(1, 5, 4, 3))


def network(*layers: tuple[Cell, torch.Tensor, torch.Tensor]) -> Trace:
    """A trace of a stand-in for a Network, of which the probe reads ``cells`` and ``layer_inputs`` only."""
    cells, *_ = zip(*layers, strict=True)
    pairs = [(x, before) for _, x, before in layers]
    stand_in = SimpleNamespace(cells=nn.ModuleList(cells), layer_inputs=lambda inputs, states: pairs)
    states = torch.zeros(5, 3, sum(cell.state_size for cell in cells))
    return Trace(stand_in, pairs[0][0], states, 4, None, torch.zeros(3, dtype=torch.long))


def layer(cell: Cell) -> tuple[Cell, torch.Tensor, torch.Tensor]:
    return cell, torch.randn(4, 3, cell.input_size), torch.randn(4, 3, cell.state_size)


def test_equal_layers_are_stacked():
    cells = UnICORNN(2, 5), UnICORNN(5, 5)
    step = observed(network(*map(layer, cells)))["time_step"]
    assert step.dims == ("layer", "unit")
    assert torch.equal(step.values, torch.stack([cell.effective_time_step() for cell in cells]).detach())


def test_different_layers_get_a_variable_each():
    first, second = layer(IncrementalRNN(2, 5, K=2)), layer(AntisymmetricRNN(5, 3, gated=True))
    found = observed(network(first, second))
    assert set(found) == {"time_step_layer0", "time_step_layer1"}
    assert found["time_step_layer0"].dims == ("unit_layer0", "k_layer0")
    assert found["time_step_layer0"].coords["k_layer0"].tolist() == [1, 2]
    assert found["time_step_layer1"].dims == ("unit_layer1", "transition", "batch")
    expected = second[0].time_steps(*second[1:]).values.detach().permute(2, 0, 1)
    assert torch.equal(found["time_step_layer1"].values, expected)


def test_a_gate_behind_a_residual_connection_is_refused():
    trace = network(layer(AntisymmetricRNN(2, 3, gated=True)))
    trace.cell.skips = nn.ParameterDict({"0": nn.Parameter(torch.ones(3, 2))})
    with pytest.raises(ValueError, match="residual connection"):
        observed(trace)


def test_a_cell_without_time_steps_says_so():
    class Plain(Cell):
        def forward(self, x, state):
            return torch.tanh(state + x)

    with pytest.raises(ValueError, match="Plain defines no time-step"):
        observed(rollout(Plain(2, 2), torch.randn(4, 3, 2)))


@pytest.mark.parametrize(
    "answer",
    [
        TimeStep(torch.ones(3), ("unit",), "three of two units"),
        TimeStep(torch.ones(2), ("units",), "an unknown name"),
        TimeStep(torch.ones(2, 2), ("unit",), "a name too few"),
    ],
)
def test_a_wrong_answer_of_a_users_cell_is_refused(answer):
    class Odd(Cell):
        def forward(self, x, state):
            return torch.tanh(state + x)

        def time_steps(self, inputs=None, states=None):
            return answer

    with pytest.raises(ValueError, match="expected Odd.time_steps"):
        observed(rollout(Odd(2, 2), torch.randn(4, 3, 2)))
