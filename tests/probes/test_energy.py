"""Energy against Eq. (4) written out, and against the modified Hamiltonian of symplectic Euler."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dynlab.cell import Cell
from dynlab.cells.antisymmetric import AntisymmetricRNN
from dynlab.cells.unicornn import UnICORNN
from dynlab.probes.energy import Energy
from dynlab.trace import Trace, rollout


def observed(trace: Trace, **arguments) -> dict:
    return {variable.name: variable for variable in Energy(**arguments).observe(trace).variables()}


@torch.no_grad()
def by_hand(cell: UnICORNN, inputs: torch.Tensor, states: torch.Tensor, t: int, b: int, unit: int) -> float:
    """One unit's term of Eq. (4), state t with the input of transition max(t, 1)."""
    u = inputs[max(t, 1) - 1, b]
    y, z = float(states[t, b, unit]), float(states[t, b, unit + cell.hidden_size])
    w = float(cell.weight_hh[unit])
    drive = sum(float(v) * float(x) for v, x in zip(cell.weight_ih[unit], u, strict=True)) + float(cell.bias[unit])
    return cell.alpha / 2 * y * y + z * z / 2 + math.log(math.cosh(w * y + drive)) / w


def test_equation_4():
    cell = UnICORNN(2, 3).double()
    trace = rollout(cell, torch.randn(6, 2, 2, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64))
    found = observed(trace, per_unit=True)
    expected = torch.tensor(
        [[[by_hand(cell, trace.inputs, trace.states, t, b, d) for d in range(3)] for b in range(2)] for t in range(7)],
        dtype=torch.float64,
    )
    assert found["energy_by_unit"].dims == ("time", "batch", "unit")
    torch.testing.assert_close(found["energy_by_unit"].values, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found["energy"].values, expected.sum(-1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found["energy_drift"].values, expected.sum(-1)[-1] - expected.sum(-1)[0])
    rest = trace.states.clone().zero_()
    at_rest = [[by_hand(cell, trace.inputs, rest, t, b, d) for d in range(3)] for b in range(2) for t in [4]]
    shifted = observed(trace, from_rest=True)["energy"].values[4]
    torch.testing.assert_close(shifted, (expected[4] - torch.tensor(at_rest, dtype=torch.float64)).sum(-1))


def test_harmonic_oscillator_keeps_the_modified_hamiltonian():
    """Symplectic Euler on H = (alpha y^2 + z^2) / 2 keeps H - (h / 2) alpha y z, exactly.

    z' = z - h alpha y, y' = y + h z': with S = alpha y^2 + z^2 - h alpha y z,
    S' = alpha y'(y' - h z') + z'^2 = alpha y' y + z'^2 = alpha y^2 + z' (z' + h alpha y) = alpha y^2 + z' z = S.
    """
    cell = UnICORNN(1, 3, dt=0.3, alpha=2.0).double()
    with torch.no_grad():
        for parameter in (cell.weight_hh, cell.weight_ih, cell.bias):
            parameter.zero_()
    start = torch.randn(2, 6, dtype=torch.float64)
    trace = rollout(cell, torch.randn(2000, 2, 1, dtype=torch.float64), start)
    energy = observed(trace, per_unit=True)["energy_by_unit"].values
    y, z = trace.states.chunk(2, -1)
    modified = energy - cell.effective_time_step().detach() / 2 * cell.alpha * y * z
    assert (modified - modified[0]).abs().max() < 1e-10
    # The energy itself is not kept: it swings by O(h).
    assert (energy - energy[0]).abs().max() > 1e-3


def test_float32_is_summed_in_float64():
    found = observed(rollout(UnICORNN(2, 3), torch.randn(5, 2, 2)))
    assert found["energy"].values.dtype == torch.float64
    assert set(found) == {"energy", "energy_drift"}


class Spring(Cell):
    """A cell of one's own with a total energy."""

    def forward(self, x, state):
        return state + x

    def energy(self, inputs, states):
        return (states**2).sum(-1) / 2 - (inputs * states).sum(-1)


def test_a_users_total_energy():
    trace = rollout(Spring(2, 2), torch.randn(3, 4, 2, dtype=torch.float64))
    acting = trace.inputs[[0, 0, 1, 2]]
    expected = (trace.states**2 / 2 - acting * trace.states).sum(-1)
    torch.testing.assert_close(observed(trace)["energy"].values, expected)
    with pytest.raises(ValueError, match="energy of each unit with per_unit=True"):
        observed(trace, per_unit=True)
    with pytest.raises(ValueError, match="expected Spring.energy to take from_rest"):
        observed(trace, from_rest=True)


def test_a_stack_sums_its_layers():
    cells = [UnICORNN(2, 3).double(), UnICORNN(3, 4).double()]
    x = torch.randn(5, 2, 2, dtype=torch.float64)
    below, upper = cells[0].scan(x).detach(), None
    hidden = cells[0].hidden(below[1:])
    upper = cells[1].scan(hidden).detach()
    stand_in = SimpleNamespace(
        cells=nn.ModuleList(cells),
        layer_inputs=lambda inputs, states: [(x, states[..., :6]), (hidden, states[..., 6:])],
        layer_slices=[slice(0, 6), slice(6, 14)],
    )
    trace = Trace(stand_in, x, torch.cat([below, upper], -1), 5, None, torch.zeros(2, dtype=torch.long))
    found = observed(trace)
    single = [observed(rollout(cell, seen))["energy"].values for cell, seen in zip(cells, (x, hidden), strict=True)]
    torch.testing.assert_close(found["energy_by_layer"].values, torch.stack(single))
    torch.testing.assert_close(found["energy"].values, single[0] + single[1])
    stand_in.skips = nn.ParameterDict({"1": nn.Parameter(torch.ones(4, 2))})
    with pytest.raises(ValueError, match="densely stacked"):
        observed(trace)


def test_cells_without_energy_are_refused():
    with pytest.raises(ValueError, match="got AntisymmetricRNN"):
        observed(rollout(AntisymmetricRNN(2, 3), torch.randn(3, 2, 2)))


def test_an_energy_of_another_shape_is_refused():
    class Odd(Spring):
        def energy(self, inputs, states):
            return states.sum()

    with pytest.raises(ValueError, match="expected Odd.energy to return a tensor of shape"):
        observed(rollout(Odd(2, 2), torch.randn(3, 4, 2)))
