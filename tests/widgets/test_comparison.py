"""A comparison measures what its code measures, one cell at a time, and says in a line what a cell could not do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import dynlab
from dynlab.cells import registry
from dynlab.widgets import laboratory as module
from dynlab.widgets.comparison import PAPERS, Comparison
from dynlab.widgets.laboratory import KEPT, Laboratory
from dynlab.widgets.runner import Cancelled
from dynlab.widgets.signals import KINDS

SMALL = Comparison(steps=12, hidden_size=4, batch_size=2)


def quiet(share: float) -> None:
    assert 0 <= share <= 1


@pytest.mark.parametrize("inputs", KINDS)
def test_the_code_makes_the_same_datasets(inputs):
    wanted = Comparison(
        ("unicornn:dt=0.3", "lstm", "lstm"), 15, 5, 2, seed=3, inputs=inputs, scale=0.5,
        probes=("GradientNorm", "TimeSteps", "StepSpectrum"),
    )  # fmt: skip
    names: dict[str, object] = {}
    exec(wanted.code(), names)
    found = Laboratory().compute(wanted, quiet)
    assert [one.label for one in found] == ["unicornn:dt=0.3", "lstm", "lstm (2)"] == list(names["data"])
    for one in found:
        assert one.problem == ""
        xr.testing.assert_identical(one.dataset.drop_attrs(), names["data"][one.label].drop_attrs())


def test_cells_at_hand_and_builders():
    torch.manual_seed(7)
    trained = dynlab.build_cell("elman", 2, 9)
    lab = Laboratory({"trained": trained, "mine": lambda f, d: dynlab.as_cell(torch.nn.GRUCell(f, d))})
    wanted = Comparison(("trained", "mine", "gru"), 12, 4, 2)
    found = {one.label: one.dataset for one in lab.compute(wanted, quiet)}
    inputs = dynlab.widgets.signals.signal("noise", 12, 2)
    expected = dynlab.record(trained, inputs)
    xr.testing.assert_identical(found["trained"], expected)
    xr.testing.assert_allclose(found["mine"].log_gradient_norm, found["gru"].log_gradient_norm)
    names = {"made": trained}
    exec(wanted.code({"trained": "made", "mine": "dynlab.build_cell('elman', 2, 3)"}), names)
    xr.testing.assert_identical(names["data"]["trained"], expected)


def test_builders_take_options():
    def mine(f, d, slope=0.5):
        return dynlab.as_cell(lambda x, h: slope * h, input_size=f, state_size=d)

    wanted = Comparison(("mine", "mine:slope=0.25"), 12, 4, 2)
    lab = Laboratory({"mine": mine})
    half, quarter = lab.compute(wanted, quiet)
    np.testing.assert_allclose(half.dataset.log_gradient_norm.sel(time=2), 10 * np.log(0.5), rtol=1e-5)
    np.testing.assert_allclose(quarter.dataset.log_gradient_norm.sel(time=2), 10 * np.log(0.25), rtol=1e-5)
    names = {"mine": mine}
    exec(lab.code(wanted), names)
    xr.testing.assert_identical(names["data"]["mine:slope=0.25"], quarter.dataset)


def test_builders_draw_from_the_comparisons_seed():
    wanted = Comparison(("mine",), 12, 4, 2, seed=3)
    (one,) = Laboratory({"mine": lambda f, d: dynlab.build_cell("gru", f, d)}).compute(wanted, quiet)
    (same,) = Laboratory().compute(replace(wanted, cells=("gru",)), quiet)
    xr.testing.assert_identical(one.dataset, same.dataset)


def test_a_probe_that_a_cell_does_not_have_is_left_out_of_this_cell_and_of_its_code():
    wanted = Comparison(("unicornn", "lstm"), 12, 4, 2, probes=("GradientNorm", "Energy"))
    lab = Laboratory()
    unicornn, lstm = lab.compute(wanted, quiet)
    assert "energy" in unicornn.dataset and not unicornn.left_out
    assert "energy" not in lstm.dataset and "log_gradient_norm" in lstm.dataset
    assert "Energy" in lstm.left_out["Energy"] and lstm.problem == ""
    names: dict[str, object] = {}
    exec(lab.code(wanted), names)
    xr.testing.assert_identical(names["data"]["unicornn"], unicornn.dataset)
    xr.testing.assert_identical(names["data"]["lstm"], lstm.dataset)


def test_two_passes_make_what_one_makes():
    whole = Comparison(("unicornn", "elman"), 12, 4, 2, probes=("GradientNorm", "TimeSteps", "SingularValues"))
    together = Laboratory().compute(whole, quiet)
    lab = Laboratory()
    first = lab.compute(replace(whole, probes=("GradientNorm", "TimeSteps")), quiet)
    second = lab.compute(replace(whole, probes=("SingularValues",)), quiet)
    for one, quick, slow in zip(together, first, second, strict=True):
        xr.testing.assert_identical(quick.joined(slow).dataset, one.dataset)


def test_passes_share_their_rollouts(monkeypatch):
    taken = []
    take = module.take_trace
    monkeypatch.setattr(module, "take_trace", lambda cell, inputs: taken.append(cell.title) or take(cell, inputs))
    whole = Comparison(("irnn", "irnn", "elman"), 12, 4, 2, probes=("GradientNorm",))
    lab = Laboratory()
    with lab.same_traces():
        lab.compute(whole, quiet)
        second = lab.compute(replace(whole, probes=("SingularValues",)), quiet)
    assert len(taken) == 2
    for one, other in zip(second, Laboratory().compute(replace(whole, probes=("SingularValues",)), quiet), strict=True):
        xr.testing.assert_identical(one.dataset, other.dataset)
    lab.compute(replace(whole, probes=("LyapunovSpectrum",)), quiet)  # its cells may have changed by now
    assert len(taken) == 6


def test_only_the_cell_that_changed_is_measured(monkeypatch):
    measured = []

    def recorded(trace, probes, **options):
        measured.append(trace.cell.title)
        return xr.Dataset()

    monkeypatch.setattr(module, "record_trace", recorded)
    lab = Laboratory()
    lab.compute(Comparison(("elman", "gru")), quiet)
    lab.compute(Comparison(("elman", "gru", "elman")), quiet)
    assert len(measured) == 2
    lab.compute(Comparison(("elman:nonlinearity=relu", "gru")), quiet)
    assert len(measured) == 3
    lab.compute(Comparison(("elman", "gru"), seed=1), quiet)
    assert len(measured) == 5
    for seed in range(2, KEPT + 10):
        lab.compute(Comparison(("gru",), seed=seed), quiet)
    assert len(lab._kept) == KEPT


def test_one_cell_that_fails_leaves_the_others():
    def broken(f, d):
        raise AttributeError("no such\nthing")

    def misshapen(f, d):
        return dynlab.as_cell(lambda x, h: h[:, :1], input_size=f, state_size=d)

    lab = Laboratory({"broken": broken, "misshapen": misshapen, "other": dynlab.build_cell("elman", 5, 4)})
    cells = ("unicornn:dt=0", "irnn:K=0", "nonsense", "broken", "misshapen", "other", "gru")
    *failed, last = lab.compute(Comparison(cells, 12, 4, 2), quiet)
    assert last.dataset is not None and last.problem == ""
    assert all(one.dataset is None and "\n" not in one.problem for one in failed)
    for one, says in zip(
        failed,
        (
            "dt > 0",
            "K",
            "expected a cell among",
            "no such thing",
            "expected the step to return",
            "5 features, got noise",
        ),
        strict=True,
    ):
        assert says in one.problem


def test_an_overflow_is_said_and_shown():
    (one,) = Laboratory().compute(Comparison(("lipschitz:epsilon=1e30",), 40, 4, 2), quiet)
    assert one.dataset is None or one.dataset.attrs["overflow_step"] > 0
    assert "left the range" in one.problem


def test_progress_and_cancelling():
    shares: list[float] = []
    lab = Laboratory()
    lab.compute(SMALL, shares.append)
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1

    def stop(share: float) -> None:
        if share > 1 / 3:
            raise Cancelled

    lab = Laboratory()
    with pytest.raises(Cancelled):
        lab.compute(SMALL, stop)
    assert [one.cells[0] for one in lab._kept] == [PAPERS[0]], "what was measured by then is kept"


@given(
    cells=st.lists(st.sampled_from(list(registry)), max_size=4),
    steps=st.integers(1, 10**6),
    seed=st.integers(0, 2**31),
    inputs=st.sampled_from(KINDS),
    scale=st.floats(-1e6, 1e6),
)
def test_json_there_and_back(cells, steps, seed, inputs, scale):
    one = Comparison(tuple(cells), steps, seed=seed, inputs=inputs, scale=scale)
    assert Comparison.from_json(one.to_json()) == one


@pytest.mark.parametrize("text", ["", "[]", "3", '{"T": 3}', '{"steps": 0}', '{"inputs": "square"}', '{"cells": 3}'])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="comparison: expected what to_json wrote, got"):
        Comparison.from_json(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "steps"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"batch_size": -1}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"scale": float("nan")}, "scale"),
        ({"probes": ("Gradient",)}, "probes"),
    ],
)
def test_bad_input(change, says):
    with pytest.raises(ValueError, match=says):
        Comparison(**change)
