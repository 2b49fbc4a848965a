"""d L / d state_t against autograd of an unrolled loop."""

import math

import numpy as np
import pytest
import torch

from dynlab import LossGradient, Network, as_cell, record, registry


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name):
    torch.manual_seed(6)
    if name == "function":
        return as_cell(lambda x, s: torch.sin(1.5 * s.roll(1, -1) * x[:, :1]), input_size=3, state_size=4)
    if name == "layers":
        cell = Network([registry["unicornn"](3, 2), registry["gru"](2, 3)])
    else:
        cell = registry[name](3, 4)
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


LOSSES = {
    "last": lambda hidden: hidden[-1].square().sum(),
    "every": lambda hidden: (hidden.sin() * torch.arange(1, len(hidden) + 1)[:, None, None]).sum(),
    "middle": lambda hidden: hidden[2].cos().sum(),
    "mean": lambda hidden: (hidden**3).mean(),
}


@pytest.mark.parametrize("name", ["unicornn", "irnn", "lstm", "gru", "cornn", "indrnn", "elman", "function", "layers"])
@pytest.mark.parametrize("kind", list(LOSSES))
def test_against_autograd(name, kind):
    cell, loss = build(name), LOSSES[kind]
    inputs = rand(6, 2, 3, seed=1)
    start = rand(2, cell.state_size, seed=2)
    states = [start.clone().requires_grad_()]
    for t, x in enumerate(inputs.unbind(0), 1):
        state = cell(x, states[-1], t)
        state.retain_grad()
        states.append(state)
    value = loss(torch.stack([cell.hidden(state) for state in states[1:]]))
    value.backward()
    expected = torch.stack([torch.zeros_like(s) if s.grad is None else s.grad for s in states])
    data = record(cell, inputs, [LossGradient(loss)], start)
    found = data.log_loss_gradient_norm
    assert found.dims == ("time", "batch")
    np.testing.assert_allclose(np.exp(found), torch.linalg.vector_norm(expected, dim=-1), rtol=1e-10, atol=1e-13)
    assert float(data.loss) == pytest.approx(float(value.detach()), rel=1e-12)
    assert not np.isnan(found).any()


def vanishing(dtype, slope=0.01):
    cell = as_cell(lambda x, s: slope * s + x, input_size=2, state_size=2)
    return record(cell, torch.ones(400, 1, 2, dtype=dtype), [LossGradient(lambda hidden: hidden[-1].sum())])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vanishing_far_below_the_float_range(dtype):
    found = vanishing(dtype).log_loss_gradient_norm[:, 0]
    expected = np.arange(400, -1, -1) * math.log(0.01) + math.log(2) / 2
    assert expected[0] < -1800
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["elman", "gru", "unicornn"])
def test_float32_agrees_with_float64(name):
    torch.manual_seed(0)
    cell = registry[name](2, 3)
    with torch.no_grad():
        for key, parameter in cell.named_parameters():
            if name != "unicornn" and "weight_hh" in key:
                parameter.mul_(0.1)
    inputs = torch.randn(300, 2, 2)
    probe = LossGradient(lambda hidden: hidden[-1].square().sum())
    single = record(cell, inputs, [probe]).log_loss_gradient_norm
    double = record(cell, inputs, [probe], dtype=torch.float64).log_loss_gradient_norm
    assert np.isfinite(single).all()
    if name != "unicornn":
        assert float(double[0].max()) < -100
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-2)


def test_a_loss_gradient_that_grows_beyond_the_float_range():
    cell = as_cell(lambda x, s: 4.0 * s + 0 * x, input_size=1, state_size=1)
    data = record(cell, torch.zeros(300, 1, 1), [LossGradient(lambda hidden: hidden.sum())])
    assert np.isfinite(data.log_loss_gradient_norm).all()
    # 1 + 4 + ... + 4^(T - 1) at t = 1.
    assert float(data.log_loss_gradient_norm[1, 0]) == pytest.approx(300 * math.log(4) - math.log(3), rel=1e-6)


def test_a_loss_of_the_first_state_only_does_not_reach_later_ones():
    data = record(build("elman"), rand(5, 1, 3), [LossGradient(lambda hidden: hidden[0].sum())])
    assert (data.log_loss_gradient_norm[2:] == -np.inf).all()
    assert np.isfinite(data.log_loss_gradient_norm[:2]).all()


def test_bad_losses():
    cell, inputs = build("elman"), rand(5, 2, 3)
    with pytest.raises(TypeError, match="expected a function of the hidden sequence, got 'mse'"):
        LossGradient("mse")
    for loss in (lambda h: h, lambda h: 3.0, lambda h: torch.zeros(())):
        with pytest.raises(
            ValueError, match="expected the loss to be a scalar that depends on the hidden sequence, got"
        ):
            record(cell, inputs, [LossGradient(loss)])
