"""The benchmark of the recurrences runs, compares what it says it compares, and notices contenders that disagree."""

from __future__ import annotations

import re

import pytest
import torch

MODELS = (
    "UnICORNN",
    "iRNN, K = 1",
    "iRNN, K = 5",
    "iRNN, K = 5, U = I + V H",
    "AntisymmetricRNN",
    "AntisymmetricRNN, gated",
)


@pytest.mark.slow
def test_quick_prints_a_table_for_every_model_and_contenders_agree(run, tmp_path):
    pytest.importorskip("jax")
    done = run("-m", "benchmarks.recurrences", "--quick", "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout
    written = (tmp_path / "table.md").read_text()
    for model in MODELS:
        assert f"## {model}: N = " in written
        assert f"{model}: at (40, 3, 8) the outputs and gradients" in written
    # Contender, milliseconds, ratio to dynlab; for UnICORNN also clones of x and the least possible.
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \|", written, re.MULTILINE)
    assert len(rows) == 13 + 5 * 7
    assert all(float(milliseconds) > 0 for _, milliseconds, _ in rows)
    assert re.search(r"^\| dynlab, store \| [\d.]+ \| 1.00 \| [\d.]+ \| 3.0 \| 2 \|$", written, re.MULTILINE)
    assert re.search(r"^\| dynlab, reconstruct \| [\d.]+ \| [\d.]+ \| [\d.]+ \| 2.5 \| 2 \|$", written, re.MULTILINE)


@pytest.mark.slow
def test_contenders_run_in_processes_of_their_own(run):
    code = """
from benchmarks import recurrences as r
from benchmarks.timing import Report
r.UNICORNN = {name: r.UNICORNN[name] for name in (r.STORE, r.CLONE)}
if __name__ == "__main__":
    report = Report()
    r.compare(report, r.Case("UnICORNN", *r.CHECKED), rounds=2, threads=1, apart=True)
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert re.search(r"one clone of x +│ +[\d.]+ │ +[\d.]+ │ +1.0 │ +1.0 │ +2 │", done.stdout)


def test_a_contender_that_computes_something_else_is_pointed_out(run):
    code = """
from functools import partial
from benchmarks import recurrences as r
from benchmarks.timing import Report
def wrong(case):
    right = r.prepared("dynlab", case)
    def take(result):
        return {name: 1.01 * value if name == "x" else value for name, value in right.take(result).items()}
    return r.Run(right.run, take)
r.MATRIX = {"dynlab": r.MATRIX["dynlab"], "mistaken": r.Contender(wrong)}
r.check(Report(), r.Case("AntisymmetricRNN", *r.CHECKED))
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stdout.splitlines() if "WARNING" in line]
    assert "mistaken: 1.0e-02" in warning
    assert "dynlab" not in warning


def test_without_jax_says_what_to_install(run):
    without = "import sys, runpy; sys.modules['jax'] = None; sys.argv = ['recurrences', '--quick']; "
    done = run("-c", without + "runpy.run_module('benchmarks.recurrences', run_name='__main__')")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert 'pip install "dynlab[benchmark]"' in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_says_so(run):
    done = run("-m", "benchmarks.recurrences", "--device", "cuda")
    assert done.returncode == 2
    assert done.stderr == "benchmarks: expected native code to measure: torch sees no CUDA device\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.slow
def test_quick_on_cuda(run):
    done = run("-m", "benchmarks.recurrences", "--quick", "--device", "cuda")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout
    for model in MODELS:
        assert f"{model}: N = " in done.stdout
    assert "of the copy bandwidth" in done.stdout


def test_only_must_name_a_table(run):
    done = run("-m", "benchmarks.recurrences", "--only", "transformer")
    assert done.returncode == 2
    assert done.stderr == "benchmarks: expected --only to name a table, got 'transformer'\n"
