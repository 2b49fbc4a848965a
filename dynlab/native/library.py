"""The compiled libraries: found or built, loaded once, and why not where they cannot be.

The CPU library is plain C++ behind a C interface. It borrows from the process what must exist only once in it: torch's
threads (``torch_parallel_for``, part of torch's stable C interface) and the BLAS inside torch (``sgemm_``, ``dgemm_``).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dynlab.native import build
from dynlab.native.arguments import Arguments

Device = Literal["cpu", "cuda"]

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
DTYPES = tuple(_SUFFIX)


class Unavailable(RuntimeError):
    """There is no native code for this machine; the message says why, and what to do."""


@dataclass(frozen=True)
class Status:
    """Whether native code can run on a device.

    Attributes:
        available: it can. reason: why not. instruction_set: of the CPU build, "avx512", "avx2" or "baseline".
        path: of the library.
    """

    available: bool
    reason: str | None = None
    instruction_set: str | None = None
    path: Path | None = None


@cache
def _attempt(device: Device) -> ctypes.CDLL | Unavailable:
    """The library, or why there is none; tried once a process."""
    try:
        return _load_cpu() if device == "cpu" else _load_cuda()
    except (build.BuildError, OSError, AttributeError) as error:
        return Unavailable(" ".join(str(error).split()))


def load(device: Device) -> ctypes.CDLL:
    """The library for a device, built if need be.

    Raises:
        Unavailable: with the reason.
    """
    found = _attempt(device)
    if isinstance(found, Unavailable):
        raise found
    return found


def status(device: Device) -> Status:
    """Whether native code runs on "cpu" or "cuda" here; builds the library if need be."""
    found = _attempt(device)
    if isinstance(found, Unavailable):
        return Status(False, str(found))
    isa = found.dynlab_instruction_set().decode() if device == "cpu" else None
    return Status(True, None, isa, Path(found._name))


def forget() -> None:
    """Try again at the next call: for tests, and after a compiler has been installed."""
    _attempt.cache_clear()


def _load_cpu() -> ctypes.CDLL:
    borrowed = _torch_library()
    library = ctypes.CDLL(str(build.cpu_library()))
    library.dynlab_instruction_set.restype = ctypes.c_char_p
    library.dynlab_incremental_scratch.restype = ctypes.c_int64
    names = ("torch_parallel_for", "torch_get_num_threads", "sgemm_", "dgemm_")
    addresses = [_address(borrowed, name) for name in names]
    missing = [name for name, address in zip(names, addresses, strict=True) if not address]
    if missing:
        raise OSError(f"torch {torch.__version__} does not show {' and '.join(missing)} to other libraries")
    library.dynlab_set_runtime.restype = None
    own_threads = _address(borrowed, "MKL_Set_Num_Threads_Local")  # None where torch's BLAS is another
    library.dynlab_set_runtime(*map(ctypes.c_void_p, (*addresses, own_threads)))
    return library


def _load_cuda() -> ctypes.CDLL:
    if not torch.cuda.is_available():
        raise OSError("torch sees no CUDA device")
    library = ctypes.CDLL(str(build.cuda_library()))
    library.dynlab_cuda_error.restype = ctypes.c_char_p
    return library


def _torch_library() -> ctypes.CDLL:
    """The library that holds torch's CPU code; looking a name up in it looks through what it links, too."""
    folder = Path(torch.__file__).parent / "lib"
    name = {"win32": "torch_cpu.dll", "darwin": "libtorch_cpu.dylib"}.get(sys.platform, "libtorch_cpu.so")
    return ctypes.CDLL(str(folder / name))


def _address(library: ctypes.CDLL, name: str) -> int | None:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except AttributeError:
        return None


def call(arguments: Arguments, direction: Literal["forward", "backward", "products"], like: Tensor) -> None:
    """Run a recurrence on the device and in the dtype of ``like``, on CUDA on the current stream.

    Raises:
        Unavailable: without a library. RuntimeError: if CUDA refuses the launch.
    """
    name = f"{arguments.recurrence}_{direction}_{_SUFFIX[like.dtype]}"
    if like.device.type == "cpu":
        getattr(load("cpu"), f"dynlab_{name}")(ctypes.byref(arguments))
        return
    library = load("cuda")
    with torch.cuda.device(like.device):
        stream = torch.cuda.current_stream(like.device).cuda_stream
        code = getattr(library, f"dynlab_cuda_{name}")(ctypes.byref(arguments), ctypes.c_void_p(stream))
    if code:
        raise RuntimeError(f"dynlab: the CUDA kernel {name} failed: {library.dynlab_cuda_error(code).decode()}")
