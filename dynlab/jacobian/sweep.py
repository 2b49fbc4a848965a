"""Sweeps: all products of a trace's step Jacobians in one pass, in time chunks.

Nothing here keeps a product for every time; visitors take what they want from it as it passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from dynlab.backend import Backend, runs_native
from dynlab.jacobian.arena import Arena
from dynlab.jacobian.blocks import BlockDiagonal, ShearBlocks
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.product import HEADROOM, BlockProduct, DenseProduct, Product
from dynlab.trace import Trace

Rows = Literal["state", "hidden"] | Tensor


class Visitor(Protocol):
    """What an adjoint sweep calls, with time running backward."""

    def visit(self, first: int, product: Product, linearization: Linearization | None) -> None:
        """Take the products d state_stop / d state_t for t = first, first + 1, ..., as many as ``product`` holds.

        Arguments:
            product: valid during the call; its buffers are used again for later steps.
            linearization: the transitions first, first + 1, ... (state_{t-1} -> state_t), with a leading time
                axis if the product has one; None at t = start, where there is none.
        """


def starting_rows(trace: Trace, rows: Rows) -> Tensor:
    """The rows a dense product starts from, (b, r, n)."""
    if isinstance(rows, Tensor):
        # A copy: sweeps give the buffer of their first product back to the arena.
        return rows.clone()
    states = trace.states
    eye = torch.eye(trace.cell.state_size, dtype=states.dtype, device=states.device)
    if rows == "hidden":
        eye = eye[trace.cell.hidden_slice]
    return eye.expand(trace.batch_size, *eye.shape)


@torch.no_grad()
def adjoint_sweep(
    trace: Trace,
    visitors: list[Visitor],
    rows: Rows = "state",
    start: int = 0,
    stop: int | None = None,
    tick: Callable[[int], None] = lambda steps: None,
) -> Product:
    """d state_stop / d state_t for every t from ``stop`` (T by default) down to ``start``.

    Arguments:
        rows: "state", "hidden", or rows (batch, r, n) to start from (probe vectors).
        tick: called with the number of steps done since the last call.

    Returns:
        The product at t = start. Independent units give a BlockProduct, unless rows are given.
    """
    stop = trace.steps if stop is None else stop
    blockwise = not isinstance(rows, Tensor) and isinstance(trace.linearize(0, 1).jacobian, BlockDiagonal)
    sweep = _adjoint_blocks if blockwise else _adjoint_dense
    return sweep(trace, visitors, rows, start, stop, tick)


def _adjoint_dense(
    trace: Trace, visitors: list[Visitor], rows: Rows, start: int, stop: int, tick: Callable[[int], None]
) -> DenseProduct:
    product, arena = DenseProduct.start(starting_rows(trace, rows)), Arena()
    width = product.matrix.shape[1]
    for left, right in reversed(trace.chunks(start, stop, width=width)):
        steps = trace.transitions(left, right, width)
        for t, step in zip(range(right, left, -1), reversed(steps), strict=True):
            for visitor in visitors:
                visitor.visit(t, product, step)
            product = product.times(step.jacobian, arena)
        tick(right - left)
    for visitor in visitors:
        visitor.visit(start, product, None)
    return product


def _adjoint_blocks(
    trace: Trace, visitors: list[Visitor], rows: Rows, start: int, stop: int, tick: Callable[[int], None]
) -> BlockProduct:
    first = cast(BlockDiagonal, trace.linearize(0, 1).unbind()[0].jacobian)
    product = BlockProduct.start(first, 1 if rows == "hidden" else first.channels)
    for left, right in reversed(trace.chunks(start, stop)):
        chunk = trace.linearize(left, right)
        safe = safe_steps(cast(BlockDiagonal, chunk.jacobian))
        for lower, upper in reversed(trace.chunks(left, right, safe)):
            part = chunk if upper - lower == right - left else chunk.narrow(lower - left, upper - left)
            history = _history(product, cast(BlockDiagonal, part.jacobian), upper - lower, trace.cell.backend)
            for visitor in visitors:
                visitor.visit(lower + 1, BlockProduct(history[:, 1:], product.log_scale), part)
            product = BlockProduct(history[:, :1], product.log_scale).normalised()
        tick(right - left)
    for visitor in visitors:
        visitor.visit(start, product, None)
    return product


def _history(product: BlockProduct, jacobian: BlockDiagonal, steps: int, backend: Backend) -> Tensor:
    """The product at the last ``steps`` + 1 times, (s, steps + 1, b, r, d), the given one at the end."""
    channels, _, *rest = product.entries.shape
    history = product.entries.new_empty(channels, steps + 1, *rest)
    history[:, -1] = product.entries[:, 0]
    # There is no such kernel for CUDA.
    if isinstance(jacobian, ShearBlocks) and not history.is_cuda and runs_native(backend, True, "UnICORNN", history):
        from dynlab.native.shears import shear_products

        shear_products(jacobian.drift, jacobian.kick, history)
        return history
    columns = list(zip(*(column.unbind(0) for column in history.unbind(0)), strict=True))
    for i, step in zip(range(steps, 0, -1), reversed(jacobian.unbind()), strict=True):
        step.left_channels(columns[i], columns[i - 1])
    return history


def safe_steps(jacobian: BlockDiagonal) -> int:
    """How many of these steps a product of norm 1 survives without leaving the comfortable range."""
    per_step = max(float(jacobian.log_norm_bound()), 1e-3)
    room = math.log(HEADROOM.get(jacobian._like().dtype, 1e8))
    return max(1, int(room / per_step)) if math.isfinite(per_step) else 1
