"""UnICORNN Fig. 5: the time-steps are those of the network, claims can fail, and the drawing shows the dataset."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load
from dynlab.tasks import get_task
from dynlab.training import Settings
from dynlab.training.network import build_network

figure = load("unicornn_fig5")
folder = Path(os.environ.get("DYNLAB_DATA_DIR", "")) / "mnist"
needs_mnist = pytest.mark.skipif(
    not os.environ.get("DYNLAB_DATA_DIR") or not folder.is_dir(), reason="needs MNIST under DYNLAB_DATA_DIR"
)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=3)


def made(time_step: np.ndarray, scale: str = "laptop", rates: int = 2) -> xr.Dataset:
    """A dataset with these time-steps (layer, unit) at the paper's learning rate, and others at the next ones."""
    layers, units = time_step.shape
    start = np.full((layers, units), figure.DT / 2)
    steps = np.stack([time_step] + [start] * (rates - 1))
    learning = np.stack([np.stack([start, one]) for one in steps])
    return xr.Dataset(
        {
            "time_step": (("rate", "layer", "unit"), steps),
            "time_step_while_learning": (("rate", "update", "layer", "unit"), learning),
            "accuracy": ("rate", np.linspace(0.6, 0.4, rates)),
            "updates": ("rate", [100] * rates),
        },
        {
            "rate": [figure.RATE * 4**index for index in range(rates)],
            "update": [0, 50],
            "layer": 1 + np.arange(layers),
            "unit": 1 + np.arange(units),
        },
        {"dt": figure.DT, "scale": scale},
    )


def spread(low: float, high: float) -> np.ndarray:
    """64 time-steps from ``low`` to ``high``."""
    return np.geomspace(low, high, 64)


@needs_mnist
def test_time_steps_start_where_the_network_starts(data: xr.Dataset):
    settings = {**figure.SCALES["smoke"], "seed": 3}
    settings.pop("rates")
    network = build_network(Settings(**settings), get_task(settings["task"]))
    for layer, cell in enumerate(network.layers, 1):
        expected = figure.DT / (1 + np.exp(-cell.c.detach().double().numpy()))
        found = data["time_step_while_learning"].sel(layer=layer, update=0)
        for rate in data["rate"].values:
            np.testing.assert_allclose(found.sel(rate=rate), expected, rtol=1e-6)


@needs_mnist
def test_c_moves_as_far_as_its_learning_rate_lets_it(data: xr.Dataset):
    logit = np.log(data["time_step"] / (figure.DT - data["time_step"]))
    start = data["time_step_while_learning"].isel(update=0)
    moved = abs(logit - np.log(start / (figure.DT - start))).max(("layer", "unit"))
    farthest = data["updates"] * data["rate"]
    assert (moved > 0.2 * data["rate"]).all()
    assert (moved <= 1.1 * farthest).all()  # of Adam, whose first steps are at most the learning rate
    assert float(moved[1] / moved[0]) > 5


@needs_mnist
def test_what_is_kept(data: xr.Dataset):
    assert data["time_step"].sizes == {"rate": 2, "layer": 3, "unit": 8}
    assert data.attrs["dt"] == 0.19 and data.attrs["alpha"] == 30.65 and data.attrs["seed"] == 3
    assert all("units" in data[name].attrs and "long_name" in data[name].attrs for name in data.data_vars)


def test_paper_scale_is_the_preset():
    from dynlab.training import find_preset

    values = find_preset("unicornn-mnist_permuted-256").values
    ours = figure.SCALES["paper"]
    assert {name: ours[name] for name in values if name in ours} == {
        name: value for name, value in values.items() if name in ours
    }
    assert set(values) - set(ours) == {"optimizer"} and values["optimizer"] == "adam"
    assert ours["rates"] == [values["lr"]]


def test_within_layers():
    wide = np.stack([spread(0.05, 0.15)] * 3)
    assert figure.within_layers(made(wide)).holds is True
    wide[1] = spread(0.1, 0.19)
    assert figure.within_layers(made(wide, "paper")).holds is False
    undecided = figure.within_layers(made(wide))
    assert undecided.holds is None and "1.90" in undecided.value and undecided.why


def test_between_layers():
    apart = np.stack([spread(0.05, 0.06), spread(0.07, 0.08), spread(0.1, 0.12)])
    assert figure.between_layers(made(apart, "paper")).holds is True
    generator = np.random.default_rng(0)
    same = figure.DT / (1 + np.exp(generator.uniform(-0.1, 0.1, (3, 64))))
    assert figure.between_layers(made(same, "paper")).holds is False
    # Distinct beyond doubt, but by a hundredth only.
    close = np.stack([spread(0.1, 0.1002), spread(0.101, 0.1012), spread(0.102, 0.1022)])
    assert figure.between_layers(made(close, "paper")).holds is False


def test_smallest():
    assert figure.smallest(made(np.stack([spread(figure.DT / 28, 0.15)] * 3), "paper")).holds is True
    for ratio in (13, 60):
        assert figure.smallest(made(np.stack([spread(figure.DT / ratio, 0.15)] * 3), "paper")).holds is False
    assert figure.smallest(made(np.stack([spread(0.09, 0.1)] * 3))).holds is None


def test_drawn_are_sorted_time_steps_and_the_smallest():
    generator = np.random.default_rng(0)
    data = made(generator.uniform(0.02, 0.18, (3, 16)), rates=3)
    left, right = figure.draw(data).axes
    lines = {line.get_label(): line for line in left.lines}
    for layer in (1, 2, 3):
        expected = np.sort(data["time_step"].isel(rate=0).sel(layer=layer))
        np.testing.assert_allclose(lines[f"layer {layer}"].get_ydata(), expected)
    found = {line.get_label(): line.get_ydata() for line in right.lines}
    label = f"{figure.RATE:.2g}: accuracy 60 %"
    smallest = [figure.DT / 2, float(data["time_step"].isel(rate=0).min())]
    np.testing.assert_allclose(found[label], figure.DT / np.array(smallest))
    assert [28, 28] in [list(values) for values in found.values()]
    assert right.get_yscale() == "log" and left.get_ylabel() == "effective time-step"
