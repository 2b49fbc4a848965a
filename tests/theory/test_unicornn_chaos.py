"""The largest exponent, against products of the blocks of Eq. (21) written out, and what a gradient as N^3 gives."""

import math

import numpy as np
import pytest
import torch

from dynlab.cells.unicornn import UnICORNN
from dynlab.theory.unicornn_chaos import chaos, cubic, driving_map
from dynlab.theory.unicornn_driving import half_period, modulated

from .unicornn_oracle import noise


def exponent_by_hand(h: float, alpha: float, w: float, drive: np.ndarray) -> tuple[float, float]:
    """Growth of the tangent (1, 0), with which the probe starts, and log |det|, a step, from rest."""
    y = z = 0.0
    tangent, grown, volume = np.array([1.0, 0.0]), 0.0, 0.0
    for u in drive:
        A = w * y + u
        stiffness = w / math.cosh(min(abs(A), 300)) ** 2 + alpha
        block = np.array([[1 - h * h * stiffness, h], [-h * stiffness, 1]])
        volume += math.log(abs(np.linalg.det(block)))
        tangent = block @ tangent
        size = np.linalg.norm(tangent)
        grown, tangent = grown + math.log(size), tangent / size
        z -= h * (math.tanh(A) + alpha * y)
        y += h * z
    return grown / len(drive), volume / len(drive)


def test_exponents_are_those_of_the_blocks_of_equation_21():
    steps = 1000  # in more, rounding has grown to the size of the state
    found = driving_map((0.5,), (0.01, 1.0), (1.0, 3.0), steps=steps)
    signal = torch.randn(steps, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).flatten().numpy()
    for alpha in (0.01, 1.0):
        P = half_period(0.25, alpha, 1.0)
        wave = (np.arange(steps) % P >= P / 2).astype(float)
        for amplitude in (1.0, 3.0):
            for drive, values in (("noise", signal), ("square wave", wave)):
                expected, volume = exponent_by_hand(0.25, alpha, 1.0, amplitude * values)
                assert abs(volume) < 1e-12
                measured = float(found["exponent"].sel(drive=drive, dt=0.5, alpha=alpha, amplitude=amplitude))
                assert measured == pytest.approx(expected, rel=1e-6)
    assert float(found["exponent"].max()) > 0.01


def test_cubic_is_the_exponent_of_a_cubic():
    assert cubic(100) == pytest.approx(math.log(100**3) / 100)


def test_not_chaotic_by_design_fails_under_noise():
    found = chaos()
    assert found.verdict == "fails"
    np.testing.assert_allclose(found["sum"], 0, atol=1e-12)
    # Over four times as many steps it does not fall, as a power of N would: there to about a third.
    against = found["exponent_against_steps"]
    assert (against.isel(steps=1) > 0.6 * against.isel(steps=0)).all()
    assert float(found["cubic"][1]) < 0.4 * float(found["cubic"][0])


def test_holds_without_driving():
    """At rest the layer is linear, its blocks are constant and turn: no growth but that of the start."""
    found = chaos(modulated(0.2, 1.0, units=4), torch.zeros(2000, 1, 1))
    assert found.verdict == "holds"
    assert float(found["measured"].max()) < 0.001


def test_an_unstable_step_is_outside():
    found = chaos(UnICORNN(2, 3, dt=5.0, alpha=13.0), noise(50))
    assert found.verdict == "not applicable"
    assert float(found["hypothesis_value"][0]) > 4


def test_map_has_all_rows_of_table_6():
    found = driving_map((0.1,), (1.0,), (1.0,), steps=50)
    assert found["setting_exponent"].sizes == {"drive": 2, "setting": 7, "amplitude": 1}
    assert float(found["setting_alpha"].sel(setting="imdb")) == 0
    with pytest.raises(ValueError, match="driving_map"):
        driving_map(steps=1)
