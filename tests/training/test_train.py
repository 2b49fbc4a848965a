"""Trainings of a few iterations, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

import dynlab
from dynlab.tasks import get_task
from dynlab.training import Learner, Machine, NonFiniteError, Settings, TaskData, build_network, train

from .conftest import rows


def test_it_equals_a_plain_loop(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    """Adam, a schedule, a learning rate of its own and clipping: the losses of a loop written out."""
    settings = tiny(schedule="drop:at=0.5,factor=0.1", lr_of={"bias_ih": 1e-3}, clip=0.05)
    train(settings, tmp_path, machine)
    task = get_task(settings.task)
    network = build_network(settings, task)
    samples = task.dataset("train", seed=0, size=48)
    slow = [p for name, p in network.named_parameters() if name.endswith("bias_ih")]
    fast = [p for name, p in network.named_parameters() if not name.endswith("bias_ih")]
    optimizer = torch.optim.Adam([{"params": fast, "lr": 1e-2}, {"params": slow, "lr": 1e-3}])
    losses = []
    for step in range(12):
        if step == 6:
            for group in optimizer.param_groups:
                group["lr"] *= 0.1
        inputs, target = task.collate([samples[4 * step + i] for i in range(4)])
        loss = task.loss(network.read(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05)
        optimizer.step()
        losses.append(float(loss.detach()))
    found = rows(tmp_path / "training.csv")
    assert [float(row["loss"]) for row in found] == pytest.approx(losses, rel=1e-5)
    assert [float(row["learning_rate"]) for row in found] == pytest.approx([1e-2] * 6 + [1e-3] * 6)


def test_logs_and_results(tiny: Any, tmp_path: Path) -> None:
    settings = tiny(iterations=10)
    result = train(settings, tmp_path, Machine(accelerator="cpu", progress=False))
    training, validation = rows(tmp_path / "training.csv"), rows(tmp_path / "validation.csv")
    assert list(training[0]) == ["step", "epoch", "learning_rate", "loss"]
    assert [row["step"] for row in training] == [str(step) for step in range(10)]
    assert list(validation[0]) == ["step", "epoch", "loss", "MSE"]
    assert [row["step"] for row in validation] == ["4", "8", "10"]  # the last one always
    assert float(validation[-1]["MSE"]) == result.validation
    assert any((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["test"] == result.test and content["steps"] == 10
    task = get_task(settings.task)
    inputs, target = task.sequences(8, split="test")
    with torch.no_grad():
        assert result.test == pytest.approx(task.score(result.network.read(inputs), target), rel=1e-6)


def test_its_checkpoint_goes_on_elsewhere(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    result = train(tiny(layers=2, dropout=0.2), tmp_path, machine)
    found, content = dynlab.load_checkpoint(tmp_path / "model.pt")
    assert content["task"] == "adding:T=8" and content["cell"] == "elman"
    inputs = torch.rand(8, 3, 2)
    assert torch.equal(found.eval().read(inputs), result.network.read(inputs))  # type: ignore[operator]
    assert dynlab.record(found, inputs).attrs["cell"] == "Network"


def test_reading_at_every_step(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    result = train(tiny(task="copying:T=2", test_size=4), tmp_path, machine)
    assert result.network.read(torch.zeros(22, 3, 10)).shape == (22, 3, 9)


def test_the_seed_decides(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    options = {"layers": 2, "dropout": 0.5, "task": "digits_rows", "train_size": 20, "epochs": 2}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tiny(**options, seed=seed, deterministic=True), tmp_path / name, machine)
    a, b, c = ((tmp_path / name / "training.csv").read_text() for name in "abc")
    assert a == b != c
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_patience(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    # No step is made, so no validation is better than the first.
    result = train(tiny(lr=1e-30, iterations=40, patience=3), tmp_path, machine)
    assert result.stopped == "no better validation score in 3 validations" and result.steps == 16


def test_target(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    result = train(tiny(iterations=40, target=1e9), tmp_path, machine)
    assert result.steps == 4 and "reached" in str(result.stopped)


def test_the_best_parameters(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    settings = tiny(lr=1.0, select="best", iterations=20)
    result = train(settings, tmp_path, machine)
    scores = {int(row["step"]): float(row["MSE"]) for row in rows(tmp_path / "validation.csv")}
    assert result.step == min(scores, key=lambda step: scores[step]) and result.validation == min(scores.values())
    task = get_task(settings.task)
    inputs, target = task.sequences(8, split="validation")
    with torch.no_grad():
        assert task.score(result.network.read(inputs), target) == pytest.approx(result.validation, rel=1e-6)


def test_a_loss_that_is_not_finite(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dynlab, torch\n"
        "class Grow(dynlab.Cell):\n"
        "    def __init__(self, f, d):\n"
        "        super().__init__(f, d)\n"
        "        self.w = torch.nn.Parameter(torch.tensor(1e7))\n"
        "    def forward(self, x, h):\n"
        "        return self.w * (h + 1 + x.sum(-1, keepdim=True))\n"
    )
    with pytest.raises(NonFiniteError, match=r"step 0: expected a finite loss.*layer 0 \(Grow\).*time step 6 of 8.*w"):
        train(tiny(cell=f"{tmp_path}/mine.py:Grow"), tmp_path / "out", machine)
    assert not (tmp_path / "out" / "model.pt").exists()


def test_a_gradient_that_is_not_finite(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dynlab, torch\n"
        "class Kink(dynlab.Cell):\n"
        "    def __init__(self, f, d):\n"
        "        super().__init__(f, d)\n"
        "        self.fine = torch.nn.Parameter(torch.ones(f, d))\n"
        "        self.zero = torch.nn.Parameter(torch.zeros(()))\n"
        "    def forward(self, x, h):\n"
        "        return x @ self.fine + torch.sqrt(self.zero)\n"
    )
    with pytest.raises(
        NonFiniteError, match=r"step 0: expected finite gradients, got -?inf in that of cells.0.zero; the loss"
    ):
        train(tiny(cell=f"{tmp_path}/mine.py:Kink"), tmp_path / "out", machine)


def test_a_cell_of_ones_own(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import dynlab\ndef Mine(f, d):\n    return dynlab.registry['gru'](f, d)\n")
    spec = f"{tmp_path}/mine.py:Mine"
    train(tiny(cell=spec), tmp_path / "out", machine)
    with pytest.raises(ValueError, match="a checkpoint runs no file that you have not named"):
        dynlab.load_checkpoint(tmp_path / "out" / "model.pt")
    cell, _ = dynlab.load_checkpoint(tmp_path / "out" / "model.pt", specs=[spec])
    assert cell.hidden_size == 6


def test_other_settings_in_the_folder(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    train(tiny(), tmp_path, machine)
    with pytest.raises(ValueError, match="other settings .lr: 0.5, not 0.01."):
        train(tiny(lr=0.5), tmp_path, machine)
    assert train(tiny(lr=0.5), tmp_path, machine, existing="replace").steps == 12


def test_a_finished_training_is_read(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    first = train(tiny(), tmp_path, machine)
    written = (tmp_path / "model.pt").stat().st_mtime_ns
    again = train(tiny(), tmp_path, machine)
    assert (tmp_path / "model.pt").stat().st_mtime_ns == written
    assert (again.validation, again.test, again.steps) == (first.validation, first.test, first.steps)
    for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_adding_problem_is_learned_a_little(tmp_path: Path, machine: Machine) -> None:
    settings = Settings(task="adding:T=20", cell="irnn:K=1", hidden_size=32, batch=64, iterations=500, lr=1e-2,
                        clip=1.0, evaluate_every=250, lr_of={"eta": 1e-3}, validation_size=500,
                        test_size=1000)  # fmt: skip
    result = train(settings, tmp_path, machine)
    assert result.test is not None and result.test < 0.6 * result.baseline


@pytest.mark.filterwarnings("ignore:.*LeafSpec", "ignore:.*does not have many workers")
def test_a_trainer_of_ones_own(tmp_path: Path) -> None:
    """Learner and TaskData are an ordinary LightningModule and LightningDataModule."""
    settings = Settings(task="adding:T=8", cell="gru", hidden_size=4, batch=4, iterations=3, validation_size=4)
    task = get_task(settings.task)
    data = TaskData(task, settings)
    learner = Learner(build_network(settings, task), task, total=3)
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
                      log_every_n_steps=1, num_sanity_val_steps=0)  # fmt: skip
    trainer.fit(learner, data)
    assert {"loss", "validation_loss", "validation_score"} <= set(trainer.callback_metrics)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "expected batch >= 1, got 0"),
        ({"iterations": None}, "expected either iterations or epochs, got neither"),
        ({"iterations": 3, "epochs": 3}, "got both"),
        ({"lr": 0.0}, "expected a finite lr > 0"),
        ({"optimizer": "lion"}, "expected optimizer to be one of 'adam'"),
        ({"optimizer": "adam:betta=1"}, "betta"),
        ({"lr_of": {"etta": 1e-3}}, "expected lr_of to name parameters among .*got 'etta'"),
        ({"schedule": "linear"}, "expected schedule to be one of"),
        ({"select": "first"}, "expected select to be one of"),
        ({"first_cell": "gru"}, "expected layers >= 2 with a first_cell"),
        ({"task": "adding:T=1"}, "T"),
        ({"task": "digits_rows", "train_size": 5000}, "expected size <= 1150"),
        ({"cell": "foo"}, "expected a cell among"),
    ],
)
def test_bad_settings(options: dict[str, Any], says: str, machine: Machine, tmp_path: Path) -> None:
    given = {"task": "adding:T=8", "cell": "elman", "iterations": 2, **options}
    with pytest.raises((ValueError, TypeError), match=says):
        settings = Settings(**given)
        data = TaskData(get_task(settings.task), settings)
        from dynlab.training.run import make_learner

        make_learner(settings, data.task, data).configure_optimizers()
