"""iRNN Fig. 8: the vanishing of an untrained RNN by a bound, claims that can fail, and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import load
from dynlab.tasks import get_task
from dynlab.training import Settings, build_network

figure = load("irnn_fig8")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=2)


@pytest.mark.parametrize("name", ["RNN", "RNN, ReLU"])
def test_norm_at_the_start_is_below_its_bound(data: xr.Dataset, name: str):
    """phi' <= 1, so that 11 steps leave at most |W|^11 in the spectral norm, which bounds the Frobenius rms."""
    settings = Settings(**{**figure.SCALES["smoke"], **figure.CELLS[name], "seed": 2})
    network = build_network(settings, get_task(settings.task))
    norm = float(torch.linalg.matrix_norm(network.cells[0].module.weight_hh.detach(), 2))
    assert (data["log_first"].sel(run=name, recorded=0) <= 11 * math.log(norm)).all()


def test_what_is_kept(data: xr.Dataset):
    assert list(data["run"].values) == list(figure.CELLS)
    assert data["log_first"].sizes == {"run": 6, "recorded": 2, "sequence": 2}
    assert figure.SCALES["laptop"]["task"] == "har2:subset=true" == figure.ITEM.needs["laptop"][0]


def told(decades: dict[str, float], scatter: float = 0.0) -> xr.Dataset:
    recorded = np.arange(0, 100, 5)
    wave = 1 + scatter * np.sin(recorded)
    norm = [np.stack([decades.get(name, -1.0) * math.log(10) * wave] * 2, axis=-1) for name in figure.CELLS]
    return xr.Dataset(
        {"log_first": (("run", "recorded", "sequence"), norm), "diverged": ("run", np.zeros(6, bool))},
        {"run": list(figure.CELLS), "recorded": recorded},
    )


VANISHES, ONE = (claim.check for claim in figure.ITEM.claims)


def test_claims():
    good = told({"RNN": -6.0, "iRNN": 0.1})
    assert VANISHES(good).holds is True and ONE(good).holds is True
    assert VANISHES(told({"RNN": -1.5, "iRNN": 0.1})).holds is False
    assert ONE(told({"RNN": -6.0, "iRNN": 1.0})).holds is False
    assert ONE(told({"RNN": -6.0, "iRNN": 0.4}, scatter=1.0)).holds is False


def test_controls_are_named():
    found = ONE(told({"iRNN": 0.1, "iRNN, Gaussian U": -2.0}))
    assert "Gaussian U: 10^-2.0 at the start" in found.why


def test_drawn_are_the_norms(data: xr.Dataset):
    (axes,) = figure.draw(data).axes
    lines = {line.get_label(): line for line in axes.lines}
    for name in figure.CELLS:
        expected = data["log_first"].sel(run=name).mean("sequence") / math.log(10)
        np.testing.assert_allclose(lines[name].get_ydata(), expected)
    assert axes.get_yscale() == "symlog"
