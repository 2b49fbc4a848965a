"""Every hyperparameter of every cell has a control whose whole range the cell takes."""

from __future__ import annotations

import pytest
import torch

import dynlab
from dynlab.cells import build_cell, registry
from dynlab.widgets.options import Option, options_of, options_of_function


def extremes(option: Option) -> list[object]:
    if option.kind == "choice":
        return list(option.choices)
    if option.kind == "integer":
        return [int(option.low), int(option.high)]
    if option.kind in ("linear", "log", "log or zero"):
        return [option.low, option.high, *([0.0] if option.kind == "log or zero" else [])]
    return []


@pytest.mark.parametrize("key", registry)
def test_cells_take_every_end_of_every_range(key):
    names = [option.name for option in options_of(key)]
    assert names == list(registry[key].options)
    for option in options_of(key):
        for value in extremes(option):
            cell = registry[key](2, 64, **{option.name: value})
            assert cell.hyperparameters.get(option.name, value) == value
            assert cell.scan(torch.zeros(2, 1, 2)).isfinite().all()


@pytest.mark.parametrize("key", registry)
def test_defaults_lie_within(key):
    for option in options_of(key):
        assert option.default == registry[key].options[option.name]
        if option.kind in ("linear", "log", "log or zero", "integer"):
            inside = option.low <= option.default <= option.high
            assert inside or (option.kind == "log or zero" and option.default == 0)
        if option.kind == "choice":
            assert option.default in option.choices


def test_only_what_does_not_bear_on_gradients_has_no_control():
    fixed = {option.name for key in registry for option in options_of(key) if option.kind == "fixed"}
    assert fixed == {"memory", "train_time_step", "gated", "structured", "eta_steps", "K", "rank"}
    assert [option.name for option in options_of("irnn") if option.kind == "fixed"] == ["rank", "eta_steps"]
    assert "K" in [option.name for option in options_of("irnn") if option.kind == "integer"]


def test_a_letter_means_what_its_cell_means():
    assert {one.name: one.high for one in options_of("unicornn")}["alpha"] == 60
    assert {one.name: one.high for one in options_of("irnn")}["alpha"] == 2
    assert {one.name: one.kind for one in options_of("cornn")}["gamma"] == "linear"
    assert {one.name: one.kind for one in options_of("antisymmetric")}["gamma"] == "log or zero"


def test_options_of_a_users_cell():
    def mine(input_size, hidden_size, leak=0.5, depth=3, alpha=20.0, gate=True, shift=0.0, act="relu", eta=1e-2):
        return build_cell("elman", input_size, hidden_size)

    found = {one.name: one for one in options_of_function(mine, {"leak": (0.0, 1.0), "depth": (1, 6)})}
    assert (found["leak"].kind, found["leak"].low, found["leak"].high) == ("linear", 0, 1)
    assert (found["depth"].kind, found["depth"].low, found["depth"].high) == ("integer", 1, 6)
    assert (found["alpha"].kind, found["alpha"].low, found["alpha"].high) == ("log", 0.2, 2000), "not iRNN's alpha"
    assert found["gate"].kind == "flag" and found["act"].kind == "fixed"
    assert (found["shift"].kind, found["shift"].low, found["shift"].high) == ("linear", -1, 1)
    assert (found["eta"].kind, found["eta"].low) == ("log", 1e-4), "a name that the field knows has its range"
    assert options_of_function(lambda f, d, *, k=1: None)[0].kind == "integer"


def test_bad_input():
    with pytest.raises(ValueError, match="expected a cell among unicornn, .*got 'unicorn'"):
        options_of("unicorn")
    with pytest.raises(TypeError, match=r"expected a class or function \(input_size, hidden_size, option=default"):
        options_of_function(lambda size: None)
    with pytest.raises(TypeError, match="expected a class or function"):
        options_of_function(lambda f, d, needed: None)


def test_a_cell_of_ones_own_has_the_options_of_its_init():
    class Mine(dynlab.Cell):
        def __init__(self, input_size, hidden_size, leak=0.1, K=3):
            super().__init__(input_size, hidden_size)

    assert [(one.name, one.default) for one in options_of_function(Mine)] == [("leak", 0.1), ("K", 3)]
