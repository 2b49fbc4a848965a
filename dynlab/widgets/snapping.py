"""Sliders that are set to a number between their steps.

A slider of ipywidgets that updates continuously moves to the nearest of its steps as soon as it is shown, or set, and
reports that as if somebody had moved it. ``put`` lays the steps so that the number is one of them; ``echoes`` tells
what comes back of a number from what a hand did.
"""

from __future__ import annotations

import math
from typing import Any

import ipywidgets

SAME = 1e-6
"""Share of a step below which two values are one: the browser's arithmetic differs in the last digits."""
MOST = 1e5
"""Steps of a slider; beyond them they are not laid anew."""


def put(control: ipywidgets.ValueWidget, value: Any, reach: tuple[float, float] | None = None) -> None:
    """Give a control a value.

    Arguments:
        control: a slider's steps are laid through the value.
        reach: (min, max) of a slider, the present ones unless given; a value beyond widens it.
    """
    if not _slides(control):
        if hasattr(control, "max"):
            _set(control, value, *(reach or (control.min, control.max)))
        elif control.value != value:
            control.value = value
        return
    at, step = _scale(control, value), control.step
    low, high = reach or (control.min, control.max)
    low, high = min(low, at), max(high, at)
    before, after = (at - low) / step, (high - at) / step
    if max(before, after) < MOST:
        low, high = at - step * math.floor(before + SAME), at + step * math.floor(after + SAME)
    near = SAME * step
    moved = abs(_scale(control, control.value) - at) > near
    if moved or abs(control.min - low) > near or abs(control.max - high) > near:
        _set(control, value, min(low, at), max(high, at))


def _set(control: Any, value: Any, low: Any, high: Any) -> None:
    if (control.min, control.max, control.value) == (low, high, value):
        return
    at = _scale(control, value)
    with control.hold_sync():  # in an order in which the value is always within the range
        control.min, control.max = min(control.min, low, at), max(control.max, high, at)
        control.value = value
        control.min, control.max = min(low, at), max(high, at)


def echoes(control: ipywidgets.ValueWidget, value: Any, said: Any) -> bool:
    """Whether ``value`` of a slider is what its steps make of ``said``, which it was set to last."""
    if not _slides(control) or said is None:
        return False
    return bool(abs(_scale(control, value) - _scale(control, said)) < 0.5 * control.step)


def _slides(control: Any) -> bool:
    return isinstance(control, ipywidgets.FloatSlider | ipywidgets.FloatLogSlider)


def _scale(control: Any, value: float) -> float:
    """Where a value lies on the slider: itself, or its exponent."""
    return math.log(value, control.base) if isinstance(control, ipywidgets.FloatLogSlider) else value
