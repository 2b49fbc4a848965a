"""Memory that forward and backward passes need beyond inputs, outputs and their gradients, as sequences grow.

    python -m benchmarks.memory [--quick] [--out FILE]

Counted, not sampled: torch's profiler reports every allocation of torch's CPU allocator in order, through which the
native code's memory goes too (its own stack and the BLAS's packing buffers do not depend on T). The peak of the
running sum, less what is left when the gradients have been made (the outputs and the gradients), is what a user pays
on top. A loop also leaves nodes of the autograd graph, which torch allocates elsewhere: the resident memory, measured
in fresh processes for the longest sequences, shows them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Report, machine, peak_extra_memory, use_threads
from benchmarks.torch_recurrences import loop, parameters_of, scan
from dynlab import cells
from dynlab.cell import Cell, Keep
from dynlab.native import library

BATCH, HIDDEN = 16, 64
MIB = 2**20
# The profiler holds more than a hundred events a step of a loop.
LONGEST_LOOP = 4000


class Contender(NamedTuple):
    """A cell, and how it is run: what ``scan`` is asked to keep, natively or as a loop."""

    build: Callable[[], Cell]
    keep: Keep = "hidden"
    loop: bool = False


CONTENDERS: dict[str, Contender] = {
    "UnICORNN, store": Contender(lambda: cells.UnICORNN(1, HIDDEN)),
    'UnICORNN, store, keep="last"': Contender(lambda: cells.UnICORNN(1, HIDDEN), "last"),
    'UnICORNN, reconstruct, keep="last"': Contender(lambda: cells.UnICORNN(1, HIDDEN, memory="reconstruct"), "last"),
    "AntisymmetricRNN": Contender(lambda: cells.AntisymmetricRNN(1, HIDDEN)),
    "iRNN, K = 5": Contender(lambda: cells.IncrementalRNN(1, HIDDEN, 5, nonlinearity="tanh")),
    "UnICORNN, torch loop": Contender(lambda: cells.UnICORNN(1, HIDDEN), loop=True),
    "AntisymmetricRNN, torch loop": Contender(lambda: cells.AntisymmetricRNN(1, HIDDEN), loop=True),
}


def prepare_run(name: str, steps: int) -> Callable[[], tuple[Tensor, ...]]:
    """A forward and backward pass that gives the outputs and all gradients; what it starts from is made here."""
    contender = CONTENDERS[name]
    torch.manual_seed(0)
    cell = contender.build()
    x = torch.randn(steps, BATCH, HIDDEN, requires_grad=True)
    state = torch.zeros(BATCH, cell.state_size, requires_grad=True)
    parameters = parameters_of(cell).values()
    cotangent = torch.randn(BATCH, cell.state_size) if contender.keep == "last" else torch.randn(steps, BATCH, HIDDEN)

    def run() -> tuple[Tensor, ...]:
        if contender.loop:
            outputs = loop(cell, x, state)
        else:
            outputs = scan(cell, x, state, contender.keep, "native")
        return outputs.detach(), *torch.autograd.grad(outputs, [x, state, *parameters], cotangent)

    return run


def counted_bytes(run: Callable[[], Any]) -> tuple[int, int]:
    """The most bytes of torch's CPU allocator that a run holds at a time, and those it leaves in its result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = run()
    results = recorded.profiler.kineto_results  # type: ignore[union-attr]
    changes = [event for event in results.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    del result
    return peak, held


def extra_bytes(name: str, steps: int) -> int:
    """What a pass needs beyond its inputs, outputs and their gradients."""
    peak, left = counted_bytes(prepare_run(name, steps))
    return peak - left


def resident_extra(name: str, steps: int, threads: int) -> float:
    """The same in MiB, as the resident memory of a fresh process shows it."""
    grown = peak_extra_memory(prepare_run, (name, 20), (name, steps), threads)
    left = sum(tensor.untyped_storage().nbytes() for tensor in _shapes_of(name, steps))
    return grown - left / MIB


def _shapes_of(name: str, steps: int) -> list[Tensor]:
    """Tensors without memory, of the sizes of outputs and gradients."""
    contender = CONTENDERS[name]
    cell = contender.build()
    sequence = torch.empty(steps, BATCH, HIDDEN, device="meta")
    state = torch.empty(BATCH, cell.state_size, device="meta")
    return [state if contender.keep == "last" else sequence, sequence, state, *parameters_of(cell).values()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=description)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="short sequences: a look, no result")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to this file, as Markdown")
    given = parser.parse_args(arguments)
    use_threads(given.threads)
    if not (status := library.status("cpu")).available:
        print(f"benchmarks: expected native code to measure: {status.reason}", file=sys.stderr)
        return 2
    lengths = [50, 100] if given.quick else [250 * 2**i for i in range(7)]
    longest_loop = 50 if given.quick else LONGEST_LOOP
    report = Report()
    for line in machine(given.threads, apart=False):
        report.note(line)
    report.note(
        f"Batch {BATCH}, {HIDDEN} units, float32. Forward and backward pass, gradients of the input terms x, the "
        "parameters of the recurrence and the initial state. MiB that are allocated at the peak beyond inputs, outputs "
        "and their gradients, summed over every allocation of torch's CPU allocator as its profiler reports them; in "
        f'the last column, sequences of the size of x. keep="last": only the last state is wanted; else every hidden '
        f"state is an output. Loops stop at T = {longest_loop}: the profiler's own memory."
    )
    rows = []
    for name, contender in CONTENDERS.items():
        reached = [steps for steps in lengths if not contender.loop or steps <= longest_loop]
        extra = [extra_bytes(name, steps) for steps in reached]
        sequences = extra[-1] / (4 * reached[-1] * BATCH * HIDDEN)
        empty = [""] * (len(lengths) - len(reached))
        rows.append((name, *(f"{value / MIB:.2f}" for value in extra), *empty, f"{sequences:.2f}"))
    columns = ("contender", *(f"T = {steps}" for steps in lengths), "x")
    report.table("Memory beyond inputs, outputs and their gradients, MiB", columns, rows)
    checked = list(CONTENDERS)[:1] if given.quick else list(CONTENDERS)
    steps = lengths[-1]
    resident = [(name, f"{resident_extra(name, steps, given.threads):.1f}") for name in checked]
    report.note(
        f"The same for T = {steps} as the operating system sees it: growth of the peak resident memory over one run in "
        "a fresh process, less outputs and gradients. It contains the nodes of the autograd graph, the BLAS's buffers "
        "and what the C library holds back, and can miss what lies in memory that the process had before."
    )
    report.table(f"Resident memory, T = {steps}", ("contender", "MiB"), resident)
    if given.out:
        report.write(given.out, "Memory")
        report.console.print(f"written to {given.out}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    sys.exit(main())
