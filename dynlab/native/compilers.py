"""The compilers of this machine: finding them and running them."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NO_COMPILER = (
    "no C++ compiler: none of $CXX, c++, g++, clang++ found; install one "
    "(Debian: apt install g++; conda: conda install cxx-compiler)"
)
NO_NVCC = (
    "no CUDA compiler: no nvcc in $CUDACXX, $CUDA_HOME/bin, $CUDA_PATH/bin, PATH, /usr/local/cuda/bin; install one "
    "(developer.nvidia.com/cuda-downloads; conda: conda install cuda-nvcc)"
)


class BuildError(RuntimeError):
    """A library could not be built; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Compiler:
    """A compiler: its program, what ``--version`` prints, and arguments that always come first."""

    path: Path
    version: str
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """How it is called."""
        return (str(self.path), *self.arguments)

    @property
    def title(self) -> str:
        """Its name and number, such as g++ 12.2.0."""
        number = re.search(r"(?:version |release |\) )(\d+(?:\.\d+)+)", self.version)
        return f"{self.path.name} {number[1]}" if number else self.path.name


def compiler() -> Compiler:
    """The C++ compiler: $CXX if it is set, else the first of c++, g++, clang++ on PATH."""
    return _named("CXX") or _found(["c++", "g++", "clang++"], NO_COMPILER)


def nvcc() -> Compiler:
    """The CUDA compiler: $CUDACXX if it is set, else nvcc of $CUDA_HOME, $CUDA_PATH, PATH or /usr/local/cuda."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    places = [*(os.path.join(home, "bin", "nvcc") for home in homes), "nvcc", "/usr/local/cuda/bin/nvcc"]
    return _named("CUDACXX") or _found(places, NO_NVCC)


def _named(variable: str) -> Compiler | None:
    """The compiler that an environment variable names, perhaps with arguments (``ccache g++``)."""
    words = shlex.split(os.environ.get(variable, ""))
    if not words:
        return None
    path = shutil.which(words[0])
    if path is None:
        raise BuildError(f"${variable} names {words[0]!r}, which is no program here; unset it or name a compiler")
    return _compiler(path, *words[1:])


def _found(places: Iterable[str], otherwise: str) -> Compiler:
    path = next(filter(None, map(shutil.which, places)), None)
    if path is None:
        raise BuildError(otherwise)
    return _compiler(path)


@functools.cache
def _compiler(path: str, *arguments: str) -> Compiler:
    command = [path, *arguments, "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=_environment(), timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return Compiler(Path(path), "", arguments)  # compiling with it says what is wrong
    return Compiler(Path(path), done.stdout.strip(), arguments)


def run_all(commands: Mapping[str, Sequence[str]], remedy: str, verbose: bool = False) -> None:
    """Run ``commands``, all at the same time.

    Arguments:
        commands: short form for messages -> program and arguments.
        remedy: what to do if one fails.
        verbose: show the commands and what they print, on standard error.

    Raises:
        BuildError: when one fails; the others are stopped.
    """
    running: dict[str, subprocess.Popen[str]] = {}
    try:
        for short, command in commands.items():
            if verbose:
                print(shlex.join(command), file=sys.stderr, flush=True)
            try:
                running[short] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    env=_environment(),
                )
            except OSError as error:
                raise BuildError(f"`{short}` could not be started: {error.strerror}; {remedy}") from None
        for short, process in running.items():
            output, _ = process.communicate()
            if verbose:
                print(output, end="", file=sys.stderr, flush=True)
            if process.returncode:
                raise BuildError(f"`{short}` {_reason(process.returncode, output)}; {remedy}")
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # "error:" is looked for, and the version is part of a key


def _reason(code: int, output: str) -> str:
    how = f"failed with exit status {code}" if code > 0 else f"was stopped by signal {-code}"
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    telling = re.compile(r"error:|\bfatal\b|undefined reference|cannot find|No space left", re.IGNORECASE)
    line = next(filter(telling.search, lines), lines[0] if lines else "")
    return f"{how}: {line[:300]}" if line else f"{how} and no message"
