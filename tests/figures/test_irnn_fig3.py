"""iRNN Fig. 3: untrained ratios against a closed form, claims that can fail, and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load
from dynlab.figures.adding import CELLS

figure = load("irnn_fig3")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


def test_untrained_ratio_is_the_closed_form_where_u_is_small(monkeypatch: pytest.MonkeyPatch):
    """With U = 0 a step's Jacobian is (2 (1 - eta)^K - 1) I, and there are T - 2 of them in the ratio."""
    import torch

    import dynlab.cells

    def without_u(*arguments: object) -> object:
        cell = build(*arguments)
        with torch.no_grad():
            cell.weight_full.zero_()
        return cell

    build = dynlab.cells.build_cell
    monkeypatch.setattr(dynlab.cells, "build_cell", without_u)
    found = figure.before_training("K", [1, 5, 10], "full", 12, 6, 0)
    for K, ratio in zip((1, 5, 10), found["log_ratio_before"].values, strict=True):
        assert ratio == pytest.approx(10 * math.log(2 * 0.99**K - 1), rel=1e-5)
    np.testing.assert_allclose(found["K_eta"], [0.01, 0.05, 0.1])


def test_what_is_kept(data: xr.Dataset):
    assert data["score"].sizes == {"run": 3, "update": 2} and data["log_ratio"].sizes["recorded"] == 2
    assert data["log_ratio_before"].sizes == {"sweep": 2, "kind": 2, "point": 2}
    assert set(CELLS) | set(figure.CONTROLS) == set(figure.SCALES["laptop"]["runs"])
    assert data.attrs["seed"] == 0 and data.attrs["T"] == 10


SOLVED_AT = {"iRNN, K = 1": 500, "iRNN, K = 5": 300, "iRNN, K = 10": 250}
OFF = {"iRNN, K = 1": 0.4, "iRNN, K = 5": 0.2, "iRNN, K = 10": 0.05, "FastRNN, eta = 0.001": 0.1,
       "Antisymmetric, eps = 0.001": 0.1}  # fmt: skip
LAST = {"FastRNN, eta = 0.001": 0.17, "Antisymmetric, eps = 0.001": 0.17}
ORDERED = {"Gaussian U": [-3.0, -2.0, -1.0], "U = I + V H": [0.3, 0.2, 0.1]}


def told(
    solved_at: dict[str, float] = SOLVED_AT,
    off: dict[str, float] = OFF,
    last: dict[str, float] = LAST,
    before: dict[str, list[float]] = ORDERED,
    spike: float = 0.0,
) -> xr.Dataset:
    """All runs; where nothing is said, they are solved at update 500, and half a decade from a ratio of 1."""
    runs = [*CELLS, *figure.CONTROLS]
    update = np.arange(25, 1001, 25)
    score = [np.where(update >= solved_at.get(run, 500), last.get(run, 0.01), 0.2) for run in runs]
    ratio = np.array([np.full((len(update), 2), off.get(run, 0.5) * math.log(10)) for run in runs])
    ratio[runs.index("iRNN, K = 10"), 30] += spike * math.log(10)
    swept = np.array(list(before.values())) * math.log(10)
    return xr.Dataset(
        {
            "score": (("run", "update"), score),
            "diverged": ("run", np.zeros(len(runs), bool)),
            "log_ratio": (("run", "recorded", "sequence"), ratio),
            "log_ratio_before": (("sweep", "kind", "point"), np.stack([swept, swept])),
            "swept_K": ("point_K", [1.0, 5.0, 10.0]),
            "swept_eta": ("point_eta", [0.01, 0.1, 0.9]),
        },
        {"run": runs, "update": update, "recorded": update, "sweep": ["K", "eta"], "kind": list(before)},
    )


FAST, FASTER, TWICE, CLOSER, ONE, USELESS, START = (claim.check for claim in figure.ITEM.claims)


def test_claims_hold_where_it_is_so():
    assert [claim.check(told()).holds for claim in figure.ITEM.claims] == [True] * 7


def test_claims_fail_where_it_is_not():
    assert FAST(told({**SOLVED_AT, "iRNN, K = 10": 325})).holds is False
    assert FAST(told({**SOLVED_AT, "iRNN, K = 10": math.inf})).holds is False
    assert FASTER(told({**SOLVED_AT, "iRNN, K = 1": 275})).holds is False
    assert TWICE(told({**SOLVED_AT, "LSTM": 300})).holds is False
    assert TWICE(told({**SOLVED_AT, "LSTM": math.inf})).holds is False
    assert CLOSER(told(off={**OFF, "iRNN, K = 5": 0.5})).holds is False
    assert CLOSER(told(spike=2.0)).holds is False
    assert ONE(told(off={**OFF, "iRNN, K = 10": 0.4})).holds is False
    assert USELESS(told(off={**OFF, "FastRNN, eta = 0.001": 0.9})).holds is False
    assert USELESS(told(last={})).holds is False
    assert START(told(before={**ORDERED, "Gaussian U": [-1.0, -2.0, -3.0]})).holds is False


def test_eta_that_is_too_large_makes_a_claim_fail_and_is_named():
    found = ONE(told(off={**OFF, "iRNN, K = 10": 0.4, "K = 10, eta = 0.01": 1.25}))
    assert "K = 10, eta = 0.01: 1.25" in found.why


def test_drawn_are_scores_and_ratios(data: xr.Dataset):
    learning, ratios, controls, before = figure.draw(data).axes
    lines = {line.get_label(): line for line in learning.lines}
    np.testing.assert_allclose(lines["LSTM"].get_ydata(), data["score"].sel(run="LSTM"))
    lines = {line.get_label(): line for line in ratios.lines}
    expected = data["log_ratio"].sel(run="iRNN, K = 1").mean("sequence") / math.log(10)
    np.testing.assert_allclose(lines["iRNN, K = 1"].get_ydata(), expected)
    assert learning.get_yscale() == "log" and ratios.get_yscale() == "symlog" and before.get_xscale() == "log"
    assert "iRNN, K = 10" in [line.get_label() for line in controls.lines]
    everything = figure.draw(told().assign(K_eta=told()["log_ratio_before"] * 0 + 0.1).assign_attrs(T=200))
    assert len([line for line in everything.axes[0].lines if line.get_label() in CELLS]) == 8
