"""Prop. C.4, Eqs. (74) and (80), against autodiff of the recurrence written out and counted paths."""

import numpy as np
import pytest
import torch

from dynlab.theory.unicornn_depth import dense_depth, dense_order, residual_depth, residual_order, shortest_order
from dynlab.theory.unicornn_depth_formula import climb, proposition_c4
from dynlab.theory.unicornn_depth_map import gradient_against_depth
from dynlab.theory.unicornn_representation import default_target
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import first_layers, subject

from .unicornn_oracle import by_hand, noise, stack, weights


@pytest.mark.parametrize("network", [stack(1), stack(3), stack(7, residual=3), stack(4, residual=2)])
def test_climb_is_the_derivative_at_the_last_time(network):
    """d y_n^L / d y_n^1 with every state before n held, by autodiff of the last step."""
    inputs, gradient = noise(10), noise(1, features=3)[0]
    with torch.no_grad():
        y, z = by_hand(network, inputs)
    own, S = weights(network), network.residual
    bottom = y[-1][0].clone().requires_grad_()
    below = [inputs[-1], bottom]
    for index in range(1, len(network.layers)):
        one, layer = own[index], network.layers[index]
        A = one["w"] * y[-2][index] + below[-1] @ one["V"].T + one["b"]
        if S is not None and index + 1 > S:
            A = A + below[index - S] @ one["skip"].T
        h = layer.dt * torch.sigmoid(one["c"])
        below.append(y[-2][index] + h * (z[-2][index] - h * (torch.tanh(A) + layer.alpha * y[-2][index])))
    torch.testing.assert_close(below[-1], y[-1][-1])
    (expected,) = torch.autograd.grad((below[-1] * gradient).sum(), bottom)
    torch.testing.assert_close(climb(network, inputs, gradient), expected, rtol=1e-10, atol=1e-16)


def fewest(L: int, S: int) -> int:
    """The least number of connections from layer L to layer 1 by Eq. (76), by breadth."""
    reached, count = {L}, 0
    while 1 not in reached:
        reached = {level - 1 for level in reached} | {level - S - 1 for level in reached if level > S}
        reached = {level for level in reached if level >= 1}
        count += 1
    return count


def test_exponents():
    assert [dense_order(L) for L in (1, 3, 7)] == [1, 5, 13]
    # Appendix C.5's example.
    assert residual_order(7, 3) == 5
    for L in range(1, 13):
        assert shortest_order(L, None) == dense_order(L)
        for S in (2, 3, 4):
            assert shortest_order(L, S) == 2 * fewest(L, S) + 1


def test_dense_stacking_fails_beyond_one_layer():
    found = dense_depth()
    assert found.verdict == "fails"
    np.testing.assert_allclose(found["measured"], 1, atol=0.1)
    # Along the path of the proof Eq. (74) is right.
    np.testing.assert_allclose(found["one_path"], [1, 3, 5, 7, 9], atol=0.1)
    assert found["satisfied"].values.tolist() == [True, False, False, False, False]


def test_dense_stacking_holds_for_one_layer():
    assert dense_depth(stack(1), noise(40)).verdict == "holds"


def test_residual_stacking_fails():
    found = residual_depth()
    assert found.verdict == "fails"
    np.testing.assert_allclose(found["bound"], [1, 3, 5, 3, 5, 7, 5])
    np.testing.assert_allclose(found["measured"], 1, atol=0.1)
    np.testing.assert_allclose(found["one_path"], found["one_path_expected"], atol=0.15)
    assert float(found["one_path_expected"][-1]) == 7


def test_stackings_are_hypotheses():
    assert dense_depth(stack(4, residual=2), noise(40)).verdict == "not applicable"
    assert residual_depth(stack(2), noise(40)).verdict == "not applicable"
    assert dense_depth(stack(2), noise(12)).verdict == "not applicable"
    with pytest.raises(ValueError, match=r"unicornn-C\.4-depth: expected at least 10 time steps, got 5"):
        dense_depth(stack(2), noise(5))


def test_c4_fails_by_both_readings():
    found = proposition_c4()
    assert found.verdict == "fails"
    np.testing.assert_allclose(found["measured"], [1, 5], atol=0.1)
    np.testing.assert_allclose(found["order"], [1, 5], atol=0.1)


def test_c4_is_about_three_dense_layers():
    for network in (stack(2), stack(4), stack(3, residual=2)):
        assert proposition_c4(network, noise(20), factors=(1, 2, 4)).verdict == "not applicable"
    assert proposition_c4(stack(3), noise(20), factors=(1, 2, 4)).verdict == "fails"


def test_gradient_against_depth_is_that_of_the_recurrence_written_out():
    found = gradient_against_depth((1, 3, 4), (0.25,), (1.0,), (0, 2), T=3.0, hidden_size=3)
    signal = torch.randn(6, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = signal.repeat_interleave(2, 0)  # 0.5 held for two steps of 0.25
    for S in (0, 2):
        row = Setting("own", 0.25, 1.0, 4, 1, "here")
        whole = subject(None, inputs, where="test", seed=0, setting=row, residual=S or None, hidden_size=3).network
        for L in (1, 3, 4):
            network, norms = first_layers(whole, L), []
            target = default_target(network, 2, 0)
            for sample in range(2):
                own = weights(network)
                y, _ = by_hand(network, inputs, own)
                (((y[-1][-1] - target)[sample] ** 2).sum() / 2).backward()
                norms.append(own[0]["w"].grad.norm().item())
            value = float(found["gradient"].sel(alpha=1.0, dt=0.25, residual=S, L=L))
            assert value == pytest.approx(sum(norms) / 2, rel=1e-9)


def test_residual_connections_help_where_a_path_is_shorter():
    found = gradient_against_depth((3, 5), (0.126,), (0.0,), (0, 2, 3), hidden_size=8)["gradient"].squeeze(drop=True)
    # S = 3 reaches layer 1 from layer 5; at 3 layers there is no connection.
    assert float(found.sel(L=5, residual=3)) > 10 * float(found.sel(L=5, residual=0))
    assert float(found.sel(L=3, residual=3)) == pytest.approx(float(found.sel(L=3, residual=0)))
