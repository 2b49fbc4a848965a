"""AntisymmetricRNN's recurrence as an operator: ``kernels/include/antisymmetric.h`` over a sequence.

Index conventions: t time, b batch, d unit, g = d, or 2 d with a gate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dynlab.native import _ops
from dynlab.native.arguments import Antisymmetric
from dynlab.native.library import call
from dynlab.native.memory import new_sequence


def _expect(operator: str, x: Tensor, matrix: Tensor, state: Tensor) -> None:
    _ops.expect_axes(operator, x=(x, (3,)), matrix=(matrix, (2,)))
    units = matrix.shape[0]
    columns = units if x.shape[-1] == units else 2 * units
    _ops.expect(
        operator, x, x=(x, (*x.shape[:2], columns)), matrix=(matrix, (units, units)), state=(state, (x.shape[1], units))
    )


@torch.library.custom_op("dynlab::antisymmetric", mutates_args=())
def antisymmetric(
    x: Tensor, matrix: Tensor, state: Tensor, watch: Tensor | None, epsilon: float, keep: str, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """AntisymmetricRNN Eq. (12), or Eq. (13) where x has 2 d columns, over a sequence.

    Arguments:
        x: V_h u + b_h, beside it V_z u + b_z where there is a gate, (t, b, g). matrix: M (d, d). state: (b, d).
        watch: as in ``dynlab::unicornn``, (t + 1, b, d). keep: "states", "hidden" or "last".
        save: keep the pre-activations for a backward pass.

    Returns:
        The sequence that ``keep`` names, (t + 1, b, d), (t, b, d) or empty; the last state (b, d); the
        pre-activations (t, b, g), or nothing.
    """
    _expect("antisymmetric", x, matrix, state)
    x, state, units = _ops.rows_contiguous(x), state.contiguous(), matrix.shape[0]
    sequence, rows = _ops.kept(x, state, units, keep)
    last = torch.empty_like(state)
    pre = new_sequence(x, x.shape if save else (0,))
    arguments = Antisymmetric.of(
        steps=x.shape[0],
        batch=x.shape[1],
        units=units,
        gated=int(x.shape[2] != units),
        slices=_ops.slices(x),
        epsilon=epsilon,
        matrix=matrix.contiguous(),
        state=state,
        last=last,
        scratch=state.new_empty(units + state.shape[0], units),
        x=x,
        h=rows,
        pre=pre,
    )
    call(arguments, "forward", x)
    return sequence, last, pre


@antisymmetric.register_fake
def _(
    x: Tensor, matrix: Tensor, state: Tensor, watch: Tensor | None, epsilon: float, keep: str, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _expect("antisymmetric", x, matrix, state)
    pre = x.new_empty(x.shape) if save else x.new_empty(0)
    return state.new_empty(_ops.kept_shape(x, state, matrix.shape[0], keep)), torch.empty_like(state), pre


@torch.library.custom_op("dynlab::antisymmetric_backward", mutates_args=())
def antisymmetric_backward(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    matrix: Tensor,
    state: Tensor,
    sequence: Tensor,
    pre: Tensor,
    epsilon: float,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, M, the initial state, and with ``adjoint`` dL/d state_t; arguments as forward.

    ``sequence`` must have been kept: "states" or "hidden".
    """
    _expect("antisymmetric_backward", pre, matrix, state)
    _ops.expect_kept("antisymmetric_backward", pre, state, sequence, grad_sequence, grad_last, keep)
    state, units, pre = state.contiguous(), matrix.shape[0], pre.contiguous()
    gated = pre.shape[2] != units
    rows, direct = _ops.gradient_rows(grad_sequence, keep)
    grad_x, grad_state = new_sequence(pre, pre.shape), torch.empty_like(state)
    delta = new_sequence(pre, (*pre.shape[:2], units)) if gated else grad_x
    adjoints = _ops.adjoint_rows(pre, units, adjoint)
    arguments = Antisymmetric.of(
        steps=pre.shape[0],
        batch=pre.shape[1],
        units=units,
        gated=int(gated),
        slices=_ops.slices(pre),
        epsilon=epsilon,
        matrix=matrix.contiguous(),
        state=state,
        pre=pre,
        grad_h=rows,
        grad_last=_ops.optional(grad_last),
        grad_x=grad_x,
        delta=delta if gated else None,
        grad_state=grad_state,
        adjoint=adjoints,
    )
    call(arguments, "backward", pre)
    grad_matrix = _ops.outer_sum(delta, state, sequence, keep)
    return grad_x, grad_matrix, _ops.with_initial(grad_state, direct, adjoints), adjoints


@antisymmetric_backward.register_fake
def _(
    grad_sequence: Tensor | None,
    grad_last: Tensor | None,
    matrix: Tensor,
    state: Tensor,
    sequence: Tensor,
    pre: Tensor,
    epsilon: float,
    keep: str,
    adjoint: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _expect("antisymmetric_backward", pre, matrix, state)
    _ops.expect_kept("antisymmetric_backward", pre, state, sequence, grad_sequence, grad_last, keep)
    adjoints = pre.new_empty(_ops.adjoint_shape(pre, state.shape[1], adjoint))
    return pre.new_empty(pre.shape), matrix.new_empty(matrix.shape), torch.empty_like(state), adjoints


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, matrix, state, _, ctx.epsilon, ctx.keep, _ = inputs
    sequence, _, pre = output
    ctx.mark_non_differentiable(pre)
    ctx.save_for_backward(matrix, state, sequence, pre)


def _backward(
    ctx: Any, grad_sequence: Tensor | None, grad_last: Tensor | None, grad_pre: None
) -> tuple[Tensor | None, ...]:
    adjoint = ctx.needs_input_grad[3]
    *gradients, adjoints = antisymmetric_backward(
        grad_sequence, grad_last, *ctx.saved_tensors, ctx.epsilon, ctx.keep, adjoint
    )
    return *gradients, adjoints if adjoint else None, None, None, None


antisymmetric.register_autograd(_backward, setup_context=_ops.setup(_save))
_ops.refuse_double_backward(antisymmetric_backward)
