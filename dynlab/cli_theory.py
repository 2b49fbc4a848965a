"""``dynlab theory``: the papers' propositions, each with its hypotheses, bound, measured value and verdict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    import xarray as xr

    from dynlab.theory import Proposition


def theory(
    name: Annotated[str | None, typer.Argument(help="A proposition, to see in detail; none lists them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Evaluate all of them (those about --cell).")] = False,
    cell: Annotated[
        str | None, typer.Option(help="Evaluate on this cell: irnn:K=5,eta=0.01, FILE.py:NAME; else the papers'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
    input_size: Annotated[int, typer.Option(help="Inputs a step of --cell.")] = 1,
    hidden_size: Annotated[int, typer.Option(help="Hidden units of --cell.")] = 32,
    out: Annotated[Path | None, typer.Option(help="Folder for each one's dataset and picture.")] = None,
) -> None:
    """Check the papers' propositions: hypotheses, bound, measured value, verdict."""
    from dynlab import _check
    from dynlab.cli_theory_tables import detail, listed, summary
    from dynlab.theory import PROPOSITIONS, find_proposition

    where = "theory"
    _check.integer("--seed", seed, where, least=0)
    _check.integer("--input-size", input_size, where)
    _check.integer("--hidden-size", hidden_size, where)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    if everything and name is not None:
        raise ValueError(f"{where}: expected NAME or --all, got both")
    if not everything and name is None:
        if cell is not None or out is not None:
            raise ValueError(f"{where}: expected NAME or --all with --cell or --out, got neither")
        console.print(listed(PROPOSITIONS.values()))
        return
    chosen = list(PROPOSITIONS.values()) if name is None else [find_proposition(name)]
    built = None if cell is None else _cell(cell, input_size, hidden_size, seed)
    if out is not None:
        _writable(out)
    if name is not None:
        found = chosen[0].evaluate(built, seed=seed)
        for part in detail(found):
            console.print(part)
        findings = [found]
    else:
        findings, refused = _evaluated(chosen, built, seed)
        if not findings:
            why = refused[0] if refused else f"none is about a {type(built).__name__}"
            raise TypeError(f"{where}: expected a cell that a proposition can be evaluated on, got {cell}: {why}")
        console.print(summary(findings))
        for line in refused:
            console.print(f"not evaluated: {line}", style="dim", markup=False, highlight=False)
    if out is not None:
        for found in findings:
            _write(found, out)
        console.print(f"written: {out}", markup=False, highlight=False, soft_wrap=True)


# ---- evaluation ----------------------------------------------------------------------------------------------------


def _cell(spec: str, input_size: int, hidden_size: int, seed: int) -> Any:
    from dynlab.compare import seeded_cell

    return seeded_cell(spec, input_size, hidden_size, seed)


def _evaluated(chosen: list[Proposition], cell: Any, seed: int) -> tuple[list[xr.Dataset], list[str]]:
    """Findings, and why there is none of a proposition that the cell's kind does not rule out."""
    from dynlab.cells import registry

    findings: list[xr.Dataset] = []
    refused: list[str] = []
    with Console(stderr=True).status("") as status:
        for one in chosen:
            if cell is not None and not isinstance(cell, tuple(registry[key].cls for key in one.cells)):
                continue
            status.update(one.key)
            try:
                findings.append(one.evaluate(cell, seed=seed))
            except (TypeError, ValueError) as error:
                if cell is None:
                    raise
                refused.append(str(error))
    return findings, refused


def _writable(out: Path) -> None:
    probe = out / ".dynlab-write-test"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"theory: expected a folder that can be written to at {out}, got: {error.strerror}") from None


def _write(found: xr.Dataset, out: Path) -> None:
    from dynlab.plots.theory import theory_figure
    from dynlab.store import save_dataset

    key = found.attrs["proposition"]
    save_dataset(found, out / f"{key}.zarr")
    figure = theory_figure(found)
    if figure is not None:
        for kind in ("png", "pdf"):
            figure.savefig(out / f"{key}.{kind}")
