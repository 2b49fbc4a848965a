"""Controls start at the value they are given, cover their range, and give back a specification that builds the cell."""

from __future__ import annotations

import ipywidgets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.cells import build_cell, registry
from dynlab.cells._registry import parse_cell
from dynlab.widgets.controls import control, spec_of
from dynlab.widgets.options import Option, options_of


@pytest.mark.parametrize("key", registry)
def test_at_the_start_the_controls_say_the_registrys_cell(key):
    options = options_of(key)
    made = {option.name: control(option) for option in options}
    values = {name: one.value for name, one in made.items() if one is not None}
    assert spec_of(key, options, values) == key
    for option in options:
        if (one := made[option.name]) is not None:
            assert one.description == option.name and f"dynlab-{option.name}" in one._dom_classes
            assert option.unit in one.tooltip
        else:
            assert option.kind == "fixed"


@given(data=st.data(), key=st.sampled_from(list(registry)))
def test_values_go_through_the_specification(data, key):
    options = [option for option in options_of(key) if option.kind not in ("fixed",)]
    values = {}
    for option in options:
        if option.kind == "choice":
            values[option.name] = data.draw(st.sampled_from(option.choices))
        elif option.kind == "integer":
            values[option.name] = data.draw(st.integers(int(option.low), int(option.high)))
        else:
            values[option.name] = data.draw(st.floats(option.low, option.high, allow_subnormal=False))
    spec = spec_of(key, options, values)
    _, read = parse_cell(spec)
    found = {**{option.name: option.default for option in options}, **read}
    assert list(found) == list(values)
    for name, value in values.items():
        assert found[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)
    build_cell(spec, 2, 64)


@pytest.mark.parametrize("value", [0.0, 1e-3, 0.01, 0.37, 5.0])
def test_a_slider_with_a_zero_stands_where_it_is_put(value):
    option = next(one for one in options_of("antisymmetric") if one.name == "gamma")
    made = control(option, value)
    assert made.value == value
    values = [one for _, one in made.options]
    assert values == sorted(set(values)) and values[0] == 0
    labels = [label for label, _ in made.options]
    assert len(set(labels)) == len(labels), "no two stops look alike"


def test_a_value_beyond_the_range_widens_it():
    options = {one.name: one for one in options_of("unicornn")}
    assert control(options["dt"], 5.0).max == pytest.approx(0.69897, abs=1e-4)
    assert control(options["alpha"], 100.0).max == 100
    assert control({one.name: one for one in options_of("irnn")}["K"], 40).max == 40


def test_small_numbers_are_readable():
    made = control(Option("dt", 0.001, "log", 1e-3, 1.0))
    assert isinstance(made, ipywidgets.FloatLogSlider) and made.readout_format == ".4g"


@pytest.mark.parametrize(("option", "value"), [("dt", 0.0), ("dt", -1.0)])
def test_impossible_values_are_refused(option, value):
    chosen = next(one for one in options_of("unicornn") if one.name == option)
    with pytest.raises(ValueError, match=f"{option}: expected a number above 0, got {value}"):
        control(chosen, value)
