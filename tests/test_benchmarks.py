"""The benchmarks run; their numbers are for people to read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_jacobians_quick_prints_ratios_and_contenders_agree():
    pytest.importorskip("jax")
    done = run("-m", "benchmarks.jacobians", "--quick")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout
    for cell in ("AntisymmetricRNN", "iRNN, K = 5", "UnICORNN"):
        for question in ("all t", "end to end"):
            assert f"{cell}: {question}" in done.stdout
    # Contender, seconds, ratio to ours, memory.
    ratios = re.findall(r"(?:JAX|torch) [^│]*│ +[\d.]+ +│ +([\d.]+) +│ +\d+ +│", done.stdout)
    assert len(ratios) == 3 * (4 + 6) + 2
    assert all(float(ratio) > 0 for ratio in ratios)
    assert "GFLOP/s" in done.stdout
    assert "Randomised norm" in done.stdout


@pytest.mark.slow
def test_small_cells_quick_and_the_ways_agree():
    done = run("-m", "benchmarks.small_cells", "--quick")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in done.stdout.splitlines() if "│" in line]
    swept = [row for row in rows if len(row) == 11]
    singular = [row for row in rows if len(row) == 8]
    assert len(swept) == 6 * 6 and len(singular) == 5 * 2
    assert all(float(row[-1]) < 1e-5 for row in swept)
    assert all(float(row[-1]) < 1e-10 for row in singular)


def test_jacobians_without_jax_says_what_to_install():
    without = "import sys, runpy; sys.modules['jax'] = None; sys.argv = ['jacobians', '--quick']; "
    done = run("-c", without + "runpy.run_module('benchmarks.jacobians', run_name='__main__')")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert 'pip install "dynlab[benchmark]"' in done.stderr
