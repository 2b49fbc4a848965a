"""Sliders take numbers between their steps, and what a browser makes of them is told from a hand's move."""

from __future__ import annotations

import math

import ipywidgets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.widgets.snapping import echoes, put


def snapped(slider, value):
    """What the front end's slider makes of a value."""
    log = isinstance(slider, ipywidgets.FloatLogSlider)
    at = math.log10(value) if log else value
    at = slider.min + round((at - slider.min) / slider.step) * slider.step
    return 10**at if log else at


@given(st.floats(-6, 6, allow_subnormal=False))
def test_a_number_between_the_steps_stays(value):
    slider = ipywidgets.FloatSlider(0, min=-4, max=4, step=0.05)
    put(slider, value)
    assert slider.value == pytest.approx(value, abs=1e-7)
    assert snapped(slider, slider.value) == pytest.approx(value, abs=1e-7)
    assert min(value, -4) - 1e-9 <= slider.min < min(value, -4) + 0.0501
    assert max(value, 4) - 0.0501 < slider.max <= max(value, 4) + 1e-9
    assert echoes(slider, snapped(slider, value), value)
    assert not echoes(slider, snapped(slider, value) + slider.step, value)


@given(st.floats(1e-4, 3))
def test_on_a_logarithmic_scale_too(value):
    slider = ipywidgets.FloatLogSlider(0.1, min=-3, max=0, step=0.015)
    put(slider, value)
    assert slider.value == pytest.approx(value, rel=1e-12)
    assert snapped(slider, slider.value) == pytest.approx(value, rel=1e-9)
    assert echoes(slider, value * 10**0.007, value) and not echoes(slider, value * 10**0.008, value)


def test_a_step_of_a_hand_keeps_the_steps():
    slider = ipywidgets.FloatSlider(0, min=-4, max=4, step=0.05)
    put(slider, 1.764)
    low, high = slider.min, slider.max
    moved = slider.value + slider.step
    slider.value = moved
    put(slider, moved)
    assert (slider.min, slider.max, slider.value) == (low, high, moved)


def test_a_range_comes_back():
    slider = ipywidgets.FloatSlider(0, min=-4, max=4, step=0.05)
    put(slider, 1e308, (-4, 4))
    assert slider.value == 1e308 == slider.max
    put(slider, 0.5, (-4, 4))
    assert (slider.value, slider.min, slider.max) == pytest.approx((0.5, -4, 4))


def test_other_controls():
    whole = ipywidgets.IntSlider(3, min=1, max=5)
    put(whole, 9)
    assert (whole.value, whole.max) == (9, 9) and not echoes(whole, 8, 9)
    choice = ipywidgets.Dropdown(options=["a", "b"])
    put(choice, "b")
    assert choice.value == "b" and not echoes(choice, "a", "b")
