"""How far off UnICORNN's gradients are in float32: y stored, y unwound by Eq. (7), and the Python loop.

    python -m benchmarks.reconstruction [--quick] [--out FILE]

memory="reconstruct" needs no stored sequence, but the rounding errors of the way back add to those of the way there.
The truth is the Python loop in float64 on the same float32 weights and input terms. Numbers, not times: another
machine gives the same to within what the order of sums and the tanh at hand change.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import Report, machine, use_threads
from benchmarks.torch_recurrences import loop, scan
from dynlab import cells
from dynlab.native import library

BATCH, HIDDEN, FEATURES = 4, 32, 6
# dt and alpha; the last is the paper's for noise-padded CIFAR-10 (Table 6), the first has no restoring force.
SETTINGS = ((0.034, 0.0), (0.19, 30.0), (0.126, 13.0))
LENGTHS = (250, 1000, 4000, 17984)
GRADIENTS = ("dL/dw", "dL/dc", "dL/dx")
# What drives the units: the standard deviation of x (None: what V makes of normal inputs, about 0.18), w against its
# initial values. Stronger drive and larger w make the trajectory ill-conditioned: parametric driving, then chaos.
DRIVES = {
    "initial weights, normal inputs u (x about 0.18)": (None, 1.0),
    "initial w, normal input terms x": (1.0, 1.0),
    "five times the initial w, normal input terms x": (1.0, 5.0),
}
WAYS = ("store", "reconstruct", "torch loop")


@dataclass(frozen=True)
class Case:
    """A cell under a drive, and a linear loss with normal coefficients."""

    drive: str
    dt: float
    alpha: float
    steps: int
    every_step: bool
    seed: int = 0

    @property
    def setting(self) -> str:
        """For a table."""
        return f"dt = {self.dt:g}, alpha = {self.alpha:g}, N = {self.steps}"


def gradients(case: Case, way: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """dL/dw, dL/dc and dL/dx of a case by one of ``WAYS``, in float64 for the comparison."""
    torch.manual_seed(case.seed)
    cell = cells.UnICORNN(FEATURES, HIDDEN, dt=case.dt, alpha=case.alpha)
    scale, growth = DRIVES[case.drive]
    with torch.no_grad():
        x = cell.input_term(torch.randn(case.steps, BATCH, FEATURES))
        if scale is not None:
            x = scale * torch.randn(case.steps, BATCH, HIDDEN)
        cell.weight_hh *= growth
    x = x.to(dtype).requires_grad_()
    coefficients = torch.randn(case.steps if case.every_step else 1, BATCH, HIDDEN).to(dtype)
    cell = copy.deepcopy(cell).to(dtype)
    state = torch.zeros(BATCH, 2 * HIDDEN, dtype=dtype)
    if way == "torch loop":
        outputs = loop(cell, x, state)[-len(coefficients) :]
    else:
        cell.memory = way
        kept = scan(cell, x, state, "hidden" if case.every_step else "last", "native")
        outputs = kept if case.every_step else cell.hidden(kept)[None]
    found = torch.autograd.grad(outputs, [cell.weight_hh, cell.c, x], coefficients)
    return {name: value.double() for name, value in zip(GRADIENTS, found, strict=True)}


def errors(case: Case) -> dict[str, dict[str, float]]:
    """Relative errors in the Euclidean norm, by way and gradient."""
    truth = gradients(case, "torch loop", torch.float64)
    result = {}
    for way in WAYS:
        found = gradients(case, way)
        result[way] = {
            name: float(torch.linalg.vector_norm(found[name] - value) / torch.linalg.vector_norm(value))
            for name, value in truth.items()
        }
    return result


def largest(case: Case, seeds: int) -> dict[str, dict[str, float]]:
    """The largest of each error over some seeds."""
    each = [errors(replace(case, seed=seed)) for seed in range(seeds)]
    return {way: {name: max(one[way][name] for one in each) for name in GRADIENTS} for way in WAYS}


def compare(report: Report, drive: str, every_step: bool, lengths: Sequence[int], seeds: int) -> None:
    """One table, and a line on where storing pays and where no float32 gradient is to be trusted."""
    rows, storing_pays, nothing_serves = [], [], []
    for dt, alpha in SETTINGS:
        for steps in lengths:
            case = Case(drive, dt, alpha, steps, every_step)
            found = largest(case, seeds)
            rows.append((case.setting, *(" / ".join(f"{found[way][name]:.0e}" for way in WAYS) for name in GRADIENTS)))
            pairs = [(found["reconstruct"][name], found["store"][name]) for name in GRADIENTS]
            if any(not stored <= 1e-2 for _, stored in pairs):
                nothing_serves.append(case.setting)
            elif any(not lossy <= max(5 * stored, 1e-5) for lossy, stored in pairs):
                storing_pays.append(case.setting)
    when = "at every step" if every_step else "at the last step only"
    report.table(f"{drive}; loss {when}: {' / '.join(WAYS)}", ("", *GRADIENTS), rows)
    report.note(
        f"Reconstructed more than five times worse than stored: {'; '.join(storing_pays) or 'nowhere'}. "
        f"Stored and off by more than 1 %: {'; '.join(nothing_serves) or 'nowhere'}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconstruction", description=description)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="N = 50 and 100, one seed: a look, no result")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to this file, as Markdown")
    given = parser.parse_args(arguments)
    use_threads(given.threads)
    if not (status := library.status("cpu")).available:
        print(f"benchmarks: expected native code to measure: {status.reason}", file=sys.stderr)
        return 2
    lengths, seeds = ((50, 100), 1) if given.quick else (LENGTHS, given.seeds)
    report = Report()
    for line in machine(given.threads, apart=False):
        report.note(line)
    report.note(
        f"UnICORNN({FEATURES}, {HIDDEN}), batch {BATCH}, a linear loss of y with normal coefficients. Relative error "
        "in the Euclidean norm of gradients in float32, against the Python loop in float64 with the same weights; the "
        f"largest over {seeds} seeds. store and reconstruct: dynlab's native code ({status.instruction_set} build) "
        "with that memory=; torch loop: autograd through a Python loop. An error near 1 or above says that the "
        "trajectory is so ill-conditioned that rounding alone leads elsewhere, however the gradient is computed."
    )
    for drive in DRIVES:
        for every_step in (False, True):
            compare(report, drive, every_step, lengths, seeds)
    if given.out:
        report.write(given.out, 'Gradients of UnICORNN with memory="reconstruct"')
        report.console.print(f"written to {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
