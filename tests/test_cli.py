"""The command line as a user sees it."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dynlab
from dynlab.cli import main, scientific

SMALL = ["--T", "40", "--hidden-size", "6", "--batch", "2"]


def run(*arguments: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1", "DYNLAB_DATA_DIR": str(cwd)}
    command = [sys.executable, "-m", "dynlab.cli", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_compare_writes_what_it_says(tmp_path: Path) -> None:
    done = run("compare", *SMALL, "--seeds", "0,1", "--out", "results", cwd=tmp_path)
    for label in ("unicornn", "irnn:K=5", "antisymmetric", "elman", "lstm"):
        assert label in done.stdout
    assert "nan" not in done.stdout.lower()
    out = tmp_path / "results"
    assert (out / "evgp.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "evgp.pdf").read_bytes().startswith(b"%PDF")
    tree = dynlab.open_dataset(out / "evgp.zarr")
    assert list(tree.children) == ["unicornn", "irnn:K=5", "antisymmetric", "elman", "lstm"]
    assert tree["lstm"]["log_gradient_norm"].sizes == {"seed": 2, "time": 41, "batch": 2}


def test_command_txt_reproduces_the_dataset(tmp_path: Path) -> None:
    run("compare", *SMALL, "--cells", "irnn:K=2,eta=0.1,gru", "--out", "first", cwd=tmp_path)
    command = (tmp_path / "first" / "command.txt").read_text().split()
    assert command[:2] == ["dynlab", "compare"]
    run(*command[1:-2], "--out", "second", cwd=tmp_path) if command[-2] == "--out" else pytest.fail(str(command))
    first, second = (dynlab.open_dataset(tmp_path / name / "evgp.zarr") for name in ("first", "second"))
    assert list(first.children) == ["irnn:K=2,eta=0.1", "gru"]
    for group in first.children:
        assert first[group].to_dataset().identical(second[group].to_dataset())


def test_a_cell_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dynlab, torch\n"
        "def shrink(f, d):\n"
        "    return dynlab.as_cell(lambda x, h: 0.5 * h + x.mean(-1, keepdim=True), input_size=f, state_size=d)\n"
    )
    done = run("compare", *SMALL, "--cells", "mine.py:shrink", cwd=tmp_path)
    row = next(line for line in done.stdout.splitlines() if "mine.py:shrink" in line)
    # 38 steps of one half each: 38 log10(0.5).
    assert "-11.44" in row and "vanishing" in row
    assert "-0.69" in row


def test_a_cell_that_explodes_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import dynlab\n"
        "def grow(f, d):\n"
        "    return dynlab.as_cell(lambda x, h: 100 * h + 1 + 0 * x[:, :1], input_size=f, state_size=d)\n"
        "def burst(f, d):\n"
        "    return dynlab.as_cell(lambda x, h: h + float('inf') + 0 * x.sum(), input_size=f, state_size=d)\n"
    )
    done = run("compare", *SMALL, "--cells", "mine.py:grow,mine.py:burst,lstm", cwd=tmp_path)
    grow, burst = (next(line for line in done.stdout.splitlines() if name in line) for name in ("grow", "burst"))
    # 100^19 = 1e38 is the last one below float32's largest number: step 20 makes 1.01e38 + ..., step 21 overflows.
    assert "overflow at 21" in grow and "exploding" in grow
    assert "overflow at 1" in burst and "exploding" in burst
    assert "nan" not in done.stdout.lower()


def test_checkpoint_beside_its_initial_twin(tmp_path: Path) -> None:
    cell = dynlab.build_cell("elman", 8, 6)
    with torch.no_grad():
        cell.module.weight_hh.copy_(torch.eye(6))
    dynlab.save_checkpoint(cell, "elman", tmp_path / "trained.pt")
    done = run("compare", *SMALL, "--cells", "lstm", "--checkpoint", "trained.pt", cwd=tmp_path)
    assert re.search(r"│elman\s", done.stdout) and "elman trained" in done.stdout and "lstm" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cells", "foo"], "expected a cell among unicornn"),
        (["--cells", "irnn:K=0"], "expected K >= 1, got 0"),
        (["--cells", "irnn:K"], "expected options as name=value, got 'K'"),
        (["--cells", "unicornn:dt=-1"], "expected a finite dt > 0, got -1"),
        (["--cells", "unicornn:alpha=-1"], "expected a finite alpha >= 0, got -1"),
        (["--cells", "antisymmetric:epsilon=0"], "expected a finite epsilon > 0, got 0"),
        (["--cells", "lstm:bogus=1"], "expected options among forget_bias; got bogus"),
        (["--cells", "lstm,lstm"], "expected each cell once, got lstm twice"),
        (["--cells", ","], "expected at least one cell"),
        (["--cells", "no.py:cell"], "expected a Python file at no.py, found none"),
        (["--T", "0"], "expected --T >= 1, got 0"),
        (["--T", "many"], "--T"),
        (["--batch", "0"], "expected --batch >= 1, got 0"),
        (["--batch", "100000"], "1437"),
        (["--task", "foo"], "expected a task among adding, copying"),
        (["--seeds", "a"], "expected --seeds as different non-negative integers"),
        (["--seeds", "1,1"], "expected --seeds as different non-negative integers"),
        (["--dtype", "int8"], "expected --dtype to be one of 'float32', 'float64'"),
        (["--out", "/proc/nothing/here"], "expected a folder that can be written to"),
        (["--checkpoint", "missing.pt"], "expected a checkpoint at missing.pt, found no file"),
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
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dynlab", "compare", *SMALL, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("dynlab: ") and says in line


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("compare", *SMALL, "--out", "file", cwd=tmp_path, expect=2)
    assert "expected a folder that can be written to at file" in done.stderr


def test_lists(tmp_path: Path) -> None:
    cells, probes, tasks = (run(what, cwd=tmp_path).stdout for what in ("cells", "probes", "tasks"))
    assert all(key in cells for key in dynlab.registry)
    assert all(name in probes for name in dynlab.probes.PROBES)
    assert "digits" in tasks and "mnist" in tasks


def test_cite(tmp_path: Path) -> None:
    assert run("cite", "irnn", cwd=tmp_path).stdout.startswith("@inproceedings{kag2020rnns,")
    done = run("cite", "nobody", cwd=tmp_path, expect=2)
    assert done.stderr.startswith("dynlab: ") and "nobody" in done.stderr


@pytest.mark.parametrize(
    ("log_value", "text"),
    [(0.0, "1"), (math.log(0.25), "0.25"), (-math.inf, "0"), (-2000 * math.log(10), "1.0e-2000"),
     (math.log(9.99e5), "1.0e+6"), (math.log(2.5e7), "2.5e+7")],
)  # fmt: skip
def test_scientific(log_value: float, text: str) -> None:
    assert scientific(log_value) == text


def test_what_was_measured_before_an_error_is_kept(tmp_path: Path) -> None:
    """A cell that fails, or Ctrl-C, costs the cells after it and none before."""
    (tmp_path / "mine.py").write_text(
        "import dynlab\n"
        "def late(f, d):\n"
        "    def step(x, h):\n"
        "        raise KeyboardInterrupt\n"
        "    return dynlab.as_cell(step, input_size=f, state_size=d)\n"
    )
    done = run("compare", *SMALL, "--cells", "elman,mine.py:late,lstm", cwd=tmp_path, expect=130)
    assert "elman" in done.stdout and "lstm" not in done.stdout
    assert done.stderr.strip().endswith("dynlab: interrupted")
    assert list(dynlab.open_dataset(tmp_path / "compare" / "evgp.zarr").children) == ["elman"]
