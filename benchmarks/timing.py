"""Timing and memory of contenders, and the tables they are printed in."""

from __future__ import annotations

import gc
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import dynlab


def use_threads(threads: int) -> None:
    """Bound the threads of torch, and of XLA if jax is not imported yet: its pool takes its size from NPROC."""
    os.environ["NPROC"] = str(threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import torch

    torch.set_num_threads(threads)


def median_seconds(contenders: Mapping[str, Callable[[], Any]], rounds: int, warm_up: bool = True) -> dict[str, float]:
    """Median wall time of each contender: one warm-up, then ``rounds`` rounds in which each runs once.

    Interleaved, so that a slow spell of the machine falls on all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(-1 if warm_up else 0, rounds):
        for name, run in contenders.items():
            gc.collect()
            begin = time.perf_counter()
            run()
            if index >= 0:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_apart(
    prepare: Callable[..., Callable[[], Any]],
    arguments: Mapping[str, tuple],
    rounds: int,
    threads: int,
    few: int | None = None,
    slow: float = 1.0,
) -> dict[str, list[float]]:
    """As ``median_seconds``, each contender in a process of its own, so that their thread pools do not meet.

    Arguments:
        prepare: an importable function that gives the run. arguments: its arguments for each contender.
        few: how many rounds a contender takes that needs more than ``slow`` seconds; as many as the others by default.

    Returns:
        The seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arguments}
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(
                ProcessPoolExecutor(1, mp_context=spawn, initializer=use_threads, initargs=(threads,))
            )
            for name in arguments
        }
        for name, pool in pools.items():
            pool.submit(_hold, prepare, arguments[name]).result()
        for _ in range(rounds):
            for name, pool in pools.items():
                taken = seconds[name]
                if few is None or len(taken) < few or statistics.median(taken) < slow:
                    taken.append(pool.submit(_time_held).result())
    return seconds


def median_seconds_apart(
    prepare: Callable[..., Callable[[], Any]], arguments: Mapping[str, tuple], rounds: int, threads: int
) -> dict[str, float]:
    """The medians of ``seconds_apart``."""
    taken = seconds_apart(prepare, arguments, rounds, threads)
    return {name: statistics.median(values) for name, values in taken.items()}


_held: list[Callable[[], Any]] = []


def _hold(prepare: Callable[..., Callable[[], Any]], arguments: tuple) -> None:
    _held.append(prepare(*arguments))
    _held[-1]()


def _time_held() -> float:
    """Seconds of one run, of shorter ones the median of five or three: the first finds its pages gone cold."""
    gc.collect()
    seconds: list[float] = []
    while not seconds or len(seconds) < (5 if seconds[0] < 0.5 else 3 if seconds[0] < 2 else 1):
        begin = time.perf_counter()
        _held[-1]()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def peak_rss() -> float:
    """Highest resident memory of this process so far, in MB.

    ``ru_maxrss`` of a started process contains the parent's peak on Linux, hence VmHWM there.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def peak_extra_memory(prepare: Callable[..., Callable[[], Any]], small: tuple, full: tuple, threads: int) -> float:
    """MB by which one run raises the peak resident memory of a fresh process.

    Arguments:
        prepare: an importable function that gives the run. small: its arguments for a warm-up run, which loads
            what is loaded lazily; full: those of the run measured. What ``prepare`` makes does not count.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=use_threads, initargs=(threads,)) as pool:
        return pool.submit(_peak_in_child, prepare, small, full).result()


def _peak_in_child(prepare: Callable[..., Callable[[], Any]], small: tuple, full: tuple) -> float:
    prepare(*small)()
    run = prepare(*full)
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the preparation (Linux)
    before = peak_rss()
    result = run()
    extra = peak_rss() - before
    del result
    return extra


def machine(threads: int, apart: bool = True) -> list[str]:
    """The machine and the versions, a line each.

    Arguments:
        apart: each contender runs in a process of its own.
    """
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].split(":")[1].strip() if models else cpu
    packages = []
    for name in ("torch", "jax", "jaxlib", "numpy"):
        with suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    own = "; every contender in a process of its own" if apart else ""
    return [
        f"{date.today()}, {cpu}, {os.cpu_count()} logical cores, {platform.system()}",
        f"dynlab {dynlab.__version__}, Python {platform.python_version()}, {', '.join(packages)}",
        f"threads: {threads} (torch.set_num_threads; XLA's pool by the environment variable NPROC){own}",
    ]


@dataclass
class Report:
    """Tables and notes, printed as they come and kept as Markdown."""

    console: Console = field(default_factory=lambda: Console(width=None if sys.stdout.isatty() else 120))
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """A line of text."""
        self.console.print(escape(text), highlight=False)
        self.lines += [text, ""]

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table whose first column is text and whose others are numbers."""
        shown = Table(title=escape(title), title_justify="left")
        for index, column in enumerate(columns):
            shown.add_column(escape(column), justify="right" if index else "left")
        for row in rows:
            shown.add_row(*map(escape, row))
        self.console.print(shown)
        self.lines += [f"## {title}", "", _row(columns), "|---|" + "---:|" * (len(columns) - 1), *map(_row, rows), ""]

    def write(self, path: Path, heading: str) -> None:
        """Everything so far as one Markdown file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"# {heading}", "", *self.lines]), encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
