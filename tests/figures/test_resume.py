"""Stopped or killed, the same command goes on, and ends with the same numbers."""

import signal

import numpy as np
import pytest

from dynlab.figures.cache import read
from tests.figures.conftest import killed


@pytest.fixture
def slow_walk(scripts, tmp_path, monkeypatch):
    """Arguments of a run whose pieces take six steps of 0.3 s, and its log: seed and step begun at, of each piece."""
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    arguments = ["run", "toy_walk", "--scale", "laptop", "--out", tmp_path / "out", "--cache", tmp_path / "kept"]

    def log():
        path = tmp_path / "log"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [tuple(map(int, line.split())) for line in lines]

    return arguments, log


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_of_a_piece_and_of_a_run(by, slow_walk, here, tmp_path):
    arguments, log = slow_walk

    def within_the_second():
        kept = {path.name for path in (tmp_path / "kept/pieces").glob("*/*")}
        return len(kept) == 1 and any(path.parts[-2] not in kept for path in (tmp_path / "kept/work").glob("*/*/3"))

    code = killed(*arguments, when=within_the_second, by=by, TOY_SECONDS="0.3")
    assert code == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[by]
    assert log() == [(0, 0)]
    assert not (tmp_path / "out/laptop/toy_walk.json").exists()

    here(*arguments)
    (seed, begun), *others = log()[1:]
    assert seed == 1 and begun >= 3  # in its workspace, where it was interrupted
    assert others == [(2, 0), (3, 0)]  # and the first was kept
    found = read(tmp_path / "out/laptop/toy_walk.zarr")

    here(*arguments[:-3], tmp_path / "anew", "--cache", tmp_path / "other")
    assert len(log()) == 8
    anew = read(tmp_path / "anew/laptop/toy_walk.zarr")
    assert anew.identical(found)
    assert all(np.array_equal(anew[name].values, found[name].values) for name in anew.variables)

    here(*arguments)  # finished: nothing is computed again
    assert len(log()) == 8
