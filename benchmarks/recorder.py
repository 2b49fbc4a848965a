"""What the Recorder costs: ``python -m benchmarks.recorder``.

AntisymmetricRNN, hidden size 128, T = 1000, batch 64, a record every 100 iterations. Iterations with and without a
record are interleaved, so that a slow spell of the machine falls on both. Of 100 iterations one is recorded; the other
99 ask whether they are, which is timed by itself, for it drowns in the noise of an iteration.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import dynlab
from benchmarks.timing import use_threads

EVERY = 100
AIM = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--T", type=int, default=1000)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--held", type=int, default=2, help="sequences that the probes measure on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cell", default="antisymmetric")
    chosen = parser.parse_args()
    use_threads(chosen.threads)
    title = (
        f"{chosen.cell}, {chosen.hidden_size} units, T = {chosen.T}, batch {chosen.batch}, held batch {chosen.held}, "
        f"{chosen.threads} thread(s), median of {chosen.rounds} rounds"
    )
    table = Table("recorded", "plain [ms]", "not due [ms]", "record [ms]", "overhead at n = 100", title=title)
    for label, probes in CONTENDERS.items():
        with tempfile.TemporaryDirectory() as folder:
            plain, idle, record = measure(chosen, probes, Path(folder))
        overhead = (record + (EVERY - 1) * idle) / (EVERY * plain)
        verdict = "" if overhead < AIM else f" (aim: below {AIM:.0%})"
        table.add_row(
            label, f"{1000 * plain:.1f}", f"{1000 * idle:.3f}", f"{1000 * record:.1f}", f"{overhead:.1%}{verdict}"
        )
    Console(width=120).print(table)


CONTENDERS: dict[str, list[dynlab.Probe | str]] = {
    "live gradients, weights": [],
    "and GradientNorm, the default": ["GradientNorm"],
    "and GradientNorm(vectors=8)": [dynlab.GradientNorm(vectors=8)],
    "and GradientNorm, EndToEndSpectrum": ["GradientNorm", "EndToEndSpectrum"],
}


def measure(chosen: argparse.Namespace, probes: list[dynlab.Probe | str], folder: Path) -> tuple[float, float, float]:
    """Seconds: of a plain iteration, of a Recorder that is not due, and what a record adds; medians."""
    torch.manual_seed(0)
    sizes = 2, chosen.hidden_size
    network = dynlab.Network([dynlab.build_cell(chosen.cell, *sizes)], dynlab.Readout(chosen.hidden_size, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    inputs, held = torch.randn(chosen.T, chosen.batch, 2), torch.randn(chosen.T, chosen.held, 2)
    due = dynlab.Recorder(folder / "due.zarr", network, held, probes, every=1)

    def step(recorder: dynlab.Recorder | None) -> None:
        if recorder is None:
            loss = network.read(inputs).square().mean()
        else:
            with recorder.watching():
                loss = network.read(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if recorder is not None:
            recorder.step(loss)
        optimizer.step()

    contenders: dict[str, Callable[[], None]] = {
        "plain": lambda: step(None),
        "due": lambda: step(due),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(-1, chosen.rounds):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run()
            if index >= 0:
                seconds[name].append(time.perf_counter() - begin)
    idle = dynlab.Recorder(folder / "idle.zarr", network, held, probes, every=10**9)
    loss = torch.zeros(())
    begin = time.perf_counter()
    for index in range(1, 1001):
        with idle.watching(index):
            pass
        idle.step(loss)
    not_due = (time.perf_counter() - begin) / 1000
    added = [record - plain for plain, record in zip(seconds["plain"], seconds["due"], strict=True)]
    return statistics.median(seconds["plain"]), not_due, statistics.median(added)


if __name__ == "__main__":
    main()
