"""Products from s to t against dense multiplication in float64, powers of a matrix, and autodiff through the steps."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

import dynlab
from dynlab.widgets import between as module
from dynlab.widgets.between import between, eigenvalues, follow, gradient_norm, joined, part, singular_values
from dynlab.widgets.runner import Cancelled
from dynlab.widgets.signals import signal

STEPS, START, STOP, SAMPLE = 14, 3, 11, 1


def linear(weight: torch.Tensor):
    return dynlab.as_cell(lambda x, h: h @ weight.T + 0 * x.sum(), input_size=1, state_size=len(weight))


def product_by_autodiff(cell, inputs, start, stop, sample):
    """d state_stop / d state_start through the cell's own steps; terms belong to the whole sequence."""
    terms = cell.terms(inputs)
    states = cell.scan(inputs)

    def run(state):
        for term in terms[start:stop, sample : sample + 1]:
            state = cell.advance(term, state)
        return state[0]

    return torch.autograd.functional.jacobian(run, states[start, sample : sample + 1])[:, 0]


def test_powers_of_a_matrix():
    torch.manual_seed(0)
    weight = torch.randn(6, 6, dtype=torch.float64) / math.sqrt(6)
    data = between(linear(weight), torch.zeros(STEPS, 2, 1, dtype=torch.float64), START, STOP, SAMPLE)
    whole = torch.linalg.matrix_power(weight, STOP - START)
    expected = torch.linalg.eigvals(weight) ** (STOP - START)
    found = torch.from_numpy(data["end_to_end_eigenvalue"].values[0])
    apart = (found[:, None] - expected[None]).abs()
    assert apart.min(0).values.max() < 1e-12 and apart.min(1).values.max() < 1e-12
    singular = torch.linalg.svdvals(whole).log().numpy()
    np.testing.assert_allclose(data["log_singular_value"].values[0], singular, atol=1e-9)
    norms = [torch.linalg.matrix_power(weight, k).norm().log() - math.log(6) / 2 for k in range(STOP - START + 1)]
    np.testing.assert_allclose(data["log_growth"].values[:, 0], norms, atol=1e-12)
    np.testing.assert_allclose(data["log_gradient_norm"].values[:, 0], norms[::-1], atol=1e-12)
    assert data["time"].values.tolist() == list(range(START, STOP + 1)) and data["batch"].values.tolist() == [SAMPLE]
    assert data["log_singular_value"].attrs["long_name"] == "log singular value of d state_11 / d state_3"
    assert data.attrs["start"] == START and data.attrs["stop"] == STOP


@pytest.mark.parametrize("spec", ["lstm", "unicornn", "antisymmetric:epsilon=0.3", "irnn:K=3,eta=0.4", "gru"])
def test_dense_products(spec):
    torch.manual_seed(1)
    cell = dynlab.build_cell(spec, 2, 5).double()
    inputs = signal("noise", STEPS, 3, seed=2).double()
    data = between(cell, inputs, START, STOP, SAMPLE)
    matrix = product_by_autodiff(cell, inputs, START, STOP, SAMPLE)
    norm = float(matrix.norm().log()) - math.log(len(matrix)) / 2
    assert data["log_growth"].values[-1, 0] == pytest.approx(norm, abs=1e-10)
    assert data["log_gradient_norm"].values[0, 0] == pytest.approx(norm, abs=1e-10)
    for name, values in (
        ("log_singular_value", torch.linalg.svdvals(matrix)),
        ("log_end_to_end_modulus", torch.linalg.eigvals(matrix).abs()),
    ):
        expected = np.sort(values.log().numpy())[::-1]
        sure = expected > expected[0] - 12  # of a product made at once, smaller ones are rounding
        np.testing.assert_allclose(data[name].values[0][sure], expected[sure], atol=1e-6, err_msg=name)
        assert sure.sum() >= 5
    whole = dynlab.record(cell, inputs)["log_gradient_norm"].values[:, SAMPLE]
    np.testing.assert_allclose(data["log_final_gradient_norm"].values[:, 0], whole, atol=1e-12)


def test_a_step_that_depends_on_the_time_keeps_its_time():
    torch.manual_seed(2)
    cell = dynlab.cells.IncrementalRNN(2, 4, K=2, eta_steps=STEPS).double()
    with torch.no_grad():
        cell.eta.copy_(0.1 + 0.8 * torch.rand(cell.eta.shape))
    inputs = signal("noise", STEPS, 2, seed=3).double()
    matrix = product_by_autodiff(cell, inputs, START, STOP, SAMPLE)
    data = between(cell, inputs, START, STOP, SAMPLE)
    expected = torch.linalg.svdvals(matrix).log().numpy()
    np.testing.assert_allclose(data["log_singular_value"].values[0], expected, atol=1e-8)
    assert data["log_growth"].values[-1, 0] == pytest.approx(float(matrix.norm().log()) - math.log(2), abs=1e-10)


def test_small_singular_values_and_large_norms_are_numbers():
    weight = torch.diag(torch.tensor([1e30, 2.0, 1e-40], dtype=torch.float64))
    data = between(linear(weight), torch.zeros(100, 1, 1, dtype=torch.float64), 10, 90)
    expected = 80 * weight.diagonal().log().numpy()
    np.testing.assert_allclose(data["log_singular_value"].values[0], expected, rtol=1e-12)
    assert data["log_growth"].values[-1, 0] == pytest.approx(expected[0] - math.log(3) / 2, rel=1e-12)
    assert data["end_to_end_resolved"].values[0].tolist() == [True, False, False]
    np.testing.assert_allclose(data["lyapunov_exponent"].values[0], expected / 80, rtol=1e-12)


def test_the_rollout_is_of_a_copy_in_eval_mode():
    torch.manual_seed(3)
    network = dynlab.Network([dynlab.cells.Elman(2, 4), dynlab.cells.Elman(4, 4)], dropout=0.5).train()
    kept = copy.deepcopy(network).eval()
    trace = follow(network, signal("noise", 9, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    found = eigenvalues(trace, 0, 9, 0)
    expected = between(kept, signal("noise", 9, 2))
    np.testing.assert_array_equal(found["log_end_to_end_modulus"], expected["log_end_to_end_modulus"])
    assert network.training


@pytest.mark.parametrize("resist", [False, True])
def test_every_part_can_be_given_up(resist, monkeypatch):
    if resist:  # rows that cannot be cut into pieces are rotated for long
        monkeypatch.setattr("dynlab.jacobian.singular._pieces", lambda right, log_scale: None)
    torch.manual_seed(0)
    trace = follow(dynlab.build_cell("lstm", 2, 12), signal("noise", 60, 1))
    for make in (eigenvalues, singular_values):
        shares = []
        make(trace, 0, 60, 0, shares.append)
        assert shares == sorted(shares) and 0 <= shares[0] and shares[-1] <= 1
        assert max(shares) == (1 if make is eigenvalues else module.SWEEP)

        last = max(shares)

        def end(share, last=last):
            if share >= last:
                raise Cancelled

        with pytest.raises(Cancelled):
            make(trace, 0, 60, 0, end)
    ends = [share for share in shares if share == module.SWEEP]
    assert len(ends) > (500 if resist else 10), "also what comes after the sweep, between any two operations"


def test_bad_input():
    trace = follow(dynlab.build_cell("elman", 2, 3), signal("noise", 5, 2))
    for start, stop, sample, says in (
        (2, 2, 0, "expected 0 <= start < stop <= T = 5, got start = 2, stop = 2"),
        (0, 6, 0, "stop = 6"),
        (-1, 3, 0, "start"),
        (0, 5, 2, "expected a sample below 2, got 2"),
    ):
        with pytest.raises(ValueError, match=says):
            part(trace, start, stop, sample)
    with pytest.raises(TypeError, match="as_cell"):
        between(3, signal("noise", 5, 2))
    with pytest.raises((TypeError, ValueError), match="inputs"):
        between(dynlab.build_cell("elman", 2, 3), "noise")


def test_joined_answers_carry_attributes():
    trace = follow(dynlab.build_cell("elman", 2, 3), signal("noise", 5, 2))
    whole = joined([eigenvalues(trace, 0, 5, 1), gradient_norm(trace, 1)], {"spec": "elman"})
    assert {"log_growth", "log_final_gradient_norm"} <= set(whole) and whole.attrs["spec"] == "elman"
    assert whole.attrs["stop"] == 5
