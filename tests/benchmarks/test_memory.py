"""The benchmark of memory counts what is allocated, and shows what grows with T and what does not."""

from __future__ import annotations

import re


def test_counts_the_peak_and_what_is_left(run):
    code = """
import os
os.environ["KINETO_LOG_LEVEL"] = "99"
import torch
from benchmarks.memory import counted_bytes
def work():
    a = torch.ones(1000)      # 4000
    b = a + 1                 # 8000
    c = b.double()            # 16000
    del a, b                  #  8000
    return c.float()          # 12000, and 4000 are left
print(*counted_bytes(work))
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    peak, left = map(int, done.stdout.split())
    assert (peak, left) == (16000, 4000) or (16000 <= peak <= 16512 and 4000 <= left <= 4160)  # rounded up to lines


def test_quick_shows_reconstruction_flat_and_storing_linear(run, tmp_path):
    done = run("-m", "benchmarks.memory", "--quick", "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "table.md").read_text()
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", written, re.MULTILINE)
    extra = {name: (float(short), float(long)) for name, short, long, _ in rows}
    for flat in ("UnICORNN, store", 'UnICORNN, reconstruct, keep="last"'):
        assert extra[flat][0] == extra[flat][1] < 0.05
    for linear in ('UnICORNN, store, keep="last"', "AntisymmetricRNN"):
        assert extra[linear][1] > 1.7 * extra[linear][0] > 0.2
    assert "iRNN, K = 5" in extra
    assert re.search(r"^\| UnICORNN, torch loop \| [\d.]+ \|  \| [\d.]+ \|$", written, re.MULTILINE)
    assert "## Resident memory" in written
