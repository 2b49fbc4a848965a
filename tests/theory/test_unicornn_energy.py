"""Energy under a constant input, against Eq. (4) and the recurrence written out, and SciPy's integrator."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from dynlab.cells.unicornn import UnICORNN
from dynlab.theory.unicornn_energy import SCHEMES, energy_drift, energy_order, held_layers, swings
from dynlab.theory.unicornn_subject import subject

from .unicornn_oracle import Driven, by_hand, noise, stack


def unit(dt: float, alpha: float, w: float) -> UnICORNN:
    cell = UnICORNN(1, 1, dt=dt, alpha=alpha).double()
    with torch.no_grad():
        for parameter, value in ((cell.weight_hh, w), (cell.weight_ih, 1.0), (cell.bias, 0.2), (cell.c, 0.0)):
            parameter.fill_(value)
    return cell


def swing_by_hand(cell: UnICORNN, drive: float, y: float, z: float, steps: int, symplectic: bool) -> np.ndarray:
    """|H_n - H_0| by Eqs. (4) and (6) in floats."""
    w, alpha, h = cell.weight_hh.item(), cell.alpha, cell.dt / 2

    def energy() -> float:
        return alpha * y * y / 2 + z * z / 2 + math.log(math.cosh(w * y + drive)) / w

    start, found = energy(), [0.0]
    for _ in range(steps):
        kick = h * (math.tanh(w * y + drive) + alpha * y)
        y, z = (y + h * (z - kick) if symplectic else y + h * z), z - kick
        found.append(abs(energy() - start))
    return np.array(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_swing_is_that_of_equation_4(scheme):
    cell, inputs, state = unit(0.2, 2.0, 0.8), torch.full((1, 1, 1), 0.5), torch.tensor([[0.4, -0.3]])
    found = swings([(cell, inputs.double(), state.double())], 50, 1, scheme)
    expected = swing_by_hand(cell, 0.7, state[0, 0].item(), state[0, 1].item(), 50, scheme == SCHEMES[0])
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-8)


def test_each_layer_is_held_at_its_last_input():
    network, inputs = stack(3), noise(9)
    with torch.no_grad():
        y, z = by_hand(network, inputs)
    for index, (layer, below, state) in enumerate(held_layers(subject(network, inputs, where="test", seed=0))):
        assert layer.hidden_size == 3
        torch.testing.assert_close(below[0], y[-1][index - 1] if index else inputs[-1])
        torch.testing.assert_close(state, torch.cat([y[-2][index], z[-2][index]], -1))


def test_swing_in_the_limit_is_that_of_the_differential_equation():
    """The equation's own energy is constant: what swings is symplectic Euler's error, to first order h alpha y z / 2.

    With w = 1e-9 (tanh' a constant) the modified energy H - h y z alpha / 2 - h z tanh(d) / 2 is kept, so the swing is
    that of h z (alpha y + tanh(d)) / 2 along the equation's orbit.
    """
    alpha, drive, h = 2.0, 0.7, 0.001
    cell, state = unit(2 * h, alpha, 1e-9), torch.tensor([[0.4, -0.3]], dtype=torch.float64)
    found = swings([(cell, torch.full((1, 1, 1), 0.5, dtype=torch.float64), state)], 6000, 1, SCHEMES[0])[0]
    orbit = solve_ivp(
        lambda _, x: [x[1], -math.tanh(drive) - alpha * x[0]], (0, 6), state[0].tolist(), t_eval=np.arange(6001) * h,
        rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    work = h / 2 * orbit.y[1] * (alpha * orbit.y[0] + math.tanh(drive))
    # O(h^2) is left: a share of h of the swing itself.
    np.testing.assert_allclose(found, np.abs(work - work[0]), atol=5 * h * np.abs(work).max())


def test_energy_is_kept_to_first_order():
    found = energy_order()
    assert found.verdict == "holds"
    np.testing.assert_allclose(found["measured"], 1, atol=0.1)


def test_energy_does_not_drift_and_explicit_euler_does():
    found = energy_drift()
    assert found.verdict == "holds"
    assert (found["explicit_ratio"] > 1.5).all()
    assert found["swing"].sizes == {"scheme": 2, "layer": 3, "time": 401}


def test_a_driven_cell_drifts():
    torch.manual_seed(0)
    cell = Driven(2, 3, dt=0.1, alpha=2.0)
    assert energy_drift(cell, noise(20), steps=2000).verdict == "fails"
    # A gain a step, whatever dt is: the swing grows as dt shrinks.
    found = energy_order(cell, noise(20))
    assert found.verdict == "fails" and (found["measured"] < 0.5).all()


def test_confined_and_stable_motion_are_hypotheses():
    falling = energy_drift(unit(0.1, 0.0, -0.5), torch.ones(5, 1, 1))
    assert falling.verdict == "not applicable"
    assert not bool(falling["hypothesis_holds"].sel(hypothesis="w > 0 where alpha = 0"))
    stiff = energy_order(unit(2.5, 4.0, 0.5), torch.ones(5, 1, 1), factors=(1, 2, 4))
    assert stiff.verdict == "not applicable"
    assert float(stiff["hypothesis_value"][0]) == pytest.approx(1.25**2 * 4.5)


def test_a_layer_at_rest_says_nothing():
    cell = unit(0.1, 1.0, 0.5)
    with torch.no_grad():
        cell.bias.zero_()
    with pytest.raises(ValueError, match="unicornn-energy-drift: expected every layer to move"):
        energy_drift(cell, torch.zeros(5, 1, 1))
