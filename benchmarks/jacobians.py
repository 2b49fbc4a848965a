"""Jacobians of long products: dynlab's sweeps, and what a user would write with autodiff in PyTorch or JAX.

    python -m benchmarks.jacobians [--quick] [--write]

Every contender computes the same numbers along the same trajectory, which is checked before anything is timed.
All in float32 on the CPU. Everything starts from the inputs except what is marked "trace given", which starts from
the states.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import dynlab
from benchmarks.timing import Report, machine, median_seconds, median_seconds_apart, peak_extra_memory, use_threads
from dynlab import cells, probes
from dynlab.cell import Cell, derive_once
from dynlab.jacobian.matmul import add_product
from dynlab.jacobian.product import Product
from dynlab.jacobian.sweep import adjoint_sweep
from dynlab.trace import Trace, rollout

RESULTS = Path(__file__).parent / "results" / "jacobians.md"
FEATURES = 8
LOW_RANK = "iRNN, K = 5, U = I + V H"
# With the default eta of 0.01 the iRNN's product is about e^-105 at T = 1000: autodiff in float32 then gives zeros, and
# denormal numbers slow it down.
IRNN: dict[str, Any] = {"K": 5, "nonlinearity": "tanh", "eta": 0.001}
CELLS: dict[str, Callable[[int], Cell]] = {
    "AntisymmetricRNN": lambda d: cells.AntisymmetricRNN(FEATURES, d),
    "iRNN, K = 5": lambda d: cells.IncrementalRNN(FEATURES, d, **IRNN),
    LOW_RANK: lambda d: cells.IncrementalRNN(FEATURES, d, recurrent="identity_plus_low_rank", **IRNN),
    "UnICORNN": lambda d: cells.UnICORNN(FEATURES, d),
}


@dataclass(frozen=True)
class Case:
    """One cell at one size; the same arguments give the same weights and inputs in every process."""

    cell: str
    hidden: int
    steps: int
    batch: int

    @lru_cache(maxsize=1)  # noqa: B019 (cases live as long as the program)
    def make(self) -> tuple[Cell, torch.Tensor]:
        """The cell and its inputs, (time, batch, feature)."""
        torch.manual_seed(0)
        cell = CELLS[self.cell](self.hidden).requires_grad_(False)
        return cell, torch.randn(self.steps, self.batch, FEATURES)

    @lru_cache(maxsize=1)  # noqa: B019
    def trace(self) -> Trace:
        """Its rollout."""
        with derive_once():
            return rollout(*self.make())


class Contender(NamedTuple):
    """What is timed: ``run``; ``take`` makes the compared numbers of its result; seconds spent compiling."""

    run: Callable[[], Any]
    take: Callable[[Any], Any]
    compiled: float = 0.0


# ---- contenders: all t gives log |d state_T / d state_t|_F, (t, b); end to end gives d state_T / d state_0 ----------


def _record(case: Case, **options: Any) -> Contender:
    cell, inputs = case.make()
    probe, rows = probes.GradientNorm(**options), math.log(cell.state_size) / 2
    return Contender(
        lambda: dynlab.record(cell, inputs, [probe]), lambda found: found["log_gradient_norm"].values[:-1] + rows
    )


def _sweep_all(case: Case) -> Contender:
    trace = case.trace()
    rows = math.log(trace.cell.state_size) / 2

    def run() -> torch.Tensor:
        observer = probes.GradientNorm().observe(trace)
        with derive_once():
            adjoint_sweep(trace, [observer])
        return observer.variables()[0].values

    return Contender(run, lambda values: values[:-1].numpy() + rows)


def _sweep_end(case: Case, given: bool = True) -> Contender:
    cell, inputs = case.make()
    trace = case.trace()

    def run() -> Product:
        with derive_once():
            return adjoint_sweep(trace if given else rollout(cell, inputs), [])

    def take(product: Product) -> np.ndarray:
        matrix, log_scale = product.to_dense()
        return (matrix * log_scale.exp()[:, None, None]).numpy()

    return Contender(run, take)


def _torch(case: Case, transform: Callable[..., Any] = torch.func.jacrev, every_step: bool = False) -> Contender:
    cell, inputs = case.make()

    def final(state: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
        for term in terms.unbind(0):
            state = cell.advance(term, state)
        return state

    def kicked(kicks: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
        state = kicks.new_zeros(cell.state_size)
        for kick, term in zip(kicks.unbind(0), terms.unbind(0), strict=True):
            state = cell.advance(term, state + kick)
        return state

    def run() -> torch.Tensor:
        with derive_once():
            terms = cell.terms(inputs)
            if not every_step:
                return torch.func.vmap(transform(final), in_dims=(0, 1))(cell.initial_state(case.batch), terms)
            kicks = torch.zeros(case.steps, cell.state_size)
            jacobian = torch.func.vmap(transform(kicked), in_dims=(None, 1))(kicks, terms)
        return torch.linalg.vector_norm(jacobian, dim=(1, 3)).log().T

    return Contender(run, lambda result: result.numpy())


def _jax(case: Case, build: str, take: Callable[[Any], np.ndarray] = np.asarray, **options: Any) -> Contender:
    import jax

    from benchmarks import jax_models

    cell, inputs = case.make()
    arguments = jax_models.to_jax(inputs), jax_models.to_jax(cell.initial_state(case.batch))
    function = jax.jit(getattr(jax_models, build)(jax_models.model_of(cell), **options))
    begin = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    return Contender(lambda: jax.block_until_ready(compiled(*arguments)), take, seconds)


def _norms(result: Any) -> np.ndarray:
    return np.asarray(result[0])


def _dense(result: Any) -> np.ndarray:
    _, rows, log_scale = map(np.asarray, result)
    rows = rows * np.exp(log_scale)[:, None, None]
    batch, held, size = rows.shape
    if held == size:
        return rows
    # Independent units: row r holds block [r, s] of unit i at s d + i.
    blocks = rows.reshape(batch, held, held, -1)
    return np.einsum("brsd,de->brdse", blocks, np.eye(size // held)).reshape(batch, size, size)


ALL_T: dict[str, Callable[[Case], Contender]] = {
    "dynlab record, GradientNorm": _record,
    "dynlab sweep, trace given": _sweep_all,
    "torch jacrev, every step perturbed": partial(_torch, every_step=True),
    "JAX jacrev, every step perturbed": partial(_jax, build="autodiff_all"),
    "JAX sweep by hand, dense": partial(_jax, build="sweep_by_hand", take=_norms, stored=True),
    "JAX sweep by hand, structured": partial(_jax, build="sweep_by_hand", take=_norms, stored=False),
}
END: dict[str, Callable[[Case], Contender]] = {
    "dynlab rollout and sweep": partial(_sweep_end, given=False),
    "dynlab sweep, trace given": _sweep_end,
    "torch jacrev": _torch,
    "torch jacfwd": partial(_torch, transform=torch.func.jacfwd),
    "JAX jacrev": partial(_jax, build="autodiff_end", forward=False),
    "JAX jacfwd": partial(_jax, build="autodiff_end", forward=True),
    "JAX sweep by hand, dense": partial(_jax, build="sweep_by_hand", take=_dense, stored=True),
    "JAX sweep by hand, structured": partial(_jax, build="sweep_by_hand", take=_dense, stored=False),
}
QUESTIONS = {"all t": ALL_T, "end to end": END}


def prepare_run(question: str, name: str, case: Case) -> Callable[[], Any]:
    """The run of one contender, for a process of its own."""
    return QUESTIONS[question][name](case).run


def disagreement(question: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest relative difference of a norm (all t), or largest of |difference|_F / |ours|_F over the batch."""
    if question == "all t":
        return float(np.abs(np.expm1(theirs - ours)).max())
    return float((np.linalg.norm(theirs - ours, axis=(1, 2)) / np.linalg.norm(ours, axis=(1, 2))).max())


def compare(report: Report, question: str, case: Case, rounds: int, threads: int) -> dict[str, float]:
    """One table; returns the median seconds."""
    contenders = QUESTIONS[question]
    if case.cell == LOW_RANK:  # autodiff and JAX see a full U: the rows above, but for one to check against
        contenders = {name: build for name, build in contenders.items() if "dynlab" in name or "structured" in name}
    ready = {name: build(case) for name, build in contenders.items()}
    first = next(iter(ready))
    expected = ready[first].take(ready[first].run())
    off = {name: disagreement(question, expected, one.take(one.run())) for name, one in ready.items()}
    if worst := [f"{name}: {value:.1e}" for name, value in off.items() if not value < 1e-2]:
        report.note(f"WARNING, {case.cell}, {question}: contenders disagree by more than 1 %: {'; '.join(worst)}")
    apart = {name: (question, name, case) for name in ready}
    seconds = median_seconds_apart(prepare_run, apart, rounds, threads)
    small = replace(case, steps=2)
    rows = []
    for name, one in ready.items():
        memory = peak_extra_memory(prepare_run, (question, name, small), (question, name, case), threads)
        compiled = f"{one.compiled:.1f}" if one.compiled else ""
        ratio = f"{seconds[name] / seconds[first]:.2f}"
        rows.append((name, f"{seconds[name]:.3f}", ratio, f"{memory:.0f}", compiled, f"{off[name]:.0e}"))
    columns = ("contender", "median s", "ratio to ours", "peak extra MB", "compile s", "disagreement")
    report.table(f"{case.cell}: {question}", columns, rows)
    return seconds


def matrix_rate(report: Report, sizes: Case, rounds: int) -> None:
    """How much of the machine's own matrix product rate the dense sweeps reach."""
    d, rows = sizes.hidden, sizes.batch * sizes.hidden
    a, b, out = torch.randn(rows, d), torch.randn(d, d), torch.zeros(rows, d)
    products = 20
    libraries = {
        "torch.mm": lambda: torch.mm(a, b, out=out),
        "dynlab's choice (oneDNN where it is there)": lambda: add_product(out, a, b),
    }

    def repeated(product: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(products):
                product()

        return run

    kinds = {"AntisymmetricRNN": 1, "iRNN, K = 5": 5}
    sweeps = {kind: _sweep_end(replace(sizes, cell=kind)).run for kind in kinds}
    seconds = median_seconds({**{name: repeated(one) for name, one in libraries.items()}, **sweeps}, rounds)
    flops = 2 * rows * d * d
    rates = {name: products * flops / seconds[name] for name in libraries}
    rates |= {f"dynlab sweep, {kind}": n * sizes.steps * flops / seconds[kind] for kind, n in kinds.items()}
    table = [
        (name, f"{rate / 1e9:.0f}", *(f"{100 * rate / rates[library]:.0f} %" for library in libraries))
        for name, rate in rates.items()
    ]
    shape = f"{rows} x {d} by {d} x {d}"
    report.table(f"Matrix products, {shape}", ("what", "GFLOP/s", "of torch.mm", "of dynlab's choice"), table)


def randomised(report: Report, hidden: Sequence[int], steps: int, batch: int, rounds: int) -> None:
    """GradientNorm(vectors=8) against the exact norm."""
    rows = []
    for d in hidden:
        case = Case("AntisymmetricRNN", d, steps, batch)
        ready = {"exact": _record(case), "estimate": _record(case, vectors=8)}
        exact, estimate = (one.run() for one in ready.values())
        error = np.abs((estimate["log_gradient_norm"] - exact["log_gradient_norm"]).values[:-1])
        reported = estimate["log_gradient_norm_standard_error"].values[:-1]
        seconds = median_seconds({name: one.run for name, one in ready.items()}, rounds, warm_up=False)
        ratio = seconds["exact"] / seconds["estimate"]
        rms = [np.sqrt(np.square(values).mean()) for values in (error, reported)]
        rows.append((str(d), f"{seconds['exact']:.3f}", f"{seconds['estimate']:.3f}", f"{ratio:.2f}",
                     f"{rms[0]:.4f}", f"{rms[1]:.4f}", f"{error.max():.4f}"))  # fmt: skip
    columns = ("d", "exact s", "8 vectors s", "speed-up", "error of log norm, rms", "reported, rms", "error, largest")
    report.table(f"Randomised norm, AntisymmetricRNN, T = {steps}, batch {batch}", columns, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jacobians", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--T", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="T = 100, 32 units, batch 4, 2 rounds: a look, no result")
    parser.add_argument("--write", action="store_true", help=f"write the tables to benchmarks/results/{RESULTS.name}")
    given = parser.parse_args(arguments)
    use_threads(given.threads)
    try:
        import jax  # noqa: F401
    except ImportError:
        print('benchmarks: expected jax, which is compared with: pip install "dynlab[benchmark]"', file=sys.stderr)
        return 2
    sizes = Case("", given.hidden_size, given.T, given.batch)
    rounds = given.rounds
    if given.quick:
        sizes, rounds = Case("", 32, 100, 4), 2
    report = Report()
    for line in machine(given.threads):
        report.note(line)
    report.note(
        f"T = {sizes.steps}, batch {sizes.batch}, {sizes.hidden} hidden units, float32, medians of {rounds} interleaved"
        " rounds. Ratios are to the first row; compilation is not in the times."
    )
    for question in QUESTIONS:
        for kind in CELLS:
            compare(report, question, replace(sizes, cell=kind), rounds, given.threads)
    matrix_rate(report, sizes, rounds)
    widths, steps = ((32, 64), 50) if given.quick else ((64, 128, 256, 512, 1024), 200)
    randomised(report, widths, steps, 4, min(rounds, 3))
    if given.write:
        report.write(RESULTS, "Jacobians")
        report.console.print(f"written to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
