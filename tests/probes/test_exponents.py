"""Lyapunov exponents and singular values against maps whose exponents are known."""

import math

import numpy as np
import pytest
import torch

from dynlab import EndToEndJacobian, LyapunovSpectrum, Network, SingularValues, as_cell, record, registry


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(matrix):
    return as_cell(lambda x, s: s @ matrix.T, input_size=0, state_size=len(matrix), name="linear")


def nothing(steps, batch=1, dtype=torch.float64):
    return torch.empty(steps, batch, 0, dtype=dtype)


def henon(x, state):
    a, b = state.unbind(-1)
    return torch.stack([1 - 1.4 * a * a + b, 0.3 * a], dim=-1)


def lorenz(x, state, dt=0.01):
    def field(s):
        a, b, c = s.unbind(-1)
        return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], dim=-1)

    k1 = field(state)
    k2 = field(state + dt / 2 * k1)
    k3 = field(state + dt / 2 * k2)
    k4 = field(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def exponents(cell, inputs, probe=None, **options):
    return record(cell, inputs, [probe or LyapunovSpectrum()], **options).lyapunov_exponent


def build(name, size=3, features=2):
    torch.manual_seed(4)
    cell = registry[name](features, size).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return cell


def test_linear_map_has_the_logs_of_its_eigenvalues():
    # Distinct moduli and far from normal; the sum of the exponents is log |det| at every T.
    basis = rand(6, 6, seed=2)
    moduli = torch.tensor([1.3, 1.0, 0.8, 0.55, 0.4, 0.2], dtype=torch.float64)
    matrix = basis @ torch.diag(moduli) @ torch.linalg.inv(basis)
    steps = 4000
    found = exponents(linear(matrix), nothing(steps)).values[0]
    expected = np.log(np.sort(np.abs(np.linalg.eigvals(matrix.numpy())))[::-1])
    # The error is a constant over T, and it cancels between T and 2 T.
    np.testing.assert_allclose(found, expected, atol=30 / steps)
    double = exponents(linear(matrix), nothing(2 * steps)).values[0]
    np.testing.assert_allclose(2 * double - found, expected, atol=1e-9)
    assert found.sum() == pytest.approx(math.log(abs(np.linalg.det(matrix.numpy()))), abs=1e-10)
    assert (np.diff(found) <= 0).all()


def test_linear_map_with_complex_eigenvalues():
    matrix = rand(6, 6, seed=1)
    moduli = np.sort(np.abs(np.linalg.eigvals(matrix.numpy())))[::-1]
    assert np.iscomplex(np.linalg.eigvals(matrix.numpy())).any()
    found = exponents(linear(matrix), nothing(4000)).values[0]
    np.testing.assert_allclose(found, np.log(moduli), atol=5e-3)
    assert found.sum() == pytest.approx(np.log(moduli).sum(), abs=1e-10)


def test_henon():
    start = torch.tensor([[0.1, 0.1], [0.0, 0.0], [-0.2, 0.15], [0.3, -0.1]], dtype=torch.float64)
    cell = as_cell(henon, input_size=0, state_size=2)
    found = exponents(cell, nothing(5000, 4), LyapunovSpectrum(transient=200), state=start)
    assert float(found[:, 0].mean()) == pytest.approx(0.4192, abs=0.008)
    assert float(found[:, 1].mean()) == pytest.approx(-1.6232, abs=0.008)
    np.testing.assert_allclose(found.sum("mode"), math.log(0.3), atol=1e-10)


def test_lorenz():
    start = torch.tensor([1.0, 1.0, 25.0], dtype=torch.float64) + rand(40, 3, seed=7)
    cell = as_cell(lorenz, input_size=0, state_size=3)
    found = exponents(cell, nothing(8000, 40), LyapunovSpectrum(transient=1000), state=start) / 0.01
    mean = found.mean("batch").values
    assert (np.abs(mean - [0.906, 0.0, -14.572]) < [0.03, 0.02, 0.05]).all(), mean
    # The divergence of the field is the same everywhere.
    np.testing.assert_allclose(found.sum("mode"), -(10 + 1 + 8 / 3), atol=2e-4)


def test_unicornn_exponents_pair_up():
    cell = build("unicornn", 4)
    inputs = rand(300, 2, 2)
    found = exponents(cell, inputs).values
    np.testing.assert_allclose(found.sum(-1), 0, atol=1e-11)
    np.testing.assert_allclose(found + found[:, ::-1], 0, atol=1e-11)
    jacobian = cell.step_jacobian(inputs[0], rand(2, cell.state_size)).to_dense()
    np.testing.assert_allclose(np.linalg.det(jacobian.numpy()), 1, atol=1e-12)


def test_exponents_of_stacked_unicornn_sum_to_zero():
    network = Network([build("unicornn", 3, 2), build("unicornn", 2, 3)])
    found = exponents(network, rand(300, 2, 2)).values
    assert found.shape == (2, 10)
    np.testing.assert_allclose(found.sum(-1), 0, atol=1e-9)


@pytest.mark.parametrize("name", ["unicornn", "lstm"])
def test_transients_in_records_of_their_own(name):
    # T lambda(whole) = t lambda(head) + (T - t) lambda(after), summed over modes: log |det| is additive.
    cell, inputs = build(name), rand(60, 2, 2)
    whole = exponents(cell, inputs)
    head = exponents(cell, inputs[:25])
    after = exponents(cell, inputs, LyapunovSpectrum(transient=25))
    assert after.attrs["transient"] == 25
    assert whole.attrs["transient"] == 0
    np.testing.assert_allclose(
        60 * whole.sum("mode"), 25 * head.sum("mode") + 35 * after.sum("mode"), rtol=1e-9, atol=1e-8
    )


def test_a_transient_takes_the_start_out():
    # Growth by e for ten steps, decay by e^-2 after.
    def step(x, state):
        return state * torch.exp(1.5 * x - 0.5)

    cell = as_cell(step, input_size=1, state_size=1)
    inputs = torch.ones(30, 1, 1, dtype=torch.float64)
    inputs[10:] = -1
    assert exponents(cell, inputs).item() == pytest.approx((10 - 40) / 30, abs=1e-12)
    assert exponents(cell, inputs, LyapunovSpectrum(transient=10)).item() == pytest.approx(-2, abs=1e-12)
    assert exponents(cell, inputs, LyapunovSpectrum(transient=29)).item() == pytest.approx(-2, abs=1e-12)


def test_some_exponents_are_the_leading_ones():
    cell, inputs = build("elman", 5), rand(3000, 1, 2)
    every = exponents(cell, inputs, LyapunovSpectrum(transient=100)).values
    for k in (1, 3):
        some = exponents(cell, inputs, LyapunovSpectrum(k=k, transient=100)).values
        assert some.shape == (1, k)
        np.testing.assert_allclose(some, every[:, :k], atol=2e-3)


@pytest.mark.parametrize("name", ["indrnn", "elman"])
@pytest.mark.parametrize("transient", [0, 10])
def test_dead_units_are_minus_infinity(name, transient):
    options = {"nonlinearity": "relu"}
    cell = registry[name](2, 3, **options).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.fill_(-1.0)
    found = exponents(cell, rand(30, 1, 2).abs() + 1, LyapunovSpectrum(transient=transient)).values
    assert (found == -np.inf).all()


def test_contraction_far_below_the_float_range_in_float32():
    cell = as_cell(lambda x, s: 0.01 * s, input_size=0, state_size=2)
    data = record(cell, nothing(500, dtype=torch.float32), [LyapunovSpectrum(), SingularValues()])
    np.testing.assert_allclose(data.lyapunov_exponent, math.log(0.01), atol=1e-6)
    np.testing.assert_allclose(data.log_singular_value, 500 * math.log(0.01), rtol=1e-6)


# ---- singular values ------------------------------------------------------------------------------------------


def dense_product(cell, inputs, upto):
    states = cell.scan(inputs).detach()
    product = torch.eye(cell.state_size, dtype=torch.float64)
    for t in range(upto):
        product = cell.step_jacobian(inputs[t], states[t], t + 1).to_dense() @ product
    return product


@pytest.mark.parametrize("name", ["unicornn", "antisymmetric", "cornn"])
def test_singular_values_and_their_times(name):
    cell, inputs = build(name), rand(9, 2, 2)
    data = record(cell, inputs, [SingularValues(times=(9, 2, 5, 2))])
    assert data.singular_time.values.tolist() == [2, 5, 9]
    assert data["quantile"].values.tolist() == ["largest", "median", "smallest"]
    n = cell.state_size
    for index, time in enumerate((2, 5, 9)):
        values = torch.linalg.svdvals(dense_product(cell, inputs, time)).log().numpy()
        found = data.log_singular_value_against_time[index]
        np.testing.assert_allclose(found, values[:, [0, n // 2, n - 1]], atol=1e-8)
    np.testing.assert_allclose(data.log_singular_value, values, atol=1e-8)
    assert data.log_singular_value.dims == ("batch", "mode")


def test_evenly_spaced_times():
    data = record(build("elman"), rand(9, 2, 2), [SingularValues(times=3)])
    assert data.singular_time.values.tolist() == [1, 5, 9]
    data = record(build("elman"), rand(2, 2, 2), [SingularValues(times=10)])
    assert data.singular_time.values.tolist() == [1, 2]


def test_exponents_and_singular_values_of_one_record():
    cell, inputs = build("lstm"), rand(40, 2, 2)
    both = record(cell, inputs, [LyapunovSpectrum(k=2, transient=10), SingularValues(times=(10, 40))])
    np.testing.assert_allclose(
        both.log_singular_value, record(cell, inputs, [SingularValues()]).log_singular_value, atol=1e-9
    )
    assert both.lyapunov_exponent.shape == (2, 2)
    everything = exponents(cell, inputs, LyapunovSpectrum(transient=10))
    np.testing.assert_allclose(both.lyapunov_exponent, everything[:, :2], atol=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LyapunovSpectrum(k=0), ValueError, "k >= 1, got 0"),
        (lambda: LyapunovSpectrum(k=1.5), TypeError, "k to be an integer"),
        (lambda: LyapunovSpectrum(transient=-1), ValueError, "transient >= 0, got -1"),
        (lambda: SingularValues(times=1), ValueError, "times >= 2, got 1"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (LyapunovSpectrum(k=4), "expected k <= state_size = 3, got 4"),
        (LyapunovSpectrum(transient=5), "expected transient < T = 5, got 5"),
        (SingularValues(times=(0, 2)), r"expected times in 1 .. T = 5, got 0"),
        (SingularValues(times=(6,)), r"expected times in 1 .. T = 5, got 6"),
    ],
)
def test_what_this_trace_cannot_give(probe, message):
    with pytest.raises(ValueError, match=message):
        record(build("elman"), rand(5, 1, 2), [probe])


@pytest.mark.parametrize("key", ["lstm", "cornn", "unicornn", "gru"])
def test_singular_values_of_the_hidden_part(key):
    torch.manual_seed(0)
    cell = registry[key](3, 5).double()
    inputs = torch.randn(40, 2, 3, dtype=torch.float64)
    data = record(cell, inputs, [SingularValues(of="hidden"), EndToEndJacobian(of="hidden")])
    block = data.end_to_end_jacobian.values
    expected = np.log(np.linalg.svd(block, compute_uv=False)) + data.end_to_end_log_norm.values[:, None]
    # Small ones are lost in the plain product, not in ours.
    large = expected > expected[:, :1] - 20
    np.testing.assert_allclose(data.log_singular_value.values[large], expected[large], rtol=1e-6, atol=1e-6)
    assert data.log_singular_value.sizes["mode"] == 5
