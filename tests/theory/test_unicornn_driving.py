"""Parametric driving, against the recurrence written out and the differential equation's Floquet multipliers."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.unicornn_driving import (
    half_period,
    modulated,
    monodromy,
    parametric,
    periodic_response,
    square_wave,
)


def map_by_hand(layer: UnICORNN, inputs: torch.Tensor, start: np.ndarray) -> np.ndarray:
    """One unit's (y, z) after one period, in floats."""
    (y, z), h = start, layer.dt / 2
    w, alpha = layer.weight_hh.item(), layer.alpha
    for u in inputs.flatten().tolist():
        z = z - h * (math.tanh(w * y + u) + alpha * y)
        y = y + h * z
    return np.array([y, z])


def test_periodic_response_and_its_multipliers_by_finite_differences():
    layer = modulated(0.2, 0.3, units=1)
    period = square_wave(37, 37, 3.0)
    found = periodic_response(layer, period)
    start = found.state.numpy()
    np.testing.assert_allclose(map_by_hand(layer, period, start), start, atol=1e-11)
    shift = 1e-6
    columns = [
        (map_by_hand(layer, period, start + one) - map_by_hand(layer, period, start - one)) / (2 * shift)
        for one in shift * np.eye(2)
    ]
    expected = np.stack(columns, 1)
    np.testing.assert_allclose(monodromy(layer, period, found.state)[1][0], expected, atol=1e-7)
    largest = np.abs(np.linalg.eigvals(expected)).max()
    np.testing.assert_allclose(found.exponents, math.log(largest) / 37, atol=1e-8)


def equation(w: float, alpha: float, amplitude: float, length: float) -> float:
    """The larger Floquet exponent a unit of time of y'' = -(tanh(w y + V u) + alpha y), tau = t / 2, by SciPy.

    h = dt / 2: the paper's time t runs twice as fast as the oscillator's.
    """

    def run(start, high):
        x = np.concatenate([start, np.eye(2).ravel()])
        for u in (0.0, high):

            def slope(_, x, u=u):
                tangent = np.tanh(w * x[0] + u)
                pull = -(w * (1 - tangent**2) + alpha)
                return [x[1], -tangent - alpha * x[0], x[4], x[5], pull * x[2], pull * x[3]]

            x = solve_ivp(slope, (0, length / 4), x, rtol=1e-10, atol=1e-12, method="DOP853").y[:, -1]
        return x[:2], x[2:].reshape(2, 2)

    start = np.zeros(2)
    for stage in np.linspace(0.1, 1, 10):
        start = fsolve(lambda x, u=stage * amplitude: run(x, u)[0] - x, start, xtol=1e-12)
    return math.log(np.abs(np.linalg.eigvals(run(start, amplitude)[1])).max()) / length


def test_exponents_tend_to_those_of_the_differential_equation():
    P, dt = 50, 0.1
    assert half_period(dt / 2, 1.0, 1.0) in (P, P + 1)
    expected = equation(1.0, 1.0, 5.0, P * dt)
    assert expected > 0.03
    errors = []
    for factor in (1, 2, 4):
        finer = modulated(dt / factor, 1.0, units=1)
        found = periodic_response(finer, square_wave(P * factor, P * factor, 5.0))
        errors.append(abs(found.exponents[0] * factor / dt - expected))
    # First order at least, and small at the end.
    assert errors[1] < 0.6 * errors[0] and errors[2] < 0.6 * errors[1]
    assert errors[2] < 0.01 * expected


def test_gradients_grow_in_resonance_though_volume_is_kept():
    found = parametric(periods=100)
    assert found.verdict == "fails"
    assert 0 < int((~found["satisfied"]).sum()) < found.sizes["unit"]
    np.testing.assert_allclose(found["multiplier_modulus"].prod("pair"), 1, rtol=1e-8)
    assert abs(float(found["sum"])) < 1e-12
    # The probe along the orbit, by QR; its directions start elsewhere, which costs a nat or so: 7 % in 100 periods.
    largest = found["lyapunov_exponent"].isel(mode=0)
    assert float(largest) == pytest.approx(float(found["measured"].max()), rel=0.1)
    # No failure of the discretisation: finer steps grow as fast.
    np.testing.assert_allclose(found["exponent_at_dt"], float(found["exponent_at_dt"][0]), rtol=0.05)


def test_a_constant_input_does_not_drive():
    found = parametric(modulated(0.2, 0.3, units=4), torch.full((20, 1, 1), 0.7))
    assert found.verdict == "holds"


def test_unstable_steps_are_outside():
    found = parametric(modulated(4.0, 1.0, units=2), torch.zeros(4, 1, 1))
    assert found.verdict == "not applicable"
    # At rest the block is constant, of trace 2 - h^2 (alpha + w) = -6: log of the larger root.
    assert float(found["measured"].max()) == pytest.approx(math.log(3 + math.sqrt(8)), rel=1e-9)


def test_what_is_not_an_oscillator_has_no_period():
    # The chord of a turn by 90 degrees a step: h^2 stiffness = 2.
    assert half_period(1.0, 1.5, 1.0) == 2
    assert half_period(0.01, 4.0, 0.0) == round(math.pi / (2 * math.asin(0.01)))
    with pytest.raises(ValueError, match="expected an oscillator"):
        half_period(0.1, 0.0, -1.0)
    with pytest.raises(ValueError, match="unicornn-driving"):
        parametric(modulated(0.1, 1.0), torch.zeros(5, 2, 1))


def test_of_a_network_the_first_layer_is_driven():
    first, period = modulated(0.2, 0.3, units=2), square_wave(30, 30, 2.0)
    alone, both = (parametric(cell, period, periods=2) for cell in (first, Network([first, UnICORNN(2, 3)])))
    np.testing.assert_allclose(both["measured"], alone["measured"])
