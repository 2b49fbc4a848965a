"""``Trace``: what a rollout leaves behind, and its linearisation in time chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from dynlab.cell import Cell
from dynlab.jacobian.blocks import BlockDiagonal
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DenseJacobian

# Bytes of linearised steps alive at once, and their number: small enough to stay near the caches, large enough for
# few calls.
CHUNK_BYTES = 4 * 2**20
LONGEST_CHUNK = 128
# Step Jacobians of all samples that are smaller than this are formed, many steps at once: below it a product with their
# structure spends more time on its several operations than on numbers.
FORMED_BYTES = 2**17
# Formed steps stay for the next sweep where those of the whole trace fit in here.
KEPT_BYTES = 2**25


class StateOverflow(ValueError):
    """The state left the float range at the very first step, so that there is nothing to measure."""


@dataclass(frozen=True)
class Trace:
    """A rollout of T inputs.

    Attributes:
        cell: the cell that made it.
        inputs: (time 1..T, batch, feature). states: (time 0..T, batch, state); every number finite.
        requested: T asked for. overflow: the first step whose state left the float range, or None; the trace
            then ends one step before it, T = overflow - 1.
        overflow_by_sample: (batch,) that step for each sample on its own, 0 for none.
    """

    cell: Cell
    inputs: Tensor
    states: Tensor
    requested: int
    overflow: int | None
    overflow_by_sample: Tensor

    @property
    def steps(self) -> int:
        """T, the number of transitions."""
        return self.inputs.shape[0]

    @property
    def batch_size(self) -> int:
        """Number of samples."""
        return self.inputs.shape[1]

    def linearize(self, start: int, stop: int) -> Linearization:
        """The linearised transitions start + 1 .. stop, leading axes (stop - start, batch)."""
        return self.cell.linearization(self.inputs[start:stop], self.states[start:stop], start)

    @cached_property
    def chunk(self) -> int:
        """Transitions linearised at once, by their size in bytes."""
        size = self._first.nbytes()
        return max(1, min(self.steps, CHUNK_BYTES // max(1, size), LONGEST_CHUNK))

    def chunks(
        self, start: int = 0, stop: int | None = None, limit: int | None = None, width: int = 0
    ) -> list[tuple[int, int]]:
        """Consecutive ranges of transitions that cover start .. stop (T by default), in time order.

        Arguments:
            limit: on their length. width: as of ``transitions``, for which they are short enough.
        """
        stop = self.steps if stop is None else stop
        length = min(self.chunk, limit or self.chunk)
        if self._forms(width):
            length = min(length, max(1, CHUNK_BYTES // self._formed_bytes))
        return [(left, min(left + length, stop)) for left in range(start, stop, length)]

    def linearizations(
        self, start: int = 0, stop: int | None = None, width: int = 0
    ) -> Iterator[tuple[int, Linearization]]:
        """(t, one linearised transition) for t = start + 1 .. stop; ``width`` as of ``transitions``."""
        for left, right in self.chunks(start, stop, width=width):
            yield from enumerate(self.transitions(left, right, width), left + 1)

    def transitions(self, left: int, right: int, width: int = 0) -> list[Linearization]:
        """The linearised transitions left + 1 .. right one by one, in the form that is quickest to multiply by.

        Arguments:
            width: the rows or columns that they will be multiplied by. Many, and the Jacobians are formed if they
                are small; else they keep their structure.
        """
        if not self._forms(width):
            return self.linearize(left, right).unbind()
        if all(t in self._formed for t in range(left, right)):
            return [self._formed[t] for t in range(left, right)]
        chunk = self.linearize(left, right)
        steps = replace(chunk, jacobian=DenseJacobian(chunk.jacobian.to_dense())).unbind()
        if self.steps * self._formed_bytes <= KEPT_BYTES:
            self._formed.update(enumerate(steps, left))
        return steps

    def _forms(self, width: int) -> bool:
        many = 2 * width >= self.cell.state_size and self._formed_bytes <= FORMED_BYTES
        return many and not isinstance(self._first.jacobian, DenseJacobian | BlockDiagonal)

    @cached_property
    def _first(self) -> Linearization:
        return self.linearize(0, 1)

    @cached_property
    def _formed_bytes(self) -> int:
        return self.batch_size * self.cell.state_size**2 * self.states.element_size()

    @cached_property
    def _formed(self) -> dict[int, Linearization]:
        """By their start, those that stay."""
        return {}


@torch.no_grad()
def rollout(cell: Cell, inputs: Tensor, state: Tensor | None = None) -> Trace:
    """Run ``cell`` over ``inputs`` (axes as its ``scan`` takes them) and keep the states.

    A state that leaves the float range ends the trace one step earlier and is reported, not propagated.

    Raises:
        TypeError, ValueError: as ``Cell.scan``; StateOverflow if the very first step leaves the float range.
    """
    where = f"{type(cell).__name__}.rollout"
    states = cell.scan(inputs, state)
    inputs = cell.check_inputs(inputs, where)
    requested = inputs.shape[0]
    if bool(torch.isfinite(torch.stack(torch.aminmax(states))).all()):
        return Trace(cell, inputs, states, requested, None, torch.zeros_like(states[0, :, 0], dtype=torch.int64))
    good = torch.isfinite(states).all(-1)
    # argmin finds the first False; all-True columns give 0, and so does a bad initial state.
    first = good.to(torch.uint8).argmin(0)
    if not bool(good[0].all()):
        raise ValueError(f"{where}: expected a finite initial state, got NaN or infinity")
    overflow = int(first[first > 0].min()) if bool((first > 0).any()) else None
    if overflow == 1:
        raise StateOverflow(f"{where}: the state left the range of {states.dtype} at the first step; nothing to record")
    stop = requested if overflow is None else overflow - 1
    return Trace(cell, inputs[:stop], states[: stop + 1], requested, overflow, first)
