"""An interrupted training, even a killed one, ends with the numbers of an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dynlab
from dynlab.training import Machine, Settings, train
from dynlab.training.callbacks import Curves

# Dropout, a schedule, epochs with a smaller last batch, early stop and the best parameters: all the state there is.
WHOLE: dict[str, Any] = {
    "task": "digits_rows", "cell": "gru", "layers": 2, "dropout": 0.3, "train_size": 22, "epochs": 3, "batch": 4,
    "schedule": "cosine:warmup=3", "select": "best", "patience": 9, "validation_size": 20, "test_size": 20,
    "evaluate_every": 4, "optimizer": "adam", "record_every": 3, "record_batch": 2, "probes": ("GradientNorm",),
}  # fmt: skip


def same(first: Path, second: Path) -> None:
    for name in ("training.csv", "validation.csv", "result.json"):
        assert (first / name).read_text() == (second / name).read_text(), name
    a, b = (dynlab.load_checkpoint(folder / "model.pt")[0].state_dict() for folder in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)
    if (first / "recording.zarr").exists():
        x, y = (dynlab.open_recording(folder / "recording.zarr") for folder in (first, second))
        assert x.identical(y)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    from dynlab.training import Settings as Chosen

    folder = tmp_path_factory.mktemp("whole")
    settings = Chosen(**WHOLE, hidden_size=5, lr=1e-2, log_every=1)
    train(settings, folder, Machine(accelerator="cpu", progress=False, tensorboard=False))
    return settings, folder


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during the iteration after ``step`` updates."""
    original = Curves.on_train_batch_start

    def start(self: Curves, trainer: Any, *arguments: Any) -> None:
        original(self, trainer, *arguments)
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Curves, "on_train_batch_start", start)


@pytest.mark.parametrize("step", range(18))
def test_ctrl_c_at_every_iteration(
    step: int, uninterrupted: tuple[Settings, Path], machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, whole = uninterrupted
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        with pytest.raises(KeyboardInterrupt, match=f"stopped after {step + 1} of 18 iterations"):
            train(settings, tmp_path, machine)
    assert not (tmp_path / "model.pt").exists()
    train(settings, tmp_path, machine)
    same(whole, tmp_path)


def test_interrupted_again_and_again(
    uninterrupted: tuple[Settings, Path], machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, whole = uninterrupted
    for step in (1, 3, 4, 7, 8, 16):
        with monkeypatch.context() as patch:
            interrupt_at(step, patch)
            with pytest.raises(KeyboardInterrupt):
                train(settings, tmp_path, machine)
    train(settings, tmp_path, machine)
    same(whole, tmp_path)


def test_stopped_early_before_the_end_was_written(tiny: Any, machine: Machine, tmp_path: Path) -> None:
    """Killed between the decision to stop and the result: it does not train further."""
    settings = tiny(lr=1e-30, iterations=40, patience=2)
    first = train(settings, tmp_path, machine)
    (tmp_path / "result.json").unlink()
    assert train(settings, tmp_path, machine).steps == first.steps == 12


def test_killed_before_the_result_was_written(
    uninterrupted: tuple[Settings, Path], machine: Machine, tmp_path: Path
) -> None:
    settings, whole = uninterrupted
    train(settings, tmp_path, machine)
    for name in ("result.json", "model.pt"):
        (tmp_path / name).unlink()
    train(settings, tmp_path, machine)
    same(whole, tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "emptied", "another cell"])
def test_a_checkpoint_that_cannot_be_used(
    damage: str, tiny: Any, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("import dynlab\ndef Mine(f, d):\n    return dynlab.registry['gru'](f, d)\n")
    settings = tiny(cell=f"{tmp_path}/mine.py:Mine")
    with monkeypatch.context() as patch:
        interrupt_at(5, patch)
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "out", machine)
    path = tmp_path / "out" / "resume.ckpt"
    if damage == "another cell":
        (tmp_path / "mine.py").write_text("import dynlab\ndef Mine(f, d):\n    return dynlab.registry['lstm'](f, d)\n")
    else:
        path.write_bytes(path.read_bytes()[: 3000 if damage == "truncated" else 0])
    with pytest.raises(ValueError, match=r"train: expected a checkpoint .*resume.ckpt.*begin again with --restart"):
        train(settings, tmp_path / "out", machine)
    assert train(settings, tmp_path / "out", machine, existing="replace").steps == 12


CHILD = """
import sys, json, torch
torch.set_num_threads(1)
from dynlab.training import Machine, Settings, train
settings = json.loads(sys.argv[1])
settings["probes"] = tuple(settings["probes"])
train(Settings(**settings), sys.argv[2], Machine(accelerator="cpu", progress=False, tensorboard=False))
print("finished")
"""


def kill_and_repeat(settings: Settings, folder: Path, waits: list[float]) -> int:
    """Run the training in processes that are killed so long after their first row; how many were killed."""
    import json

    killed = 0
    for wait in [*waits, None]:
        command = [sys.executable, "-c", CHILD, json.dumps(asdict(settings)), str(folder)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if wait is not None:
            size = (folder / "training.csv").stat().st_size if (folder / "training.csv").exists() else 0
            deadline = time.monotonic() + 120
            while child.poll() is None and time.monotonic() < deadline:
                if (folder / "training.csv").exists() and (folder / "training.csv").stat().st_size != size:
                    break
                time.sleep(0.01)
            time.sleep(wait)
            child.kill()
        _, errors = child.communicate(timeout=300)
        if wait is None:
            assert child.returncode == 0, errors
        killed += child.returncode == -signal.SIGKILL
    return killed


@pytest.mark.slow
def test_kill_minus_9(machine: Machine, tmp_path: Path) -> None:
    options = {**WHOLE, "epochs": 40, "checkpoint_every": 7, "record_every": 10, "patience": None}
    settings = Settings(**options, hidden_size=5, lr=1e-2, log_every=1)
    train(settings, tmp_path / "whole", machine)
    assert kill_and_repeat(settings, tmp_path / "killed", [0.3]) == 1
    same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_kill_minus_9_at_any_moment(machine: Machine, tmp_path: Path) -> None:
    options = {**WHOLE, "epochs": 40, "checkpoint_every": 3, "record_every": 2, "patience": None}
    settings = Settings(**options, hidden_size=5, lr=1e-2, log_every=1)
    train(settings, tmp_path / "whole", machine)
    waits = np.random.default_rng(0).uniform(0, 1, 4).tolist()
    assert kill_and_repeat(settings, tmp_path / "killed", waits) >= 2
    same(tmp_path / "whole", tmp_path / "killed")
