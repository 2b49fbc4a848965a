"""The input that breaks Prop. C.1 at any dt, against SciPy's integrator."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.unicornn_resonance import resonance, single_unit

from .unicornn_oracle import noise


def scipy_ratio(T: float) -> tuple[float, float]:
    """max |z| / sqrt(2 (1 + 2 beta t)), beta = 4, for y'' = -y - sign(sin t), and where it first is above 1."""
    t, ratio, state = [], [], np.zeros(2)
    for half in range(math.ceil(T / math.pi)):
        start, stop = half * math.pi, min(T, (half + 1) * math.pi)
        sign = 1 if half % 2 == 0 else -1
        times = np.linspace(start, stop, 400)
        found = solve_ivp(lambda _, x, s=sign: [x[1], -x[0] - s], (start, stop), state, t_eval=times, rtol=1e-10)
        state = found.y[:, -1]
        t.append(times)
        ratio.append(np.abs(found.y[1]) / np.sqrt(2 * (1 + 8 * times)))
    t, ratio = np.concatenate(t), np.concatenate(ratio)
    return ratio.max(), t[(ratio > 1).argmax()] if ratio.max() > 1 else math.inf


def test_fails_at_every_dt_as_the_differential_equation_does():
    found = resonance()
    assert found.verdict == "fails"
    largest, first = scipy_ratio(2 * math.pi**2 * 4)
    # Symplectic Euler's error at the finest dt, 0.0125.
    np.testing.assert_allclose(found["measured"][-1], largest, rtol=0.01)
    np.testing.assert_allclose(found["crossing_time"][-1], first, rtol=0.01)
    # The estimate of the docstring, which knows nothing of the phase.
    assert first == pytest.approx(math.pi**2 * 4, rel=0.15)


def test_holds_before_the_crossing():
    found = resonance(T=20.0)
    assert found.verdict == "holds"
    np.testing.assert_allclose(found["measured"][-1], scipy_ratio(20.0)[0], rtol=0.02)
    assert np.isinf(found["crossing_time"]).all()


def test_alpha_0_is_outside():
    found = resonance(alpha=0.0, T=50.0)
    assert found.verdict == "not applicable"
    # z = -t against sqrt(2 (1 + 2 t)).
    np.testing.assert_allclose(found["measured"][0], 50 / math.sqrt(2 * 101), rtol=1e-6)


def test_a_network_is_driven_on_its_most_sensitive_unit():
    torch.manual_seed(0)
    network = Network([UnICORNN(2, 3, dt=0.1, alpha=1.0), UnICORNN(3, 3, dt=0.1, alpha=1.0)])
    assert resonance(network).verdict == "fails"
    # Of given inputs only the length counts: too short here.
    assert resonance(network, noise(50)).verdict == "holds"
    with torch.no_grad():
        network.layers[0].weight_ih.zero_()
    with pytest.raises(ValueError, match="expected a unit that reads the input, got V = 0"):
        resonance(network)


def test_a_single_unit_is_that_unit():
    torch.manual_seed(0)
    layer, inputs = UnICORNN(2, 4).double(), noise(10)
    states, alone = layer.scan(inputs), single_unit(layer, 2).scan(inputs)
    torch.testing.assert_close(alone, states[..., [2, 6]], rtol=1e-12, atol=1e-12)
