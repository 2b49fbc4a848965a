"""iRNN's recurrence as an operator: ``kernels/include/incremental.h`` over a sequence.

Index conventions: t time, b batch, d unit, k inner step, r rank.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from dynlab import _check
from dynlab.native import _ops
from dynlab.native.arguments import PHI, Incremental
from dynlab.native.library import call, load
from dynlab.native.memory import new_sequence

# Rows of the matrix product that makes the weight's gradient: enough for the BLAS, and still in the cache.
_CHUNK_ROWS = 512


def _expect(
    operator: str,
    x: Tensor,
    weight: Tensor | None,
    left: Tensor | None,
    right: Tensor | None,
    eta: Tensor,
    state: Tensor,
    phi: str,
    sign: int,
) -> None:
    where = f"dynlab::{operator}"
    _ops.expect_axes(operator, x=(x, (3,)), left=(left, (2,)), right=(right, (2,)), eta=(eta, (1, 2)))
    units = x.shape[-1]
    _check.choice("phi", phi, tuple(PHI), where)
    _check.choice("sign", sign, (1, -1), where)
    if (left is None) != (right is None) or (left is None) == (weight is None):
        raise ValueError(f"{where}: expected either weight, or left and right")
    rank = 0 if left is None else left.shape[-1]
    steps = (x.shape[0],) if eta.dim() == 2 else ()
    _ops.expect(
        operator,
        x,
        weight=(weight, (units, units)),
        left=(left, (units, rank)),
        right=(right, (rank, units)),
        eta=(eta, (*steps, max(1, eta.shape[-1]))),
        state=(state, (x.shape[1], units)),
    )


def _sizes(
    x: Tensor, eta: Tensor, left: Tensor | None, phi: str, sign: int, zero: bool, alpha: float
) -> dict[str, Any]:
    """What forward and backward arguments have in common."""
    return {
        "steps": x.shape[0],
        "batch": x.shape[1],
        "units": x.shape[2],
        "inner": eta.shape[-1],
        "rank": 0 if left is None else left.shape[1],
        "phi": PHI[phi],
        "sign": sign,
        "zero": int(zero),
        "slices": _ops.slices(x),
        "alpha": alpha,
        "eta": eta,
        "eta_time": eta.stride(0) if eta.dim() == 2 else 0,
    }


def _with_scratch(arguments: Incremental, x: Tensor) -> Incremental:
    """The arguments with the memory that the CPU build works in."""
    if x.device.type == "cpu":
        size = load("cpu").dynlab_incremental_scratch(ctypes.byref(arguments))
        arguments.own(scratch=x.new_empty(arguments.slices * size))
    return arguments


@torch.library.custom_op("dynlab::incremental", mutates_args=())
def incremental(
    x: Tensor,
    weight: Tensor | None,
    left: Tensor | None,
    right: Tensor | None,
    eta: Tensor,
    state: Tensor,
    watch: Tensor | None,
    alpha: float,
    phi: str,
    sign: int,
    zero: bool,
    keep: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """iRNN Eq. (5) over a sequence.

    Arguments:
        x: W u + b, (t, b, d). weight: U (d, d), or None where U = I + left right, (d, r) and (r, d).
        eta: (k,) or (t, k). state: (b, d). watch: as in ``dynlab::unicornn``, (t + 1, b, d).
        phi: "tanh", "relu" or "sigmoid". sign: +1 or -1. zero: g_0 = 0 instead of h_{m-1}.
        keep: "states", "hidden" or "last". save: keep the pre-activations for a backward pass.

    Returns:
        The sequence that ``keep`` names, (t + 1, b, d), (t, b, d) or empty; the last state (b, d); the
        pre-activations (t, k, b, d), or nothing.
    """
    _expect("incremental", x, weight, left, right, eta, state, phi, sign)
    x, state, eta = _ops.rows_contiguous(x), state.contiguous(), _ops.rows_contiguous(eta)
    steps, batch, units = x.shape
    sequence, rows = _ops.kept(x, state, units, keep)
    last = torch.empty_like(state)
    pre = new_sequence(x, (steps, eta.shape[-1], batch, units) if save else (0,))
    arguments = Incremental.of(
        **_sizes(x, eta, left, phi, sign, zero, alpha),
        weight=_ops.optional(weight),
        left=_ops.optional(left),
        right=_ops.optional(right),
        state=state,
        last=last,
        x=x,
        h=rows,
        pre=pre,
    )
    call(_with_scratch(arguments, x), "forward", x)
    return sequence, last, pre


@incremental.register_fake
def _(
    x: Tensor,
    weight: Tensor | None,
    left: Tensor | None,
    right: Tensor | None,
    eta: Tensor,
    state: Tensor,
    watch: Tensor | None,
    alpha: float,
    phi: str,
    sign: int,
    zero: bool,
    keep: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    _expect("incremental", x, weight, left, right, eta, state, phi, sign)
    steps, batch, units = x.shape
    pre = x.new_empty(steps, eta.shape[-1], batch, units) if save else x.new_empty(0)
    return state.new_empty(_ops.kept_shape(x, state, units, keep)), torch.empty_like(state), pre


@torch.library.custom_op("dynlab::incremental_backward", mutates_args=())
def incremental_backward(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    weight: Tensor | None,
    left: Tensor | None,
    right: Tensor | None,
    eta: Tensor,
    state: Tensor,
    sequence: Tensor,
    pre: Tensor,
    alpha: float,
    phi: str,
    sign: int,
    zero: bool,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, left, right (nothing for those absent), eta, the initial state, and dL/d state_t.

    ``sequence`` must have been kept: "states" or "hidden". Arguments as forward.
    """
    _ops.expect_axes("incremental_backward", pre=(pre, (4,)))
    _expect("incremental_backward", pre[:, 0], weight, left, right, eta, state, phi, sign)
    steps, inner, batch, units = pre.shape
    _ops.expect("incremental_backward", pre[:, 0], pre=(pre, (steps, eta.shape[-1], batch, units)))
    _ops.expect_kept("incremental_backward", pre[:, 0], state, sequence, grad_sequence, grad_last, keep)
    pre, sequence = pre.contiguous(), _ops.rows_contiguous(sequence)
    state, eta = state.contiguous(), _ops.rows_contiguous(eta)
    weight, left, right = _ops.optional(weight), _ops.optional(left), _ops.optional(right)
    rows, direct = _ops.gradient_rows(grad_sequence, keep)
    grad_x, grad_state = new_sequence(pre, (steps, batch, units)), torch.empty_like(state)
    adjoints = _ops.adjoint_rows(grad_x, units, adjoint)
    sizes = _sizes(grad_x, eta, left, phi, sign, zero, alpha)
    rank, slices = sizes["rank"], sizes["slices"]
    arguments = Incremental.of(
        **sizes,
        weight=weight,
        left=left,
        right=right,
        state=state,
        h=sequence[1:] if keep == "states" else sequence,
        pre=pre,
        grad_h=rows,
        grad_last=_ops.optional(grad_last),
        grad_x=grad_x,
        grad_state=grad_state,
        adjoint=adjoints,
    )
    if pre.device.type == "cpu":
        most_rows = -(-batch // slices)
        arguments.chunk = max(1, min(steps, _CHUNK_ROWS // (inner * most_rows)))
        grad_eta = pre.new_empty(slices, steps, inner)
        grad_weight = pre.new_zeros(slices, *((2, units, rank) if rank else (units, units)))
        arguments.own(grad_eta=grad_eta, grad_weight=grad_weight)
        call(_with_scratch(arguments, pre), "backward", pre)
        total = grad_weight.sum(0)
        if rank:
            parts = pre.new_empty(0), total[0].clone(), total[1].reshape(rank, units).clone()
        else:
            parts = total, pre.new_empty(0), pre.new_empty(0)
    else:
        grad_eta = pre.new_empty(batch, steps, inner)
        delta, sums = torch.empty_like(pre), torch.empty_like(pre)
        arguments.own(grad_eta=grad_eta, delta=delta, sums=sums)
        call(arguments, "backward", pre)
        delta, sums = delta.view(-1, units), sums.view(-1, units)
        if left is not None and right is not None:
            parts = pre.new_empty(0), delta.T @ (sums @ right.T), (delta @ left).T @ sums
        else:
            parts = delta.T @ sums, pre.new_empty(0), pre.new_empty(0)
    total_eta = grad_eta.sum(0) if eta.dim() == 2 else grad_eta.sum((0, 1))
    return grad_x, *parts, total_eta, _ops.with_initial(grad_state, direct, adjoints), adjoints


@incremental_backward.register_fake
def _(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    weight: Tensor | None,
    left: Tensor | None,
    right: Tensor | None,
    eta: Tensor,
    state: Tensor,
    sequence: Tensor,
    pre: Tensor,
    alpha: float,
    phi: str,
    sign: int,
    zero: bool,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    _expect("incremental_backward", pre[:, 0], weight, left, right, eta, state, phi, sign)
    steps, _, batch, units = pre.shape
    _ops.expect_kept("incremental_backward", pre[:, 0], state, sequence, grad_sequence, grad_last, keep)
    grad_x = pre.new_empty(steps, batch, units)
    parts = [pre.new_empty(0 if part is None else part.shape) for part in (weight, left, right)]
    adjoints = grad_x.new_empty(_ops.adjoint_shape(grad_x, units, adjoint))
    return grad_x, parts[0], parts[1], parts[2], eta.new_empty(eta.shape), torch.empty_like(state), adjoints


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, weight, left, right, eta, state, _, *ctx.options, _ = inputs
    sequence, _, pre = output
    ctx.mark_non_differentiable(pre)
    ctx.save_for_backward(weight, left, right, eta, state, sequence, pre)


def _backward(
    ctx: Any, grad_sequence: Tensor | None, grad_last: Tensor | None, grad_pre: None
) -> tuple[Tensor | None, ...]:
    adjoint = ctx.needs_input_grad[6]
    grad_x, *parts, grad_eta, grad_state, adjoints = incremental_backward(
        grad_sequence, grad_last, *ctx.saved_tensors, *ctx.options, adjoint
    )
    present = [None if given is None else part for given, part in zip(ctx.saved_tensors[:3], parts, strict=True)]
    return grad_x, *present, grad_eta, grad_state, adjoints if adjoint else None, *(None,) * 6


incremental.register_autograd(_backward, setup_context=_ops.setup(_save))
_ops.refuse_double_backward(incremental_backward)
