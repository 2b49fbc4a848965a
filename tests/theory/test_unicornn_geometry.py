"""Volume and symplecticity, against determinants of the recurrence written out and cells that have neither."""

import math

import numpy as np
import pytest
import torch

from dynlab.network import Network
from dynlab.theory.unicornn_geometry import dense_jacobians, symplectic_defect, symplecticity, volume
from dynlab.trace import rollout

from .unicornn_oracle import Damped, Reflected, noise, stack, weights


def step_by_hand(network: Network, u: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """One step of a state [y^1, z^1, y^2, ...] by Eq. (6)."""
    below, new = u, []
    for layer, one, part in zip(network.layers, weights(network), state.split(6), strict=True):
        y, z = part.chunk(2)
        h = layer.dt * torch.sigmoid(one["c"])
        z = z - h * (torch.tanh(one["w"] * y + one["V"] @ below + one["b"]) + layer.alpha * y)
        below = y + h * z
        new += [below, z]
    return torch.cat(new)


def test_jacobians_and_determinants_by_finite_differences():
    network, inputs = stack(2, dt=0.5, alpha=2.0), noise(6)
    states = rollout(network, inputs).states[:-1]
    found = dense_jacobians(network, inputs, states)
    with torch.no_grad():
        for n, b in ((0, 0), (5, 1)):
            state, shift = states[n, b], 1e-5 * torch.eye(12, dtype=torch.float64)
            columns = [
                (step_by_hand(network, inputs[n, b], state + one) - step_by_hand(network, inputs[n, b], state - one))
                for one in shift
            ]
            expected = (torch.stack(columns, 1) / 2e-5).numpy()
            np.testing.assert_allclose(found[n, b], expected, atol=1e-8)
            assert np.linalg.det(expected) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(
    "network", [stack(1), stack(3, dt=0.5), stack(4, residual=2), stack(2, dt=2.0, alpha=1e4)],
    ids=["one", "dense", "residual", "stiff"],
)  # fmt: skip
def test_volume_is_kept_by_every_stack(network):
    assert volume(network, noise(20)).verdict == "holds"


def test_volume_of_a_damped_cell_shrinks_by_a_factor_a_unit():
    """Shrinking z by 0.9 multiplies each unit's determinant by 0.9."""
    found = volume(Damped(2, 3), noise(20))
    assert found.verdict == "fails"
    np.testing.assert_allclose(found["log_determinant"], 3 * math.log(0.9), rtol=1e-9)
    np.testing.assert_allclose(found["measured"].sel(over="sequence"), 20 * 3 * abs(math.log(0.9)), rtol=1e-9)


def test_an_orientation_that_turns_is_not_volume_kept():
    found = volume(Reflected(2, 3), noise(5))
    assert found.verdict == "fails" and np.isinf(found["measured"]).all()


def test_a_layer_is_symplectic_and_a_stack_is_not():
    alone, stacked = symplecticity(stack(1), noise(10)), symplecticity(stack(3), noise(10))
    assert alone.verdict == stacked.verdict == "holds"
    assert float(alone["stack_defect"]) < 1e-14
    assert float(stacked["stack_defect"]) > 1e-4


def test_a_damped_cell_is_not_symplectic():
    """J^T Omega J = det J Omega for a 2 x 2 block: what is missing is 1 - 0.9."""
    found = symplecticity(Damped(2, 3), noise(5))
    assert found.verdict == "fails"
    np.testing.assert_allclose(found["measured"], 0.1, rtol=1e-9)


def test_symplectic_defect_of_known_matrices():
    shear = np.array([[1.0, 0.3], [0.0, 1.0]])
    both = np.kron(shear, np.eye(2))[None]  # states [y_1, y_2, z_1, z_2]
    assert symplectic_defect(both, [2]) < 1e-15
    assert symplectic_defect(np.diag([2.0, 2.0])[None], [1]) == pytest.approx(3)
    # Two layers of one unit each: states [y^1, z^1, y^2, z^2].
    assert symplectic_defect(np.kron(np.eye(2), shear)[None], [1, 1]) < 1e-15
    assert symplectic_defect(both, [1, 1]) > 0.1
