"""On a Dask cluster: the same numbers, whatever happens to its workers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from dynlab.figures import load
from dynlab.figures.cache import Cache, read
from dynlab.figures.cluster import Cluster, work
from dynlab.figures.digests import versions
from dynlab.figures.executor import PieceError, Stopped
from dynlab.figures.pieces import Piece
from tests.figures.conftest import killed, started, until


def piece_of(seed):
    return Piece.of(load("toy_walk").walk, {"seed": seed, "steps": 5})


# ---- what a worker does, and what is made of its answer, without one -------------------------------------------------


def test_a_worker_keeps_pieces_in_the_cache_of_the_command_where_it_can_see_it(scripts, tmp_path):
    piece, theirs = piece_of(1), Cache(tmp_path / "theirs")
    with Cluster(None, theirs).open() as cluster:
        token = str(cluster._token)
        dataset, origin, *failure = work(piece, piece.key, json.dumps(versions()), token)
    assert failure == ["", ""] and dataset.identical(load("toy_walk").walk(seed=1, steps=5))
    assert piece in theirs and theirs.find(piece).origin == origin
    assert not (tmp_path / "cache").exists() and not Path(token).exists()

    work(piece_of(2), piece_of(2).key, json.dumps(versions()), token)  # no token: another machine
    assert piece_of(2) not in theirs and piece_of(2) in Cache(tmp_path / "cache/figures")


def test_a_worker_with_other_code_or_versions_computes_nothing(scripts, tmp_path):
    token = str(tmp_path / "none")
    dataset, _, why, _ = work(piece_of(1), piece_of(2).key, json.dumps(versions()), token)
    assert dataset is None and "the worker has other code than this command (its files of dynlab" in why
    *_, why, _ = work(piece_of(1), "key", json.dumps(versions() | {"torch": "1.0"}), token)
    assert f"(torch {versions()['torch']}, not 1.0); restart it from the same code" in why
    assert not (tmp_path / "cache").exists()


def test_errors_come_back_as_text(scripts, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_FAILS", "1")
    piece = piece_of(1)
    dataset, _, why, details = work(piece, piece.key, json.dumps(versions()), str(tmp_path / "none"))
    assert dataset is None and why == "RuntimeError: this seed fails" and "in walk" in details


@pytest.mark.parametrize(
    ("future", "stopped", "error", "says"),
    [
        ({"status": "error", "exception": "killed"}, False, PieceError, "the worker that computed it died too often"),
        ({"status": "error", "exception": MemoryError("no\nmore")}, False, PieceError, "MemoryError: no more"),
        ({"status": "lost"}, False, ConnectionError, "the Dask scheduler has gone away; the same command goes on"),
        ({"status": "cancelled"}, True, Stopped, "^$"),
        ({"status": "finished", "result": (None, {}, "OSError: x", "trace")}, False, PieceError, "OSError: x"),
    ],
)  # fmt: skip
def test_answers_that_are_none(future, stopped, error, says, scripts, tmp_path):
    from distributed import KilledWorker

    cause = future.get("exception")
    cause = KilledWorker("task", None, 3) if cause == "killed" else cause
    answer = SimpleNamespace(
        status=future["status"], exception=lambda: cause, result=lambda: future["result"], release=lambda: None
    )
    cluster = Cluster(SimpleNamespace(cluster=None), Cache(tmp_path / "kept"))
    if stopped:
        cluster.stop()
    with pytest.raises(error, match=says):
        cluster._received(piece_of(1), answer)


# ---- real ones -------------------------------------------------------------------------------------------------------


@pytest.fixture
def walks(scripts, tmp_path, monkeypatch):
    """Arguments of a run with a folder and a cache of its own; its log: seed and step begun at, of each piece."""
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))

    def arguments(name, *more):
        return [
            "run",
            "toy_walk",
            "--scale",
            "laptop",
            "--out",
            tmp_path / name,
            "--cache",
            tmp_path / f"{name}-kept",
            *more,
        ]

    def log():
        path = tmp_path / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return sorted(tuple(map(int, line.split())) for line in lines)

    def dataset(name):
        return read(tmp_path / name / "laptop/toy_walk.zarr")

    return arguments, log, dataset


def computing(cache, step=2):
    """Process ids of those who have done so many steps of an unfinished piece in ``cache``."""
    finished = {path.name for path in (cache / "pieces").glob("*/*")}
    paths = [path for path in (cache / "work").glob(f"*/*/{step}") if path.parent.name not in finished]
    with contextlib.suppress(FileNotFoundError, ValueError):  # finished meanwhile, or just being written
        return [int(path.read_text()) for path in paths]
    return []


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


EACH_ONCE = [(0, 0), (1, 0), (2, 0), (3, 0)]


@pytest.mark.slow
def test_local_workers_one_of_which_is_killed(walks, here, tmp_path):
    arguments, log, dataset = walks
    here(*arguments("in-process"))
    assert log() == EACH_ONCE
    run = started(*arguments("local", "--workers", 2), TOY_SECONDS="0.5")
    until(lambda: len(computing(tmp_path / "local-kept")) == 2)
    pids = computing(tmp_path / "local-kept")
    os.kill(pids[0], signal.SIGKILL)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert dataset("local").identical(dataset("in-process"))
    again = [one for one in log() if one not in EACH_ONCE]
    assert len(log()) == 8 and len(again) == 1 and again[0][1] >= 3  # went on in the workspace of the killed one
    for seed in range(4):
        assert f"s, walk(seed={seed}, steps=6)" in err
    until(lambda: all(gone(pid) for pid in pids), 20)


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_stopped_with_local_workers(by, walks, here, tmp_path):
    arguments, log, dataset = walks
    pids = []

    def when():
        pids[:] = computing(tmp_path / "run-kept")
        return len(pids) == 2

    code = killed(*arguments("run", "--workers", 2), when=when, by=by, TOY_SECONDS="0.5")
    assert code == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[by]
    until(lambda: all(gone(pid) for pid in pids), 30)
    assert not (tmp_path / "run/laptop/toy_walk.json").exists()
    before = Counter(log())
    here(*arguments("run"))
    added = Counter(log()) - before
    assert {(2, 0), (3, 0)} <= set(added)
    assert all(begun >= 3 for seed, begun in added if seed < 2)  # went on where they were, if they were not finished
    here(*arguments("anew"))
    assert dataset("run").identical(dataset("anew"))


@contextlib.contextmanager
def dask(*arguments, **environment):
    """A ``dask`` command in a process group of its own, all of which is ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


@pytest.fixture
def scheduler(tmp_path):
    file = tmp_path / "scheduler.json"
    with dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file):
        until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        yield json.loads(file.read_text())["address"]


def worker(address, folder, **environment):
    return dask(
        "worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--local-directory", folder,
        **environment,
    )  # fmt: skip


@pytest.mark.slow
def test_a_real_scheduler_and_two_workers_one_of_which_is_killed(walks, here, scheduler, scripts, tmp_path):
    arguments, log, dataset = walks
    begin = time.monotonic()
    out, err = here(*arguments("no-workers", "--scheduler", scheduler), expect=2)
    (line,) = err.splitlines()
    assert line.startswith(f"dynlab: figures: the Dask scheduler at {scheduler} has no workers; start some with")
    assert time.monotonic() - begin < 60

    here(*arguments("in-process"))
    assert log() == EACH_ONCE
    with (
        worker(scheduler, tmp_path / "a", TOY_SECONDS="0.5") as one,
        worker(scheduler, tmp_path / "b", TOY_SECONDS="0.5"),
    ):
        from distributed import Client

        with Client(scheduler, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)

        here(*arguments("whole", "--scheduler", scheduler))
        assert dataset("whole").identical(dataset("in-process"))
        assert log() == sorted(2 * EACH_ONCE)

        run = started(*arguments("killed", "--scheduler", scheduler))
        until(lambda: len(computing(tmp_path / "killed-kept")) == 2)
        os.killpg(one.pid, signal.SIGKILL)  # with its nanny, who would start another
        _, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
        assert dataset("killed").identical(dataset("in-process"))
        (again,) = [one for one in log() if one not in EACH_ONCE]
        assert len(log()) == 12 and again[1] >= 3

        path = scripts / "toy_walk.py"
        path.write_text(path.read_text().replace('int(os.environ.get("TOY_FAILS", "-1"))', "2"))
        _, err = here(*arguments("fails", "--scheduler", scheduler), expect=1)
        assert "failed: toy_walk: walk(seed=2, steps=6): RuntimeError: this seed fails" in err
        assert len(list((tmp_path / "fails-kept/pieces/toy_walk").iterdir())) == 3
        assert "in walk" in (tmp_path / "fails/laptop/toy_walk.not-run.txt").read_text()
