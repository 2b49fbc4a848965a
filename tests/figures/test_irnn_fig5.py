"""iRNN Fig. 5: the settings are the preset's, claims that can fail, and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load
from dynlab.training import find_preset

figure = load("irnn_fig5")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


def test_irnn_is_the_preset_but_for_the_length():
    preset, ours = find_preset("irnn-adding-K5").values, {**figure.SCALES["paper"], **figure.CELLS["iRNN"]}
    own = {"task": "adding:T=100", "iterations": 2000, "optimizer": "adam"}
    assert {name: {**ours, **own}[name] for name in preset} == {**preset, **own}


def test_what_is_kept(data: xr.Dataset):
    assert list(data["run"].values) == list(figure.CELLS) and list(data["update"].values) == [2, 4]
    assert np.isfinite(data["score"]).all() and data.attrs["seed"] == 1


PUBLISHED = {"iRNN": 400, "RNN": math.inf, "LSTM": math.inf, "Antisymmetric": math.inf, "FastRNN": 800}


def told(at: dict[str, float]) -> xr.Dataset:
    update = np.arange(25, 2001, 25)
    score = [np.where(update >= at[name], 0.005, 0.17) for name in figure.CELLS]
    return xr.Dataset(
        {"score": (("run", "update"), score), "diverged": ("run", np.zeros(5, bool))},
        {"run": list(figure.CELLS), "update": update},
    )


SOLVES, FIRST, TWICE, LSTM = (claim.check for claim in figure.ITEM.claims)


def test_claims_hold_where_it_is_so():
    assert [claim.check(told(PUBLISHED)).holds for claim in figure.ITEM.claims] == [True] * 4


def test_claims_fail_where_it_is_not():
    never = told({**PUBLISHED, "iRNN": math.inf})
    assert SOLVES(never).holds is False and FIRST(never).holds is False
    assert FIRST(told({**PUBLISHED, "RNN": 300})).holds is False
    assert TWICE(told({**PUBLISHED, "FastRNN": 450})).holds is False
    assert TWICE(told({**PUBLISHED, "FastRNN": math.inf})).holds is False
    assert TWICE(told({**PUBLISHED, "iRNN": 1500, "FastRNN": math.inf})).holds is None
    assert LSTM(told({**PUBLISHED, "LSTM": 1000})).holds is False


def test_drawn_are_the_scores(data: xr.Dataset):
    (axes,) = figure.draw(data).axes
    lines = {line.get_label(): line for line in axes.lines}
    for name in figure.CELLS:
        np.testing.assert_allclose(lines[name].get_xydata().T, [data["update"], data["score"].sel(run=name)])
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "update"
