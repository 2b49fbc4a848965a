"""Step Jacobians of independent units: a block of one or two channels a unit.

Index conventions: ... leading axes, r rows, s channels of the state, d unit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from dynlab.jacobian.arena import HEAP, Arena
from dynlab.jacobian.step import StepJacobian


class BlockDiagonal(StepJacobian):
    """Units that do not interact: a small block a unit, ``blocks`` (..., s, s, d), s = 1 or 2.

    Products of such Jacobians keep the structure, so sweeps hold one block and one scale a unit.
    """

    @property
    @abstractmethod
    def blocks(self) -> Tensor:
        """The blocks, (..., s, s, d): entry [i, j] couples channel j of the old state to channel i of the new."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels s."""

    def left(self, rows: Tensor, arena: Arena = HEAP) -> Tensor:
        split = rows.unflatten(-1, (self.channels, -1)).unbind(-2)
        out = [torch.empty_like(channel) for channel in split]
        self.left_channels(split, out)
        return torch.cat(out, dim=-1)

    def left_channels(self, rows: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """Rows given a channel at a time, each (..., r, d), times the blocks, written into ``out`` likewise."""
        entries = self.blocks.unsqueeze(-2)
        for j, target in enumerate(out):
            target.copy_(sum_of(row * entries[..., i, j, :, :] for i, row in enumerate(rows)))

    def right(self, columns: Tensor) -> Tensor:
        split = columns.unflatten(-2, (self.channels, -1)).unsqueeze(-4)
        return (self.blocks.unsqueeze(-1) * split).sum(-3).flatten(-3, -2)

    def eigenvalues(self) -> Tensor:
        return block_eigenvalues(self.blocks)

    def log_determinant(self) -> Tensor:
        """log |det| of each unit's block, (..., d)."""
        return block_determinant(self.blocks).abs().log()

    def log_norm_bound(self) -> Tensor:
        """log of the largest spectral norm of a block or of its inverse over all leading axes: a scalar.

        It bounds how fast a product of such blocks can grow or shrink, hence how often it must be rescaled.
        """
        largest, smallest = block_log_singular(self.blocks)[..., [0, -1], :].unbind(-2)
        return torch.maximum(largest.max(), -smallest.min())


@dataclass(frozen=True)
class UnitBlocks(BlockDiagonal):
    """Any blocks, given as numbers."""

    entries: Tensor

    @property
    def blocks(self) -> Tensor:
        return self.entries

    @property
    def channels(self) -> int:
        return self.entries.shape[-2]

    @property
    def size(self) -> int:
        return self.entries.shape[-2] * self.entries.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.entries.shape[:-3])

    def _like(self) -> Tensor:
        return self.entries


@dataclass(frozen=True)
class ShearBlocks(BlockDiagonal):
    """The 2x2 blocks of symplectic Euler, UnICORNN Eq. (21), as the product of their two shears.

    [y; z]_t = [[1, drift], [0, 1]] [[1, 0], [-kick, 1]] [y; z]_{t-1}: a kick of the momentum, then a drift of
    the position. Each has determinant 1, and so has every block, in exact arithmetic.

    Attributes:
        drift: dt * sigmoid(c), (d,).
        kick: drift * (w sigma'(A) + alpha), (..., d).
    """

    drift: Tensor
    kick: Tensor
    shared = ("drift",)

    @property
    def blocks(self) -> Tensor:
        drift, one = self.drift.expand_as(self.kick), torch.ones_like(self.kick)
        return torch.stack([1 - drift * self.kick, drift, -self.kick, one], dim=-2).unflatten(-2, (2, 2))

    @property
    def channels(self) -> int:
        return 2

    @property
    def size(self) -> int:
        return 2 * self.kick.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.kick.shape[:-1])

    def _like(self) -> Tensor:
        return self.kick

    def left_channels(self, rows: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        # The recursion of appendix B, Eqs. (3) and (4), for several rows at once.
        (y, z), (new_y, new_z) = rows, out
        torch.addcmul(z, y, self.drift, out=new_z)
        torch.addcmul(y, new_z, self.kick.unsqueeze(-2), value=-1, out=new_y)

    def right(self, columns: Tensor) -> Tensor:
        y, z = columns.unflatten(-2, (2, -1)).unbind(-3)
        z = z - y * self.kick.unsqueeze(-1)
        return torch.cat([y + z * self.drift.unsqueeze(-1), z], dim=-2)

    def log_determinant(self) -> Tensor:
        return torch.zeros_like(self.kick)

    def log_norm_bound(self) -> Tensor:
        # The norm is convex in the kick, so a unit's smallest and largest one are enough; the determinant is 1.
        kicks = self.kick.flatten(0, -2)
        ends = torch.stack([kicks.amin(0), kicks.amax(0)]).double()
        squares = ((1 - self.drift * ends).square() + self.drift.square() + ends.square() + 1).max()
        return (((squares + 2).sqrt() + (squares - 2).clamp_min(0).sqrt()) / 2).log()


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor."""
    return reduce(torch.add, terms)


def block_determinant(blocks: Tensor) -> Tensor:
    """Determinants of per-unit blocks (..., s, s, d), s = 1 or 2: (..., d)."""
    if blocks.shape[-2] == 1:
        return blocks[..., 0, 0, :]
    return blocks[..., 0, 0, :] * blocks[..., 1, 1, :] - blocks[..., 0, 1, :] * blocks[..., 1, 0, :]


def block_log_singular(blocks: Tensor, log_determinant: Tensor | None = None) -> Tensor:
    """log of the singular values of per-unit blocks (..., r, s, d), descending: (..., min(r, s), d), float64.

    ``log_determinant`` (..., d), where it is known, keeps the small one accurate far below eps times the large.
    """
    blocks = blocks.double()
    if min(blocks.shape[-3:-1]) == 1:
        return torch.linalg.vector_norm(blocks, dim=(-3, -2)).log().unsqueeze(-2)
    # The singular values are half the sum and half the difference of these two lengths.
    (a, b), (c, d) = (row.unbind(-2) for row in blocks.unbind(-3))
    largest = ((torch.hypot(a + d, b - c) + torch.hypot(a - d, b + c)) / 2).log()
    if log_determinant is None:
        log_determinant = block_determinant(blocks).abs().log()
    # A block that is exactly zero has -inf twice, not -inf + inf.
    smallest = torch.where(torch.isneginf(log_determinant), log_determinant, log_determinant - largest)
    return torch.stack([largest, smallest], dim=-2)


def block_eigenvalues(blocks: Tensor) -> Tensor:
    """Eigenvalues of per-unit blocks (..., s, s, d), s = 1 or 2: complex (..., s * d)."""
    if blocks.shape[-2] == 1:
        return blocks[..., 0, 0, :] + 0j
    half_trace = (blocks[..., 0, 0, :] + blocks[..., 1, 1, :]) / 2
    determinant = block_determinant(blocks)
    half_gap = (blocks[..., 0, 0, :] - blocks[..., 1, 1, :]) / 2
    # (a - d)^2 / 4 + b c is the discriminant without the cancellation of trace^2 / 4 - det.
    root = torch.sqrt(half_gap.square() + blocks[..., 0, 1, :] * blocks[..., 1, 0, :] + 0j)
    larger = torch.where(half_trace >= 0, half_trace + root, half_trace - root)
    real_pair = (root.imag == 0) & (larger != 0)
    # The smaller of a real pair from the determinant: the sum would cancel.
    other = torch.where(half_trace >= 0, half_trace - root, half_trace + root)
    smaller = torch.where(real_pair, determinant / torch.where(larger == 0, 1, larger), other)
    return torch.cat([larger, smaller], dim=-1)
