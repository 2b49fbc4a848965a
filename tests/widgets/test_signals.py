"""Signals are what their names say, and the same for the same seed."""

from __future__ import annotations

import math

import pytest
import torch

from dynlab.tasks import get_task
from dynlab.widgets.signals import KINDS, PERIODS, signal


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_seed(kind):
    x = signal(kind, 30, 3, seed=5)
    assert x.shape == (30, 3, 8 if kind == "digits" else 2) and x.dtype == torch.float32
    assert torch.equal(x, signal(kind, 30, 3, seed=5))
    if kind != "zeros":
        assert not torch.equal(x, signal(kind, 30, 3, seed=6))
    torch.testing.assert_close(signal(kind, 30, 3, seed=5, scale=-2.5), -2.5 * x)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    for kind in KINDS:
        signal(kind, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_they_are():
    assert signal("zeros", 5).abs().max() == 0
    noise = signal("noise", 4000, 4, features=3)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    walk = signal("random_walk", 400, 2000, features=1)
    steps = walk.diff(dim=0) * math.sqrt(400)
    assert abs(steps.std() - 1) < 0.01 and abs((steps[1:] * steps[:-1]).mean()) < 0.01
    assert walk[-1].var() == pytest.approx(1, abs=0.1)
    wave = signal("sine", 800, 3)
    spectrum = torch.fft.rfft(wave, dim=0).abs()
    assert (spectrum.argmax(0) == PERIODS).all() and wave.abs().max() <= 1
    torch.testing.assert_close(spectrum[8], torch.full((3, 2), 400.0))
    torch.testing.assert_close(signal("digits", 50, 3, seed=2), get_task("digits").sequences(3, 50, 2)[0])


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("square", {}, "expected .*zeros.*digits.*got 'square'"),
        ("noise", {"steps": 0}, "steps"),
        ("noise", {"batch_size": 0}, "batch_size"),
        ("noise", {"features": 0}, "features"),
        ("noise", {"scale": math.inf}, "scale"),
        ("digits", {"features": 3}, "expected no features with digits, which have 8; got 3"),
    ],
)
def test_bad_input(kind, options, says):
    with pytest.raises(ValueError, match=says):
        signal(kind, **options)
