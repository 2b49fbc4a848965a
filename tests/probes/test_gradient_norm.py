"""Gradient norms against autodiff, and at lengths where no float holds them."""

import math

import numpy as np
import pytest
import torch

from dynlab import GradientNorm, InputGradient, Network, as_cell, record, registry, verdict
from dynlab.cells import build_cell

CELLS = ("unicornn", "irnn", "gated_antisymmetric", "elman", "lstm", "indrnn", "function", "layers")
STEPS, BATCH = 8, 2


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name):
    torch.manual_seed(6)
    if name == "function":
        return as_cell(
            lambda x, s: torch.sin(1.5 * s.roll(1, -1)) + x.mean(-1, keepdim=True), input_size=3, state_size=4
        )
    if name == "layers":
        cell = Network([registry["unicornn"](3, 2), registry["lstm"](2, 3), registry["unicornn"](3, 2)], residual=2)
    else:
        options = {"nonlinearity": "tanh"} if name == "indrnn" else {}
        cell = registry[name](3, 4, **options)
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


def data_for(cell):
    return rand(STEPS, BATCH, 3, seed=1), rand(BATCH, cell.state_size, seed=2)


def jacobians(cell, inputs, state):
    """d state_T / d state_t for t = 0 .. T, (T + 1, batch, n, n), by reverse mode through the rollout."""
    states = cell.scan(inputs, state).detach()
    steps = len(inputs)

    def run(state, start, sample):
        for t in range(start, steps):
            state = cell(inputs[t, sample : sample + 1], state[None], t + 1)[0]
        return state

    rows = [
        torch.stack([torch.func.jacrev(run)(states[t, b], t, b).detach() for b in range(states.shape[1])])
        for t in range(steps + 1)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("of", ["state", "hidden"])
def test_both_norms_against_autodiff(name, of):
    cell = build(name)
    inputs, state = data_for(cell)
    found = record(cell, inputs, [GradientNorm(of=of)], state)
    where = slice(None) if of == "state" else cell.hidden_slice
    expected = jacobians(cell, inputs, state)[..., where, where].numpy()
    rms = np.log(np.linalg.norm(expected, axis=(-2, -1)) / math.sqrt(expected.shape[-1]))
    np.testing.assert_allclose(found.log_gradient_norm, rms, atol=1e-10)
    np.testing.assert_allclose(found.log_gradient_norm[-1], 0, atol=1e-14)
    np.testing.assert_allclose(found.log_gradient_ratio, rms[1] - rms[-2], atol=1e-10)
    assert found.log_gradient_norm.dims == ("time", "batch")
    assert found.log_gradient_norm.attrs["norm"] == "frobenius_rms"
    assert found.log_gradient_norm.attrs["of"] == of
    spectral = record(cell, inputs, [GradientNorm(of=of, norm="spectral")], state)
    np.testing.assert_allclose(
        spectral.log_gradient_norm, np.log(np.linalg.norm(expected, 2, axis=(-2, -1))), atol=1e-7
    )
    assert spectral.log_gradient_norm.attrs["norm"] == "spectral"


def test_by_layer_against_autodiff():
    cell = build("layers")
    inputs, state = data_for(cell)
    found = record(cell, inputs, [GradientNorm()], state).log_gradient_norm_by_layer
    assert found.dims == ("layer", "time", "batch")
    expected = jacobians(cell, inputs, state)
    top = cell.layer_slices[-1]
    for layer, where in enumerate(cell.layer_slices):
        norm = torch.linalg.matrix_norm(expected[:, :, top, where]) / math.sqrt(top.stop - top.start)
        np.testing.assert_allclose(found[layer], norm.log(), atol=1e-10)
    assert (found[:2, -1] == -np.inf).all()
    assert (found[2, -1] == 0).all()


def test_shared_sweep_is_the_same_as_separate_ones():
    for name in ("unicornn", "lstm", "layers"):
        cell = build(name)
        inputs, state = data_for(cell)
        both = record(cell, inputs, [GradientNorm(of="state"), InputGradient(of="hidden")], state)
        one = record(cell, inputs, [GradientNorm(of="state")], state)
        other = record(cell, inputs, [InputGradient(of="hidden")], state)
        np.testing.assert_allclose(both.log_gradient_norm, one.log_gradient_norm, rtol=0, atol=1e-12)
        np.testing.assert_allclose(both.log_input_gradient_norm, other.log_input_gradient_norm, rtol=0, atol=1e-12)
        both = record(cell, inputs, [GradientNorm(of="hidden"), InputGradient(of="state")], state)
        hidden = record(cell, inputs, [GradientNorm(of="hidden")], state)
        np.testing.assert_allclose(both.log_gradient_norm, hidden.log_gradient_norm, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["unicornn", "lstm", "layers"])
@pytest.mark.parametrize("of", ["state", "hidden"])
def test_estimate_from_random_vectors(name, of):
    cell = build(name)
    inputs, state = data_for(cell)
    exact = record(cell, inputs, [GradientNorm(of=of)], state).log_gradient_norm
    probe = GradientNorm(of=of, vectors=400, seed=3)
    found = record(cell, inputs, [probe], state)
    error = found.log_gradient_norm_standard_error
    assert float(error.max()) < 0.1
    assert (np.abs(found.log_gradient_norm - exact) <= 5 * error + 1e-12).all()
    # Signs have norm sqrt(size) exactly, so at T there is nothing to estimate.
    np.testing.assert_allclose(found.log_gradient_norm[-1], 0, atol=1e-12)
    again = record(cell, inputs, [probe], state)
    assert found.identical(again)
    other = record(cell, inputs, [GradientNorm(of=of, vectors=400, seed=4)], state)
    # Of a diagonal Jacobian, signs give the norm exactly whatever they are.
    diagonal = of == "hidden" and name != "lstm"
    assert np.allclose(found.log_gradient_norm, other.log_gradient_norm, rtol=0, atol=1e-12) == diagonal
    assert found.log_gradient_norm.attrs["vectors"] == 400


def test_standard_error_is_the_spread_of_the_estimate():
    cell = build("lstm")
    inputs, state = data_for(cell)
    found = [record(cell, inputs, [GradientNorm(vectors=50, seed=seed)], state) for seed in range(40)]
    spread = np.std([data.log_gradient_norm[0, 0] for data in found], ddof=1)
    claimed = np.mean([data.log_gradient_norm_standard_error[0, 0] for data in found])
    assert 0.6 < spread / claimed < 1.6


# ---- lengths at which no float holds the norm ------------------------------------------------------------------


def test_contracting_map_of_100_000_steps():
    cell = as_cell(lambda x, s: math.exp(-0.2) * s, input_size=0, state_size=1)
    data = record(cell, torch.empty(100_000, 1, 0, dtype=torch.float32), [GradientNorm()])
    assert float(data.log_gradient_norm[0, 0]) == pytest.approx(-20000, rel=1e-5)
    np.testing.assert_allclose(data.log_gradient_norm[50_000, 0], -10000, rtol=1e-5)
    assert float(data.log_gradient_ratio[0]) == pytest.approx(-19999.6, rel=1e-5)
    assert np.isfinite(data.log_gradient_norm).all()
    assert verdict(float(data.log_gradient_ratio[0])) == "vanishing"


def test_expanding_map_of_100_000_steps_at_its_fixed_point():
    cell = as_cell(lambda x, s: math.exp(0.2) * s, input_size=0, state_size=1)
    data = record(cell, torch.empty(100_000, 1, 0, dtype=torch.float32), [GradientNorm()])
    assert float(data.log_gradient_norm[0, 0]) == pytest.approx(20000, rel=1e-5)
    assert int(data.attrs["overflow_step"]) == 0
    assert verdict(float(data.log_gradient_ratio[0])) == "exploding"


@pytest.mark.parametrize(("weight", "slope"), [(0.8187307530779818, -0.2), (1.2214027581601699, 0.2)])
def test_independent_units_of_100_000_steps(weight, slope):
    cell = registry["indrnn"](1, 2, nonlinearity="tanh").double()
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([weight, 0.5], dtype=torch.float64))
        cell.weight_ih.zero_()
        cell.bias.zero_()
    # At rest tanh has slope one, whatever the weight.
    data = record(cell, torch.zeros(100_000, 1, 1, dtype=torch.float64), [GradientNorm()])
    expected = slope * 100_000 - math.log(2) / 2
    assert float(data.log_gradient_norm[0, 0]) == pytest.approx(expected, rel=1e-9)


def test_saturated_elman_vanishes_without_nan():
    cell = registry["elman"](1, 3)
    with torch.no_grad():
        cell.module.bias_ih.fill_(4.0)
    data = record(cell, torch.zeros(2000, 1, 1), [GradientNorm()])
    assert np.isfinite(data.log_gradient_norm).all()
    assert float(data.log_gradient_norm[0, 0]) < -5000


@pytest.mark.parametrize("name", ["elman", "indrnn"])
@pytest.mark.parametrize("norm", ["frobenius_rms", "spectral", "vectors"])
def test_dead_units_are_exactly_zero(name, norm):
    cell = build_cell(f"{name}:nonlinearity=relu", 2, 3)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.fill_(-1.0)
    probe = GradientNorm(vectors=4) if norm == "vectors" else GradientNorm(norm=norm)
    data = record(cell, torch.ones(10, 2, 2), [probe])
    assert (data.log_gradient_norm[:-1] == -np.inf).all()
    np.testing.assert_allclose(data.log_gradient_norm[-1], 0, atol=1e-6)
    assert (data.log_gradient_ratio == -np.inf).all()
    assert verdict(float(data.log_gradient_ratio[0])) == "vanishing"
    assert not any(np.isnan(data[name]).any() for name in data.data_vars)


# ---- ratio and arguments --------------------------------------------------------------------------------------


def test_ratio_of_two_steps_is_zero():
    cell = build("elman")
    data = record(cell, rand(2, 2, 3), [GradientNorm()])
    np.testing.assert_allclose(data.log_gradient_ratio, 0, atol=0)


def test_one_step_has_no_ratio():
    cell = build("elman")
    data = record(cell, rand(1, 2, 3), [GradientNorm()])
    assert "log_gradient_ratio" not in data
    assert data.log_gradient_norm.shape == (2, 2)
    with pytest.raises(ValueError, match="expected at least 2 time steps for the ratio .* got T = 1"):
        record(cell, rand(1, 2, 3), [GradientNorm(ratio=True)])
    assert "log_gradient_ratio" not in record(cell, rand(5, 2, 3), [GradientNorm(ratio=False)])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"of": "output"}, ValueError, "GradientNorm: expected of .* got 'output'"),
        ({"norm": "nuclear"}, ValueError, "GradientNorm: expected norm .* got 'nuclear'"),
        ({"vectors": 1}, ValueError, "expected vectors >= 2, got 1"),
        ({"vectors": 3.0}, TypeError, "expected vectors to be an integer"),
        ({"vectors": 3, "norm": "spectral"}, ValueError, 'with vectors, got norm="spectral"'),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        GradientNorm(**arguments)
