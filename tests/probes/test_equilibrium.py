"""Equilibrium against SciPy's scalar root finder, the rate of Proposition 2, Theorem 1 and linear maps."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from dynlab.cell import Cell
from dynlab.cells.incremental import IncrementalRNN
from dynlab.probes.equilibrium import Equilibrium
from dynlab.trace import rollout


def observed(cell, inputs, state=None, **arguments) -> dict:
    trace = rollout(cell, inputs, state)
    return {variable.name: variable for variable in Equilibrium(**arguments).observe(trace).variables()}


def contracting(hidden_size: int = 6, norm: float = 0.6, **options) -> IncrementalRNN:
    cell = IncrementalRNN(3, hidden_size, nonlinearity="tanh", **{"K": 12, "eta": 0.3, **options}).double()
    with torch.no_grad():
        cell.weight_full.mul_(norm / torch.linalg.matrix_norm(cell.weight_full, 2))
        cell.bias.normal_()
    return cell


@pytest.mark.parametrize("sign", [1, -1])
def test_one_unit_against_brentq(sign):
    cell = IncrementalRNN(1, 1, K=4, eta=0.2, nonlinearity="tanh", alpha=0.8, sign=sign, start="zero").double()
    inputs = torch.randn(3, 2, 1, dtype=torch.float64)
    trace = rollout(cell, inputs, torch.zeros(2, 1, dtype=torch.float64))
    found = observed(cell, inputs)
    weight, drive = cell.weight_hh.item(), cell.input_term(inputs).detach()
    for t in (1, 2, 3):
        for b in range(2):
            h, c = float(trace.states[t - 1, b]), float(drive[t - 1, b])

            def force(g, h=h, c=c):
                return math.tanh(weight * (g + sign * h) + c) - 0.8 * (g + sign * h)

            root = brentq(force, -20, 20, xtol=1e-14)
            g = 0.0
            for k in range(5):
                assert float(found["equilibrium_distance"].values[t - 1, k, b]) == pytest.approx(
                    abs(g - root), abs=1e-12
                )
                assert float(found["equilibrium_residual"].values[t - 1, k, b]) == pytest.approx(
                    abs(force(g)), abs=1e-12
                )
                g += cell.eta[k - 1].item() * force(g)
    assert bool(found["equilibrium_converged"].values.all())


def test_proposition_2():
    cell = contracting()
    found = observed(cell, torch.randn(5, 4, 3, dtype=torch.float64))
    distance = found["equilibrium_distance"]
    assert distance.dims == ("transition", "k", "batch")
    assert distance.values.shape == (5, 13, 4)
    bound = 1 - 0.3 + 0.3 * 0.6
    ratio = distance.values[:, 1:] / distance.values[:, :-1]
    assert float(ratio.max()) <= bound + 1e-9
    rate = found["equilibrium_rate"].values
    torch.testing.assert_close(rate, (distance.values[:, -1] / distance.values[:, 0]) ** (1 / 12))
    assert float(rate.max()) <= bound
    # 1-Lipschitz phi cannot contract faster than this either.
    assert float(rate.min()) >= 1 - 0.3 - 0.3 * 0.6


def test_theorem_1_error_falls_with_the_number_of_inner_steps():
    inputs = torch.randn(3, 2, 3, dtype=torch.float64)
    errors = []
    for K in (2, 20, 200):
        torch.manual_seed(0)
        found = observed(contracting(K=K), inputs)
        errors.append(float(found["implicit_jacobian_error"].values.max()))
    assert errors[0] > 10 * errors[1] > 1e4 * errors[2]
    assert errors[2] < 1e-6


def test_implicit_jacobian_error_by_hand():
    cell = contracting(K=2)
    inputs = torch.randn(2, 2, 3, dtype=torch.float64)
    error = observed(cell, inputs)["implicit_jacobian_error"].values
    state = cell.scan(inputs)[1]
    dense = torch.func.jacrev(lambda h: cell(inputs[1, 1:], h[None])[0])(state[1]).detach()
    assert float(error[1, 1]) == pytest.approx(float(torch.linalg.norm(dense + torch.eye(6)) / 6**0.5))


def test_rate_stops_at_rounding():
    found = observed(contracting(K=400), torch.randn(2, 2, 3, dtype=torch.float64))
    rate = found["equilibrium_rate"].values
    assert float(rate.min()) > 0.6
    assert float(rate.max()) < 0.89
    assert float(found["equilibrium_distance"].values[:, -1].max()) < 1e-13


def test_at_the_equilibrium_from_the_start_the_rate_is_zero():
    cell = IncrementalRNN(2, 3, K=3, nonlinearity="tanh").double()
    found = observed(cell, torch.zeros(2, 1, 2, dtype=torch.float64))
    assert torch.equal(found["equilibrium_rate"].values, torch.zeros(2, 1, dtype=torch.float64))
    assert float(found["equilibrium_distance"].values.max()) == 0


def test_one_inner_step_has_no_rate():
    assert "equilibrium_rate" not in observed(contracting(K=1), torch.randn(2, 2, 3, dtype=torch.float64))


@pytest.mark.parametrize("options", [{"projection": True}, {"eta_steps": 6}, {"recurrent": "identity_plus_low_rank"}])
def test_variants_of_irnn_in_float32(options):
    cell = IncrementalRNN(3, 5, K=3, eta=0.2, nonlinearity="tanh", alpha=1.5, **options)
    found = observed(cell, torch.randn(6, 2, 3), transitions=(2, 6))
    assert found["equilibrium_distance"].coords["transition"].tolist() == [2, 6]
    assert found["equilibrium_distance"].values.dtype == torch.float64
    assert bool(found["equilibrium_converged"].values.all())
    assert bool((found["equilibrium_distance"].values.diff(dim=1) < 0).all())
    # The cell itself stays as it was.
    assert cell.bias.dtype == torch.float32


class Affine(Cell):
    """state -> A state + x."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__(len(matrix), len(matrix))
        self.matrix = torch.nn.Parameter(matrix)

    def forward(self, x, state):
        return state @ self.matrix.T + x


def test_fixed_point_of_an_affine_map():
    matrix = 0.4 * torch.randn(3, 3, dtype=torch.float64)
    inputs = torch.randn(4, 2, 3, dtype=torch.float64)
    trace = rollout(Affine(matrix), inputs)
    found = observed(Affine(matrix), inputs)
    assert set(found) == {"equilibrium_residual", "equilibrium_distance", "equilibrium_converged"}
    fixed = torch.linalg.solve(torch.eye(3) - matrix, inputs.unsqueeze(-1)).squeeze(-1)
    distance = found["equilibrium_distance"]
    assert distance.dims == ("transition", "batch")
    torch.testing.assert_close(distance.values, (trace.states[:-1] - fixed).norm(dim=-1))
    torch.testing.assert_close(found["equilibrium_residual"].values, trace.states.diff(dim=0).norm(dim=-1))


def test_no_fixed_point_is_flagged_without_nan():
    found = observed(Affine(torch.eye(2)), torch.ones(3, 2, 2), samples=1)
    # A part of the batch is another dimension, so that other variables keep the whole one.
    assert found["equilibrium_distance"].dims == ("transition", "equilibrium_batch")
    assert found["equilibrium_distance"].coords["equilibrium_batch"].tolist() == [0]
    assert not bool(found["equilibrium_converged"].values.any())
    assert bool(torch.isposinf(found["equilibrium_distance"].values).all())
    assert torch.equal(found["equilibrium_residual"].values, torch.full((3, 1), 2**0.5, dtype=torch.float64))


def test_a_bare_function_runs_in_its_own_dtype():
    class Function(Cell):
        def forward(self, x, state):
            return 0.5 * state + x.float()

    found = observed(Function(2, 2), torch.ones(3, 1, 2))
    assert bool(found["equilibrium_converged"].values.all())
    expected = torch.tensor([2.0, 1.0, 0.5])[:, None] * 2**0.5
    np.testing.assert_allclose(found["equilibrium_distance"].values, expected, rtol=1e-5)


def test_default_transitions():
    found = observed(Affine(torch.zeros(1, 1)), torch.ones(100, 1, 1))
    chosen = found["equilibrium_converged"].coords["transition"].tolist()
    assert len(chosen) == 16
    assert (chosen[0], chosen[-1]) == (1, 100)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tolerance": 0}, ValueError, "tolerance > 0"),
        ({"samples": 0}, ValueError, "samples >= 1"),
        ({"transitions": 3}, TypeError, "sequence of integers"),
        ({"transitions": ()}, ValueError, "ascending"),
        ({"transitions": (2, 1)}, ValueError, "ascending"),
        ({"transitions": (0, 1)}, ValueError, "each of transitions >= 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Equilibrium(**arguments)


def test_what_the_trace_does_not_have():
    with pytest.raises(ValueError, match="from 1 to T = 3, got 4"):
        observed(contracting(), torch.randn(3, 2, 3, dtype=torch.float64), transitions=(1, 4))
    with pytest.raises(ValueError, match="at most 2 samples"):
        observed(contracting(), torch.randn(3, 2, 3, dtype=torch.float64), samples=3)
