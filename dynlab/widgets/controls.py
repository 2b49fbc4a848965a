"""ipywidgets for hyperparameters: one control an option, named, with its unit, reachable by keyboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import ipywidgets

from dynlab.widgets.options import Option

STEPS = 200
"""Of a slider over its range."""
A_DECADE = 10
"""Values a decade of a slider with a zero."""
_LAYOUT = {"width": "auto"}
_STYLE = {"description_width": "9em"}


def control(option: Option, value: Any = None) -> ipywidgets.ValueWidget | None:
    """The control of an option, at ``value`` (the default unless given); None for one that has none.

    A value beyond the range widens it. The control has the class ``dynlab-<name>``.
    """
    value = option.default if value is None else value
    made = _MAKERS[option.kind](option, value) if option.kind in _MAKERS else None
    if made is None:
        return None
    made.description = option.name
    made.tooltip = f"{option.name}: {option.unit}" if option.unit else option.name
    made.style, made.layout = _STYLE, _LAYOUT
    made.add_class(f"dynlab-{option.name}")
    return made


def _linear(option: Option, value: float) -> ipywidgets.ValueWidget:
    low, high = min(option.low, value), max(option.high, value)
    return ipywidgets.FloatSlider(
        value, min=low, max=high, step=_step(low, value, high), readout_format=".4g", continuous_update=True
    )


def _log(option: Option, value: float) -> ipywidgets.ValueWidget:
    if value <= 0:
        raise ValueError(f"{option.name}: expected a number above 0, got {value!r}")
    low, high = math.log10(min(option.low, value)), math.log10(max(option.high, value))
    return ipywidgets.FloatLogSlider(
        value,
        base=10,
        min=low,
        max=high,
        step=_step(low, math.log10(value), high),
        readout_format=".4g",
        continuous_update=True,
    )


def _step(low: float, value: float, high: float) -> float:
    """Some ``STEPS`` steps, with the value on one of them: the page would move a value that lies between."""
    even = (high - low) / STEPS
    return (value - low) / max(1, round((value - low) / even)) if value > low else even


def _log_or_zero(option: Option, value: float) -> ipywidgets.ValueWidget:
    return ipywidgets.SelectionSlider(
        options=[(f"{one:.2g}", one) for one in _values(option, value)], value=value, continuous_update=True
    )


def _values(option: Option, value: float) -> Sequence[float]:
    """0, then ``A_DECADE`` values a decade from low to high, and the one that is wanted."""
    if value < 0:
        raise ValueError(f"{option.name}: expected a number of at least 0, got {value!r}")
    count = round(A_DECADE * math.log10(option.high / option.low))
    ladder = [option.low * (option.high / option.low) ** (step / count) for step in range(count + 1)]
    # A value that differs from one of the ladder by rounding takes its place.
    ladder = [one for one in ladder if not math.isclose(one, value, rel_tol=1e-6)]
    return sorted({0.0, *ladder, value})


def _integer(option: Option, value: int) -> ipywidgets.ValueWidget:
    low, high = min(int(option.low), value), max(int(option.high), value)
    return ipywidgets.IntSlider(value, min=low, max=high, continuous_update=True)


def _choice(option: Option, value: Any) -> ipywidgets.ValueWidget:
    return ipywidgets.Dropdown(options=list(dict.fromkeys([*option.choices, value])), value=value)


def _flag(option: Option, value: bool) -> ipywidgets.ValueWidget:
    return ipywidgets.Checkbox(value, indent=False)


_MAKERS: Mapping[str, Callable[[Option, Any], ipywidgets.ValueWidget]] = {
    "linear": _linear, "log": _log, "log or zero": _log_or_zero, "integer": _integer, "choice": _choice, "flag": _flag,
}  # fmt: skip


def spec_of(key: str, options: Sequence[Option], values: Mapping[str, Any], named: Collection[str] = ()) -> str:
    """The specification of a cell with these values, "irnn:K=5,eta=0.02": those ``named``, and others than defaults.

    Numbers are written so that they are read back to the last digit that a slider shows, six of them.
    """
    defaults = {option.name: option.default for option in options}
    changed = [
        f"{name}={_text(value)}" for name, value in values.items() if name in named or not _same(value, defaults[name])
    ]
    return key + (":" + ",".join(changed) if changed else "")


def is_at(made: ipywidgets.ValueWidget, value: Any) -> bool:
    """Whether a control stands at a value, to a thousandth of a slider's step."""
    if isinstance(made, ipywidgets.FloatLogSlider) and value > 0:
        return bool(abs(math.log10(made.value) - math.log10(value)) < 1e-3 * made.step)
    if isinstance(made, ipywidgets.FloatSlider):
        return bool(abs(made.value - value) < 1e-3 * made.step)
    return bool(made.value == value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
