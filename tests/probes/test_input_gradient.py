"""d h_T / d x_t against autograd of the unrolled rollout."""

import math

import numpy as np
import pytest
import torch

from dynlab import InputGradient, Network, as_cell, record, registry


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name):
    torch.manual_seed(6)
    if name == "function":
        return as_cell(lambda x, s: torch.sin(1.5 * s.roll(1, -1) * x[:, :1]), input_size=3, state_size=4)
    if name == "layers":
        cell = Network([registry["unicornn"](3, 2), registry["gru"](2, 3), registry["irnn"](3, 2, K=2)], residual=2)
    else:
        options = {"nonlinearity": "tanh"} if name == "indrnn" else {}
        cell = registry[name](3, 4, **options)
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


def by_autograd(cell, inputs, state, of):
    """d (state or hidden)_T / d x_t, (T, batch, rows, f), one backward a row."""
    inputs = inputs.clone().requires_grad_()
    current = state
    for t, x in enumerate(inputs.unbind(0), 1):
        current = cell(x, current, t)
    final = current if of == "state" else cell.hidden(current)
    rows = [torch.autograd.grad(final[:, i].sum(), inputs, retain_graph=True)[0] for i in range(final.shape[-1])]
    return torch.stack(rows, 2)


@pytest.mark.parametrize(
    "name",
    [
        "unicornn",
        "irnn",
        "antisymmetric",
        "gated_antisymmetric",
        "lstm",
        "gru",
        "cornn",
        "indrnn",
        "function",
        "layers",
    ],
)
@pytest.mark.parametrize("of", ["state", "hidden"])
def test_against_autograd(name, of):
    cell = build(name)
    inputs, state = rand(6, 2, 3, seed=1), rand(2, cell.state_size, seed=2)
    data = record(cell, inputs, [InputGradient(of=of, values=True)], state)
    expected = by_autograd(cell, inputs, state, of)
    norm = torch.linalg.matrix_norm(expected) / math.sqrt(expected.shape[2])
    np.testing.assert_allclose(data.log_input_gradient_norm, norm.log(), atol=1e-10)
    assert data.log_input_gradient_norm.dims == ("transition", "batch")
    assert data.transition.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert data.log_input_gradient_norm.attrs["of"] == of
    # The mean of the rows, with the norm divided out.
    scaled = data.input_gradient.values * np.exp(data.log_input_gradient_norm.values)[..., None]
    np.testing.assert_allclose(scaled, expected.mean(2), atol=1e-11)


def test_hidden_is_the_default_and_values_are_optional():
    data = record(build("lstm"), rand(3, 1, 3), [InputGradient()])
    assert data.log_input_gradient_norm.attrs["of"] == "hidden"
    assert "input_gradient" not in data


def test_far_below_the_float_range():
    cell = as_cell(lambda x, s: 0.01 * s + x, input_size=1, state_size=1)
    data = record(cell, torch.zeros(300, 1, 1), [InputGradient(values=True)])
    expected = np.arange(299, -1, -1) * math.log(0.01)
    np.testing.assert_allclose(data.log_input_gradient_norm[:, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(data.input_gradient[..., 0], 1, rtol=1e-5)


def test_units_of_different_fates():
    # A unit that dies out must not take the other's derivative with it.
    cell = registry["indrnn"](1, 2, nonlinearity="tanh").double()
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([0.01, 1.0], dtype=torch.float64))
        cell.weight_ih.copy_(torch.tensor([[1.0], [0.5]], dtype=torch.float64))
        cell.bias.zero_()
    data = record(cell, torch.zeros(400, 1, 1, dtype=torch.float64), [InputGradient()])
    assert float(data.log_input_gradient_norm[0, 0]) == pytest.approx(math.log(0.5) - math.log(2) / 2, abs=1e-12)


def test_bad_arguments():
    with pytest.raises(ValueError, match="InputGradient: expected of"):
        InputGradient(of="input")
    cell = as_cell(lambda x, s: s, input_size=0, state_size=2)
    with pytest.raises(ValueError, match="expected a cell with inputs"):
        record(cell, torch.empty(3, 1, 0), [InputGradient()])
