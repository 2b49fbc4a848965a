"""The table of reconstruction errors; at a hundred steps all ways are as good as float32 can be."""

from __future__ import annotations

import re


def test_quick_prints_small_errors_for_short_sequences(run, tmp_path):
    done = run("-m", "benchmarks.reconstruction", "--quick", "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "table.md").read_text()
    assert written.count("; loss at the last step only: store / reconstruct / torch loop") == 3
    assert written.count("; loss at every step: store / reconstruct / torch loop") == 3
    assert written.count("worse than stored: nowhere. Stored and off by more than 1 %: nowhere.") == 6
    rows = [line for line in written.splitlines() if line.startswith("| dt")]
    assert len(rows) == 3 * 2 * 3 * 2
    for row in rows:
        found = [float(error) for error in re.findall(r"\de-\d\d", row)]
        assert len(found) == 9
        assert max(found) < 1e-4
