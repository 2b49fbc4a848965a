"""Prop. 3.1 (C.2), against autodiff of the recurrence written out and the bound in numbers."""

import math

import numpy as np
import pytest
import torch

from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.unicornn_gradient import gradient_bound, proposition_3_1
from dynlab.theory.unicornn_gradient_gaps import gaps, widened

from .unicornn_oracle import by_hand, noise, stack, weights


def small(count: int = 2, **changes) -> Network:
    """Where every hypothesis holds for 8 steps of small inputs: gamma = 2 + 2, gamma T = 0.64."""
    network = stack(count, **{"dt": 0.02, "alpha": 0.5, **changes})
    with torch.no_grad():
        network.layers[-1].weight_hh.clamp_(-1.5, 1.5)
    return network


def loss(network: Network, inputs: torch.Tensor, targets: torch.Tensor, own: list) -> torch.Tensor:
    """Eq. (10) for each sample, (batch,)."""
    y, _ = by_hand(network, inputs, own)
    return sum(((y[n + 1][-1] - target) ** 2).sum(-1) / 2 for n, target in enumerate(targets)) / len(targets)


def test_gradients_are_those_of_equation_10():
    network, inputs = small(3), noise(8)
    targets = noise(8, features=3)
    found = proposition_3_1(network, inputs, targets=targets)
    names = {"w": "weight_hh", "V": "weight_ih", "b": "bias", "c": "c"}
    for sample in range(2):
        own = weights(network)
        loss(network, inputs, targets, own)[sample].backward()
        for layer, one in enumerate(own):
            for name, value in one.items():
                measured = found["measured"].sel(parameter=f"cells.{layer}.{names[name]}").isel(batch=sample)
                assert float(measured) == pytest.approx(value.grad.abs().max().item(), rel=1e-10)


def test_bound_in_numbers():
    """L = 2, dt = 0.1, alpha = 4, N = 5, |w^2| = 1, row sums of V 3 and 0.5, targets up to 2."""
    layers = [UnICORNN(2, 2, dt=0.1, alpha=4.0).double() for _ in range(2)]
    with torch.no_grad():
        layers[0].weight_ih.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.5]]))
        layers[1].weight_ih.copy_(torch.tensor([[0.25, 0.25], [0.1, -0.1]]))
        layers[0].weight_hh.fill_(100.0)
        layers[1].weight_hh.copy_(torch.tensor([-1.0, 0.5]))
    gamma = 5 + 25 / 2  # max(2, 1 + 4)
    growth = 1 + 2 * 64 * 0.5  # beta = max(9, 64), T = 0.5
    F = math.sqrt(2 / 4 * growth)
    Delta = 2 + math.sqrt(2 * growth) + 6 * F
    expected = (1 + 0.1) * 0.5 * (1 + 2 * gamma * 0.5) * 3 * (2 + F) * Delta
    found = gradient_bound(layers, 5, 2.0)
    assert found.proved == pytest.approx(expected)
    assert found.gamma == gamma
    printed_F = math.sqrt(2 / 4) * growth
    printed_Delta = 2 + math.sqrt(2 * growth) + 6 * printed_F
    assert found.printed == pytest.approx(expected * (2 + printed_F) * printed_Delta / ((2 + F) * Delta))


def test_bound_where_dt_is_1_or_alpha_0():
    layers = [UnICORNN(1, 1, dt=dt, alpha=1.0) for dt in (1.0, 1.0, 1.0)]
    near = [UnICORNN(1, 1, dt=1 - 1e-9, alpha=1.0) for _ in layers]
    for layer, other in zip(layers, near, strict=True):
        other.load_state_dict(layer.state_dict())
    assert gradient_bound(layers, 5, 1.0).proved == pytest.approx(gradient_bound(near, 5, 1.0).proved, rel=1e-6)
    assert gradient_bound([UnICORNN(1, 1, dt=0.1, alpha=0.0)], 5, 1.0).proved == math.inf


def test_holds_where_all_hypotheses_do():
    found = proposition_3_1(small(), noise(8, size=0.5))
    assert bool(found["hypothesis_holds"].all()), found["hypothesis"].values[~found["hypothesis_holds"].values]
    assert found.verdict == "holds"
    assert 0 < float(found["tightness"].max()) < 1


@pytest.mark.parametrize(
    ("network", "inputs", "missed"),
    [
        (lambda: small(alpha=0.0), noise(8, size=0.5), {"alpha > 0"}),
        (lambda: small(dt=1.0), noise(1, size=0.5), {"dt < 1"}),
        (lambda: small(), noise(18, size=0.5), {"N log(1 + gamma dt) <= log(1 + 2 gamma N dt)"}),
        (lambda: small(), noise(8, size=100), {"max |u| <= sqrt(2 (1 + 2 beta T) / alpha)"}),
        (lambda: small(4, residual=2), noise(8, size=0.5), {"dense stacking, Eq. (6)"}),
    ],
)
def test_each_hypothesis_by_itself(network, inputs, missed):
    found = proposition_3_1(network(), inputs)
    names = found["hypothesis"].values[~found["hypothesis_holds"].values]
    assert set(names) == missed
    assert found.verdict == "not applicable"


def test_layers_must_share_dt():
    network = small()
    network.layers[0].dt = 0.01
    found = proposition_3_1(network, noise(8, size=0.5))
    assert found["hypothesis"].values[~found["hypothesis_holds"].values].tolist() == [
        "one dt and one alpha for all layers"
    ]


def test_no_row_of_table_6_meets_the_hypotheses():
    for setting in ("cifar10", "imdb", "healthcare-rr"):
        found = proposition_3_1(setting=setting)
        assert found.verdict == "not applicable"
        assert not bool(found["hypothesis_holds"].sel(hypothesis="N log(1 + gamma dt) <= log(1 + 2 gamma N dt)"))


def test_fails_for_large_inputs_and_wide_layers():
    found = gaps()
    assert bool(found["hypothesis_holds"].all())
    assert found.verdict == "fails"
    assert (found["measured"].isel(factor=0) < 1).all() and (found["measured"].isel(factor=-1) > 1).all()
    assert gaps(factors=(1, 10)).verdict == "holds"


def test_gaps_are_those_of_the_recurrence_written_out():
    """By the chain rule: with V / F and F u, dE / dV is F times as large, and all else as before."""
    network, inputs = small(), noise(8)
    found = gaps(network, inputs, factors=(1, 50), largest_target=3.0)
    own = weights(network)
    targets = torch.full((8, 2, 3), -3.0, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(loss(network, inputs, targets, own)[sample], [*own[0].values(), *own[1].values()])
        for sample in range(2)
    ]
    largest = [max(one[index].abs().max().item() for one in gradients) for index in range(8)]
    bound = gradient_bound(network.layers, 8, 3.0).proved
    np.testing.assert_allclose(found["measured"].isel(factor=0), max(largest) / bound, rtol=1e-9)
    V = list(own[0]).index("V")
    scaled = [50 * value if index == V else value for index, value in enumerate(largest)]
    with torch.no_grad():
        network.layers[0].weight_ih.div_(50)
    bound = gradient_bound(network.layers, 8, 3.0).proved
    expected = max(scaled) / bound
    np.testing.assert_allclose(found["measured"].sel(case="large input", factor=50), expected, rtol=1e-9)


def test_a_wider_layer_has_the_same_states():
    for network in (small(2), small(4, residual=2)):
        wide, inputs = widened(network, 4), noise(6)
        hidden = network.scan(inputs, keep="hidden")
        torch.testing.assert_close(wide.scan(inputs, keep="hidden"), hidden.repeat_interleave(4, -1))


def test_gaps_are_not_applicable_for_long_sequences():
    assert gaps(stack(1, dt=0.1, alpha=13.0), noise(50), factors=(1,)).verdict == "not applicable"
