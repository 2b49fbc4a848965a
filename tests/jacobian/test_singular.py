"""Singular values of rows with scales of their own, against mpmath at 60 digits."""

import math

import mpmath
import numpy as np
import pytest
import torch

from dynlab.jacobian import singular
from dynlab.jacobian.singular import log_singular_values_of_rows
from tests.jacobian.high_precision import log_singular, rand, to_mp


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(60):
        yield


@pytest.fixture(params=["pieces", "short pieces", "rotations"], autouse=True)
def method(request, monkeypatch):
    """All ways must give the same: spans cut as they are, cut after several QR steps, and rows that resist."""
    if request.param == "short pieces":
        monkeypatch.setattr(singular, "WHOLE", 30.0)
    if request.param == "rotations":
        monkeypatch.setattr(singular, "_pieces", lambda right, log_scale: None)
    return request.param


def unit_rows(count, size, seed=0):
    return torch.nn.functional.normalize(rand(count, size, seed=seed), dim=-1)


@pytest.mark.parametrize("span", [0, 12, 80, 3000])
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_singular_values_of_rows(span, count):
    right = unit_rows(count, 6, seed=count)
    log_scale = torch.linspace(7.0, 7.0 - span, count, dtype=torch.float64)[torch.randperm(count)]
    found = log_singular_values_of_rows(right[None], log_scale[None])[0]
    # The squares of the smallest stand 2 * span nats below those of the largest.
    extra = int(span / math.log(10)) * 2
    with mpmath.workdps(60 + extra):
        scaled = mpmath.diag([mpmath.exp(x) for x in log_scale.tolist()]) * to_mp(right)
        expected = log_singular(scaled, extra)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("count", [2, 5, 6])
def test_rows_of_equal_scales_that_are_nearly_parallel(count):
    right = unit_rows(1, 6).repeat(count, 1) + 0.01 * rand(count, 6, seed=3)
    right = torch.nn.functional.normalize(right, dim=-1)
    log_scale = torch.zeros(count, dtype=torch.float64)
    log_scale[-1] = -9.0  # too far for LAPACK's ordinary method
    found = log_singular_values_of_rows(right[None], log_scale[None])[0]
    expected = log_singular(mpmath.diag([mpmath.exp(x) for x in log_scale.tolist()]) * to_mp(right))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("zeros", [1, 2])
def test_zero_rows_are_minus_infinity(count, zeros):
    right = unit_rows(count, 5)
    log_scale = torch.linspace(0, 1, count, dtype=torch.float64)
    log_scale[:zeros] = -math.inf
    found = log_singular_values_of_rows(right[None], log_scale[None])[0]
    expected = log_singular(mpmath.diag([mpmath.exp(x) for x in log_scale[zeros:].tolist()]) * to_mp(right[zeros:]))
    assert not found.isnan().any()
    assert found[count - zeros :].tolist() == [-math.inf] * zeros
    np.testing.assert_allclose(found[: count - zeros].numpy(), expected, atol=1e-12)


def test_all_rows_zero():
    found = log_singular_values_of_rows(unit_rows(4, 4)[None], torch.full((1, 4), -math.inf, dtype=torch.float64))
    assert found.tolist() == [[-math.inf] * 4]


@pytest.mark.parametrize("method", ["pieces"], indirect=True)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("scale", [False, True])
def test_what_is_not_finite_spoils_its_sample_only(value, scale, method, capfd):
    right = unit_rows(4, 4)[None].repeat(2, 1, 1)
    log_scale = torch.linspace(0.0, -40, 4, dtype=torch.float64).repeat(2, 1)
    good = log_singular_values_of_rows(right, log_scale)
    (log_scale if scale else right[..., 0])[1, 2] = value
    found = log_singular_values_of_rows(right, log_scale)
    assert found[1].isnan().all() and torch.equal(found[0], good[0])
    assert capfd.readouterr() == ("", ""), "LAPACK complains on the terminal"


def test_each_sample_on_its_own():
    right = torch.stack([unit_rows(4, 4), unit_rows(4, 4, seed=1)])
    log_scale = torch.tensor([[0.0, -1, -2, -3], [0.0, -100, -2, -3000]], dtype=torch.float64)
    both = log_singular_values_of_rows(right, log_scale)
    for sample in range(2):
        alone = log_singular_values_of_rows(right[sample : sample + 1], log_scale[sample : sample + 1])
        torch.testing.assert_close(both[sample : sample + 1], alone, rtol=1e-12, atol=1e-12)


def test_evenly_spread_rows_need_several_steps_to_be_cut(method, monkeypatch):
    """No gap is so large that one QR step could part the rows."""
    steps, rotations = [], []
    step, rotate = singular._qr_step, singular._by_rotations
    monkeypatch.setattr(singular, "_qr_step", lambda *rows: steps.append(1) or step(*rows))
    monkeypatch.setattr(singular, "_by_rotations", lambda *rows: rotations.append(1) or rotate(*rows))
    count, span = 16, 60.0
    right = unit_rows(count, count, seed=8)
    log_scale = torch.linspace(span, 0, count, dtype=torch.float64)
    found = log_singular_values_of_rows(right[None], log_scale[None])[0]
    with mpmath.workdps(60 + 60):
        expected = log_singular(mpmath.diag([mpmath.exp(x) for x in log_scale.tolist()]) * to_mp(right), 60)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert (len(rotations) == 1) == (method == "rotations")
    assert {"pieces": len(steps) == 0, "short pieces": len(steps) > 1, "rotations": len(steps) > 1}[method]


@pytest.mark.parametrize("method", ["short pieces"], indirect=True)
def test_rows_that_cannot_be_cut_are_rotated(method, monkeypatch):
    """A span that is longer than a piece may be, without a cut to be found in it in the steps allowed."""
    monkeypatch.setattr(singular, "STEPS", 1)
    right = unit_rows(12, 12, seed=9)
    log_scale = torch.linspace(36.0, 0, 12, dtype=torch.float64)
    assert singular._pieces(right, log_scale) is None
    found = log_singular_values_of_rows(right[None], log_scale[None])[0]
    expected = log_singular(mpmath.diag([mpmath.exp(x) for x in log_scale.tolist()]) * to_mp(right), 60)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
