"""``watch_adjoints``: dL/d state_t of every cell, out of an ordinary backward pass.

Index conventions: t time, b batch, n state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dynlab.cell import Cell

_WATCHING: ContextVar[Adjoints | None] = ContextVar("dynlab_adjoints", default=None)


class Adjoints:
    """What a backward pass brought to every state: ``adjoints[cell]`` is dL/d state_t, (time 0..T, batch, state)."""

    def __init__(self) -> None:
        self._scans: list[tuple[Cell, list[Tensor]]] = []

    def of(self, cell: Cell) -> list[Tensor]:
        """One sequence for each scan of ``cell`` that a backward pass has gone through, in the order of the scans."""
        return [slot[-1] for scanned, slot in self._scans if scanned is cell and slot]

    def __getitem__(self, cell: Cell) -> Tensor:
        found = self.of(cell)
        if len(found) != 1:
            raise ValueError(
                f"watch_adjoints: expected one scan of {type(cell).__name__} inside the context and a backward pass "
                f"through it, found {len(found)}; of(cell) lists them all"
            )
        return found[0]

    def __len__(self) -> int:
        return sum(bool(slot) for _, slot in self._scans)

    def _watch(self, cell: Cell, steps: int, state: Tensor) -> Tensor:
        """Zeros (t + 1, b, n) to be added to the states: what flows back to them is the adjoint."""
        slot: list[Tensor] = []
        self._scans.append((cell, slot))
        zeros = state.new_zeros(()).requires_grad_().expand(steps + 1, *state.shape)
        zeros.register_hook(lambda gradient: slot.append(gradient.detach()))
        return zeros


@contextmanager
def watch_adjoints() -> Iterator[Adjoints]:
    """Within this context, scans hand out dL/d state_t at the next backward pass.

    Example:
        >>> with dynlab.watch_adjoints() as adjoints:
        ...     loss = criterion(network.read(inputs), target)
        >>> loss.backward()
        >>> adjoints[network.layers[0]].norm(dim=-1)  # |dL/d state_t|, (time + 1, batch)

    It takes ``backward()``: ``torch.autograd.grad`` with respect to parameters alone does not go by the states.
    Layers of a Network are watched one by one; a layer's adjoint counts what flows through the layers above.
    """
    adjoints = Adjoints()
    token = _WATCHING.set(adjoints)
    try:
        yield adjoints
    finally:
        _WATCHING.reset(token)


def watched(cell: Cell, steps: int, state: Tensor) -> Tensor | None:
    """The zeros of ``Adjoints`` for a scan of ``cell``, or None where nobody watches."""
    if torch.compiler.is_compiling():  # which cannot trace context variables
        return None
    adjoints = _WATCHING.get()
    if adjoints is None or not torch.is_grad_enabled():
        return None
    return adjoints._watch(cell, steps, state)
