"""Train for published results again, and set what came out beside them.

    python -m benchmarks.reproduce NAME [--runs FOLDER] [--workers N] [--only ROW] [--quick]

Every setting of the experiment's declared search is trained, several at a time in processes of one thread each;
``benchmarks/results/NAME.md`` gets the tables, ``NAME.csv`` the learning curves and ``NAME.png`` their picture. What
has been trained stays in FOLDER: an interrupted run goes on, a finished one only writes its tables again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import re
import signal
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.reproductions.experiment import FAILED, Experiment, Outcome, Row, best_of, differing, draw_curves
from benchmarks.timing import Report, machine, use_threads
from dynlab.tasks import get_task
from dynlab.training import Machine, NonFiniteError, Settings, train

NAMES = ("adding", "har2", "lorenz96")
RESULTS = Path(__file__).parent / "results"


def load(name: str, quick: bool = False) -> Experiment:
    """The experiment of that name; ``quick`` cuts it to what shows that it runs."""
    experiment: Experiment = import_module(f"benchmarks.reproductions.{name}").EXPERIMENT
    if not quick:
        return experiment
    small = {"hidden_size": 8, "iterations": 3, "epochs": None, "train_size": 64, "validation_size": 32,
             "test_size": 32, "evaluate_every": 1}  # fmt: skip
    rows = tuple(
        replace(row, search=tuple(replace(one, **small) for one in row.search[:1]), seeds=row.seeds[:1])
        for row in experiment.rows
    )
    return replace(experiment, rows=rows, analyse=None, findings=())


def folder_of(runs: Path, experiment: Experiment, row: Row, settings: Settings) -> Path:
    """Where a training lives: its name says the row, its hash every setting."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()[:10]
    slug = re.sub(r"[^a-z0-9]+", "-", row.title.lower()).strip("-")
    return runs / experiment.name / f"{slug}-{digest}"


def train_one(settings: Settings, folder: Path) -> None:
    """One training in a process of its own; one that leaves the range of numbers is an outcome, too."""
    try:
        train(settings, folder, Machine(accelerator="cpu", progress=False, tensorboard=False))
    except NonFiniteError as error:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILED).write_text(f"{error}\n", encoding="utf-8")


@contextmanager
def ending_children() -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does, which a terminal also tells the trainings: they keep what they have."""

    def end(number: int, frame: Any) -> None:
        for child in multiprocessing.active_children():
            child.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_all(experiment: Experiment, wanted: Sequence[tuple[Row, Settings]], runs: Path, workers: int) -> list[Outcome]:
    """Train what has not been trained, and read all of it."""
    places = [folder_of(runs, experiment, row, settings) for row, settings in wanted]
    todo = [
        (row, settings, place)
        for (row, settings), place in zip(wanted, places, strict=True)
        if Outcome.read(row, settings, place) is None
    ]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    spawn = multiprocessing.get_context("spawn")
    with (
        ending_children(),
        Progress(*columns, disable=not sys.stderr.isatty()) as progress,
        ProcessPoolExecutor(workers, mp_context=spawn, initializer=use_threads, initargs=(1,)) as pool,
    ):
        bar = progress.add_task(experiment.name, total=len(todo))
        waiting, running = iter(todo), dict[Future[None], tuple[Row, Settings]]()
        while True:
            # No more than there are workers: what waits in the pool's own queue would begin when we are told to stop.
            for row, settings, place in islice(waiting, workers - len(running)):
                running[pool.submit(train_one, settings, place)] = row, settings
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                row, settings = running.pop(future)
                future.result()
                print(f"{experiment.name}: {row.title}: {settings.describe()}: done", file=sys.stderr, flush=True)
                progress.advance(bar)
    outcomes = [Outcome.read(row, settings, place) for (row, settings), place in zip(wanted, places, strict=True)]
    return [outcome for outcome in outcomes if outcome is not None]


def search(experiment: Experiment, runs: Path, workers: int) -> tuple[list[Outcome], list[Outcome]]:
    """All trainings of the search, then the best of each row with further seeds."""
    tried = run_all(experiment, [(row, one) for row in experiment.rows for one in row.search], runs, workers)
    again = []
    for row in experiment.rows:
        best = best_of((one for one in tried if one.row is row), experiment.sign)
        if best is not None:
            again += [(row, replace(best.settings, seed=seed)) for seed in row.seeds]
    return tried, run_all(experiment, again, runs, workers)


def tables(report: Report, experiment: Experiment, tried: list[Outcome], again: list[Outcome]) -> list[Outcome]:
    """The published scores beside ours, then every training of the search; returns the best of each row."""
    columns = ["", "published", f"test {experiment.metric}", "seeds", "parameters", "updates"]
    if experiment.threshold is not None:
        columns.append(f"first at {experiment.threshold:g}")
    winners = []
    for group in dict.fromkeys(row.group for row in experiment.rows):
        lines = []
        for row in (row for row in experiment.rows if row.group == group):
            mine = [one for one in tried if one.row is row]
            best = best_of(mine, experiment.sign)
            if best is None:
                lines.append((row.title, row.published, "not finite in any" if mine else "not run", "", "", ""))
                lines[-1] += ("",) * (len(columns) - 6)
                continue
            winners.append(best)
            scores = [one.test for one in (best, *(one for one in again if one.row is row)) if one.test is not None]
            shown = experiment.show(statistics.mean(scores))
            if len(scores) > 1:
                shown += f" ({experiment.show(min(scores))} to {experiment.show(max(scores))})"
            line = [row.title, row.published, shown, str(len(scores)), f"{best.parameters:,}", f"{best.steps:,}"]
            if experiment.threshold is not None:
                first = best.first_step(experiment.threshold, experiment.sign)
                line.append("" if first is None else f"{first:,}")
            lines.append(tuple(line))
        report.table(group or "Beside the published scores", columns, lines)
    rows = []
    for outcome in tried:
        others = [one.settings for one in tried if one.row is outcome.row]
        score = "" if outcome.validation is None else experiment.show(outcome.validation)
        chosen = "best" if outcome in winners else ""
        if outcome.failure is not None:
            steps = [step for step, _ in outcome.curve]
            chosen = f"not finite after update {steps[-1] if steps else 0:,}"
        rows.append((outcome.row.title, differing(outcome.settings, others), score, f"{outcome.steps:,}", chosen))
    report.table("The whole search", ("", "setting", f"validation {experiment.metric}", "updates", ""), rows)
    return winners


def write_curves(path: Path, outcomes: list[Outcome]) -> None:
    """Training losses and validation scores of every training, thinned to two hundred points each."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "task", "setting", "seed", "what", "step", "value"])
        for outcome in outcomes:
            others = [one.settings for one in outcomes if one.row is outcome.row]
            setting = differing(outcome.settings, others).replace("`", "")
            for what, points in (("training loss", outcome.curve), ("validation score", outcome.scores)):
                stride = max(1, len(points) // 200)
                for step, value in points[::stride]:
                    named = [outcome.row.title, outcome.settings.task, setting, outcome.settings.seed]
                    writer.writerow([*named, what, step, f"{value:.5g}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings (default: runs)")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, a thread each (default: 2)")
    parser.add_argument("--only", default="", metavar="ROW", help="train rows with this in their title; no tables")
    parser.add_argument("--quick", action="store_true", help="tiny networks, three updates: a look, no result")
    parser.add_argument("--results", type=Path, help="folder of the tables (default: results beside this file)")
    given = parser.parse_args(arguments)
    if given.results is None:
        given.results = given.runs if given.quick else RESULTS  # a look must not take the place of a result
    experiment = load(given.name, given.quick)
    rows = tuple(row for row in experiment.rows if given.only.lower() in row.title.lower())
    if not rows:
        print(f"benchmarks: expected --only to name a row, got {given.only!r}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    try:
        tried, again = search(replace(experiment, rows=rows), given.runs, given.workers)
    except KeyboardInterrupt:
        print("benchmarks: stopped; the same command goes on from the last checkpoints", file=sys.stderr)
        return 130
    if given.only:
        return 0
    given.results.mkdir(parents=True, exist_ok=True)
    report = Report()
    for line in machine(1, apart=False):
        report.note(line)
    for line in experiment.notes:
        report.note(line)
    winners = tables(report, experiment, tried, again)
    tasks = dict.fromkeys(one.settings.task for one in winners)
    draw_curves(
        experiment, winners, {task: get_task(task).baseline for task in tasks}, given.results / f"{experiment.name}.png"
    )
    write_curves(given.results / f"{experiment.name}.csv", [*tried, *again])
    report.lines += [f"![Learning curves of the best setting of each row]({experiment.name}.png)", ""]
    if experiment.analyse is not None:
        report.lines += experiment.analyse([*tried, *again], given.results)
    for line in experiment.findings:
        report.note(line)
    report.write(given.results / f"{experiment.name}.md", experiment.title)
    report.console.print(f"written to {given.results / experiment.name}.md, .csv and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
