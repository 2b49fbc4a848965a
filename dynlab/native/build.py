"""The libraries of ``kernels/``, compiled at first use into the cache of the user."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dynlab._folders import folder
from dynlab.native.cache import cache_folder, key_of, make_once
from dynlab.native.compilers import BuildError, Compiler, compiler, nvcc, run_all

__all__ = [
    "BuildError",
    "Compiler",
    "cache_folder",
    "cached_cpu_library",
    "cached_cuda_library",
    "compiler",
    "cpu_library",
    "cuda_library",
    "device_architectures",
    "instruction_sets",
    "nvcc",
]

# ---- flags -----------------------------------------------------------------------------------------------------
# Never -march=native: a cache in a shared home folder serves several machines. Never -ffast-math: at link time it
# switches the whole process to flush-to-zero.

CPU_FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden"),
    *("-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-Wall", "-Wextra"),
)
# kernels/cpu/recurrences.cpp is compiled once for each of these, with -DDYNLAB_ISA=name; dispatch.cpp chooses.
X86_INSTRUCTION_SETS = {
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma", "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma"),
    "baseline": (),
}
X86_DISPATCH = ("-DDYNLAB_X86=1",)
LINK_FLAGS = ("-dynamiclib", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared", "-fPIC")

CUDA_FLAGS = (
    *("-std=c++17", "-O3", "-lineinfo"),
    *("-shared", "-Xcompiler", "-fPIC,-fvisibility=hidden"),
    "--threads=0",
)

# ---- what others call ------------------------------------------------------------------------------------------


def cpu_library(*, force: bool = False, verbose: bool = False) -> Path:
    """The library for the CPU, compiled if the cache has none.

    Arguments:
        force: compile it again.
        verbose: show the compiler's commands and output on standard error.

    Raises:
        BuildError: if it cannot be compiled.
    """
    program, sources = compiler(), _folder()

    def build(path: Path) -> None:
        compile_all, objects = {}, []
        for name, (source, flags) in _objects().items():
            made = path.with_name(f"{name}.o")
            short = " ".join([str(program.path), *flags[-1:], "-c", source])
            options = [*CPU_FLAGS, *flags, "-I", str(sources / "include"), "-c", str(sources / "cpu" / source)]
            compile_all[short] = [*program.command, *options, "-o", str(made)]
            objects.append(str(made))
        link = {f"{program.path} -o {path.name}": [*program.command, *LINK_FLAGS, *objects, "-o", str(path)]}
        for commands in (compile_all, link):
            run_all(commands, _remedy("CXX", "dynlab kernels build --verbose"), verbose)

    what = f"the CPU kernels with {program.title} (once, about ten seconds)"
    return _made(lambda: _cpu_target(program), build, what, force)


def cuda_library(architectures: Sequence[str] | None = None, *, force: bool = False, verbose: bool = False) -> Path:
    """The library for CUDA, compiled if the cache has none.

    Arguments:
        architectures: such as ["80", "90", "120"], compute capabilities without the point; by default those of the
            devices of this machine. The highest is also kept as PTX, which newer devices can run.
        force, verbose: as for :func:`cpu_library`.

    Raises:
        BuildError: if it cannot be compiled.
    """
    program, sources = nvcc(), _folder()
    wanted = device_architectures() if architectures is None else _ordered(architectures)
    found = None if force else _covering(program, wanted)
    if found:
        return found
    if not wanted:
        raise BuildError(
            "no CUDA device is present to compile for; name what to compile for: "
            "dynlab kernels build --cuda --arch 80,90,120"
        )

    def build(path: Path) -> None:
        kinds = [*((number, f"sm_{number}") for number in wanted), (wanted[-1], f"compute_{wanted[-1]}")]
        codes = [word for number, code in kinds for word in ("-gencode", f"arch=compute_{number},code={code}")]
        options = [*CUDA_FLAGS, *codes, "-I", str(sources / "include"), str(sources / "cuda" / "recurrences.cu")]
        command = [*program.command, *options, "-o", str(path)]
        remedy = _remedy("CUDACXX", f"dynlab kernels build --cuda --arch {','.join(wanted)} --verbose")
        run_all({f"{program.path} recurrences.cu": command}, remedy, verbose)

    names = ", ".join(f"sm_{number}" for number in wanted)
    what = f"the CUDA kernels for {names} with {program.title} (once, about a minute)"
    name = f"dynlab_cuda_{'_'.join(wanted)}{_suffix()}"
    return _made(lambda: _cuda_folder(program) / name, build, what, force)


def cached_cpu_library() -> Path | None:
    """The library for the CPU if it has been compiled; never compiles."""
    try:
        target = _cpu_target(compiler())
    except BuildError:
        return None
    return target if os.path.isfile(target) else None


def cached_cuda_library() -> Path | None:
    """A library for the CUDA devices of this machine if one has been compiled; never compiles."""
    try:
        return _covering(nvcc(), device_architectures())
    except BuildError:
        return None


def instruction_sets() -> dict[str, tuple[str, ...]]:
    """The instruction sets that the CPU library is compiled for, best first, and their flags."""
    return X86_INSTRUCTION_SETS if _is_x86() else {"baseline": ()}


def device_architectures() -> tuple[str, ...]:
    """The architectures of the CUDA devices of this machine."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return _ordered(["{}{}".format(*torch.cuda.get_device_capability(index)) for index in range(count)])


# ---- parts -----------------------------------------------------------------------------------------------------

_failed: dict[Path, str] = {}


class _SourcesChanged(Exception):
    """What was compiled is not what the key says."""


def _made(place: Callable[[], Path], build: Callable[[Path], None], what: str, force: bool) -> Path:
    """The library at ``place()``, which depends on the sources, compiled by ``build`` if need be."""

    def make(path: Path) -> None:
        # Looked up behind the lock, so that of several threads one tries.
        if target in _failed and not force:
            raise BuildError(_failed[target])
        print(f"dynlab: compiling {what} ...", file=sys.stderr, flush=True)
        try:
            build(path)
            if not path.is_file():
                raise BuildError(f"compiling {what} ended without an error and without a library; choose another one")
        except BuildError as error:
            _failed[target] = str(error)
            raise
        if place() != target:
            raise _SourcesChanged

    waiting = f"dynlab: waiting for another process, which is compiling {what} ..."
    while True:
        target = place()
        try:
            make_once(target, make, waiting=waiting, force=force)
        except _SourcesChanged:  # someone is editing them
            continue
        return target


def _remedy(variable: str, verbose: str) -> str:
    if os.environ.get(variable):
        return f"${variable} names this compiler: unset it or name another; all of its output: {verbose}"
    return f"set {variable} to another compiler; all of its output: {verbose}"


def _objects() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Object of the CPU library -> its source and its flags."""
    sets = instruction_sets().items()
    recurrences = {f"recurrences_{name}": (*flags, f"-DDYNLAB_ISA={name}") for name, flags in sets}
    objects = {name: ("recurrences.cpp", flags) for name, flags in recurrences.items()}
    return {**objects, "dispatch": ("dispatch.cpp", X86_DISPATCH if _is_x86() else ())}


def _cpu_target(program: Compiler) -> Path:
    key = _key("cpu", ("recurrences.cpp", "dispatch.cpp"), program, repr((CPU_FLAGS, _objects(), LINK_FLAGS)))
    return cache_folder() / key / f"dynlab_cpu{_suffix()}"


def _cuda_folder(program: Compiler) -> Path:
    # The architectures are in the name of the file: a library for several serves a machine that has one of them.
    return cache_folder() / _key("cuda", ("recurrences.cu",), program, repr(CUDA_FLAGS))


def _covering(program: Compiler, wanted: Sequence[str]) -> Path | None:
    """The cached CUDA library with code for all of ``wanted`` and the least besides."""
    found = sorted(
        _cuda_folder(program).glob(f"dynlab_cuda_*{_suffix()}"), key=lambda path: (len(path.stem), path.stem)
    )
    return next((path for path in found if set(wanted) <= set(path.stem.split("_")[2:])), None)


def _key(device: str, names: Sequence[str], program: Compiler, flags: str) -> str:
    import torch

    root = _folder()
    for name in names:
        if not (root / device / name).is_file():
            raise BuildError(f"the source {root / device / name} is missing; reinstall dynlab")
    paths = [path for part in ("include", device) for path in (root / part).rglob("*")]
    sources = sorted(path for path in paths if path.suffix in {".h", ".hpp", ".cuh", ".inc", ".cpp", ".cu"})
    contents = [part for path in sources for part in (path.relative_to(root).as_posix(), path.read_bytes())]
    machine = f"{sys.platform} {platform.machine()}"
    return key_of([*contents, torch.__version__, repr(program.command), program.version, flags, machine])


def _folder() -> Path:
    try:
        return folder("kernels")
    except FileNotFoundError as error:
        raise BuildError(str(error)) from None


def _ordered(architectures: Sequence[str]) -> tuple[str, ...]:
    for name in architectures:
        if not re.fullmatch(r"\d{2,3}[af]?", name):
            raise ValueError(f"cuda_library: expected architectures such as 80, 90, 120; got {name!r}")
    return tuple(sorted(set(architectures), key=lambda name: (int(name.rstrip("af")), name)))


def _is_x86() -> bool:
    return platform.machine().lower() in {"x86_64", "amd64"}


def _suffix() -> str:
    return {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
