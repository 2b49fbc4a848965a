"""The table's numbers are the datasets'; what people typed is shown as text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dynlab
from dynlab.widgets.laboratory import Measured
from dynlab.widgets.numbers import Numbers, numbers, table


def measured(weight: torch.Tensor, steps: int, probes) -> Measured:
    """A linear map, whose numbers have closed forms."""
    cell = dynlab.as_cell(lambda x, h: h @ weight.T, input_size=1, state_size=len(weight))
    return Measured("mine", "mine", dynlab.record(cell, torch.zeros(steps, 3, 1, dtype=weight.dtype), probes))


def test_the_numbers_of_a_linear_map():
    weight = torch.diag(torch.tensor([0.5, -0.25], dtype=torch.float64))
    row = numbers(measured(weight, 11, ["GradientNorm", "EndToEndSpectrum", "LyapunovSpectrum"]))
    norm = [math.sqrt((0.5 ** (2 * n) + 0.25 ** (2 * n)) / 2) for n in range(12)]
    assert row.ratio == pytest.approx(math.log10(norm[10] / norm[1]))
    assert row.exponent == pytest.approx(math.log(0.5))
    assert row.modulus == pytest.approx(math.log10((0.5**11 + 0.25**11) / 2))
    assert row.verdict == "vanishing" and row.problem == ""


def test_what_was_not_measured_is_left_out():
    weight = torch.eye(2, dtype=torch.float64)
    row = numbers(measured(weight, 5, ["GradientNorm"]))
    assert (row.exponent, row.modulus) == (None, None) and row.verdict == "stable"
    assert numbers(measured(weight, 1, ["GradientNorm"])).verdict == "", "one step has no ratio"
    assert numbers(Measured("a", "b", None, "no such cell")) == Numbers("a", problem="no such cell")


def test_an_overflow_is_exploding_whatever_the_ratio():
    with pytest.warns(RuntimeWarning, match="left the range"):
        cell = dynlab.as_cell(lambda x, h: 1e30 * h + x, input_size=2, state_size=2)
        data = dynlab.record(cell, torch.ones(6, 1, 2), ["GradientNorm"])
    assert numbers(Measured("m", "m", data)).verdict == "exploding"


def test_the_table_escapes_and_keeps_the_order():
    rows = [Numbers("<b>one", 1200, -np.inf, "vanishing"), Numbers("two", problem="a < b")]
    text = table(rows, ["", ""])
    assert "&lt;b&gt;one" in text and "a &lt; b" in text and "1,200" in text and "-inf" in text
    assert text.index("one") < text.index("two")
