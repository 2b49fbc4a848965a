"""``dynlab theory`` as a user sees it."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import dynlab
from dynlab.cli import main
from dynlab.compare import seeded_cell
from dynlab.theory import PROPOSITIONS


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    def call(*arguments: str, expect: int = 0) -> tuple[str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["dynlab", "theory", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        assert (stopped.value.code or 0) == expect, out + err
        assert all(len(line) <= 100 for line in out.splitlines())
        return out, err

    return call


FEW = ("antisymmetric-2", "antisymmetric-gated", "antisymmetric-gamma", "irnn-1", "irnn-parameters")


@pytest.fixture
def few(monkeypatch):
    """As if there were only a few."""
    monkeypatch.setattr("dynlab.theory.PROPOSITIONS", {key: PROPOSITIONS[key] for key in FEW})


def words(text: str) -> str:
    return " ".join(text.split())


def test_without_a_name_it_lists_them(run):
    out, _ = run()
    assert all(re.search(rf"^ {re.escape(key)} ", out, re.MULTILINE) for key in PROPOSITIONS)


def test_one_in_detail(run):
    out, _ = run("irnn-theorem-1", "--cell", "irnn:K=3,recurrent=full,nonlinearity=tanh,eta=0.1", "--hidden-size", "6")
    assert "statement" in out and "iRNN, Theorem 1" in out and "holds" in out
    assert "K=3" in out and "✓ eta alpha <= 1 (in the proof) (0.1 vs 1)" in out
    assert re.search(r"^ 1,000 .* 100% *$", out, re.MULTILINE)


def test_a_hypothesis_that_fails_shows_its_two_sides(run):
    out, _ = run("irnn-1", "--cell", "irnn:K=2", "--hidden-size", "8")
    cell = seeded_cell("irnn:K=2", 1, 8, 0)
    norm = np.linalg.norm(cell.weight_hh.detach().double().numpy(), 2)
    assert f"✗ ||U|| < alpha ({norm:.4g} vs 1)" in out and "not applicable" in out


def test_all_of_one_kind_of_cell_with_pictures(run, few, tmp_path):
    cell = "gated_antisymmetric:gamma=0.1"
    out, err = run("--all", "--cell", cell, "--hidden-size", "6", "--out", "found", "--seed", "3")
    keys = FEW[:3]
    assert all(key in out for key in keys)
    assert "irnn-1" not in out and "parameters" not in out and "not evaluated" not in out
    assert "verdict" in out and "hypotheses" in out and err == ""
    for key in keys:
        saved = dynlab.open_dataset(tmp_path / "found" / f"{key}.zarr")
        assert saved.attrs["proposition"] == key and saved.attrs["seed"] == 3
    assert (tmp_path / "found" / "antisymmetric-gamma.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "found" / "antisymmetric-gamma.pdf").read_bytes().startswith(b"%PDF")


def test_what_a_cell_of_the_kind_cannot_do_is_said_below_the_table(run, few):
    out, _ = run("--all", "--cell", "antisymmetric:gamma=0.1", "--hidden-size", "4")
    assert "not evaluated: antisymmetric-gated: expected a gated, structured AntisymmetricRNN" in words(out)
    assert "antisymmetric-2" in out and "antisymmetric-gamma" in out and "irnn" not in out


def test_a_cell_of_your_own(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import dynlab\n"
        "class Strong(dynlab.cells.IncrementalRNN):\n"
        "    def __init__(self, f, d):\n"
        "        super().__init__(f, d, 2)\n"
        "        self.weight_full.data.mul_(100)\n"
    )
    out, _ = run("irnn-norm", "--cell", "mine.py:Strong", "--hidden-size", "5")
    assert "fails" in out and "holds" not in out


def test_the_seed_draws_other_cells(run):
    first, again, other = (run("irnn-1", "--seed", seed)[0] for seed in ("1", "1", "2"))
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["irnn-9"], "expected a proposition among antisymmetric-1,"),
        (["irnn-1", "--all"], "expected NAME or --all, got both"),
        (["--cell", "irnn"], "expected NAME or --all with --cell or --out, got neither"),
        (["irnn-1", "--cell", "lstm"], "irnn-1: expected a cell of the kind IncrementalRNN, got LSTM"),
        (["unicornn-3.1", "--cell", "elman"], "unicornn-3.1: expected a UnICORNN"),
        (["irnn-parameters", "--cell", "irnn"], "irnn-parameters: expected no cell"),
        (["--all", "--cell", "lstm"], "expected a cell that a proposition can be evaluated on, got lstm"),
        (["irnn-1", "--cell", "irnn:K=0"], "expected K >= 1, got 0"),
        (["irnn-1", "--cell", "irnn:eta=-1"], "expected a finite eta > 0, got -1"),
        (["antisymmetric-2", "--cell", "antisymmetric:epsilon=0"], "expected a finite epsilon > 0, got 0"),
        (["irnn-1", "--cell", "foo"], "expected a cell among unicornn"),
        (["irnn-1", "--cell", "no.py:cell"], "expected a Python file at no.py, found none"),
        (["irnn-1", "--cell", "irnn", "--hidden-size", "0"], "expected --hidden-size >= 1, got 0"),
        (["irnn-1", "--cell", "irnn", "--input-size", "0"], "expected --input-size >= 1, got 0"),
        (["irnn-1", "--seed", "-1"], "expected --seed >= 0, got -1"),
        (["irnn-1", "--seed", "many"], "--seed"),
        (["irnn-1", "--out", "/proc/nothing/here"], "expected a folder that can be written to"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says, run):
    out, err = run(*arguments, expect=2)
    (line,) = err.strip().splitlines()
    assert out == "" and line.startswith("dynlab: ") and says in line


@pytest.mark.slow
def test_all_of_them(run):
    out, _ = run("--all")
    for key, one in PROPOSITIONS.items():
        assert key in out, key
        assert words(one.reference).partition(",")[0] in out
    assert out.count("holds") > 5 and out.count("fails") > 5 and out.count("not applicable") > 1
    assert not re.search(r"\bnan\b", out)
