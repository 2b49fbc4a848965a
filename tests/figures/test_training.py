"""Trainings as pieces of a figure: the numbers are the network's, one that diverges ends early, the adding settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import adding
from dynlab.figures.learning import first_at, learning, stacked
from dynlab.figures.training import recording_of, trained, validation_curve, without_denormals
from dynlab.figures.workspaces import working_in
from dynlab.tasks import get_task
from dynlab.training import Settings, build_network, find_preset
from dynlab.training.data import TaskData

SMALL: dict[str, Any] = {
    "task": "adding:T=8", "cell": "irnn:K=2,rank=2", "hidden_size": 5, "batch": 4, "iterations": 6, "evaluate_every": 2,
    "record_every": 3, "validation_size": 16, "test_size": 16, "seed": 3, "lr": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return learning(singular_values=True, **SMALL)


def test_gradients_at_the_start_by_autograd(data: xr.Dataset):
    settings, task = Settings(**SMALL), get_task(SMALL["task"])
    network = build_network(settings, task)
    held = TaskData(task, settings, 0).split("validation")
    inputs = task.collate([held[0], held[1]])[0]
    cell = network.cells[0].double()
    for sequence in range(2):
        x = inputs[:, sequence].double()
        state = torch.zeros(5, dtype=torch.float64)
        products = torch.eye(5, dtype=torch.float64)
        for t, term in enumerate(x):
            step = torch.func.jacrev(lambda h, term=term: cell(term[None], h[None])[0])(state)
            state = cell(term[None], state[None])[0].detach()
            if t:  # from h_1 on
                products = step @ products
        first, last = (float(torch.linalg.matrix_norm(one.detach())) / 5**0.5 for one in (products, step))
        one = data.isel(recorded=0, sequence=sequence)
        assert float(one["log_first"]) == pytest.approx(math.log(first), abs=1e-4)
        assert float(one["log_last"]) == pytest.approx(math.log(last), abs=1e-4)
        assert float(one["log_ratio"]) == pytest.approx(math.log(first / last), abs=1e-4)


def test_what_a_training_gives(data: xr.Dataset):
    assert list(data["update"].values) == [2, 4, 6] and list(data["recorded"].values) == [0, 3]
    assert not bool(data["diverged"]) and np.isfinite(data["score"]).all()
    assert (np.diff(data["log_singular"]) <= 0).all() and data.sizes["mode"] == 5
    # |dL/dh_T| by |dh_T/dh_1| is not less than |dL/dh_1|, whose Jacobians are those of other sequences.
    assert np.isfinite(data["log_loss_first"]).all() and np.isfinite(data["log_loss_last"]).all()


def test_the_same_training_has_the_same_numbers(data: xr.Dataset):
    xr.testing.assert_identical(learning(singular_values=True, **SMALL), data)
    assert not np.allclose(learning(**{**SMALL, "seed": 4})["score"], data["score"])


def test_one_that_diverges_ends_early():
    data = learning(singular_values=True, **{**SMALL, "lr": 1e30})
    assert bool(data["diverged"]) and data.sizes["update"] < 3 and "log_singular" not in data
    assert list(data["recorded"].values) == [0]


def test_an_interrupted_one_goes_on(tmp_path):
    settings = {**SMALL, "iterations": 4}
    with working_in(tmp_path / "work"):
        first = trained(**settings)
        again = trained(**settings)
    assert again.validation == first.validation and again.out == first.out == tmp_path / "work"
    updates, scores = validation_curve(first)
    assert list(updates) == [2, 4] and scores[-1] == pytest.approx(first.validation)
    assert list(recording_of(first)["step"].values) == [0, 3]


def test_runs_beside_each_other():
    def one(scores: list[float], updates: list[int]) -> xr.Dataset:
        return xr.Dataset({"score": ("update", scores), "diverged": ((), False)}, {"update": updates})

    data = stacked([one([0.3, 0.1, 0.01], [1, 2, 3]), one([0.2], [1])], ["long", "short"])
    assert data["score"].sizes == {"run": 2, "update": 3} and np.isnan(data["score"].sel(run="short", update=3))
    assert first_at(data, "long", 0.1) == 2 and first_at(data, "short", 0.1) == math.inf
    assert adding.solved_at(data, "long") == 3 and adding.said(math.inf) == "never" and adding.said(1500) == "1,500"
    assert adding.last_score(data, "short") == 0.2
    lost = data.assign(diverged=("run", [False, True]))
    assert adding.last_score(lost, "short") == math.inf


@pytest.mark.parametrize("K", [1, 5, 10])
def test_irnns_settings_are_the_presets(K: int):
    preset = find_preset(f"irnn-adding-K{K}").values
    ours = {**adding.PAPER, **adding.CELLS[f"iRNN, K = {K}"]}
    assert {name: ours[name] for name in preset if name in ours} == {
        name: preset[name] for name in preset if name in ours
    }
    assert set(preset) - set(ours) == {"task", "iterations", "optimizer"} and preset["optimizer"] == "adam"
    assert Settings(task="adding:T=5", cell="lstm", iterations=1).optimizer == "adam"


def test_fastrnn_starts_from_the_eta_in_its_name():
    from dynlab.cells import build_cell

    for eta in (0.01, 0.001):
        cell = build_cell(adding.CELLS[f"FastRNN, eta = {eta}"]["cell"], 1, 2)
        with torch.no_grad():
            for name, parameter in cell.named_parameters():
                if "weight" in name or "bias" in name:
                    parameter.fill_(1.0 if "bias" in name and "hh" not in name else 0.0)
            # ReLU(1) = 1: alpha + beta h.
            found = cell(torch.zeros(1, 1), torch.tensor([[0.0, 1.0]]))[0].tolist()
        assert found == pytest.approx([eta, 1.0], rel=1e-4)


def test_denormals_are_zero_within_only():
    tiny = torch.tensor([1e-30])
    with without_denormals():
        assert float(tiny * 1e-10) == 0
    assert float(tiny * 1e-10) > 0
