"""The ``dynlab`` command."""

from __future__ import annotations

import math
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dynlab import cli_figures, cli_kernels, cli_lab, cli_theory, cli_train
from dynlab.backend import NativeUnavailableWarning

if TYPE_CHECKING:
    import xarray as xr

    from dynlab.compare import Row

app = typer.Typer(
    name="dynlab",
    help="How gradients travel through recurrent networks, measured exactly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_kernels.app, name="kernels")
app.add_typer(cli_figures.app, name="figures")
app.command()(cli_train.train)
app.command()(cli_theory.theory)
app.command()(cli_lab.lab)


def main() -> None:
    """Run the command; bad input is one line on stderr and exit code 2."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(standalone_mode=False)
        if code == 130:  # how some versions of typer report Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except (ValueError, TypeError, OSError) as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except Exception as error:
        # Wrong options: typer has the text, and its own class of error by whichever click it stands on.
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message(), 2)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
    """dynlab's own warnings are meant for whoever typed the command: one line, no place in the code."""
    if issubclass(category, NativeUnavailableWarning):
        print(" ".join(str(message).split()), file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, *where[:2]), end="", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    print(f"dynlab: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@app.command()
def compare(
    cells: Annotated[
        str,
        typer.Option(
            help="Cells, comma-separated, with options: irnn:K=5,eta=0.01. One of your own: FILE.py:NAME, called with "
            "(input_size, hidden_size)."
        ),
    ] = "unicornn,irnn:K=5,antisymmetric,elman,lstm",
    task: Annotated[
        str, typer.Option(help="Task whose sequences are fed, with options: digits, adding:T=500; see 'dynlab tasks'.")
    ] = "digits",
    hidden_size: Annotated[int, typer.Option(help="Hidden units a cell.")] = 128,
    steps: Annotated[int, typer.Option("--T", help="Time steps.")] = 1000,
    batch: Annotated[int, typer.Option(help="Sequences at once.")] = 16,
    seeds: Annotated[str, typer.Option(help="Seeds, comma-separated; each draws new weights and new sequences.")] = "0",
    out: Annotated[Path, typer.Option(help="Folder for the picture, the dataset and the command.")] = Path("compare"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Compare this trained cell with the same cell as initialised, beside the others."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
) -> None:
    """Compare how gradients travel through several cells on the same real data."""
    from dynlab import compare as main_job
    from dynlab._check import choice, integer
    from dynlab.tasks import get_task

    console, progress_console = _console(), Console(stderr=True)
    where = "compare"
    integer("--T", steps, where)
    integer("--batch", batch, where)
    integer("--hidden-size", hidden_size, where)
    choice("--dtype", dtype, ("float32", "float64"), where)
    chosen_task, chosen_seeds = get_task(task), _seeds(seeds)
    chosen: list[Any] = list(main_job.split_cells(cells))
    if checkpoint is not None:
        chosen, hidden_size = _with_checkpoint(chosen, checkpoint, chosen_task.input_size)
    labels = [item if isinstance(item, str) else item[0] for item in chosen]
    if not labels:
        raise ValueError("compare: expected at least one cell, got none")
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise ValueError(f"compare: expected each cell once, got {', '.join(sorted(twice))} twice")
    for item in chosen:
        if isinstance(item, str):
            main_job.make_cell(item, chosen_task.input_size, hidden_size)  # says what is wrong before anything runs
    _writable(out)
    _check_task(chosen_task, batch, steps)
    title = f"{chosen_task.key}, T = {steps}, {hidden_size} hidden units, batch {batch}, seeds {seeds}, {dtype}"
    options = {
        "cells": cells,
        "task": task,
        "hidden-size": hidden_size,
        "T": steps,
        "batch": batch,
        "seeds": seeds,
        "dtype": dtype,
        "out": out,
        "checkpoint": checkpoint,
    }
    groups: dict[str, xr.Dataset] = {}
    try:
        with _progress(progress_console, labels, steps * main_job.SWEEPS * len(chosen_seeds)) as tick:
            measured = main_job.compare_each(
                chosen,
                chosen_task,
                hidden_size=hidden_size,
                steps=steps,
                batch_size=batch,
                seeds=chosen_seeds,
                dtype=dtype,
                tick=tick,
            )
            groups.update(measured)
    finally:
        # Also after Ctrl-C, or an error in one cell: what was measured is shown and kept.
        if groups:
            _show(main_job.as_tree(groups), out, title, options, console)


@app.command("cells")
def list_cells() -> None:
    """List the cells and their options."""
    from dynlab.cells import registry

    table = Table("cell", "what it is", "options", "source", show_lines=False, pad_edge=False)
    for entry in registry.values():
        options = ", ".join(f"{name}={_plain(value)}" for name, value in entry.options.items())
        table.add_row(entry.key, entry.summary, escape(options), entry.cls.reference)
    _console().print(table)


@app.command("probes")
def list_probes() -> None:
    """List the probes and the variables they give."""
    import dynlab
    from dynlab.probes import PROBES

    table = Table("probe", "what it measures", "variables", "source", pad_edge=False)
    for name in PROBES:
        probe = getattr(dynlab, name)
        table.add_row(name, probe.summary, ", ".join(probe.provides), probe.reference)
    _console().print(table)


@app.command("tasks")
def list_tasks() -> None:
    """List the tasks."""
    from dynlab.tasks import registry, tasks

    table = Table(show_lines=True, pad_edge=False)
    table.add_column("task", no_wrap=True)
    table.add_column("what it is")
    for key, task in tasks.items():
        options = ", ".join(f"{name}={value}" for name, value in registry[key].options.items()) or "none"
        facts = (
            task.summary,
            f"inputs: {task.input_size}, outputs: {task.output_size}, steps: {task.length}, "
            f"metric: {task.metric}, baseline: {task.baseline:.3g}",
            f"options: {options}",
            f"splits: {task.splits}",
            f"normalisation: {task.normalisation}",
            f"source: {task.source}. License: {task.license}",
        )
        table.add_row(key, escape("\n".join(facts)))
    _console().print(table)


@app.command()
def cite(cell: Annotated[str, typer.Argument(help="A cell, or a BibTeX key.")]) -> None:
    """Print the BibTeX of a cell's paper."""
    from dynlab.references import cite as bibtex

    print(bibtex(cell))


def _console() -> Console:
    """A terminal of its own width; in a file or a pipe, wide enough that no table is cut."""
    return Console() if sys.stdout.isatty() else Console(width=140)


# ---- parts of compare ------------------------------------------------------------------------------------------


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"compare: expected --seeds as different non-negative integers such as 0,1,2; got {text!r}")
    return seeds


def _with_checkpoint(cells: list[Any], path: Path, input_size: int) -> tuple[list[Any], int]:
    """The cells with the trained one and its initialised twin in front, and the hidden size of the checkpoint."""
    from dynlab.checkpoint import initial_twin, load_checkpoint, recurrent_part
    from dynlab.network import Network

    cell, content = load_checkpoint(path, cells)
    if cell.input_size != input_size:
        raise ValueError(
            f"compare: expected a checkpoint for the task's {input_size} inputs a step, got one for "
            f"{cell.input_size}: {path}"
        )
    spec = content["cell"]
    others = [item for item in cells if item != spec]
    label: str = spec
    initial: Any = spec
    cell = recurrent_part(cell)
    if isinstance(cell, Network):
        label = f"{spec} x {len(cell.layers)}"
        initial = (f"{label} initial", recurrent_part(initial_twin(content, cells)))
    return [initial, (f"{label} trained", cell), *others], cell.hidden_size


def _check_task(task: Any, batch: int, steps: int) -> None:
    task.sequences(batch, steps, 0)


def _show(tree: xr.DataTree, out: Path, title: str, options: dict[str, Any], console: Console) -> None:
    from dynlab.compare import rows

    table_rows = rows(tree)
    console.print(_table(table_rows, title))
    for note in _notes(table_rows):
        console.print(note, style="dim", highlight=False, soft_wrap=True)
    _write(tree, out, title, options)
    console.print(f"written: {out}/evgp.png, evgp.pdf, evgp.zarr, command.txt", highlight=False, soft_wrap=True)


def _writable(out: Path) -> None:
    probe = out / ".dynlab-write-test"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"compare: expected a folder that can be written to at {out}, got: {error.strerror}") from None


@contextmanager
def _progress(console: Console, labels: list[str], total: int) -> Iterator[Callable[[str, int], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {label: progress.add_task(escape(label), total=total) for label in labels}
        yield lambda label, done: progress.advance(bars[label], done)


def _table(rows: list[Row], title: str) -> Table:
    table = Table(title=title, title_style="", pad_edge=False)
    table.add_column("cell", overflow="fold")
    for name in ("para-\nmeters", "log10\nratio", "|eigenvalue|\nmean ± std", "Lyapunov\nexponent"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    colours = {"vanishing": "yellow", "exploding": "red", "stable": "green"}
    for row in rows:
        table.add_row(
            escape(row.label),
            f"{row.parameters:,}",
            _ratio(row),
            _modulus(row),
            _spread(row.exponent, row.exponent_spread, "+.2g"),
            f"[{colours.get(row.verdict, '')}]{row.verdict}[/]" if row.verdict in colours else row.verdict,
        )
    return table


def _ratio(row: Row) -> str:
    if row.overflow_step:
        return f"overflow at {row.overflow_step}"
    if row.ratio is None:
        return "T < 2"
    tens = math.log(10)
    return _spread(row.ratio / tens, None if row.ratio_spread is None else row.ratio_spread / tens, "+.2f")


def _spread(value: float | None, spread: float | None, form: str) -> str:
    if value is None:
        return "-"
    return f"{value:{form}}" + ("" if spread is None else f" ± {spread:{form.lstrip('+')}}")


def _modulus(row: Row) -> str:
    if row.modulus_mean is None or row.modulus_std is None:
        return "-"
    return f"{scientific(row.modulus_mean)} ± {scientific(row.modulus_std)}"


def scientific(log_value: float) -> str:
    """A number given by its natural logarithm, in a form that any size fits: 1.3e-1042."""
    if log_value == -math.inf:
        return "0"
    tens = log_value / math.log(10)
    if abs(tens) < 3:
        return f"{10**tens:.3g}"
    exponent = math.floor(tens)
    mantissa = f"{10 ** (tens - exponent):.1f}"
    return f"{mantissa}e{exponent:+d}" if mantissa != "10.0" else f"1.0e{exponent + 1:+d}"


def _notes(rows: list[Row]) -> list[str]:
    notes = [
        "ratio: |ds_T/ds_1| over |ds_T/ds_T-1|; vanishing below 1/100, exploding above 100.",
        "eigenvalues: of ds_T/ds_0, over its modes. Lyapunov exponent: the largest, in nats a step.",
    ]
    if any(row.modulus_mean == -math.inf for row in rows):
        notes.append("|eigenvalue| 0: every eigenvalue is below the rounding of the product.")
    return notes


def _write(tree: xr.DataTree, out: Path, title: str, options: dict[str, Any]) -> None:
    from dynlab.plots.evgp import evgp_figure
    from dynlab.store import save_dataset

    save_dataset(tree, out / "evgp.zarr")
    figure = evgp_figure(tree, title)
    figure.savefig(out / "evgp.png")
    figure.savefig(out / "evgp.pdf")
    # Every option spelled out: defaults may change, this command may not.
    given = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    command = shlex.join(["dynlab", "compare", *given])
    (out / "command.txt").write_text(command + "\n")


def _plain(value: Any) -> str:
    import inspect

    return "required" if value is inspect.Parameter.empty else str(value)


if __name__ == "__main__":
    main()
