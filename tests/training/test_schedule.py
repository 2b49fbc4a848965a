"""Schedules against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dynlab.training import all_presets, learning_rate_factor


def values(spec: str, total: int, unit: int = 1) -> list[float]:
    factor = learning_rate_factor(spec, total, unit)
    return [factor(step) for step in range(total)]


def test_constant() -> None:
    assert values("constant", 5) == [1.0] * 5


@pytest.mark.parametrize(
    ("spec", "unit", "first"), [("drop:at=0.25,factor=0.1", 1, 5), ("drop:at=3,factor=0.1", 1, 3), ("drop:at=2", 4, 8)]
)
def test_drop(spec: str, unit: int, first: int) -> None:
    assert values(spec, 20, unit) == [1.0] * first + [0.1] * (20 - first)


def test_exponential() -> None:
    assert values("exponential:factor=0.5,every=2", 12, unit=3) == [0.5 ** (step // 6) for step in range(12)]


def test_cosine_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.1)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert values("cosine:to=0.1", 10) == pytest.approx(expected, rel=1e-12)


def test_warm_up_multiplies() -> None:
    cosine = values("cosine", 10)
    ramp = [min(1, (step + 1) / 4) for step in range(10)]
    expected = [a * b for a, b in zip(cosine, ramp, strict=True)]
    assert values("cosine:warmup=4", 10) == pytest.approx(expected)
    assert values("cosine:warmup=0.4", 10) == pytest.approx(expected)


def test_unicornn_appendix_a() -> None:
    """650 epochs, a tenth, 3 times as many; 250 epochs, a tenth, 250 more; and a shorter training keeps the shares."""
    for name, epochs, first in (("unicornn-mnist_permuted-128", 2600, 650), ("unicornn-cifar10", 500, 250)):
        preset = all_presets()[name].values
        assert preset["epochs"] == epochs
        factors = values(preset["schedule"], epochs * 3, unit=3)
        assert factors == [1.0] * (first * 3) + [0.1] * ((epochs - first) * 3)
        short = values(preset["schedule"], 40)
        assert short.count(1.0) == 40 * first // epochs


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("linear", "expected schedule to be one of 'constant'"),
        ("drop:when=3", "when"),
        ("drop:at=0", "expected a finite at > 0"),
        ("drop:at", "expected options as name=value"),
        ("cosine:warmup=-1", "expected a finite warmup >= 0"),
        ("exponential:every=x", "expected every to be a number"),
    ],
)
def test_bad_schedules(spec: str, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        learning_rate_factor(spec, 10)


def test_cosine_ends_near_zero() -> None:
    assert math.isclose(values("cosine", 1000)[-1], 0, abs_tol=1e-5)
