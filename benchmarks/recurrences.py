"""Forward and backward passes of the recurrences: native code, Python loops, JAX's scans, torch.nn's LSTM, GRU and RNN.

    python -m benchmarks.recurrences [--quick] [--only NAME] [--out FILE] [--device cuda]

Every contender is given the input terms x (time, batch, unit) and makes its outputs, and from a fixed random cotangent
the gradients of x, the parameters and the initial state; those of torch.nn are given inputs of the same width and
multiply them by their input weights besides. All in float32. Before anything is timed, all contenders of a model are
compared with the loop in float64 at a small size.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import Report, machine, median_seconds, seconds_apart, use_threads
from benchmarks.torch_recurrences import loop, parameters_of, scan
from dynlab import cells
from dynlab.backend import Backend
from dynlab.cell import Cell, Keep
from dynlab.native import library

LOW_RANK = "iRNN, K = 5, U = I + V H"
MODELS: dict[str, Callable[[int], Cell]] = {
    "UnICORNN": lambda d: cells.UnICORNN(1, d),
    "iRNN, K = 1": lambda d: cells.IncrementalRNN(1, d, 1, nonlinearity="tanh"),
    "iRNN, K = 5": lambda d: cells.IncrementalRNN(1, d, 5, nonlinearity="tanh"),
    LOW_RANK: lambda d: cells.IncrementalRNN(1, d, 5, nonlinearity="tanh", recurrent="identity_plus_low_rank"),
    "AntisymmetricRNN": lambda d: cells.AntisymmetricRNN(1, d),
    "AntisymmetricRNN, gated": lambda d: cells.AntisymmetricRNN(1, d, gated=True),
}
Shape = tuple[int, int, int]
OSCILLATORS: tuple[Shape, ...] = ((784, 64, 128), (1000, 128, 256), (17984, 8, 32))
MATRICES: tuple[Shape, ...] = ((784, 64, 128), (1000, 128, 128))
SATURATING: Shape = (1000, 1024, 512)  # on CUDA: enough independent units for every multiprocessor
CHECKED: Shape = (40, 3, 8)
TOLERANCE = 1e-3  # iRNN's few etas have gradients in which much cancels
# Contenders that need more than a second take this many rounds.
FEW = 3


class Problem(NamedTuple):
    """A cell, what it is given, and the cotangents of its outputs (t, b, d) and of its last state (b, n)."""

    cell: Cell
    x: Tensor
    state: Tensor
    cotangent: Tensor
    last_cotangent: Tensor

    def double(self) -> Problem:
        """The same numbers in float64, on the CPU."""
        x, state = (tensor.detach().cpu().double().requires_grad_() for tensor in (self.x, self.state))
        cotangents = (tensor.cpu().double() for tensor in (self.cotangent, self.last_cotangent))
        return Problem(copy.deepcopy(self.cell).cpu().double(), x, state, *cotangents)


@dataclass(frozen=True)
class Case:
    """One model at one size; the same arguments give the same numbers in every process."""

    model: str
    steps: int
    batch: int
    hidden: int
    device: str = "cpu"

    @lru_cache(maxsize=1)  # noqa: B019 (cases live as long as the program)
    def make(self) -> Problem:
        """The cell with its initial weights, and normal input terms."""
        torch.manual_seed(0)
        cell = MODELS[self.model](self.hidden)
        columns = 2 * self.hidden if getattr(cell, "gated", False) else self.hidden
        x = torch.randn(self.steps, self.batch, columns)
        state = 0.1 * torch.randn(self.batch, cell.state_size)
        cotangents = torch.randn(self.steps, self.batch, self.hidden), torch.randn(self.batch, cell.state_size)
        x, state = (tensor.to(self.device).requires_grad_() for tensor in (x, state))
        return Problem(cell.to(self.device), x, state, *(tensor.to(self.device) for tensor in cotangents))


class Run(NamedTuple):
    """What is timed, and what makes named float64 arrays of its result (None: nothing to compare)."""

    run: Callable[[], Any]
    take: Callable[[Any], dict[str, np.ndarray]] | None = None


class Contender(NamedTuple):
    """A way to run a model.

    Attributes:
        prepare: gives the run. streams: sequences as long as x that it must at least read or write.
        last: it keeps the last state only, and its loss depends on nothing else.
    """

    prepare: Callable[[Case], Run]
    streams: int | None = None
    last: bool = False


# ---- contenders -----------------------------------------------------------------------------------------------------


def _named(problem: Problem, result: tuple[Tensor, tuple[Tensor, ...]]) -> dict[str, np.ndarray]:
    outputs, gradients = result
    names = ("outputs", "x", "state", *parameters_of(problem.cell))
    return {
        name: value.detach().cpu().double().numpy() for name, value in zip(names, (outputs, *gradients), strict=True)
    }


def _differentiated(problem: Problem, forward: Callable[[], Tensor], last: bool = False) -> Run:
    """A forward pass in torch, and the gradients of sum(outputs * cotangent).

    The cotangent is handed to the backward pass: making the loss and its derivative would be passes over memory that
    have nothing to do with the recurrence.
    """
    sources = [problem.x, problem.state, *parameters_of(problem.cell).values()]
    cotangent = problem.last_cotangent if last else problem.cotangent

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs = forward()
        return outputs, torch.autograd.grad(outputs, sources, cotangent)

    return Run(run, partial(_named, problem))


def _dynlab(case: Case, backend: Backend = "native", keep: Keep = "hidden", memory: str | None = None) -> Run:
    problem = case.make()
    cell = problem.cell

    def forward() -> Tensor:
        if memory is not None:
            cell.memory = memory
        return scan(cell, problem.x, problem.state, keep, backend)

    return _differentiated(problem, forward, keep == "last")


def _loop(case: Case) -> Run:
    problem = case.make()
    return _differentiated(problem, lambda: loop(problem.cell, problem.x, problem.state))


def _jax(case: Case, by_hand: bool = False) -> Run:
    import jax
    import jax.numpy as jnp

    from benchmarks.jax_models import to_jax
    from benchmarks.jax_recurrences import gradients_of

    problem = case.make()
    parameters = {name: to_jax(value) for name, value in parameters_of(problem.cell).items()}
    arguments = parameters, to_jax(problem.x), to_jax(problem.state), to_jax(problem.cotangent)
    compiled = jax.jit(gradients_of(problem.cell, by_hand)).lower(*arguments).compile()

    def take(result: Any) -> dict[str, np.ndarray]:
        outputs, gradients, x, state = result
        named = {"outputs": outputs, "x": x, "state": state, **gradients}
        return {name: np.asarray(value, jnp.float64) for name, value in named.items()}

    return Run(lambda: jax.block_until_ready(compiled(*arguments)), take)


def _torch_nn(case: Case, kind: str) -> Run:
    problem = case.make()
    module = getattr(nn, kind)(case.hidden, case.hidden).to(case.device)
    x = problem.x.detach()[..., : case.hidden].contiguous().requires_grad_()
    start = problem.state.detach()[None, :, : case.hidden].contiguous().requires_grad_()
    state: Any = (start, start.detach().clone().requires_grad_()) if kind == "LSTM" else start
    sources = [x, *module.parameters(), *(state if kind == "LSTM" else (state,))]

    def run() -> Any:
        outputs = module(x, state)[0]
        return outputs, torch.autograd.grad(outputs, sources, problem.cotangent)

    return Run(run)


def _clone(case: Case) -> Run:
    x = case.make().x.detach()
    return Run(lambda: x.clone())


def _copy(case: Case) -> Run:
    x = case.make().x.detach()
    to = torch.zeros_like(x)
    return Run(lambda: to.copy_(x))


def _products(case: Case) -> Run:
    """As many multiplications as the recurrence and its backward pass need, in products as large as can be."""
    cell, rows = MODELS[case.model](case.hidden), case.steps * case.batch
    weights = [
        value.detach().to(case.device)
        for name, value in cell.named_parameters()
        if value.dim() == 2 and not name.startswith("weight_ih")
    ] or [torch.randn(case.hidden, case.hidden, device=case.device)]
    times = 3 * getattr(cell, "K", 1)
    pairs = [(torch.randn(rows, weight.shape[1], device=case.device), weight.T) for weight in weights]
    outs = [left @ right for left, right in pairs]

    def run() -> None:
        for _ in range(times):
            for (left, right), out in zip(pairs, outs, strict=True):
                torch.mm(left, right, out=out)

    return Run(run)


STORE = "dynlab, store"
CLONE = "one clone of x"
COPY = "x copied to where something was"
JAX = {
    "JAX lax.scan, jax.vjp": Contender(_jax),
    "JAX lax.scan, reverse scan by hand": Contender(partial(_jax, by_hand=True)),
}
UNICORNN: dict[str, Contender] = {
    # Reads x, writes y; reads x, y and dL/dy, writes dL/dx.
    STORE: Contender(partial(_dynlab, memory="store"), 6),
    "dynlab, reconstruct": Contender(partial(_dynlab, memory="reconstruct"), 5),
    'dynlab, store, keep="last"': Contender(partial(_dynlab, memory="store", keep="last"), 5, last=True),
    'dynlab, reconstruct, keep="last"': Contender(partial(_dynlab, memory="reconstruct", keep="last"), 3, last=True),
    CLONE: Contender(_clone, 2),
    COPY: Contender(_copy, 2),
    "dynlab, reference backend": Contender(partial(_dynlab, backend="reference")),
    "torch loop": Contender(_loop),
    **JAX,
    **{f"torch.nn.{kind}": Contender(partial(_torch_nn, kind=kind)) for kind in ("LSTM", "GRU", "RNN")},
}
MATRIX: dict[str, Contender] = {
    "dynlab": Contender(_dynlab),
    "its matrix products, all steps at once": Contender(_products),
    "dynlab, reference backend": Contender(partial(_dynlab, backend="reference")),
    "torch loop": Contender(_loop),
    **dict(list(JAX.items())[:1]),
    **{f"torch.nn.{kind}": Contender(partial(_torch_nn, kind=kind)) for kind in ("RNN", "LSTM")},
}


def contenders_of(case: Case) -> dict[str, Contender]:
    """All that run this model on this device; JAX is compared with on the CPU."""
    found = UNICORNN if case.model == "UnICORNN" else MATRIX
    return {name: one for name, one in found.items() if case.device == "cpu" or not name.startswith("JAX")}


@lru_cache
def prepared(name: str, case: Case) -> Run:
    """A contender ready to run."""
    return contenders_of(case)[name].prepare(case)


def prepare_run(name: str, case: Case) -> Callable[[], Any]:
    """The run of one contender, for a process of its own."""
    return prepared(name, case).run


# ---- checks, times, tables ------------------------------------------------------------------------------------------


def disagreement(case: Case) -> dict[str, float]:
    """Of each contender that runs the model, the largest relative error of outputs or a gradient; truth in float64."""
    truth = case.make().double()
    sources = [truth.x, truth.state, *parameters_of(truth.cell).values()]
    states = scan(truth.cell, truth.x, truth.state, "states", "reference")
    outputs, last = truth.cell.hidden(states[1:]), states[-1]
    every = _named(truth, (outputs, torch.autograd.grad(outputs, sources, truth.cotangent, retain_graph=True)))
    end = _named(truth, (last, torch.autograd.grad(last, sources, truth.last_cotangent)))
    errors = {}
    for name, contender in contenders_of(case).items():
        one = prepared(name, case)
        if one.take is None:
            continue
        expected, found = end if contender.last else every, one.take(one.run())
        errors[name] = max(
            float(np.linalg.norm(found[key] - value) / np.linalg.norm(value)) for key, value in expected.items()
        )
    return errors


def check(report: Report, case: Case) -> None:
    """A line on how far the contenders are apart, with a warning where that is too much."""
    errors = disagreement(case)
    shape = (case.steps, case.batch, case.hidden)
    if worst := [f"{name}: {value:.1e}" for name, value in errors.items() if not value < TOLERANCE]:
        report.note(f"WARNING, {case.model} at {shape}: contenders disagree: {'; '.join(worst)}")
    report.note(
        f"{case.model}: at {shape} the outputs and gradients of all its contenders agree with float64 to "
        f"{max(errors.values()):.0e}."
    )


def compare(report: Report, case: Case, rounds: int, threads: int, apart: bool) -> None:
    """One table for the CPU."""
    contenders = contenders_of(case)
    if apart:
        arguments = {name: (name, case) for name in contenders}
        taken = seconds_apart(prepare_run, arguments, rounds, threads, few=min(rounds, FEW))
        seconds = {name: statistics.median(values) for name, values in taken.items()}
        counts = {name: len(values) for name, values in taken.items()}
    else:
        runs = {name: prepare_run(name, case) for name in contenders}
        gc.freeze()  # or else looking through what jax and torch hold takes most of the time
        seconds = median_seconds(runs, rounds)
        counts = dict.fromkeys(contenders, rounds)
    first = next(iter(contenders))
    rows = []
    for name, one in contenders.items():
        row = [name, f"{1e3 * seconds[name]:.2f}", f"{seconds[name] / seconds[first]:.2f}"]
        if CLONE in contenders:
            row += [f"{seconds[name] / seconds[CLONE]:.1f}", f"{one.streams / 2:.1f}" if one.streams else ""]
        rows.append((*row, str(counts[name])))
    extra = ("clones of x", "at least") if CLONE in contenders else ()
    report.table(title_of(case), ("contender", "median ms", f"ratio to {first}", *extra, "rounds"), rows)


def device_seconds(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of a run on the current CUDA device; those that run out of memory are left out.

    CUDA events around runs that follow each other without waiting, in interleaved rounds. Where Python launches more
    slowly than the device computes, that is what is measured, as it is what a user waits for.
    """

    def timed(run: Callable[[], Any], repeats: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3 / repeats

    repeats = {}
    for name, run in runs.items():
        try:
            timed(run, 1)  # loads, compiles, allocates
            repeats[name] = max(1, min(50, int(0.05 / timed(run, 1))))
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
    seconds: dict[str, list[float]] = {name: [] for name in repeats}
    for index in range(rounds):
        for name, count in repeats.items():
            if index < FEW or statistics.median(seconds[name]) < 1:
                seconds[name].append(timed(runs[name], count))
    return {name: statistics.median(values) for name, values in seconds.items()}


def copy_bandwidth(rounds: int) -> float:
    """Bytes a second that one large copy on the device reads and writes together."""
    free, _ = torch.cuda.mem_get_info()
    source = torch.zeros(min(2**30, free // 4), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = device_seconds({"copy": lambda: target.copy_(source)}, rounds)["copy"]
    return 2 * source.numel() / seconds


def compare_on_device(report: Report, case: Case, rounds: int, bandwidth: float) -> None:
    """One table for CUDA."""
    contenders = contenders_of(case)
    seconds = device_seconds({name: one.prepare(case).run for name, one in contenders.items()}, rounds)
    first = next(iter(contenders))
    extra = ("of the copy bandwidth",) if CLONE in contenders else ()
    rows = []
    for name, one in contenders.items():
        if name not in seconds:
            rows.append((name, "out of memory", "", "", *("" for _ in extra)))
            continue
        row = [name, f"{1e3 * seconds[name]:.3f}", f"{seconds[name] / seconds[first]:.2f}" if first in seconds else ""]
        row.append(f"{1e6 * seconds[name] / case.steps:.3f}")
        if extra:
            moved = (one.streams or 0) * 4 * case.steps * case.batch * case.hidden
            row.append(f"{100 * moved / seconds[name] / bandwidth:.0f} %" if moved else "")
        rows.append(tuple(row))
    report.table(title_of(case), ("contender", "median ms", f"ratio to {first}", "µs a step", *extra), rows)


def title_of(case: Case) -> str:
    """What a table is called, and what --only looks through."""
    return f"{case.model}: N = {case.steps}, batch {case.batch}, {case.hidden} units"


def cases(device: str, quick: bool) -> list[Case]:
    """What is measured."""
    found = []
    for model in MODELS:
        shapes = OSCILLATORS if model == "UnICORNN" else MATRICES
        if device == "cuda" and model == "UnICORNN":
            shapes += (SATURATING,)
        if quick:
            shapes = (CHECKED,)
        found += [Case(model, *shape, device) for shape in shapes]
    return found


def explain(report: Report, device: str, rounds: int) -> None:
    """What the numbers mean."""
    report.note(
        "Forward and backward pass in float32: the outputs, and the gradients of the input terms x, the parameters of "
        f"the recurrence and the initial state. Medians of {rounds} interleaved rounds, of {min(rounds, FEW)} where a "
        "run takes more than a second; compilation is not in the times. The torch.nn modules have as many units and "
        "inputs of the same width; they alone multiply the inputs by their input weights. The torch loop is written "
        "for speed (benchmarks/torch_recurrences.py); the reference backend is dynlab's loop over Cell.advance."
    )
    report.note(
        "The least that UnICORNN has to move through memory, in sequences of the size of x: with store the forward "
        "pass reads x and writes y, the backward pass reads x, y and dL/dy and writes dL/dx, 6 in all; with "
        "reconstruct y is not read, 5. A clone reads one and writes one, so these are 3 and 2.5 clones. With the loss "
        'at the end and keep="last" there is no dL/dy: 5 and, where y is not stored either, 3. A clone allocates its '
        "result as the others do: fresh memory comes in pages of 4 KiB, each cleared as it is first written, which "
        "can take longer than the copy itself; dynlab asks for huge pages. Both copies find x in the cache where that "
        "fits."
    )
    if device == "cpu":
        report.note(f"dynlab's kernels: the {library.status('cpu').instruction_set} build.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recurrences", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", metavar="NAME", help='tables whose title has this in it, say "unicornn"')
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one process, one thread: a look, no result")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to this file, as Markdown")
    given = parser.parse_args(arguments)
    if given.quick:  # in one process the thread pools of torch and XLA would wait for each other
        given.threads = 1
    wanted = [case for case in cases(given.device, given.quick) if given.only.lower() in title_of(case).lower()]
    if not wanted:
        print(f"benchmarks: expected --only to name a table, got {given.only!r}", file=sys.stderr)
        return 2
    use_threads(given.threads)
    if given.device == "cpu":
        try:
            import jax  # noqa: F401
        except ImportError:
            print('benchmarks: expected jax, which is compared with: pip install "dynlab[benchmark]"', file=sys.stderr)
            return 2
    if not (status := library.status(given.device)).available:
        print(f"benchmarks: expected native code to measure: {status.reason}", file=sys.stderr)
        return 2
    rounds = 2 if given.quick else given.rounds
    report = Report()
    for line in machine(given.threads, apart=given.device == "cpu" and not given.quick):
        report.note(line)
    bandwidth = 0.0
    if given.device == "cuda":
        bandwidth = copy_bandwidth(rounds)
        report.note(
            f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}; a "
            f"large copy moves {bandwidth / 1e9:.0f} GB/s, read and written. torch's defaults: cuDNN may use TF32, "
            "products of torch may not. Times are of CUDA events around runs that follow each other."
        )
    explain(report, given.device, rounds)
    for model in dict.fromkeys(case.model for case in wanted):
        check(report, Case(model, *CHECKED, given.device))
    for case in wanted:
        if given.device == "cuda":
            compare_on_device(report, case, rounds, bandwidth)
        else:
            compare(report, case, rounds, given.threads, apart=not given.quick)
    if given.out:
        report.write(given.out, "Recurrences")
        report.console.print(f"written to {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
