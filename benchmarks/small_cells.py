"""Dense cells of moderate size: what forming their step Jacobians saves, and LAPACK's singular values.

    python -m benchmarks.small_cells [--quick] [--write]

A cell of 64 units spends its time on calls and not on numbers. dynlab therefore forms the step Jacobians of small
cells, many steps at once, and keeps them for the next sweep of the same record (``dynlab/trace.py``); those of larger
ones are formed each when it is used, where that is quicker (``dynlab/jacobian/step.py``). All ways are timed here side
by side in one process, and must give the same numbers.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import torch

import dynlab
import dynlab.trace
from benchmarks.timing import Report, machine, median_seconds, use_threads
from dynlab.cell import derive_once
from dynlab.jacobian import singular, step
from dynlab.jacobian.graded import graded_sweep
from dynlab.jacobian.sweep import adjoint_sweep
from dynlab.trace import Trace, rollout

RESULTS = Path(__file__).parent / "results" / "small_cells.md"
CELLS = ("elman", "antisymmetric", "irnn:K=1", "irnn:K=5", "gru", "lstm")
SIZES = ((16, 4), (64, 1), (64, 4), (64, 8), (128, 2), (128, 16))
"""Size of the state and batch; all but the last are small enough to be formed together. An LSTM has half the units."""


def trace_of(spec: str, size: int, steps: int, batch: int) -> Trace:
    """A rollout on noise of a cell with a state of this size."""
    torch.manual_seed(0)
    cell = dynlab.build_cell(spec, 1, size // 2 if spec == "lstm" else size)
    with torch.no_grad():
        return rollout(cell, torch.randn(steps, batch, 1))


def swept(trace: Trace, together: int, one_by_one: int, again: bool = False) -> torch.Tensor:
    """log norm of d state_T / d state_0; the Jacobians formed have at most so many bytes, so many rows."""
    with (
        mock.patch.object(dynlab.trace, "FORMED_BYTES", together),
        mock.patch.object(step, "FORMED_SIZE", one_by_one),
        derive_once(),
    ):
        if not again:
            trace.__dict__.pop("_formed", None)  # what an earlier sweep has left
        return adjoint_sweep(trace, []).log_frobenius()


def sweeps(report: Report, steps: int, rounds: int) -> None:
    """Milliseconds a step of an adjoint sweep over all rows of the state."""
    rows = []
    together, one_by_one = dynlab.trace.FORMED_BYTES, step.FORMED_SIZE
    for spec in CELLS:
        for size, batch in SIZES:
            trace = trace_of(spec, size, steps, batch)
            ways = {
                "structured": partial(swept, trace, 0, 0),
                "formed one by one": partial(swept, trace, 0, one_by_one),
                "together": partial(swept, trace, together, one_by_one),
                "before": partial(swept, trace, together, one_by_one, True),
            }
            found = {name: way() for name, way in ways.items()}
            off = max(float((found[name] - found["structured"]).abs().max()) for name in found)
            seconds = median_seconds(ways, rounds)
            times = [f"{1e3 * seconds[name] / steps:.3f}" for name in ways]
            ratios = [f"{seconds['structured'] / seconds[name]:.1f}" for name in list(ways)[1:]]
            rows.append((spec, str(size), str(batch), *times, *ratios, f"{off:.0e}"))
    columns = ("cell", "state", "batch", "structured", "formed one by one", "together", "before", "ratio", "ratio",
               "ratio", "difference of log norm")  # fmt: skip
    report.table(f"An adjoint sweep, T = {steps}, milliseconds a step", columns, rows)


def singular_values(report: Report, hidden: int, steps: int, rounds: int) -> None:
    """Of d state_T / d state_0, once the product is there as U exp(D) V."""
    rows = []
    for spec in ("irnn:K=5", "antisymmetric:gamma=1,epsilon=0.1", "gru", "elman", "lstm"):
        for length in (steps, 10 * steps):
            trace = trace_of(spec, hidden if spec != "lstm" else 2 * hidden, length, 2)
            *_, (_, product) = graded_sweep(trace, trace.cell.state_size, full=True)
            right, scale = product.right, product.log_scale
            assert right is not None and scale is not None
            ways = {
                "rotations": lambda right=right, scale=scale: plain_rotations(right, scale),
                "dynlab": lambda right=right, scale=scale: singular.log_singular_values_of_rows(right, scale),
            }
            found = {name: way() for name, way in ways.items()}
            off = float((found["dynlab"] - found["rotations"]).abs().max())
            seconds = median_seconds(ways, rounds)
            span = float((scale.amax(-1) - scale.amin(-1)).max())
            rows.append((spec, str(trace.cell.state_size), str(length), f"{span:.0f}",
                         *(f"{1e3 * seconds[name]:.1f}" for name in ways),
                         f"{seconds['rotations'] / seconds['dynlab']:.0f}", f"{off:.0e}"))  # fmt: skip
    columns = ("cell", "state", "T", "span [nat]", "rotations ms", "dynlab ms", "ratio", "difference [nat]")
    report.table("Singular values of a product, batch 2, milliseconds", columns, rows)


def plain_rotations(right: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """One-sided Jacobi on the rows as they come, vectorised over disjoint pairs."""
    with mock.patch.object(singular, "STEPS_BEFORE", 0):
        return singular._by_rotations(right, scale)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.small_cells", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--T", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--quick", action="store_true", help="T = 20, 16 units for singular values, 2 rounds: a look, no result"
    )
    parser.add_argument("--write", action="store_true", help=f"write the tables to benchmarks/results/{RESULTS.name}")
    given = parser.parse_args(arguments)
    use_threads(given.threads)
    steps, hidden, rounds = (20, 16, 2) if given.quick else (given.T, 64, given.rounds)
    gc.freeze()  # else each collection before a timing would walk through all that was imported
    report = Report()
    for line in machine(given.threads, apart=False):
        report.note(line)
    report.note(f"float32, medians of {rounds} interleaved rounds; ratios: how many times faster.")
    sweeps(report, steps, rounds)
    singular_values(report, hidden, steps, min(rounds, 3))
    if given.write:
        report.write(RESULTS, "Dense cells of moderate size")
        report.console.print(f"written to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
