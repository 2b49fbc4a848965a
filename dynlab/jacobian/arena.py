"""Buffers that a sweep uses again and again."""

from __future__ import annotations

import torch
from torch import Tensor


class Arena:
    """Buffers used again and again, so that a sweep of a thousand steps does not ask the system for fresh pages.

    ``take`` hands out a buffer of any content, ``give`` takes back one that is no longer needed.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[int, ...], list[Tensor]] = {}

    def take(self, shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
        """A buffer of this shape, of the dtype and device of ``like``."""
        waiting = self._free.get(tuple(shape))
        return waiting.pop() if waiting else like.new_empty(shape)

    def give(self, buffer: Tensor) -> None:
        """Take a buffer back; the caller must not read it again."""
        self._free.setdefault(tuple(buffer.shape), []).append(buffer)


class Heap(Arena):
    """Fresh tensors each time: for a single product, whose result the caller keeps."""

    def take(self, shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
        """A new tensor."""
        return like.new_empty(shape)

    def give(self, buffer: Tensor) -> None:
        """Nothing to do."""


HEAP = Heap()
