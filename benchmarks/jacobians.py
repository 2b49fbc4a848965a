"""Jacobians of long products: dynlab's sweeps, and what a user would write with autodiff in PyTorch or JAX.

    python -m benchmarks.jacobians [--quick] [--write]

Every contender computes the same numbers along the same trajectory, which is checked before anything is timed.
All in float32 on the CPU. Autodiff and JAX contenders start from the inputs, as ``record`` does; contenders of
dynlab marked "trace given" start from the rollout.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import dynlab
from benchmarks.timing import Report, machine, median_seconds, peak_extra_memory, use_threads
from dynlab.cell import derive_once
from dynlab.jacobian.product import Product
from dynlab.jacobian.sweep import adjoint_sweep
from dynlab.recording import to_dataset  # noqa: F401  (loads what record needs before memory is measured)
from dynlab.trace import Trace, rollout

RESULTS = Path(__file__).parent / "results" / "jacobians.md"
FEATURES = 8
CELLS: dict[str, Callable[[int], dynlab.Cell]] = {
    "AntisymmetricRNN": lambda d: dynlab.AntisymmetricRNN(FEATURES, d),
    "iRNN, K = 5": lambda d: dynlab.IncrementalRNN(FEATURES, d, K=5, nonlinearity="tanh"),
    "iRNN, K = 5, U = I + V H": lambda d: dynlab.IncrementalRNN(
        FEATURES, d, K=5, nonlinearity="tanh", recurrent="identity_plus_low_rank"
    ),
    "UnICORNN": lambda d: dynlab.UnICORNN(FEATURES, d),
}


@dataclass(frozen=True)
class Case:
    """One cell at one size; the same arguments give the same weights and inputs in every process."""

    cell: str
    hidden: int
    steps: int
    batch: int

    @lru_cache(maxsize=1)  # noqa: B019 (cases live as long as the program)
    def make(self) -> tuple[dynlab.Cell, torch.Tensor]:
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


# ---- all t: log |d state_T / d state_t|_F for t = 0 .. T - 1, (t, b) ------------------------------------------------


def _record(case: Case, **options: Any) -> Contender:
    cell, inputs = case.make()
    rows = math.log(cell.state_size) / 2
    probe = dynlab.GradientNorm(**options)
    return Contender(
        lambda: dynlab.record(cell, inputs, [probe]), lambda found: found["log_gradient_norm"].values[:-1] + rows
    )


def _sweep_all(case: Case) -> Contender:
    trace = case.trace()
    rows = math.log(trace.cell.state_size) / 2

    def run() -> torch.Tensor:
        observer = dynlab.GradientNorm().observe(trace)
        with derive_once():
            adjoint_sweep(trace, [observer])
        return observer.variables()[0].values

    return Contender(run, lambda values: values[:-1].numpy() + rows)


def _torch_all(case: Case) -> Contender:
    cell, inputs = case.make()

    def final(kicks: torch.Tensor, terms: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        for kick, term in zip(kicks.unbind(0), terms.unbind(0), strict=True):
            state = cell.advance(term, state + kick)
        return state

    def run() -> torch.Tensor:
        with derive_once():
            kicks = torch.zeros(case.steps, cell.state_size)
            jacobian = torch.func.vmap(torch.func.jacrev(final), in_dims=(None, 1, 0))(
                kicks, cell.terms(inputs), cell.initial_state(case.batch)
            )
        return torch.linalg.vector_norm(jacobian, dim=(1, 3)).log().T

    return Contender(run, lambda values: values.numpy())


def _jax_all(case: Case) -> Contender:
    from benchmarks import jax_models

    return _jitted(case, jax_models.autodiff_all, np.asarray)


def _jax_sweep_all(stored: bool) -> Callable[[Case], Contender]:
    from benchmarks import jax_models

    return lambda case: _jitted(
        case, lambda model: _first(jax_models.sweep_by_hand(model, stored)), lambda log_norms: np.asarray(log_norms)
    )


def _first(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments)[0]


def _jitted(case: Case, build: Callable[[Any], Callable[..., Any]], take: Callable[[Any], Any]) -> Contender:
    import jax

    from benchmarks import jax_models

    cell, inputs = case.make()
    arguments = jax_models.to_jax(inputs), jax_models.to_jax(cell.initial_state(case.batch))
    function = jax.jit(build(jax_models.model_of(cell)))
    begin = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    return Contender(lambda: jax.block_until_ready(compiled(*arguments)), take, seconds)


# ---- end to end: d state_T / d state_0, (b, n, n) -------------------------------------------------------------------


def _dense(product: Product) -> np.ndarray:
    matrix, log_scale = product.to_dense()
    return (matrix * log_scale.exp()[:, None, None]).numpy()


def _rollout_and_sweep(case: Case) -> Contender:
    cell, inputs = case.make()

    def run() -> Product:
        with derive_once():
            return adjoint_sweep(rollout(cell, inputs), [])

    return Contender(run, _dense)


def _sweep_end(case: Case) -> Contender:
    trace = case.trace()

    def run() -> Product:
        with derive_once():
            return adjoint_sweep(trace, [])

    return Contender(run, _dense)


def _torch_end(transform: Callable[..., Any]) -> Callable[[Case], Contender]:
    def build(case: Case) -> Contender:
        cell, inputs = case.make()

        def final(state: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
            for term in terms.unbind(0):
                state = cell.advance(term, state)
            return state

        def run() -> torch.Tensor:
            with derive_once():
                terms, state = cell.terms(inputs), cell.initial_state(case.batch)
                return torch.func.vmap(transform(final), in_dims=(0, 1))(state, terms)

        return Contender(run, lambda jacobian: jacobian.numpy())

    return build


def _jax_end(name: str) -> Callable[[Case], Contender]:
    def build(case: Case) -> Contender:
        import jax

        from benchmarks import jax_models

        return _jitted(case, lambda model: jax_models.autodiff_end(model, getattr(jax, name)), np.asarray)

    return build


def _jax_sweep_end(stored: bool) -> Callable[[Case], Contender]:
    def take(result: Any) -> np.ndarray:
        rows, log_scale = (np.asarray(part) for part in result)
        rows = rows * np.exp(log_scale)[:, None, None]
        if rows.shape[1] < rows.shape[2]:  # independent units: a block a unit
            blocks = np.split(rows, rows.shape[1], axis=-1)
            rows = np.block([[np.einsum("bd,de->bde", block[:, r], np.eye(block.shape[-1])) for block in blocks]
                             for r in range(rows.shape[1])])  # fmt: skip
        return rows

    def build(case: Case) -> Contender:
        from benchmarks import jax_models

        return _jitted(case, lambda model: lambda *given: jax_models.sweep_by_hand(model, stored)(*given)[1:], take)

    return build


ALL_T: dict[str, Callable[[Case], Contender]] = {
    "dynlab record, GradientNorm": _record,
    "dynlab sweep, trace given": _sweep_all,
    "torch jacrev, every step perturbed": _torch_all,
    "JAX jacrev, every step perturbed": _jax_all,
    "JAX sweep by hand, dense": lambda case: _jax_sweep_all(True)(case),
    "JAX sweep by hand, structured": lambda case: _jax_sweep_all(False)(case),
}
END: dict[str, Callable[[Case], Contender]] = {
    "dynlab rollout and sweep": _rollout_and_sweep,
    "dynlab sweep, trace given": _sweep_end,
    "torch jacrev": _torch_end(torch.func.jacrev),
    "torch jacfwd": _torch_end(torch.func.jacfwd),
    "JAX jacrev": _jax_end("jacrev"),
    "JAX jacfwd": _jax_end("jacfwd"),
    "JAX sweep by hand, dense": _jax_sweep_end(True),
    "JAX sweep by hand, structured": _jax_sweep_end(False),
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
    ready = {name: build(case) for name, build in QUESTIONS[question].items()}
    first = next(iter(ready))
    expected = ready[first].take(ready[first].run())
    off = {name: disagreement(question, expected, one.take(one.run())) for name, one in ready.items()}
    if worst := [f"{name}: {value:.1e}" for name, value in off.items() if not value < 1e-2]:
        report.note(f"WARNING, {case.cell}, {question}: contenders disagree by more than 1 %: {'; '.join(worst)}")
    seconds = median_seconds({name: one.run for name, one in ready.items()}, rounds, warm_up=False)  # they have run
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
    a, b, out = torch.randn(rows, d), torch.randn(d, d), torch.empty(rows, d)
    products = 20

    def multiply() -> None:
        for _ in range(products):
            torch.mm(a, b, out=out)

    kinds = {"AntisymmetricRNN": 1, "iRNN, K = 5": 5}
    sweeps = {kind: _sweep_end(replace(sizes, cell=kind)).run for kind in kinds}
    seconds = median_seconds({"product": multiply, **sweeps}, rounds)
    flops = 2 * rows * d * d
    peak = products * flops / seconds["product"]
    table = [(f"torch.mm ({rows} x {d} by {d} x {d})", f"{peak / 1e9:.0f}", "100 %")]
    for kind, factor in kinds.items():
        rate = factor * sizes.steps * flops / seconds[kind]
        table.append((f"dynlab sweep, {kind}", f"{rate / 1e9:.0f}", f"{100 * rate / peak:.0f} %"))
    report.table("Matrix products: rate", ("what", "GFLOP/s", "of torch.mm"), table)


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
        f"T = {sizes.steps}, batch {sizes.batch}, {sizes.hidden} hidden units, float32, medians of {rounds} interleaved "
        "rounds. Ratios are to the first row; compilation is not in the times."
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
