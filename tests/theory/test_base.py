"""What a finding says, from its numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynlab.theory import Hypothesis, finding
from dynlab.theory.base import axis_of

HOLDS, NOT = Hypothesis("a < b", True, 1.0, 2.0), Hypothesis("c < d", False, 4.0, 3.0)


def made(relation="<=", bound=1.0, measured=0.5, hypotheses=(HOLDS,), **options):
    return finding(
        key="k", reference="r", statement="s", relation=relation, bound=bound, measured=measured,
        hypotheses=hypotheses, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("relation", "measured", "tolerance", "verdict"),
    [
        ("<=", 1.0, 0.0, "holds"), ("<=", 1.01, 0.0, "fails"), ("<=", 1.01, 0.02, "holds"),
        (">=", 1.0, 0.0, "holds"), (">=", 0.99, 0.0, "fails"), (">=", 0.99, 0.02, "holds"),
        ("==", 1.0, 0.0, "holds"), ("==", 1.01, 0.0, "fails"), ("==", 0.99, 0.02, "holds"),
        ("<=", float("nan"), 1.0, "fails"), (">=", float("nan"), 1.0, "fails"), ("==", float("nan"), 1.0, "fails"),
        ("<=", float("inf"), 1.0, "fails"),
    ],
)  # fmt: skip
def test_the_verdict_follows_the_relation(relation, measured, tolerance, verdict):
    found = made(relation, 1.0, measured, tolerance=tolerance)
    assert found.attrs["verdict"] == verdict
    assert bool(found["satisfied"]) == (verdict == "holds")


def test_one_broken_place_is_enough_to_fail():
    found = made(measured=xr.DataArray([0.5, 1.5, 0.2], dims="x"))
    assert found.attrs["verdict"] == "fails"
    assert found["satisfied"].values.tolist() == [True, False, True]


@pytest.mark.parametrize("measured", [0.5, 1.5])
def test_a_hypothesis_that_fails_makes_it_not_applicable(measured):
    found = made(measured=measured, hypotheses=(HOLDS, NOT))
    assert found.attrs["verdict"] == "not applicable"
    assert bool(found["satisfied"]) == (measured < 1)
    assert found["hypothesis_holds"].sel(hypothesis="c < d").item() is False
    assert found["hypothesis_limit"].values.tolist() == [2.0, 3.0]


def test_bound_and_measured_broadcast():
    bound = xr.DataArray([1.0, 2.0], dims="x")
    found = made(bound=bound, measured=xr.DataArray([[0.5, 1.5], [1.5, 0.5]], dims=("x", "y")))
    assert found["satisfied"].transpose("x", "y").values.tolist() == [[True, False], [True, True]]


def test_what_cannot_be_compared_is_refused():
    apart = [xr.DataArray([1.0, 2.0], dims="x", coords={"x": places}) for places in ([0, 1], [1, 2])]
    with pytest.raises(ValueError, match="k: expected bound and measured with the same coordinates"):
        made(bound=apart[0], measured=apart[1])
    with pytest.raises(ValueError, match="k: expected something measured, got nothing"):
        made(measured=xr.DataArray(np.empty(0), dims="x"))
    with pytest.raises(ValueError, match="k: expected relation to be one of '<=', '>=', '==', got '<'"):
        made(relation="<")


def test_the_axis_is_one_of_settings_rather_than_of_samples():
    assert axis_of(made()) is None
    wide = xr.DataArray(np.zeros((3, 2, 1, 4)), dims=("transition", "batch", "one", "K"))
    assert axis_of(made(measured=wide)) == "K"
    assert axis_of(made(measured=wide.isel(K=0))) == "transition"
