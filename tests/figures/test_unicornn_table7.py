"""UnICORNN Table 7: errors recomputed, parameters counted by hand, claims that can fail, the drawing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import load
from dynlab.figures.workspaces import working_in
from dynlab.tasks import get_task
from dynlab.training import Settings, train

figure = load("unicornn_table7")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


def published(data: xr.Dataset) -> xr.Dataset:
    """As if all had come out as published."""
    errors = data["published"].expand_dims(seed=data["seed"]).transpose(*data["error"].dims)
    counts = {"unicornn": 9545, "cornn": 8901, "lstm": 9201}
    parameters = data["parameters"].copy()
    for model, count in counts.items():
        parameters.loc[{"model": model}] = count
    return data.assign(error=errors, parameters=parameters)


def with_error(data: xr.Dataset, model: str, F: float, value: float) -> xr.Dataset:
    good = published(data)
    good["error"] = good["error"].copy()
    good["error"].loc[{"model": model, "F": F}] = value
    return good


@pytest.mark.parametrize("model", ["unicornn", "cornn", "lstm"])
def test_the_error_is_that_of_the_network_kept(model: str, tmp_path: Path, data: xr.Dataset):
    settings = dict(figure.SCALES["smoke"])
    for name in ("seeds", "units", "updates"):
        settings.pop(name)
    with working_in(tmp_path):
        piece = figure.train_one(model, F=8.0, seed=0, hidden_size=4, updates=2, **settings)
    made = Settings.load(tmp_path / "settings.json")
    network = train(made, tmp_path).network  # finished: read from the folder
    inputs, targets = get_task(made.task).sequences(2, split="test", seed=0)
    with torch.no_grad():
        outputs = network.read(inputs).double().numpy()
    truth = targets.double().numpy()
    expected = np.sqrt(((outputs - truth) ** 2).mean() / (truth**2).mean())
    np.testing.assert_allclose(float(piece["error"]), expected, rtol=1e-5)
    # The same numbers as from compute.
    np.testing.assert_array_equal(piece["error"], data["error"].sel(model=model, F=8.0, seed=0))


def test_parameters_are_those_of_the_formulas(data: xr.Dataset):
    f, d, o = 5, 4, 5
    readout = d * o + o
    expected = {
        "unicornn": (f * d + 3 * d) + (d * d + 3 * d) + readout,  # V, w, b, c of two layers
        "cornn": 2 * d * d + f * d + d + readout,
        "lstm": 4 * (d * f + d * d + 2 * d) + readout,
    }
    for model, count in expected.items():
        assert set(data["parameters"].sel(model=model).values.ravel()) == {count}
    at_9k = {"unicornn": (5 * 90 + 270) + (8100 + 270) + 455, "cornn": 2 * 64**2 + 320 + 64 + 325}
    assert at_9k == {"unicornn": 9545, "cornn": 8901}
    assert figure.nine_thousand(published(data)).holds is True
    assert figure.nine_thousand(data).holds is False


def test_a_number_that_is_missed_says_how_it_was_reached(data: xr.Dataset):
    missed = with_error(data, "cornn", 8.0, 0.9)
    missed["validation_error"] = missed["validation_error"].copy()
    missed["validation_error"].loc[{"model": "cornn", "F": 8.0}] = np.array([[0.7, 0.5]])
    missed["update"] = missed["update"].copy()
    missed["update"].loc[{"model": "cornn", "F": 8.0}] = np.array([[1000, 2000]])
    assert "on the validation set 0.7 at 1,000, 0.5 at 2,000" in figure.number("cornn", 8.0, missed).why
    assert "validation" not in figure.number("lstm", 8.0, missed).why


def test_models_have_the_published_sizes():
    for scale in ("laptop", "paper"):
        assert figure.SCALES[scale]["units"] == {"unicornn": 90, "cornn": 64, "lstm": 44}


def test_published_numbers_hold_and_others_fail(data: xr.Dataset):
    good = published(data)
    assert {claim.check(good).holds for claim in figure.ITEM.claims} == {True}
    numbers = [claim for claim in figure.ITEM.claims if "has a test NRMSE" in claim.says]
    assert len(numbers) == 6
    for claim, (F, model) in zip(numbers, [(F, m) for F in (0.9, 8.0) for m in figure.MODELS], strict=True):
        value = float(claim.published)
        assert value == figure.PUBLISHED[model, F]
        for factor, holds in ((1.4, True), (1.6, False), (0.6, False)):
            assert claim.check(with_error(data, model, F, factor * value)).holds is holds


def test_comparisons_can_fail(data: xr.Dataset):
    assert figure.comparable_when_calm(with_error(data, "unicornn", 0.9, 0.031)).holds is False
    assert figure.comparable_when_calm(with_error(data, "lstm", 0.9, 0.01)).holds is False
    assert figure.poor_when_chaotic(with_error(data, "unicornn", 8.0, 0.13)).holds is False


def test_what_is_kept(data: xr.Dataset):
    assert data["validation_error"].dims == ("model", "F", "seed", "evaluation")
    assert list(data["update"].sel(model="lstm", F=8.0, seed=0).values) == [1, 2]
    # The error of the present as the forecast, as the task says.
    np.testing.assert_allclose(data["without_memory"].isel(model=0, seed=0), [0.052, 0.99], rtol=0.02)
    assert all("units" in data[name].attrs for name in data.data_vars)


def test_drawn_are_errors_and_curves(data: xr.Dataset):
    table, calm, chaotic = figure.draw(data).axes
    drawn = {round(float(value), 9) for line in table.lines for value in line.get_ydata()}
    assert {round(float(value), 9) for value in data["error"].values.ravel()} <= drawn
    assert {round(value, 9) for value in figure.PUBLISHED.values()} <= drawn
    assert [label.get_text() for label in table.get_xticklabels()] == ["UnICORNN,\nL = 2", "coRNN", "LSTM"]
    for axes, F in ((calm, 0.9), (chaotic, 8.0)):
        curves = {line.get_label(): line for line in axes.lines}
        for model, label in figure.MODELS.items():
            one = data.sel(model=model, F=F, seed=0)
            np.testing.assert_allclose(curves[label].get_ydata(), one["validation_error"])
            np.testing.assert_allclose(curves[label].get_xdata(), one["update"])
        assert axes.get_yscale() == "log"
