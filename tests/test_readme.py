"""What the README says runs as it stands there, and its tables are those of the registry."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dynlab
from dynlab.cells import registry
from dynlab.probes import PROBES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["quick start", "your own cell", "recorder", "adjoints", "comparison"])
def test_code_runs_verbatim(block: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_its_training_commands_run(tmp_path: Path) -> None:
    commands = re.findall(r"^    \.venv/bin/(dynlab (?:train|compare --task) .*?)(?:  +#.*)?$", README, re.MULTILINE)
    assert len(commands) == 3
    tiny = {"train": "--iterations 1 --batch 2 --no-test --no-tensorboard", "compare": "--T 20 --hidden-size 8"}
    for command in commands:
        program, kind, *arguments = command.split()
        line = [str(Path(sys.executable).with_name(program)), kind, *arguments, *tiny[kind].split()]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr


def test_the_promised_lengths() -> None:
    """A ten-line quick start, and a cell of one's own in five lines."""
    lines = [[line for line in block.splitlines() if line.strip()] for block in BLOCKS]
    assert len(lines[0]) <= 10
    assert len(lines[1]) <= 5


def test_every_cell_and_probe_is_in_a_table() -> None:
    for key in registry:
        assert re.search(rf"^\| `{key}` \|", README, re.MULTILINE), key
    for name in PROBES:
        assert re.search(rf"^\| `{name}` \| {re.escape(getattr(dynlab, name).summary)} \|", README, re.MULTILINE), name


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
