"""``dynlab figures``: the papers' figures and tables made again, and set beside the published values."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from dynlab.figures.cache import Cache
    from dynlab.figures.executor import Executor
    from dynlab.figures.runner import Job, Outcome

app = typer.Typer(help="The papers' figures and tables, beside the published values.", no_args_is_help=True)

OUT = Path("figures-out")
_Out = Annotated[Path, typer.Option(help="Folder of the images, the datasets and the report.")]


@app.command("list")
def list_figures() -> None:
    """List the figures and tables: those with a script, and those that are listed only."""
    from dynlab.figures.discover import load, names
    from dynlab.figures.listed import listed
    from dynlab.figures.report import PAPERS

    groups: dict[str, list[tuple[str, ...]]] = {paper: [] for paper in PAPERS}
    broken: list[tuple[str, ...]] = []
    for name in names():
        try:
            script = load(name)
        except ValueError as error:
            broken.append((name, "", str(error), ""))
            continue
        item = script.ITEM
        groups.setdefault(item.paper, []).append((name, item.number, item.title, ", ".join(script.SCALES)))
    for one in listed():
        groups.setdefault(one.paper, []).append(("", one.number, one.title, "not run"))
    table = Table("name", "number", "title", "scales", pad_edge=False)
    for title, rows in [*groups.items(), ("cannot be loaded", broken)]:
        if rows:
            table.add_section()
            table.add_row(f"[bold]{escape(title)}[/bold]")
        for row in rows:
            table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Figures: see 'dynlab figures list'.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, and the propositions.")] = False,
    scale: Annotated[str, typer.Option(help="smoke (seconds), laptop (minutes), paper (the paper's own).")] = "laptop",
    seed: Annotated[int, typer.Option(help="Shifts all that is drawn at random.")] = 0,
    out: _Out = OUT,
    workers: Annotated[int | None, typer.Option(help="Processes of one thread each (none: here, one by one).")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A running Dask scheduler: tcp://127.0.0.1:8786.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of what has been computed (in the cache of the user).")
    ] = None,
) -> None:
    """Make figures, computing what has not been computed, and bring the report up to date.

    Stopped or even killed, the same command goes on from what was finished.
    """
    from dynlab import _check
    from dynlab.figures.base import SCALES
    from dynlab.figures.cache import Cache, default_folder
    from dynlab.figures.machine import commit
    from dynlab.figures.runner import make_all

    where = "figures run"
    _check.choice("--scale", scale, SCALES, where)
    _check.integer("--seed", seed, where, least=0)
    if workers is not None and scheduler is not None:
        raise ValueError(f"{where}: expected --workers or --scheduler, got both")
    if workers is not None:
        _check.integer("--workers", workers, where)
    jobs = _jobs(names or [], everything, scale, seed, out)
    kept = Cache((cache or default_folder()).expanduser().absolute())
    for option, folder in (("--out", out), ("--cache", kept.folder)):
        _writable(option, folder)
    try:
        with _executor(workers, scheduler, kept) as executor:
            if not everything:
                _refuse_obstacles(jobs, executor)
            outcomes = make_all(jobs, executor, commit())
            if everything:
                outcomes += _propositions(out, executor)
    except KeyboardInterrupt:
        again = shlex.join(["dynlab", *sys.argv[1:]])
        print(f"dynlab: what is finished is kept; to go on: {again}", file=sys.stderr)
        raise
    _write_report(out)
    _conclude(outcomes)


@app.command()
def report(
    out: _Out = OUT,
    scale: Annotated[str | None, typer.Option(help="Of this scale only (of each figure the largest).")] = None,
) -> None:
    """Make the report from what has been made in --out; computes nothing."""
    from dynlab import _check
    from dynlab.figures.base import SCALES

    if scale is not None:
        _check.choice("--scale", scale, SCALES, "figures report")
    if not out.is_dir():
        raise FileNotFoundError(
            f"figures report: expected a folder of figures at {out}, found none; 'dynlab figures run --all' makes it"
        )
    _writable("--out", out)
    _write_report(out, scale)


# ---- parts of run ----------------------------------------------------------------------------------------------------


def _jobs(given: list[str], everything: bool, scale: str, seed: int, out: Path) -> list[Job]:
    """The jobs, every name known and every script one that can be loaded."""
    import os

    from dynlab.figures.discover import VARIABLE, load, names, path_of, scripts_folder
    from dynlab.figures.results import Places
    from dynlab.figures.runner import Job

    if everything == bool(given):
        raise ValueError(f"figures run: expected NAME... or --all, got {'both' if given else 'neither'}")
    chosen = names() if everything else list(dict.fromkeys(given))
    for name in chosen:
        path_of(name)
    for name in given:  # of all, one that cannot be loaded fails alone
        load(name)
    folder = str(scripts_folder()) if os.environ.get(VARIABLE) else ""
    return [Job(name, scale, seed, Places(out, name, scale), folder) for name in chosen]


def _refuse_obstacles(jobs: list[Job], executor: Executor) -> None:
    """What was asked for by name and cannot be made is an error, before anything is computed."""
    from dynlab.figures.runner import obstacle

    for job in jobs:
        if why := obstacle(job, executor):
            raise ValueError(f"figures: {why}")


def _propositions(out: Path, executor: Executor) -> list[Outcome]:
    from dynlab.figures.executor import PieceError, described
    from dynlab.figures.propositions import NAME, save_propositions
    from dynlab.figures.runner import Outcome

    try:
        save_propositions(out, executor)
    except Exception as error:
        why = str(error) if isinstance(error, PieceError) else described(error)
        print(f"failed: {NAME}: {why}", file=sys.stderr)
        return [Outcome(NAME, "failed", why)]
    return [Outcome(NAME, "made")]


@contextlib.contextmanager
def _executor(workers: int | None, scheduler: str | None, cache: Cache) -> Iterator[Any]:
    if workers is None and scheduler is None:
        from dynlab.figures.executor import InProcess

        yield InProcess(cache)
        return
    from dynlab.figures import cluster

    with cluster.at(scheduler, cache) if scheduler is not None else cluster.local(workers or 1, cache) as opened:
        yield opened


def _writable(option: str, folder: Path) -> None:
    probe = folder / ".dynlab-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"figures: expected {option} to be a folder that can be written to at {folder}, got: {error.strerror}"
        ) from None


def _write_report(out: Path, scale: Any = None) -> None:
    from dynlab.figures.report import write_report

    print(f"report: {write_report(out, scale)}")


def _conclude(outcomes: list[Outcome]) -> None:
    """Say what was not made; exit code 1 if something failed."""
    failed = [one.name for one in outcomes if one.state == "failed"]
    skipped = [one.name for one in outcomes if one.state == "skipped"]
    if skipped:
        print(f"dynlab: skipped: {', '.join(skipped)}", file=sys.stderr)
    if failed:
        print(f"dynlab: failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)
