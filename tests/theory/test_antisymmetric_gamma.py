"""The smallest gamma against its closed form and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dynlab
from dynlab.theory.antisymmetric_gamma import needed_gamma

STILL = torch.zeros(3, 1, 2, dtype=torch.float64)


@pytest.mark.parametrize(("epsilon", "omega"), [(0.01, 1.0), (0.1, 5.0), (0.5, 1.9)])
def test_a_rotation_needs_what_the_closed_form_says(epsilon, omega, rotation):
    expected = (1 - math.sqrt(1 - (epsilon * omega) ** 2)) / epsilon
    found = needed_gamma(rotation(omega, epsilon, gamma=1.01 * expected), STILL)
    np.testing.assert_allclose(found["bound"].values, expected, rtol=1e-6)
    np.testing.assert_allclose(found["gamma_along_trace"].values, expected, rtol=1e-6)
    assert float(found["enough"]) == pytest.approx(expected, rel=1e-10)
    assert found.attrs["verdict"] == "holds"
    assert needed_gamma(rotation(omega, epsilon, gamma=0.99 * expected), STILL).attrs["verdict"] == "fails"


def test_where_eps_omega_is_above_1_no_gamma_does(rotation):
    """(1 - eps gamma)^2 + (eps omega)^2 > 1 for every gamma."""
    found = needed_gamma(rotation(11.0, 0.1, gamma=20.0), STILL)
    assert np.isinf(found["bound"]).all() and np.isinf(found["gamma_along_trace"]).all()
    assert np.isinf(found["enough"]) and found.attrs["verdict"] == "fails"


def test_no_recurrence_needs_none(rotation):
    found = needed_gamma(rotation(0.0, 0.1, gamma=0.0), STILL)
    assert (found["bound"] == 0).all() and found.attrs["verdict"] == "holds"


def worst(cell, inputs, slopes=None):
    """max |1 + eps lambda| along the rollout at the cell's gamma, or with the given D, by NumPy."""
    matrix = cell.recurrent_matrix().detach().numpy()
    if slopes is None:
        slopes = diagonals(cell, inputs)
    return max(
        abs(np.linalg.eigvals(np.eye(len(matrix)) + cell.epsilon * one[:, None] * matrix)).max() for one in slopes
    )


def diagonals(cell, inputs):
    """tanh' along the rollout of the first sample, by NumPy."""
    matrix, state, found = cell.recurrent_matrix().detach().numpy(), np.zeros(cell.hidden_size), []
    for x in inputs[:, 0].numpy():
        change = np.tanh(matrix @ state + cell.weight_ih.detach().numpy() @ x + cell.bias.detach().numpy())
        found.append(1 - change**2)
        state = state + cell.epsilon * change
    return found


def test_both_traces_and_each_transition_by_brute_force(seeded, noise):
    cell, inputs = seeded("antisymmetric:epsilon=0.2,sigma_w=2.0,gamma=0.05", 2, 7), noise(6, 2)
    found = needed_gamma(cell, inputs)
    own = diagonals(cell, inputs)

    def at(gamma, slopes):
        cell.gamma = gamma
        return worst(cell, inputs, slopes)

    for trace, slopes in (("fixed", own), ("re-rolled", None)):
        gamma = float(found["bound"].sel(trace=trace))
        assert at(gamma * 1.001, slopes) <= 1 < at(gamma * 0.999, slopes)
        assert all(at(fraction * gamma, slopes) > 1 for fraction in np.linspace(0, 0.99, 25))
    for t, slope in enumerate(own, 1):
        gamma = float(found["gamma_along_trace"].sel(transition=t))
        assert at(gamma * 1.001, [slope]) <= 1 < at(gamma * 0.999, [slope])
    assert float(found["gamma_along_trace"].max()) == pytest.approx(float(found["bound"].sel(trace="fixed")), rel=1e-8)
    assert (found["bound"] <= found["enough"]).all()


def test_the_papers_grid():
    found = needed_gamma(epsilons=(0.01, 1.0), sigmas=(1.0, 4.0), steps=3)
    assert found["bound"].dims == ("epsilon", "sigma_w", "trace")
    assert found.attrs["verdict"] == "fails"  # gamma = 0.01 is too small for each of them
    small = found["bound"].sel(epsilon=0.01)
    # Of leading order (eps / 2) omega^2: sixteen times as much for four times sigma_w.
    assert 8 < float((small.sel(sigma_w=4.0) / small.sel(sigma_w=1.0)).mean()) < 24
    assert np.isinf(found["bound"].sel(epsilon=1.0, sigma_w=4.0)).all()


def test_a_long_trace_is_looked_at_in_fifty_places():
    cell = dynlab.build_cell("antisymmetric", 1, 3)
    assert needed_gamma(cell, steps=120)["gamma_along_trace"].sizes == {"transition": 50}
