"""Everything, from one command, at the scale of seconds."""

import os
import re
import resource
import subprocess
import sys

import pytest

from dynlab.figures import names
from dynlab.figures.propositions import saved_propositions
from dynlab.figures.results import Places
from dynlab.theory import PROPOSITIONS

MINUTES = 5
"""On two cores; the run takes one, so that its processor time is the wall-clock time of a machine with nothing else."""


@pytest.mark.slow
def test_run_all_at_smoke_scale(tmp_path):
    command = [sys.executable, "-m", "dynlab.cli", "figures", "run", "--all", "--scale", "smoke"]
    arguments = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "kept")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=1500, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60 * MINUTES

    # Those whose data are not at hand say so, and nothing else is missing.
    skipped = re.findall(r"^skipped: (\w+) at scale smoke needs the data of task", done.stderr, re.MULTILINE)
    made = [name for name in names() if name not in skipped]
    assert {"antisymmetric_fig1", "antisymmetric_fig3", "irnn_fig6", "unicornn_table7"} <= set(made)
    for name in made:
        places = Places(tmp_path / "out", name, "smoke")
        assert places.origin() is not None and places.read().attrs["scale"] == "smoke"
        assert places.file(".pdf").stat().st_size > 1000 and places.png.stat().st_size > 1000
    rows, missing = saved_propositions(tmp_path / "out")
    assert len(rows) == len(PROPOSITIONS) and missing == []

    report = tmp_path / "out/report"
    page, text = (report / "index.html").read_text(), (report / "report.md").read_text()
    for name in names():
        assert f'<section id="{name}">' in page and f"dynlab figures run {name} --scale" in text
    assert {path.stem for path in (report / "images").iterdir()} == set(made)
    assert sum(path.stat().st_size for path in report.rglob("*") if path.is_file()) < 20e6
    assert "the check could not be made" not in page
