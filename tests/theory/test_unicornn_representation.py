"""Prop. 3.2 (C.3), against autodiff of the recurrence written out and the closed form of one oscillator."""

import math

import numpy as np
import pytest
import torch

from dynlab.cells.unicornn import UnICORNN
from dynlab.theory.unicornn_representation import final_gap, formula, proposition_3_2, sensitivity

from .unicornn_oracle import by_hand, noise, stack, weights


def contributions_by_hand(network, inputs, target):
    """dE_n / dw_k where each step has its own copy w_k of the first layer's w, (N, batch, p)."""
    own, found = weights(network), []
    for sample in range(inputs.shape[1]):
        w = [own[0]["w"].detach().clone().requires_grad_() for _ in inputs]
        y, _ = by_hand(network, inputs, own, w)
        error = ((y[-1][-1] - target)[sample] ** 2).sum() / 2
        found.append(torch.stack(torch.autograd.grad(error, w)))
    return torch.stack(found, 1)


@pytest.mark.parametrize("network", [stack(1), stack(3), stack(5, residual=2)], ids=["one", "dense", "residual"])
def test_contributions_are_those_of_equation_44(network):
    inputs, target = noise(12), noise(1, features=3)[0]
    found = sensitivity(network, inputs, final_gap(network, inputs, target))
    torch.testing.assert_close(
        found.contributions, contributions_by_hand(network, inputs, target), rtol=1e-10, atol=1e-14
    )
    assert all(parameter.grad is None for parameter in network.parameters())


def test_formula_is_equation_46():
    network, inputs, target = stack(1), noise(12), noise(1, features=3)[0]
    gap = final_gap(network, inputs, target)
    found = formula(network, sensitivity(network, inputs, gap), gap, 12)
    own = {name: value.detach().numpy() for name, value in weights(network)[0].items()}
    with torch.no_grad():
        y, _ = by_hand(network, inputs)
    dt, s = 0.1, 1 / (1 + np.exp(-own["c"]))
    for k in (1, 2, 7, 12):
        before = y[k - 1][0].numpy()
        A = own["w"] * before + inputs[k - 1].numpy() @ own["V"].T + own["b"]
        expected = -dt * s**2 * 12 * dt / np.cosh(A) ** 2 * before * (y[-1][0] - target).numpy()
        np.testing.assert_allclose(found[k - 1], expected, rtol=1e-10, atol=1e-15)


def test_propagator_of_one_oscillator():
    """w = 0: dy_n / dz_k = h sin((n - k) theta) / sin(theta), cos(theta) = 1 - alpha h^2 / 2; Eq. (46) has t_n s."""
    cell = UnICORNN(1, 1, dt=0.2, alpha=4.0).double()
    with torch.no_grad():
        for parameter in (cell.weight_hh, cell.bias, cell.c):
            parameter.zero_()
    found = proposition_3_2(cell, noise(100, features=1))
    theta = math.acos(1 - 4.0 * 0.1**2 / 2)
    k = np.arange(1, 101)
    np.testing.assert_allclose(
        found["propagator"][:, 0], 0.1 * np.sin((100 - k) * theta) / np.sin(theta), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(found["propagator_formula"], 100 * 0.1)
    assert found.verdict == "fails"


def test_fails_at_a_fixed_time_and_not_at_a_fixed_number_of_steps():
    found = proposition_3_2()
    assert found.verdict == "fails"
    assert float(found["measured"].sel(limit="t_n fixed")) == pytest.approx(1, abs=0.1)
    assert float(found["measured"].sel(limit="n fixed")) > 2
    assert float(found["leading_order"].sel(limit="t_n fixed")) == pytest.approx(1, abs=0.1)
    # One factor changed, the length: the formula is right for short times only.
    relative = found["relative_remainder"]
    assert float(relative[0]) < 0.05 < 0.5 < float(relative[-1])


def test_sizes_are_those_of_the_recurrence_written_out():
    network, inputs, target = stack(1), noise(20), noise(1, features=3)[0]
    found = proposition_3_2(network, inputs, target=target, factors=(1, 2, 4))
    exact = contributions_by_hand(network, inputs, target)
    gap = final_gap(network, inputs, target)
    leading = formula(network, sensitivity(network, inputs, gap), gap, 20)
    # k = 2 is the only one <= n / 10 that is not 1.
    expected = (exact - leading)[1].abs().max()
    np.testing.assert_allclose(found["size"].sel(part="remainder").isel(dt=0), float(expected), rtol=1e-9)


def test_early_steps_are_required():
    found = proposition_3_2(stack(1), noise(12))
    assert found.verdict == "not applicable"
    with pytest.raises(ValueError, match=r"unicornn-3\.2: expected at least 10 time steps, got 9"):
        proposition_3_2(stack(1), noise(9))
    with pytest.raises(ValueError, match="target"):
        proposition_3_2(stack(1), noise(20), target=torch.zeros(2, 4))
