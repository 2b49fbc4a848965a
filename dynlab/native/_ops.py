"""What the custom operators of all recurrences share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dynlab._check import describe
from dynlab.native.library import DTYPES
from dynlab.native.memory import new_sequence

LIBRARY = "dynlab"


# Sizes beyond this cannot be allocated, and their products overflow.
_MOST_ELEMENTS = 2**48


def expect(operator: str, x: Tensor, /, **others: tuple[Tensor | None, tuple[int, ...]]) -> None:
    """Refuse what the compiled code would read wrongly: it trusts its arguments.

    Arguments:
        operator: for the message. x: the (time, batch, ...) sequence, whose dtype and device all must have.
        others: name = (tensor, the shape it must have); None is not looked at.

    Raises:
        ValueError: with what was expected and what came.
    """
    where = f"{LIBRARY}::{operator}"
    if x.dim() != 3 or 0 in x.shape:
        raise ValueError(f"{where}: expected x, a (time, batch, unit) sequence that is not empty, got {describe(x)}")
    if x.numel() > _MOST_ELEMENTS:
        raise ValueError(f"{where}: expected at most 2**48 numbers in the sequence, got {describe(x)}")
    if x.dtype not in DTYPES:
        raise ValueError(f"{where}: expected float32 or float64, got {describe(x)}")
    for name, (tensor, shape) in others.items():
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ValueError(f"{where}: expected {name} of shape {tuple(shape)}, got {describe(tensor)}")
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise ValueError(
                f"{where}: expected {name} with the dtype and device of the sequence ({x.dtype}, {x.device}), "
                f"got {describe(tensor)}"
            )


def expect_axes(operator: str, **tensors: tuple[Tensor | None, tuple[int, ...]]) -> None:
    """Refuse a tensor that has another number of axes than one of those given, or an empty one."""
    for name, (tensor, axes) in tensors.items():
        if tensor is not None and (tensor.dim() not in axes or 0 in tensor.shape):
            wanted, kind = " or ".join(map(str, axes)), "a sequence" if axes == (3,) else "a tensor"
            raise ValueError(
                f"{LIBRARY}::{operator}: expected {name}, {kind} with {wanted} axes and none of them empty, "
                f"got {describe(tensor)}"
            )


def sum_of_samples(parts: Tensor) -> Tensor:
    """The sum of (batch, unit) over the batch, (unit,), the same for any number of threads.

    torch cuts a sum into one part a thread where the result is a single number, and only there.
    """
    return parts.sum(0) if parts.shape[1] > 1 else torch.cat([parts, parts], dim=1).sum(0)[:1]


def kept_shape(x: Tensor, state: Tensor, hidden_size: int, keep: str) -> tuple[int, ...]:
    """The shape of the sequence that ``keep`` names."""
    steps, batch = x.shape[:2]
    shapes = {"states": (steps + 1, batch, state.shape[-1]), "hidden": (steps, batch, hidden_size), "last": (0,)}
    if keep not in shapes:
        raise ValueError(f"{LIBRARY}: expected keep to be one of {', '.join(map(repr, shapes))}, got {keep!r}")
    return shapes[keep]


def expect_kept(
    operator: str,
    x: Tensor,
    state: Tensor,
    sequence: Tensor,
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    keep: str,
) -> None:
    """``expect`` for what a backward operator gets of its forward one, which must have kept a sequence of h."""
    if keep == "last":
        raise ValueError(f"{LIBRARY}::{operator}: expected a kept sequence, keep 'states' or 'hidden', got {keep!r}")
    shape = kept_shape(x, state, state.shape[-1], keep)
    gradients = {"grad_sequence": (grad_sequence, shape), "grad_last": (grad_last, tuple(state.shape))}
    expect(operator, x, sequence=(sequence, shape), **gradients)


def rows_contiguous(tensor: Tensor) -> Tensor:
    """The tensor itself if its last axis is contiguous, as the kernels read it; else a contiguous copy."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def optional_rows(tensor: Tensor | None) -> Tensor | None:
    """``rows_contiguous`` of what may be absent."""
    return None if tensor is None else rows_contiguous(tensor)


def optional(tensor: Tensor | None) -> Tensor | None:
    """A contiguous tensor, if there is one."""
    return None if tensor is None else tensor.contiguous()


def kept(x: Tensor, state: Tensor, hidden_size: int, keep: str) -> tuple[Tensor, Tensor | None]:
    """An empty sequence as ``keep`` wants it, and its view of the states after each input, (T, b, n or d).

    "states" is (T + 1, b, n), row 0 already filled; "hidden" (T, b, d); "last" is nothing.
    """
    sequence = new_sequence(state, kept_shape(x, state, hidden_size, keep))
    if keep == "states":
        sequence[0] = state
        return sequence, sequence[1:]
    return sequence, sequence if keep == "hidden" else None


def gradient_rows(gradient: Tensor | None, keep: str) -> tuple[Tensor | None, Tensor | None]:
    """What arrives for the kept sequence: the rows of the states after each input, and of the initial state."""
    if gradient is None or keep == "last":
        return None, None
    gradient = rows_contiguous(gradient)
    return (gradient[1:], gradient[0]) if keep == "states" else (gradient, None)


def adjoint_shape(x: Tensor, state_size: int, wanted: bool) -> tuple[int, ...]:
    """The shape of dL/d state_t, (T + 1, b, n), or of nothing."""
    return (x.shape[0] + 1, x.shape[1], state_size) if wanted else (0,)


def adjoint_rows(x: Tensor, state_size: int, wanted: bool) -> Tensor:
    """Memory for dL/d state_t, or nothing."""
    return new_sequence(x, adjoint_shape(x, state_size, wanted))


def with_initial(grad_state: Tensor, direct: Tensor | None, adjoint: Tensor) -> Tensor:
    """dL/d state_0, with what a kept row 0 receives by itself; in place, in the adjoint sequence too."""
    if direct is not None:
        grad_state += direct
        if adjoint.numel():
            adjoint[0] = grad_state
    return grad_state


def refuse_double_backward(operator: Any) -> None:
    """Make differentiating a backward operator an error that says what to do."""

    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError(
            "dynlab: expected one backward pass through the native recurrence; its gradient has no derivative of its "
            'own. Build the cell with backend="reference" for double backward'
        )

    operator.register_autograd(backward)


def setup(save: Callable[[Any, tuple[Any, ...], Any], None]) -> Callable[..., None]:
    """A ``setup_context`` that leaves absent gradients absent instead of filling in zeros."""

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        save(ctx, inputs, output)

    return setup_context


def slices(x: Tensor) -> int:
    """Into how many parts the CPU cuts the batch of a (time, batch, ...) sequence: one a thread."""
    return min(torch.get_num_threads(), x.shape[1])


def outer_sum(delta: Tensor, state: Tensor, sequence: Tensor, keep: str) -> Tensor:
    """sum over t and b of delta_t h_{t-1}^T, (d, d), in one product: delta (t, b, d), the rest as kept."""
    if keep == "states":
        return delta.flatten(0, 1).T @ sequence[:-1].flatten(0, 1)
    first = delta[0].T @ state
    return first.addmm_(delta[1:].flatten(0, 1).T, sequence[:-1].flatten(0, 1))
