"""UnICORNN's recurrence as an operator: ``kernels/include/unicornn.h`` over a sequence.

Index conventions: t time, b batch, d unit, n = 2 d state component.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dynlab.native import _ops
from dynlab.native.arguments import Unicornn
from dynlab.native.library import call
from dynlab.native.memory import new_sequence


def _expect(operator: str, x: Tensor, w: Tensor, h: Tensor, state: Tensor) -> None:
    _ops.expect_axes(operator, x=(x, (3,)))
    units = x.shape[-1]
    _ops.expect(operator, x, w=(w, (units,)), h=(h, (units,)), state=(state, (x.shape[1], 2 * units)))


@torch.library.custom_op("dynlab::unicornn", mutates_args=())
def unicornn(
    x: Tensor, w: Tensor, h: Tensor, state: Tensor, watch: Tensor | None, alpha: float, keep: str, reconstruct: bool
) -> tuple[Tensor, Tensor]:
    """UnICORNN Eq. (6) over a sequence.

    Arguments:
        x: V u + b, (t, b, d). w: (d,). h: dt sigmoid(c), (d,). state: [y, z], (b, n).
        watch: zeros (t + 1, b, n), never read: their gradient is dL/d state_t. None where nobody wants it.
        keep: "states", "hidden" or "last".
        reconstruct: the backward pass unwinds y by Eq. (7), and the kept sequence is not saved for it.

    Returns:
        The sequence that ``keep`` names, (t + 1, b, n), (t, b, d) or empty, and the last state (b, n).
    """
    _expect("unicornn", x, w, h, state)
    units = w.shape[0]
    x, state = _ops.rows_contiguous(x), state.contiguous()
    sequence, rows = _ops.kept(x, state, units, keep)
    last = torch.empty_like(state)
    arguments = Unicornn.of(
        steps=x.shape[0],
        batch=x.shape[1],
        units=units,
        alpha=alpha,
        w=w.contiguous(),
        h=h.contiguous(),
        state=state,
        last=last,
        x=x,
        y=None if rows is None else rows[..., :units],
        z=rows[..., units:] if keep == "states" and rows is not None else None,
    )
    call(arguments, "forward", x)
    return sequence, last


@unicornn.register_fake
def _(
    x: Tensor, w: Tensor, h: Tensor, state: Tensor, watch: Tensor | None, alpha: float, keep: str, reconstruct: bool
) -> tuple[Tensor, Tensor]:
    _expect("unicornn", x, w, h, state)
    return state.new_empty(_ops.kept_shape(x, state, w.shape[0], keep)), torch.empty_like(state)


def _expect_kept(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    x: Tensor,
    state: Tensor,
    sequence: Tensor,
    last: Tensor,
    keep: str,
) -> None:
    shape = _ops.kept_shape(x, state, x.shape[-1], keep)
    _ops.expect(
        "unicornn_backward",
        x,
        grad_sequence=(grad_sequence, shape),
        grad_last=(grad_last, state.shape),
        sequence=(sequence, shape if sequence.numel() else sequence.shape),
        last=(last, state.shape),
    )


@torch.library.custom_op("dynlab::unicornn_backward", mutates_args=())
def unicornn_backward(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    x: Tensor,
    w: Tensor,
    h: Tensor,
    state: Tensor,
    sequence: Tensor,
    last: Tensor,
    alpha: float,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Appendix B, Eqs. (3)-(5): gradients of x, w, h, the initial state, and with ``adjoint`` dL/d state_t.

    ``sequence`` is what the forward pass kept, empty to unwind it by Eq. (7); the rest as there.
    """
    _expect("unicornn_backward", x, w, h, state)
    _expect_kept(grad_sequence, grad_last, x, state, sequence, last, keep)
    units = w.shape[0]
    sequence, last = _ops.rows_contiguous(sequence), last.contiguous()
    x, state, w, h = _ops.rows_contiguous(x), state.contiguous(), w.contiguous(), h.contiguous()
    rows, direct = _ops.gradient_rows(grad_sequence, keep)
    stored = None if sequence.numel() == 0 else sequence[1:, :, :units] if keep == "states" else sequence
    grad_x, grad_state = new_sequence(x, x.shape), torch.empty_like(state)
    grad_w, grad_h = x.new_empty(2, x.shape[1], units)
    adjoints = _ops.adjoint_rows(x, state.shape[1], adjoint)
    arguments = Unicornn.of(
        steps=x.shape[0],
        batch=x.shape[1],
        units=units,
        alpha=alpha,
        w=w,
        h=h,
        state=state,
        last=last,
        x=x,
        y=stored,
        grad_y=None if rows is None else rows[..., :units],
        grad_z=rows[..., units:] if keep == "states" and rows is not None else None,
        grad_last=(grad_last := _ops.optional(grad_last)),
        grad_x=grad_x,
        grad_w=grad_w,
        grad_h=grad_h,
        grad_state=grad_state,
        adjoint=adjoints,
    )
    call(arguments, "backward", x)
    grad_w, grad_h = _ops.sum_of_samples(grad_w), _ops.sum_of_samples(grad_h)
    return grad_x, grad_w, grad_h, _ops.with_initial(grad_state, direct, adjoints), adjoints


@unicornn_backward.register_fake
def _(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    x: Tensor,
    w: Tensor,
    h: Tensor,
    state: Tensor,
    sequence: Tensor,
    last: Tensor,
    alpha: float,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    _expect("unicornn_backward", x, w, h, state)
    _expect_kept(grad_sequence, grad_last, x, state, sequence, last, keep)
    adjoints = x.new_empty(_ops.adjoint_shape(x, state.shape[1], adjoint))
    return x.new_empty(x.shape), torch.empty_like(w), torch.empty_like(h), torch.empty_like(state), adjoints


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, w, h, state, _, ctx.alpha, ctx.keep, reconstruct = inputs
    sequence, last = output
    ctx.save_for_backward(x, w, h, state, x.new_empty(0) if reconstruct else sequence, last)


def _backward(ctx: Any, grad_sequence: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:
    adjoint = ctx.needs_input_grad[4]
    *gradients, adjoints = unicornn_backward(grad_sequence, grad_last, *ctx.saved_tensors, ctx.alpha, ctx.keep, adjoint)
    return *gradients, adjoints if adjoint else None, None, None, None


unicornn.register_autograd(_backward, setup_context=_ops.setup(_save))
_ops.refuse_double_backward(unicornn_backward)
