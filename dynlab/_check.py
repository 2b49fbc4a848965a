"""One style for bad input: what was expected, what came, where."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def describe(value: Any) -> str:
    """A short description of ``value`` for an error message."""
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
        return f"a {type(value).__name__} of {', '.join(map(describe, value))}"
    return f"{value!r} ({type(value).__name__})"


def number(name: str, value: Any, where: str, *, above: float | None = None, least: float | None = None) -> float:
    """A finite real ``value``, greater than ``above`` or not less than ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where}: expected {name} to be a number, got {describe(value)}")
    bound = f" > {above:g}" if above is not None else f" >= {least:g}" if least is not None else ""
    outside = (above is not None and not value > above) or (least is not None and not value >= least)
    if not math.isfinite(value) or outside:
        raise ValueError(f"{where}: expected a finite {name}{bound}, got {value!r}")
    return float(value)


def integer(name: str, value: Any, where: str, *, least: int = 1) -> int:
    """An integer ``value`` not less than ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where}: expected {name} to be an integer >= {least}, got {describe(value)}")
    if value < least:
        raise ValueError(f"{where}: expected {name} >= {least}, got {value}")
    return value


def choice(name: str, value: Any, options: tuple[Any, ...], where: str) -> Any:
    """``value`` if it is one of ``options``."""
    if value not in options:
        raise ValueError(f"{where}: expected {name} to be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def floating(name: str, value: Any, where: str) -> Tensor:
    """A tensor of a real floating dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{where}: expected {name} to be a torch.Tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{where}: expected {name} of a floating dtype, got {describe(value)}")
    return value


def shaped(name: str, value: Tensor, shape: tuple[int | str, ...], where: str) -> Tensor:
    """A tensor of this ``shape``; a string in ``shape`` names an axis of any length."""
    fits = value.dim() == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(axis) for axis in shape)
        raise ValueError(f"{where}: expected {name} of shape ({wanted}), got {describe(value)}")
    return value


def matching(name: str, value: Tensor, reference: Tensor | None, what: str, where: str) -> Tensor:
    """A tensor of the same dtype and device as ``reference`` (described as ``what``)."""
    if reference is not None and (value.dtype != reference.dtype or value.device != reference.device):
        raise ValueError(
            f"{where}: expected {name} with the dtype and device of {what} "
            f"({reference.dtype}, {reference.device}), got {describe(value)}"
        )
    return value


def finite(name: str, value: Tensor, where: str) -> Tensor:
    """A tensor without NaN or infinity."""
    # One pass without memory of its own; NaN and infinity show in the extremes.
    if value.numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(value))).all()):
        good = torch.isfinite(value)
        first = tuple(int(i) for i in (~good).nonzero()[0])
        raise ValueError(
            f"{where}: expected finite {name}, got {float(value[first])} at index {first} "
            f"({int((~good).sum())} of {value.numel()} entries are not finite)"
        )
    return value


def may_look(value: Tensor) -> bool:
    """Whether the numbers of ``value`` may be read now: not while a graph is traced or captured, nor transformed."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(value):
        return False
    return not (value.is_cuda and torch.cuda.is_current_stream_capturing())
