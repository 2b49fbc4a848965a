"""The reproductions: what they declare can be trained, what they print is what was trained, nothing is lost."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import dynlab
from benchmarks import reproduce
from benchmarks.reproductions.experiment import Outcome, best_of, differing
from benchmarks.reproductions.sensitivity import BINS, coherence, decodable, response
from dynlab.tasks import get_task
from dynlab.training import Settings, build_network


@pytest.mark.parametrize("name", ["adding", "har2", "lorenz96"])
def test_every_setting_of_a_search_builds_a_network_of_its_own(name: str) -> None:
    experiment = reproduce.load(name)
    for row in experiment.rows:
        assert len(set(map(repr, row.search))) == len(row.search) > 0
        for settings in row.search:
            build_network(settings, get_task(settings.task))
    for group in {row.group for row in experiment.rows}:
        members = [row for row in experiment.rows if row.group == group]
        assert len({len(row.search) for row in members}) == 1, "every row is given the same number of trials"
        budgets = {(one.iterations, one.epochs, one.batch) for row in members for one in row.search}
        if name != "lorenz96":  # whose notes say who has a fifth of the updates
            assert len(budgets) == 1, "and every trial the same number of updates"


def outcome(row: object, validation: float | None, **change: object) -> Outcome:
    settings = replace(Settings(task="adding:T=20", cell="elman", iterations=10), **change)  # type: ignore[arg-type]
    return Outcome(row, settings, Path(), validation)  # type: ignore[arg-type]


def test_the_best_is_that_of_validation_and_never_one_that_failed() -> None:
    found = [outcome(None, 0.2), outcome(None, None), outcome(None, 0.1)]
    assert best_of(found, sign=-1) is found[2]
    assert best_of(found, sign=1) is found[0]
    assert best_of(found[1:2], sign=1) is None


def test_a_setting_is_told_by_what_differs() -> None:
    found = [outcome(None, 0.2), outcome(None, 0.2, lr=0.5), outcome(None, 0.2, cell="lstm")]
    settings = [one.settings for one in found]
    assert differing(settings[1], settings) == "`elman`, lr 0.5"
    assert differing(settings[2], settings) == "`lstm`, lr 0.001"


def test_response_of_the_perfect_answer() -> None:
    """h + number x mark: 1 at every mark, 0 elsewhere."""
    cell = dynlab.as_cell(lambda x, h: h + x[..., :1] * x[..., 1:], input_size=2, state_size=1)
    readout = dynlab.Readout(1, 1)
    with torch.no_grad():
        readout.linear.weight.fill_(1)
    measured = response(dynlab.Network([cell], readout), "adding:T=40")
    assert measured.elsewhere == 0
    np.testing.assert_allclose(measured.mean, np.ones(BINS), atol=1e-6)
    np.testing.assert_allclose(measured.spread, 0, atol=1e-6)


def test_a_sum_of_products_can_be_decoded_from_the_state_that_holds_it() -> None:
    """h + number x mark holds the answer; h + number, in which nothing is known of marks, does not."""
    holds = dynlab.as_cell(lambda x, h: h + x[..., :1] * x[..., 1:], input_size=2, state_size=1)
    lacks = dynlab.as_cell(lambda x, h: h + x[..., :1], input_size=2, state_size=1)
    networks = [dynlab.Network([cell], dynlab.Readout(1, 1)) for cell in (holds, lacks)]
    assert decodable(networks[0], "adding:T=40", 1e-9) < 1e-9
    # Var(number_1 + number_2) = 1/6; the sum of all 40 numbers explains a twentieth of it.
    assert decodable(networks[1], "adding:T=40", 1e-9) == pytest.approx(1 / 6 * (1 - 2 / 40), rel=0.06)


def test_weak_directions_are_left_out_with_a_ridge() -> None:
    cell = dynlab.as_cell(
        lambda x, h: h + torch.cat([x[..., :1], 1e-4 * x[..., :1] * x[..., 1:]], -1), input_size=2, state_size=2
    )
    network = dynlab.Network([cell], dynlab.Readout(2, 1))
    assert decodable(network, "adding:T=40", 1e-14) < 1e-4
    assert decodable(network, "adding:T=40", 1e-6) > 0.15


@pytest.mark.parametrize(("angle", "expected"), [(0.0, 1.0), (2 * np.pi / 40, 0.0)])
def test_coherence_of_a_rotation(angle: float, expected: float) -> None:
    """Every step turns the state: after a whole number of turns the directions cancel."""
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    start = torch.tensor([1.0, 0.0])
    cell = dynlab.as_cell(lambda x, h: h @ turn.T + x[..., :1] * start, input_size=2, state_size=2)
    measured = coherence(dynlab.Network([cell], dynlab.Readout(2, 1)), "adding:T=40")
    assert measured.direction == pytest.approx(expected, abs=1e-6)
    assert measured.ratio == pytest.approx(0, abs=1e-6)


def test_a_training_that_is_not_finite_is_an_outcome(tmp_path: Path) -> None:
    row = reproduce.load("adding").rows[0]
    settings = replace(row.search[0], cell="elman:nonlinearity=relu", lr=1e30, clip=None, iterations=20, hidden_size=4,
                       lr_of={}, record_every=None, validation_size=8, test_size=8, log_every=1)  # fmt: skip
    reproduce.train_one(settings, tmp_path)
    found = Outcome.read(row, settings, tmp_path)
    assert found is not None and found.validation is None
    assert found.failure is not None and "finite" in found.failure


@pytest.mark.slow
def test_an_experiment_from_trainings_to_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reproduce.load("adding", quick=True)
    small = replace(whole, rows=tuple(replace(row, seeds=(1,)) for row in whole.rows[:2]))
    monkeypatch.setattr(reproduce, "load", lambda name, quick: small)
    command = ["adding", "--quick", "--runs", str(tmp_path / "runs"), "--results", str(tmp_path), "--workers", "1"]
    assert reproduce.main(command) == 0
    text = (tmp_path / "adding.md").read_text(encoding="utf-8")
    results = sorted((tmp_path / "runs").rglob("result.json"))
    assert len(results) == 4
    for row in small.rows:
        scores = [
            json.loads((reproduce.folder_of(tmp_path / "runs", small, row, one) / "result.json").read_text())["test"]
            for one in (row.search[0], replace(row.search[0], seed=1))
        ]
        assert f"| {row.title} |" in text and f"{np.mean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})" in text
    with (tmp_path / "adding.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["row"] for line in lines} == {row.title for row in small.rows}
    assert (tmp_path / "adding.png").stat().st_size > 5000
    times = [path.stat().st_mtime_ns for path in results]
    assert reproduce.main(command) == 0
    assert times == [path.stat().st_mtime_ns for path in results], "what is trained is not trained again"
