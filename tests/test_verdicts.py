"""The rule that calls a cell vanishing, stable or exploding."""

import math

import pytest

from dynlab import verdict
from dynlab.verdicts import THRESHOLD

EDGE = math.log(100)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.0, "stable"),
        (EDGE, "stable"),
        (-EDGE, "stable"),
        (math.nextafter(EDGE, math.inf), "exploding"),
        (math.nextafter(-EDGE, -math.inf), "vanishing"),
        (-20000.0, "vanishing"),
        (20000.0, "exploding"),
        (-math.inf, "vanishing"),
        (math.inf, "exploding"),
    ],
)
def test_rule(ratio, expected):
    assert verdict(ratio) == expected


def test_threshold_is_a_factor_of_a_hundred():
    assert pytest.approx(100) == math.exp(THRESHOLD)


@pytest.mark.parametrize("ratio", [-math.inf, 0.0, math.nan])
def test_an_exploded_state_is_exploding(ratio):
    assert verdict(ratio, overflow_step=3) == "exploding"


def test_nan_is_no_verdict():
    with pytest.raises(ValueError, match="expected a number or infinity .* got NaN"):
        verdict(math.nan)
