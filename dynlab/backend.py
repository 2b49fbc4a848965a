"""Which code runs a recurrence: the compiled one of ``kernels/``, or the Python loop that it is checked against."""

from __future__ import annotations

import os
import warnings
from typing import Any, Literal, cast

import torch
from torch import Tensor

from dynlab import _check

Backend = Literal["auto", "reference", "native"]
BACKENDS: tuple[Backend, ...] = ("auto", "reference", "native")
VARIABLE = "DYNLAB_BACKEND"

_said: set[str] = set()


class NativeUnavailableWarning(UserWarning):
    """A recurrence that has native code runs as a Python loop; the message says why, and what to do."""


class NativeUnavailableError(RuntimeError):
    """Native code was asked for by name, and there is none; the message says why, and what to do."""


def checked(backend: Any, where: str) -> Backend:
    """One of the backends, or the error that lists them."""
    return _check.choice("backend", backend, BACKENDS, where)


def asked(backend: Backend) -> Backend:
    """What "auto" stands for: DYNLAB_BACKEND where it is set.

    Raises:
        ValueError: if that variable names no backend.
    """
    if backend != "auto":
        return backend
    return checked(os.environ.get(VARIABLE) or "auto", f"the variable {VARIABLE}")


def runs_native(backend: Backend, has_native: bool, where: str, *tensors: Tensor) -> bool:
    """Whether a scan over these tensors runs natively.

    "auto" says once, and why, where a recurrence that has native code cannot use it.

    Raises:
        NativeUnavailableError: if "native" was asked for and cannot be had. A cell that has no native code takes
            no notice of the variable.
    """
    device, dtypes = tensors[0].device.type, [str(tensor.dtype) for tensor in tensors]
    return _decide(backend, has_native, where, device, dtypes, transformed())


# Under torch.compile the answer is taken when the graph is traced.
@torch.compiler.assume_constant_result
def _decide(backend: Backend, has_native: bool, where: str, device: str, dtypes: list[str], transformed: bool) -> bool:
    wanted = asked(backend)
    if wanted == "reference":
        return False
    reason = _obstacle(device, dtypes, transformed) if has_native else f"{where} has no native code"
    if reason is None:
        return True
    if backend == "native" or (has_native and wanted == "native"):
        raise NativeUnavailableError(f'{where}: backend="native" cannot be had: {reason}')
    if has_native and not transformed:
        _say_once(reason)
    return False


def _obstacle(device: str, dtypes: list[str], transformed: bool) -> str | None:
    """Why native code cannot run on tensors of this kind, or None."""
    from dynlab.native import library

    if transformed:
        return "it has no rules for torch.func transforms and forward-mode derivatives"
    if device not in ("cpu", "cuda"):
        return f"there are kernels for the CPU and CUDA, none for {device}"
    if len(set(dtypes)) > 1 or dtypes[0] not in map(str, library.DTYPES):
        return f"there are kernels for float32 and float64, got {', '.join(dtypes)}"
    return library.status(cast(library.Device, device)).reason


def runs_whole() -> bool:
    """Whether a scan may be another library's call for a whole sequence, see ``Cell.has_whole``."""
    return not torch.compiler.is_compiling() and not transformed()


def transformed() -> bool:
    """Whether a torch.func transform or a forward-mode derivative is under way."""
    if torch.compiler.is_compiling():
        return False
    from torch._C import _functorch
    from torch.autograd import forward_ad

    return _functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def _say_once(reason: str) -> None:
    if reason in _said:
        return
    _said.add(reason)
    warnings.warn(
        f"dynlab: recurrences run as Python loops, many times slower than native code: {reason} "
        f"('dynlab kernels status' says more; {VARIABLE}=reference asks for the loops)",
        NativeUnavailableWarning,
        stacklevel=2,
    )
