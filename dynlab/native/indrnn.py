"""IndRNN's recurrence as an operator: ``kernels/include/indrnn.h`` over a sequence.

Index conventions: t time, b batch, d unit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dynlab import _check
from dynlab.native import _ops
from dynlab.native.arguments import PHI, Indrnn
from dynlab.native.library import call
from dynlab.native.memory import new_sequence


def _expect(operator: str, x: Tensor, u: Tensor, state: Tensor, phi: str) -> None:
    _ops.expect_axes(operator, x=(x, (3,)))
    units = x.shape[-1]
    _check.choice("phi", phi, tuple(PHI), f"dynlab::{operator}")
    _ops.expect(operator, x, u=(u, (units,)), state=(state, (x.shape[1], units)))


@torch.library.custom_op("dynlab::indrnn", mutates_args=())
def indrnn(x: Tensor, u: Tensor, state: Tensor, watch: Tensor | None, phi: str, keep: str) -> tuple[Tensor, Tensor]:
    """h_t = phi(x_t + u h_{t-1}) over a sequence.

    Arguments:
        x: V u + b, (t, b, d). u: (d,). state: (b, d). watch: as in ``dynlab::unicornn``, (t + 1, b, d).
        phi: "tanh", "relu" or "sigmoid". keep: "states", "hidden" or "last".

    Returns:
        The sequence that ``keep`` names, (t + 1, b, d), (t, b, d) or empty, and the last state (b, d).
    """
    _expect("indrnn", x, u, state, phi)
    x, state = _ops.rows_contiguous(x), state.contiguous()
    sequence, rows = _ops.kept(x, state, u.shape[0], keep)
    last = torch.empty_like(state)
    arguments = Indrnn.of(
        steps=x.shape[0],
        batch=x.shape[1],
        units=u.shape[0],
        phi=PHI[phi],
        u=u.contiguous(),
        state=state,
        last=last,
        x=x,
        h=rows,
    )
    call(arguments, "forward", x)
    return sequence, last


@indrnn.register_fake
def _(x: Tensor, u: Tensor, state: Tensor, watch: Tensor | None, phi: str, keep: str) -> tuple[Tensor, Tensor]:
    _expect("indrnn", x, u, state, phi)
    return state.new_empty(_ops.kept_shape(x, state, u.shape[0], keep)), torch.empty_like(state)


@torch.library.custom_op("dynlab::indrnn_backward", mutates_args=())
def indrnn_backward(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    x: Tensor,
    u: Tensor,
    state: Tensor,
    sequence: Tensor,
    phi: str,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, u, the initial state, and with ``adjoint`` dL/d state_t; arguments as forward."""
    _expect("indrnn_backward", x, u, state, phi)
    _ops.expect_kept("indrnn_backward", x, state, sequence, grad_sequence, grad_last, keep)
    sequence = _ops.rows_contiguous(sequence)
    x, state = _ops.rows_contiguous(x), state.contiguous()
    rows, direct = _ops.gradient_rows(grad_sequence, keep)
    grad_x, grad_state = new_sequence(x, x.shape), torch.empty_like(state)
    grad_u = x.new_empty(x.shape[1], u.shape[0])
    adjoints = _ops.adjoint_rows(x, state.shape[1], adjoint)
    arguments = Indrnn.of(
        steps=x.shape[0],
        batch=x.shape[1],
        units=u.shape[0],
        phi=PHI[phi],
        u=u.contiguous(),
        state=state,
        x=x,
        h=sequence[1:] if keep == "states" else sequence,
        grad_h=rows,
        grad_last=_ops.optional(grad_last),
        grad_x=grad_x,
        grad_u=grad_u,
        grad_state=grad_state,
        adjoint=adjoints,
    )
    call(arguments, "backward", x)
    return grad_x, _ops.sum_of_samples(grad_u), _ops.with_initial(grad_state, direct, adjoints), adjoints


@indrnn_backward.register_fake
def _(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    x: Tensor,
    u: Tensor,
    state: Tensor,
    sequence: Tensor,
    phi: str,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _expect("indrnn_backward", x, u, state, phi)
    _ops.expect_kept("indrnn_backward", x, state, sequence, grad_sequence, grad_last, keep)
    adjoints = x.new_empty(_ops.adjoint_shape(x, state.shape[1], adjoint))
    return x.new_empty(x.shape), torch.empty_like(u), torch.empty_like(state), adjoints


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, u, state, _, ctx.phi, ctx.keep = inputs
    ctx.save_for_backward(x, u, state, output[0])


def _backward(ctx: Any, grad_sequence: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:
    adjoint = ctx.needs_input_grad[3]
    *gradients, adjoints = indrnn_backward(grad_sequence, grad_last, *ctx.saved_tensors, ctx.phi, ctx.keep, adjoint)
    return *gradients, adjoints if adjoint else None, None, None


indrnn.register_autograd(_backward, setup_context=_ops.setup(_save))
_ops.refuse_double_backward(indrnn_backward)
