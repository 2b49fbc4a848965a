"""The rule that calls a cell vanishing, stable or exploding."""

from __future__ import annotations

import math
from typing import Literal

THRESHOLD = math.log(100)


def verdict(log_gradient_ratio: float, overflow_step: int = 0) -> Literal["vanishing", "stable", "exploding"]:
    """The verdict from r = log |dh_T/dh_1| - log |dh_T/dh_{T-1}|, natural logarithm.

    Vanishing below -ln 100, exploding above ln 100, else stable. A state that left the float range
    (``overflow_step`` > 0) is exploding whatever its gradients were before.

    Raises:
        ValueError: if r is NaN.
    """
    if overflow_step > 0:
        return "exploding"
    if math.isnan(log_gradient_ratio):
        raise ValueError("verdict: expected a number or infinity for the log gradient ratio, got NaN")
    if log_gradient_ratio < -THRESHOLD:
        return "vanishing"
    return "exploding" if log_gradient_ratio > THRESHOLD else "stable"
