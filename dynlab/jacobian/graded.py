"""Products whose singular values span any range, by QR with a scale a column.

One scale a product is not enough for small singular values: they drown at eps times the largest. Here a product
is kept as U exp(D) V with U orthonormal, D real and V well-conditioned, so that each direction has a scale of
its own (the "UDV" stabilisation of Loh et al. 1989; Benettin et al. 1980 for the exponents).

Index conventions: b batch, n state, k columns, p pairs of columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from dynlab.jacobian.blocks import BlockDiagonal, block_log_singular
from dynlab.jacobian.singular import log_singular_values_of_rows
from dynlab.jacobian.step import StepJacobian
from dynlab.jacobian.sweep import safe_steps
from dynlab.trace import Trace

# Between two QR decompositions the columns may grow apart by this factor: a tenth of the digits at most.
SPREAD = {torch.float32: 10.0, torch.float64: 1e3}
LONGEST = 32


@dataclass(frozen=True)
class GradedProduct:
    """The product of the transitions so far, applied to k starting columns.

    Attributes:
        basis: orthonormal columns after the last transition, (b, n, k); None for independent units.
        log_growth: sum of the logs of R's diagonals, (b, k), natural: divided by the number of transitions
            counted, the Lyapunov exponents.
        counted: that number.
        log_scale: D, (b, k). right: V, (b, k, n), its rows of norm one; both None unless asked for.
        log_singular: of independent units, where they are known in closed form, (b, n). log_hidden: of their first
            channel alone, (b, d).
    """

    basis: Tensor | None
    log_growth: Tensor
    counted: int
    log_scale: Tensor | None = None
    right: Tensor | None = None
    log_singular: Tensor | None = None
    log_hidden: Tensor | None = None

    def log_singular_values(self, hidden: slice | None = None) -> Tensor:
        """log of all singular values, descending, (b, k), float64.

        Arguments:
            hidden: of the block that these components of the state have in the product, all of it by default.

        Raises:
            ValueError: if the sweep was not asked to keep them.
        """
        known = self.log_singular if hidden is None else self.log_hidden
        if known is not None:
            return known.sort(-1, descending=True).values
        if self.basis is None or self.log_scale is None or self.right is None:
            raise ValueError("GradedProduct: expected a sweep with full=True for singular values")
        if hidden is None:
            return log_singular_values_of_rows(self.right, self.log_scale)
        # The rows of the block, U_h exp(D) V_h, in the span of U_h.
        upper = torch.linalg.qr(self.basis[:, hidden].double(), mode="r").R
        log_scale, right = _fold(upper, self.log_scale, self.right[..., hidden])
        return log_singular_values_of_rows(right, log_scale)


@torch.no_grad()
def graded_sweep(
    trace: Trace,
    k: int,
    *,
    full: bool = False,
    times: tuple[int, ...] = (),
    transient: int = 0,
    seed: int = 0,
    tick: Callable[[int], None] = lambda steps: None,
) -> Iterator[tuple[int, GradedProduct]]:
    """The QR sweep forward in time.

    Arguments:
        k: number of columns, 1 .. n. The starting columns are random and orthonormal, the identity for k = n.
        full: keep D and V, for singular values; needs k = n.
        times: times t (1 .. T - 1) at which the product so far is wanted. T comes always, and last.
        transient: growth over the first transitions is not counted.

    Yields:
        (t, product of transitions 1 .. t).
    """
    stops = sorted({*times, transient, trace.steps} - {0})
    sweep = _units(trace, stops, transient, tick) if _independent(trace) else None
    if sweep is None:
        sweep = _columns(trace, k, full, stops, transient, seed, tick)
    for time, product in sweep:
        if time == trace.steps or time in times:
            yield time, product


def _independent(trace: Trace) -> bool:
    return isinstance(trace.linearize(0, 1).jacobian, BlockDiagonal)


def _start(trace: Trace, k: int, full: bool, seed: int) -> GradedProduct:
    states = trace.states
    size, batch = trace.cell.state_size, trace.batch_size
    zeros = states.new_zeros(batch, k, dtype=torch.float64)
    if k == size:
        basis = torch.eye(size, dtype=states.dtype, device=states.device)
    else:
        generator = torch.Generator().manual_seed(seed)
        random = torch.randn(size, k, generator=generator, dtype=torch.float64)
        basis = torch.linalg.qr(random).Q.to(states)
    basis = basis.expand(batch, size, k)
    return GradedProduct(basis, zeros, 0, zeros if full else None, basis.mT.double() if full else None)


def _columns(
    trace: Trace, k: int, full: bool, stops: list[int], transient: int, seed: int, tick: Callable[[int], None]
) -> Iterator[tuple[int, GradedProduct]]:
    product = _start(trace, k, full, seed)
    spread = SPREAD.get(trace.states.dtype, 10.0)
    interval, pending = 1, list[StepJacobian]()
    waiting = iter(stops)
    stop = next(waiting)
    for t, step in trace.linearizations(width=k):
        pending.append(step.jacobian)
        if len(pending) >= interval or t == stop:
            product, ratio = _absorb(product, pending, spread)
            interval = max(1, len(pending) // 2) if ratio > spread else min(2 * interval, LONGEST)
            pending.clear()
        if t % 64 == 0 or t == trace.steps:
            tick((t - 1) % 64 + 1)
        if t == stop:
            if t == transient:
                product = replace(product, log_growth=torch.zeros_like(product.log_growth))
            yield t, replace(product, counted=t - transient if t >= transient else t)
            stop = next(waiting, -1)


def _absorb(product: GradedProduct, steps: list[StepJacobian], spread: float) -> tuple[GradedProduct, float]:
    """Multiply by some steps and decompose once; several times if their columns have grown apart too far."""
    columns = cast(Tensor, product.basis)
    for step in steps:
        columns = step.right(columns)
    basis, upper = torch.linalg.qr(columns)
    diagonal = upper.diagonal(dim1=-2, dim2=-1).abs()
    lowest = diagonal.amin(-1)
    ratio = float((diagonal.amax(-1) / lowest).nan_to_num(math.inf).max())
    if len(steps) > 1 and not ratio <= spread**2:
        half = len(steps) // 2
        product, _ = _absorb(product, steps[:half], spread)
        return _absorb(product, steps[half:], spread)[0], ratio
    product = replace(product, basis=basis, log_growth=product.log_growth + diagonal.double().log())
    if product.right is not None and product.log_scale is not None:
        log_scale, right = _fold(upper.double(), product.log_scale, product.right)
        product = replace(product, log_scale=log_scale, right=right)
    return product, ratio


def _fold(upper: Tensor, log_scale: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """R exp(D) V as exp(D') V' with the rows of V' of norm one; no number leaves the float range."""
    entries = upper.abs().log() + log_scale.unsqueeze(-2)
    top = entries.amax(-1, keepdim=True)
    weights = upper.sign() * (entries - torch.where(top.isneginf(), 0, top)).exp()
    rows = weights @ right
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    # A row that is exactly zero keeps the scale -inf; its direction does not matter.
    rows = rows / torch.where(norm > 0, norm, 1)
    return (top + norm.log()).squeeze(-1), rows


def _units(
    trace: Trace, stops: list[int], transient: int, tick: Callable[[int], None]
) -> Iterator[tuple[int, GradedProduct]]:
    """Independent units: everything follows from the norm and the determinant of each block.

    The two exponents of a unit are its largest singular values' rates; a vector carried along each unit gives
    the first, the determinant the sum (Benettin's QR for 2x2 blocks).
    """
    first = cast(BlockDiagonal, trace.linearize(0, 1).jacobian)
    channels, units = first.channels, first.size // first.channels
    like = trace.states
    block = torch.eye(channels, dtype=like.dtype, device=like.device)[:, :, None].repeat(trace.batch_size, 1, 1, units)
    log_scale = like.new_zeros(trace.batch_size, units, dtype=torch.float64)
    log_det, counted_from = torch.zeros_like(log_scale), torch.zeros_like(log_scale)
    vector_from = torch.zeros_like(log_scale)
    previous = 0
    for stop in stops:
        for left, right in trace.chunks(previous, stop):
            jacobian = cast(BlockDiagonal, trace.linearize(left, right).jacobian)
            log_det = log_det + jacobian.log_determinant().double().sum(0)
            safe = safe_steps(jacobian)
            for index, step in enumerate(jacobian.unbind(), 1):
                block = (step.blocks.unsqueeze(-2) * block.unsqueeze(-4)).sum(-3)
                if index % safe == 0 or index == right - left:
                    norm = torch.linalg.vector_norm(block, dim=(-3, -2), keepdim=True)
                    norm = torch.where(norm > 0, norm, 1)
                    block, log_scale = block / norm, log_scale + norm[:, 0, 0].double().log()
        tick(stop - previous)
        previous = stop
        singular = _unit_singular(block, log_scale, log_det)
        first_column = torch.linalg.vector_norm(block[:, :, 0].double(), dim=1).log() + log_scale
        if stop == transient:
            vector_from, counted_from = first_column, log_det
        # Dead before the counting starts is dead: -inf, not -inf + inf.
        growth = torch.where(first_column.isneginf(), first_column, first_column - vector_from)
        both = torch.where(log_det.isneginf(), log_det, log_det - counted_from)
        exponents = [growth] if channels == 1 else [growth, torch.where(both.isneginf(), both, both - growth)]
        order = torch.cat(exponents, -1).sort(-1, descending=True).values
        counted = stop - transient if stop >= transient else stop
        log_hidden = block[:, 0, 0].double().abs().log() + log_scale
        yield stop, GradedProduct(None, order, counted, log_singular=singular.flatten(1), log_hidden=log_hidden)


def _unit_singular(block: Tensor, log_scale: Tensor, log_det: Tensor) -> Tensor:
    channels = block.shape[1]
    inner = log_det - channels * log_scale
    return block_log_singular(block, inner) + log_scale.unsqueeze(-2)
