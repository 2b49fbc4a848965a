"""``dynlab train`` as a user sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dynlab
from dynlab.cli import main

TINY = ["--hidden-size", "4", "--batch", "4", "--validation-size", "8", "--test-size", "8", "--accelerator", "cpu"]
SHORT = ["adding:T=8", "--cell", "irnn:K=1", *TINY, "--iterations", "6"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}


def run(*arguments: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dynlab.cli", "train", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def inside(
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """The command in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["dynlab", "train", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


@pytest.mark.slow
def test_what_it_says_and_writes(tmp_path: Path) -> None:
    """All of its output, with warnings as errors: nothing of Lightning's."""
    done = run(*SHORT, "--evaluate-every", "3", "--out", "run", "--record-every", "2", cwd=tmp_path)
    assert done.stderr.splitlines() == [
        "adding:T=8: irnn:K=1, 4 units, 6 iterations, batch 4, adam 0.001, seed 0",
        *[
            line
            for line in done.stderr.splitlines()
            if re.fullmatch(r"[36]/6  loss [\d.e-]+  validation MSE [\d.]+", line)
        ],
    ]
    assert len(done.stderr.splitlines()) == 3
    scores, written, compare = done.stdout.splitlines()
    assert re.fullmatch(
        r"\d+ parameters, 6 iterations: validation MSE [\d.]+, test MSE [\d.]+ \(without a memory 0.167\)", scores
    )
    assert written == "written: run/model.pt, training.csv, validation.csv, recording.zarr, tensorboard"
    assert compare == "compare: dynlab compare --task adding --checkpoint run/model.pt"
    assert dynlab.open_recording(tmp_path / "run" / "recording.zarr").step.values.tolist() == [0, 2, 4]
    # What it says to do next works as it is.
    command = [sys.executable, "-m", "dynlab.cli", *compare.split()[2:], "--cells", "elman", "--T", "20"]
    table = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment(), timeout=300)
    assert table.returncode == 0, table.stderr
    assert "irnn:K=1 trained" in table.stdout and "elman" in table.stdout


def test_several_layers_are_compared_with_themselves_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["adding:T=8", "--cell", "gru", "--layers", "2", *TINY, "--iterations", "2", "--no-tensorboard"]
    assert inside([*options, "--out", "run"], tmp_path, monkeypatch, capsys)[0] == 0
    command = ["dynlab", "compare", "--task", "adding", "--checkpoint", "run/model.pt", "--cells", "elman", "--T", "20"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert "gru x 2 initial" in out and "gru x 2 trained" in out


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dynlab.cli",
        "train",
        *SHORT[:-1],
        "500",
        "--evaluate-every",
        "50",
        "--checkpoint-every",
        "5",
        "--out",
        "a b",
    ]
    child = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    with child:
        deadline = time.monotonic() + 120
        while not (tmp_path / "a b" / "resume.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    first, last = err.splitlines()[-2:]
    assert re.fullmatch(r"dynlab: stopped after [\d,]+ of 500 iterations. To go on: dynlab train --resume 'a b'", first)
    assert last == "dynlab: interrupted"
    done = run("--resume", "a b", cwd=tmp_path)
    assert "goes on after" in done.stderr.splitlines()[0] and "500 iterations" in done.stdout


def test_the_same_command_again_reads_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = inside([*SHORT, "--no-tensorboard"], tmp_path, monkeypatch, capsys)
    again = inside([*SHORT, "--no-tensorboard"], tmp_path, monkeypatch, capsys)
    assert first[0] == again[0] == 0 and first[1] == again[1]


def test_options_override_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["adding:T=9", "--preset", "irnn-adding-K5", *TINY, "--iterations", "2", "--lr-of", "eta=0.5",
                 "--no-tensorboard", "--out", "run"]  # fmt: skip
    code, _, err = inside(arguments, tmp_path, monkeypatch, capsys)
    assert code == 0, err
    settings = dynlab.training.Settings.load(tmp_path / "run" / "settings.json")
    assert (settings.task, settings.cell) == ("adding:T=9", "irnn:K=5,rank=16,eta=0.002")
    assert (settings.lr, settings.clip) == (1e-2, 1.0)
    assert (settings.hidden_size, settings.lr_of, settings.preset) == (4, {"eta": 0.5}, "irnn-adding-K5")


def test_presets_are_listed_with_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = inside(["--presets"], tmp_path, monkeypatch, capsys)
    assert code == 0
    for name, preset in dynlab.training.all_presets().items():
        assert name in out
        assert preset.paper in ("unicornn", "irnn", "antisymmetric")
    assert "lr: 0.00114 (UnICORNN Table 6)" in out and "our choice" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected a TASK ('dynlab tasks' lists them) or a --preset"),
        (["adding"], "expected --cell ('dynlab cells' lists them)"),
        (["adding", "--cell", "gru"], "expected either iterations or epochs, got neither"),
        (["adding", "--cell", "gru", "--epochs", "1", "--iterations", "1"], "got both"),
        (["foo", "--cell", "gru", "--epochs", "1"], "expected a task among adding, copying"),
        (["adding", "--cell", "foo", "--epochs", "1"], "expected a cell among unicornn"),
        (["adding", "--cell", "no.py:cell", "--epochs", "1"], "expected a Python file at no.py, found none"),
        ([*SHORT, "--batch", "0"], "expected batch >= 1, got 0"),
        ([*SHORT, "--lr", "-1"], "expected a finite lr > 0, got -1.0"),
        ([*SHORT, "--lr-of", "eta"], "expected --lr-of as NAME=RATE, for instance eta=1e-4; got 'eta'"),
        ([*SHORT, "--lr-of", "etta=1"], "expected lr_of to name parameters among cells.0."),
        ([*SHORT, "--schedule", "linear"], "expected schedule to be one of 'constant'"),
        ([*SHORT, "--optimizer", "adam:foo=1"], "foo"),
        ([*SHORT, "--record-every", "often"], "expected --record-every to be a number of iterations, or log"),
        ([*SHORT, "--record-every", "2", "--probes", "Foo"], "expected a probe among"),
        ([*SHORT, "--preset", "lem"], "expected --preset to be a paper (unicornn, irnn, antisymmetric)"),
        ([*SHORT, "--accelerator", "gpu"], "gpu"),
        ([*SHORT, "--devices", "x"], "`devices` selected with `CPUAccelerator`"),
        ([*SHORT, "--out", "/proc/nothing/here"], "expected a folder that can be written to at /proc/nothing/here"),
        (["--resume", "nothing"], "expected the settings of a training at nothing/settings.json, found none"),
        (["--resume", "nothing", "--lr", "1"], "expected --resume alone"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = inside(arguments, tmp_path, monkeypatch, capsys)
    assert (code, out) == (2, ""), err
    (line,) = err.strip().splitlines()
    assert line.startswith("dynlab: ") and says in line


def test_a_loss_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SHORT[:-1], "50", "--lr", "1e30", "--no-tensorboard", "--out", "run"]
    code, out, err = inside(arguments, tmp_path, monkeypatch, capsys)
    assert code == 2 and out == ""
    assert re.search(r"dynlab: train: step \d+: expected (a finite loss|finite gradients)", err)
    assert not (tmp_path / "run" / "model.pt").exists()


@pytest.mark.slow
def test_two_devices(tmp_path: Path) -> None:
    """Two processes share the batches: the losses of one process, but for rounding."""
    import csv

    losses = []
    for name, devices in (("one", "1"), ("two", "2")):
        options = ["digits_rows", "--cell", "gru", *TINY, "--train-size", "10", "--epochs", "3", "--log-every", "1"]
        run(
            *options,
            "--devices",
            devices,
            *(["--strategy", "ddp"] if devices == "2" else []),
            "--out",
            name,
            cwd=tmp_path,
        )
        with (tmp_path / name / "validation.csv").open() as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 3
