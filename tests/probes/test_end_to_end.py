"""The Jacobian over many steps and its eigenvalues, against autodiff and NumPy."""

import math

import numpy as np
import pytest
import torch

from dynlab import EndToEndJacobian, EndToEndSpectrum, Network, as_cell, record, registry

STEPS = 6


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name):
    torch.manual_seed(6)
    if name == "function":
        return as_cell(lambda x, s: torch.sin(1.5 * s.roll(1, -1) + x[:, :1]), input_size=3, state_size=4)
    if name == "layers":
        cell = Network([registry["unicornn"](3, 2), registry["antisymmetric"](2, 3)])
    else:
        options = {"nonlinearity": "tanh"} if name == "indrnn" else {}
        cell = registry[name](3, 4, **options)
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


def jacobian(cell, inputs, state, start, stop):
    states = cell.scan(inputs, state).detach()

    def run(state, sample):
        for t in range(start, stop):
            state = cell(inputs[t, sample : sample + 1], state[None], t + 1)[0]
        return state

    return torch.stack([torch.func.jacrev(run)(states[start, b], b).detach() for b in range(states.shape[1])])


@pytest.mark.parametrize("name", ["unicornn", "irnn", "lstm", "gru", "indrnn", "function", "layers"])
@pytest.mark.parametrize("of", ["state", "hidden"])
@pytest.mark.parametrize("span", [(0, None), (2, 5), (5, 6)])
def test_matrix_and_eigenvalues(name, of, span):
    cell = build(name)
    inputs, state = rand(STEPS, 2, 3, seed=1), rand(2, cell.state_size, seed=2)
    start, stop = span[0], span[1] or STEPS
    data = record(cell, inputs, [EndToEndJacobian(*span, of=of), EndToEndSpectrum(of, *span)], state)
    where = slice(None) if of == "state" else cell.hidden_slice
    expected = jacobian(cell, inputs, state, start, stop)[:, where, where].numpy()
    found = data.end_to_end_jacobian.values * np.exp(data.end_to_end_log_norm.values)[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(data.end_to_end_jacobian, axis=(1, 2)), 1, rtol=1e-12)
    values = np.linalg.eigvals(expected)
    modulus = np.sort(np.abs(values), -1)[:, ::-1]
    # An eigenvalue near zero of a matrix far from normal is known to eps times the norm at best.
    floor = 1e-9 * np.linalg.norm(expected, axis=(1, 2))[:, None]
    np.testing.assert_allclose(np.exp(data.log_end_to_end_modulus), modulus, rtol=1e-7, atol=float(floor.max()))
    if data.end_to_end_resolved.all():
        np.testing.assert_allclose(data.end_to_end_eigenvalue.values.sum(-1), values.sum(-1), atol=1e-9)
        np.testing.assert_allclose(np.abs(data.end_to_end_eigenvalue), modulus, rtol=1e-7, atol=float(floor.max()))
    mean, std = data.log_end_to_end_modulus_mean, data.log_end_to_end_modulus_std
    np.testing.assert_allclose(np.exp(mean), modulus.mean(-1), rtol=1e-7)
    np.testing.assert_allclose(np.exp(std), modulus.std(-1), rtol=1e-5, atol=1e-9)


def test_what_rounding_hides_is_flagged():
    matrix = torch.diag(torch.tensor([1.0, 0.1, 1e-3], dtype=torch.float64))
    basis = rand(3, 3)
    matrix = basis @ matrix @ torch.linalg.inv(basis)
    cell = as_cell(lambda x, s: s @ matrix.T, input_size=0, state_size=3)
    data = record(cell, torch.empty(10, 1, 0, dtype=torch.float64), [EndToEndSpectrum()])
    # 1, 1e-10 and 1e-30: the last one is below eps of the first, and so is noise.
    assert bool(data.end_to_end_resolved[0, 0])
    np.testing.assert_allclose(data.end_to_end_eigenvalue[0, 0], 1, rtol=1e-9)
    lost = ~data.end_to_end_resolved.values[0]
    noise = np.exp(data.log_end_to_end_modulus.values[0])
    assert (noise[lost] == 0).all()
    assert np.isnan(data.end_to_end_eigenvalue.values[0][lost]).all()
    # Whatever stands is of the order of rounding, never reported as large.
    assert (noise[1:] < 1e-9).all()


def test_units_far_apart_are_each_resolved():
    cell = registry["indrnn"](1, 2, nonlinearity="tanh").double()
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([1.0, -0.01], dtype=torch.float64))
        cell.weight_ih.zero_()
        cell.bias.zero_()
    data = record(cell, torch.zeros(501, 1, 1, dtype=torch.float64), [EndToEndSpectrum()])
    assert data.end_to_end_resolved.all()
    np.testing.assert_allclose(data.log_end_to_end_modulus[0], [0, 501 * math.log(0.01)], rtol=1e-12, atol=1e-12)
    # e^-2307 is no float: known by its logarithm alone.
    assert data.end_to_end_eigenvalue.values[0, 0] == pytest.approx(1)
    assert np.isnan(data.end_to_end_eigenvalue.values[0, 1])


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_beyond_the_float_range(factor):
    cell = as_cell(lambda x, s: factor * s, input_size=0, state_size=2)
    data = record(cell, torch.empty(200, 1, 0, dtype=torch.float64), [EndToEndSpectrum(), EndToEndJacobian()])
    expected = 200 * math.log(factor)
    np.testing.assert_allclose(data.log_end_to_end_modulus, expected, rtol=1e-12)
    np.testing.assert_allclose(data.log_end_to_end_modulus_mean, expected, rtol=1e-12)
    assert data.end_to_end_resolved.all()
    assert np.isnan(data.end_to_end_eigenvalue).all()
    np.testing.assert_allclose(data.end_to_end_log_norm, expected + math.log(2) / 2, rtol=1e-12)


def test_exact_zero():
    cell = as_cell(lambda x, s: 0 * s, input_size=0, state_size=2)
    data = record(cell, torch.empty(5, 1, 0), [EndToEndSpectrum(), EndToEndJacobian()])
    assert (data.end_to_end_log_norm == -np.inf).all()
    assert (data.end_to_end_jacobian == 0).all()
    assert (data.log_end_to_end_modulus == -np.inf).all()
    assert (data.log_end_to_end_modulus_mean == -np.inf).all()
    assert not data.end_to_end_resolved.any()


@pytest.mark.parametrize("probe", [EndToEndJacobian, EndToEndSpectrum])
@pytest.mark.parametrize(("start", "stop"), [(3, 3), (4, 2), (0, 7), (6, None), (9, None)])
def test_bad_ranges(probe, start, stop):
    stopped = STEPS if stop is None else stop
    message = f"expected 0 <= start < stop <= T = 6, got start = {start}, stop = {stopped}"
    with pytest.raises(ValueError, match=message):
        record(build("elman"), rand(STEPS, 1, 3), [probe(start=start, stop=stop)])


def test_bad_arguments():
    with pytest.raises(ValueError, match="expected of"):
        EndToEndSpectrum(of="top")
    with pytest.raises(ValueError, match="expected start >= 0, got -1"):
        EndToEndJacobian(start=-1)


def test_times_are_integers():
    cell = registry["elman"](2, 3)
    for probe in (EndToEndSpectrum(start=0.5), EndToEndJacobian(stop=2.0)):
        with pytest.raises(TypeError, match=r"expected (start|stop) to be an integer .* got (0.5|2.0)"):
            record(cell, torch.zeros(4, 1, 2), [probe])
