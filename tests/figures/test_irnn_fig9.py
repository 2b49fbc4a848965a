"""iRNN Fig. 9: untrained singular values against a closed form, claims that can fail, and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import load

figure = load("irnn_fig9")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


@pytest.mark.parametrize("name, eta", [("Gaussian U", 0.001), ("Gaussian U, eta = 0.9", 0.9)])
def test_untrained_singular_values_without_u(name: str, eta: float, monkeypatch: pytest.MonkeyPatch):
    """With U = 0 every step is (2 (1 - eta)^10 - 1) I."""
    import dynlab.cells

    build = dynlab.cells.build_cell

    def without_u(*arguments: object) -> object:
        cell = build(*arguments)
        with torch.no_grad():
            cell.weight_full.zero_()
        return cell

    monkeypatch.setattr(dynlab.cells, "build_cell", without_u)
    found = figure.before_training(name, 12, 5, 0)
    step = math.log(abs(2 * (1 - eta) ** 10 - 1))
    assert float(found["untrained_last"]) == pytest.approx(step, rel=1e-4, abs=1e-8)
    np.testing.assert_allclose(found["untrained_singular"], 12 * step, rtol=1e-4, atol=1e-7)


def test_what_is_kept(data: xr.Dataset):
    assert list(data["run"].values) == figure.SCALES["smoke"]["runs"] and data.attrs["T"] == 10
    assert data["log_singular"].sizes == {"run": 3, "mode": 32}  # the LSTM's state is twice as wide
    assert int(data["log_singular"].sel(run=figure.REFERENCE).notnull().sum()) == 16
    assert list(data["control"].values) == list(figure.CONTROLS)


def told(fall: float = -2.0, of_last: float = -2.0, last: float = 0.99, singular: float = 0.1) -> xr.Dataset:
    """K = 10 whose gradients of the loss fall by decades from their peak, and one whose step and values are these."""
    recorded = np.arange(0, 1001, 20)
    down = np.clip((recorded - 100) / 400, 0, 1) * math.log(10)
    runs = ["LSTM", figure.REFERENCE]
    controls = list(figure.CONTROLS)
    return xr.Dataset(
        {
            "log_loss_first": (("run", "recorded"), np.stack([fall * down] * 2)),
            "log_loss_last": (("run", "recorded"), np.stack([of_last * down] * 2)),
            "log_last": (("run", "recorded", "sequence"), np.full((2, len(recorded), 2), math.log(last))),
            "log_first": (("run", "recorded", "sequence"), np.zeros((2, len(recorded), 2))),
            "score": (("run", "update"), [[0.1], [0.01]]),
            "diverged": ("run", [False, False]),
            "log_singular": (("run", "mode"), np.linspace(-singular, singular, 8) * np.ones((2, 1)) * math.log(10)),
            "untrained_last": ("control", np.zeros(len(controls))),
            "untrained_singular": (("control", "mode"), np.zeros((len(controls), 8))),
        },
        {"run": runs, "recorded": recorded, "update": [1000], "mode": np.arange(8), "control": controls},
    )


LOSS, LAST, IDENTITY = (claim.check for claim in figure.ITEM.claims)


def test_claims_hold_where_it_is_so():
    assert [claim.check(told()).holds for claim in figure.ITEM.claims] == [True] * 3


def test_claims_fail_where_it_is_not():
    assert LOSS(told(fall=-0.5)).holds is False
    # It falls, but not because the loss does.
    assert LOSS(told(of_last=-0.5)).holds is False
    assert LAST(told(last=0.8)).holds is False
    assert IDENTITY(told(singular=0.5)).holds is False
    assert f"{list(figure.CONTROLS)[-1]} +0.0 to +0.0" in IDENTITY(told(singular=0.5)).why


def test_drawn_are_the_gradients(data: xr.Dataset):
    loss, last, singular = figure.draw(data).axes
    lines = {line.get_label(): line for line in loss.lines}
    expected = data["log_loss_first"].sel(run="LSTM") / math.log(10)
    np.testing.assert_allclose(lines["LSTM"].get_ydata(), expected)
    lines = {line.get_label(): line for line in last.lines}
    expected = np.exp(data["log_last"].sel(run="iRNN, K = 1")).mean("sequence")
    np.testing.assert_allclose(lines["iRNN, K = 1"].get_ydata(), expected, rtol=1e-6)
    lines = {line.get_label(): line for line in singular.lines}
    expected = data["log_singular"].sel(run=figure.REFERENCE).dropna("mode") / math.log(10)
    np.testing.assert_allclose(lines[figure.REFERENCE].get_ydata(), expected)
