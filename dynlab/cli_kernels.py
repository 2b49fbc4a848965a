"""``dynlab kernels``: what native code is available, and compiling it ahead of its first use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(help="The compiled recurrences: what is available, and compiling them now.", no_args_is_help=True)


@app.command()
def build(
    cuda: Annotated[bool, typer.Option("--cuda", help="Compile those for CUDA, too.")] = False,
    arch: Annotated[
        str | None,
        typer.Option(help="With --cuda: architectures, such as 80,90,120; by default those of the devices here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compile again what the cache holds.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the compilers' commands and output.")] = False,
) -> None:
    """Compile the kernels into the cache, as their first use would."""
    from dynlab.native import build as libraries

    if arch is not None and not cuda:
        raise ValueError("kernels build: expected --arch together with --cuda, got it alone")
    architectures = None if arch is None else [part.strip() for part in arch.split(",")]
    jobs: dict[str, Callable[[], Path]] = {"CPU": lambda: libraries.cpu_library(force=force, verbose=verbose)}
    if cuda:
        jobs["CUDA"] = lambda: libraries.cuda_library(architectures, force=force, verbose=verbose)
    for name, job in jobs.items():
        before = {path: path.stat().st_mtime_ns for path in libraries.cache_folder().glob("*/dynlab_*")}
        started = time.perf_counter()
        try:
            path = job()
        except libraries.BuildError as error:
            raise OSError(str(error)) from None  # which ``dynlab`` prints as one line
        seconds = time.perf_counter() - started
        made = before.get(path) != path.stat().st_mtime_ns
        print(
            f"{name}: {path}, " + (f"compiled in {seconds:.1f} s" if made else "in the cache (--force compiles again)")
        )


@app.command()
def status() -> None:
    """Say what is available here, why not, and how to get it. Compiles nothing."""
    from dynlab.backend import VARIABLE
    from dynlab.native.build import cache_folder

    for title, lines in (("CPU", list(_cpu())), ("CUDA", list(_cuda()))):
        print(title)
        for label, text in lines:
            print(f"  {label:<18}{text}")
    print(f"{'cache folder':<20}{cache_folder()}")
    print(f"{VARIABLE:<20}{os.environ.get(VARIABLE) or 'not set'}")


def _cpu() -> Iterator[tuple[str, str]]:
    from dynlab.native import build as libraries

    try:
        program, missing = libraries.compiler(), None
    except libraries.BuildError as error:
        program, missing = None, str(error)
    used = ""
    if libraries.cached_cpu_library():
        state = _state("cpu")
        yield from _availability(state, "dynlab kernels build --force")
        if state.available:
            used = f"; this machine uses {state.instruction_set}"
    else:
        yield from _uncompiled(missing, "dynlab kernels build")
    yield "compiler", f"{program.title} ({' '.join(program.command)})" if program else "none"
    yield "instruction sets", ", ".join(libraries.instruction_sets()) + used


def _cuda() -> Iterator[tuple[str, str]]:
    import torch

    from dynlab.native import build as libraries

    try:
        program, missing = libraries.nvcc(), None
    except libraries.BuildError as error:
        program, missing = None, str(error)
    if not torch.cuda.is_available():
        yield from _availability(
            _state("cuda"),
            "an NVIDIA GPU that nvidia-smi shows and CUDA_VISIBLE_DEVICES does not hide"
            if torch.version.cuda
            else f"this torch, {torch.__version__}, has no CUDA; pytorch.org/get-started has one that does",
        )
    elif libraries.cached_cuda_library():
        yield from _availability(_state("cuda"), "dynlab kernels build --cuda --force")
    else:
        yield from _uncompiled(missing, "dynlab kernels build --cuda")
    yield "compiler", f"{program.title} ({' '.join(program.command)})" if program else "none"
    devices = ", ".join(f"sm_{name}" for name in libraries.device_architectures())
    yield "architectures", devices or "no device here; others: dynlab kernels build --cuda --arch 80,90,120"


def _state(device: Literal["cpu", "cuda"]) -> Any:
    from dynlab.native import library

    return library.status(device)


def _availability(state: Any, remedy: str) -> Iterator[tuple[str, str]]:
    yield "available", "yes" if state.available else f"no: {state.reason}"
    if not state.available:
        yield "how to get it", remedy
    yield 'backend="auto"', _auto(state.available)
    if state.path:
        yield "library", str(state.path)


def _uncompiled(missing: str | None, command: str) -> Iterator[tuple[str, str]]:
    """Lines for a library that has not been compiled, and cannot be if something is ``missing``."""
    yield "available", f"no: {missing}" if missing else f"not compiled yet: at its first use, or now with {command}"
    yield 'backend="auto"', _auto(missing is None)


def _auto(available: bool) -> str:
    from dynlab.backend import VARIABLE, asked

    chosen = asked("auto")
    if chosen != "auto":
        return f"{chosen}, as {VARIABLE} says"
    return "native" if available else "reference"
