"""Step Jacobians with their structure, and the drives that go with them.

Index conventions
    ...  any leading axes: (time, batch) for a chunk of steps, (batch,) for one step
    r    rows of a product that stands to the left of a step Jacobian
    n    state component, n = s * d
    s    channel of the state (y and z for an oscillator, h and c for an LSTM)
    g    pre-activation (gate)
    d    hidden unit
    f    input feature, p component of the input term

A step Jacobian J = d state_t / d state_{t-1} is rarely a full matrix of numbers. Sweeps never form it:
they multiply by it, ``rows @ J`` backward in time and ``J @ columns`` forward.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import reduce
from typing import Any, Self

import torch
from torch import Tensor

from dynlab.jacobian.matmul import add_product


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


class Batched:
    """A dataclass whose tensors share leading axes, which can be unbound along the first one.

    Fields listed in ``shared`` hold weights, the same for every step and sample.
    """

    shared: tuple[str, ...] = ()

    def _unbound(self, name: str) -> Any:
        value = getattr(self, name)
        if name in self.shared or not isinstance(value, Tensor):
            return None
        return value.unbind(0)

    def unbind(self) -> list[Self]:
        """One object for each index of the first leading axis."""
        own: list[str] = [field.name for field in fields(self)]  # type: ignore[arg-type]
        split = {name: parts for name in own if (parts := self._unbound(name)) is not None}
        rest = {name: getattr(self, name) for name in own if name not in split}
        return [
            type(self)(**rest, **dict(zip(split, parts, strict=True))) for parts in zip(*split.values(), strict=True)
        ]

    def nbytes(self) -> int:
        """Bytes held, shared weights left out."""
        own = (getattr(self, field.name) for field in fields(self) if field.name not in self.shared)  # type: ignore[arg-type]
        return sum(value.numel() * value.element_size() for value in own if isinstance(value, Tensor))


class StepJacobian(Batched, ABC):
    """J = d state_t / d state_{t-1}, for every leading index."""

    @property
    @abstractmethod
    def size(self) -> int:
        """State size n."""

    @property
    @abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes."""

    @abstractmethod
    def left(self, rows: Tensor, arena: Arena = HEAP) -> Tensor:
        """``rows @ J``, (..., r, n) -> (..., r, n), in a buffer of ``arena``; rows stay as they are."""

    @abstractmethod
    def right(self, columns: Tensor) -> Tensor:
        """``J @ columns``, (..., n, c) -> (..., n, c)."""

    @abstractmethod
    def _like(self) -> Tensor:
        """Any floating tensor of the dtype and device of J."""

    def to_dense(self) -> Tensor:
        """J itself, (..., n, n)."""
        like = self._like()
        eye = torch.eye(self.size, dtype=like.dtype, device=like.device)
        return self.left(eye.expand(*self.batch_shape, self.size, self.size))

    def eigenvalues(self) -> Tensor:
        """All eigenvalues, complex, (..., n), in no particular order."""
        return torch.linalg.eigvals(self.to_dense())


@dataclass(frozen=True)
class DenseJacobian(StepJacobian):
    """A step Jacobian without known structure: ``matrix`` (..., n, n)."""

    matrix: Tensor

    @property
    def size(self) -> int:
        return self.matrix.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape[:-2])

    def _like(self) -> Tensor:
        return self.matrix

    def left(self, rows: Tensor, arena: Arena = HEAP) -> Tensor:
        return torch.matmul(rows, self.matrix, out=arena.take(rows.shape, rows))

    def right(self, columns: Tensor) -> Tensor:
        return self.matrix @ columns

    def to_dense(self) -> Tensor:
        return self.matrix


@dataclass(frozen=True)
class LowRankPlusIdentity:
    """A square weight ``identity * I + left @ right`` kept in factors: O(n rank) a product, not O(n^2)."""

    left: Tensor
    right: Tensor
    identity: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    def to_dense(self) -> Tensor:
        dense = self.left @ self.right
        dense.diagonal().add_(self.identity)
        return dense


Weight = Tensor | LowRankPlusIdentity


def times_weight(rows: Tensor, weight: Weight) -> Tensor:
    """``rows @ weight``."""
    if isinstance(weight, Tensor):
        return rows @ weight
    return torch.add((rows @ weight.left) @ weight.right, rows, alpha=weight.identity)


def weight_times(weight: Weight, columns: Tensor) -> Tensor:
    """``weight @ columns``."""
    if isinstance(weight, Tensor):
        return weight @ columns
    return torch.add(weight.left @ (weight.right @ columns), columns, alpha=weight.identity)


def blocks_left(rows: Tensor, blocks: Tensor, out: Tensor) -> Tensor:
    """Rows (..., r, s_out, d) times per-unit blocks (..., s_out, s_in, d), into ``out`` (..., r, s_in, d)."""
    factors = blocks.unsqueeze(-4).unbind(-3)
    channels = rows.unsqueeze(-2).unbind(-3)
    torch.mul(channels[0], factors[0], out=out)
    for channel, factor in zip(channels[1:], factors[1:], strict=True):
        out.addcmul_(channel, factor)
    return out


@dataclass(frozen=True)
class DiagonalPlusDense(StepJacobian):
    """J = D + G W: per-unit direct terms plus gains on pre-activations a = W h_{t-1} + ...

    Every gated or additive cell has this form: D holds what bypasses the weights (``1 + eps`` terms, gates
    times the old state), G the derivatives of the new state with respect to the pre-activations, and W is one
    matrix for all steps and samples. A product costs one matrix product with W for the whole batch.

    Attributes:
        diagonal: D, (..., s, s, d), entry [i, j] couples channel j of the old state to channel i of the new
            one; or a number c for D = c I.
        gains: G, (..., s, g, d), d new channel / d pre-activation.
        weight: W, (g * d, m); it reads the first m components of the state.
    """

    diagonal: Tensor | float
    gains: Tensor
    weight: Weight
    shared = ("weight",)

    @property
    def size(self) -> int:
        return self.gains.shape[-3] * self.gains.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.gains.shape[:-3])

    def _like(self) -> Tensor:
        return self.gains

    def left(self, rows: Tensor, arena: Arena = HEAP) -> Tensor:
        channels, gates, units = self.gains.shape[-3:]
        split = rows.unflatten(-1, (channels, units))
        mixed = arena.take((*rows.shape[:-1], gates, units), rows)
        blocks_left(split, self.gains, mixed)
        out = arena.take(rows.shape, rows)
        flat, moved = out.view(-1, self.size), mixed.view(-1, gates * units)
        if isinstance(self.weight, Tensor):
            if isinstance(self.diagonal, Tensor):
                blocks_left(split, self.diagonal, out.unflatten(-1, (channels, units)))
            else:
                torch.mul(rows, self.diagonal, out=out)
            add_product(flat[:, : self.weight.shape[1]], moved, self.weight)
        else:
            # A low-rank weight has one gate and one channel; its identity joins the diagonal.
            direct = torch.add(self.diagonal, self.gains, alpha=self.weight.identity)
            blocks_left(split, direct, out.unflatten(-1, (channels, units)))
            flat.addmm_(moved @ self.weight.left, self.weight.right)
        arena.give(mixed)
        return out

    def right(self, columns: Tensor) -> Tensor:
        channels, gates, units = self.gains.shape[-3:]
        moved = weight_times(self.weight, columns[..., : self.weight.shape[1], :])
        moved = moved.unflatten(-2, (gates, units)).unsqueeze(-4)
        through = (self.gains.unsqueeze(-1) * moved).sum(-3)
        if isinstance(self.diagonal, Tensor):
            split = columns.unflatten(-2, (channels, units)).unsqueeze(-4)
            direct = (self.diagonal.unsqueeze(-1) * split).sum(-3).flatten(-3, -2)
        else:
            direct = columns * self.diagonal
        return direct + through.flatten(-3, -2)


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


@dataclass(frozen=True)
class PolynomialJacobian(StepJacobian):
    """J = scale * A_K ... A_1 + offset * I: a cell that iterates K inner steps (iRNN, Eq. 5).

    Attributes:
        factors: A_1 ... A_K in the order of application.
        scale, offset: numbers.
    """

    factors: tuple[DiagonalPlusDense, ...]
    scale: float
    offset: float

    @property
    def size(self) -> int:
        return self.factors[0].size

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.factors[0].batch_shape

    def _like(self) -> Tensor:
        return self.factors[0]._like()

    def unbind(self) -> list[PolynomialJacobian]:
        steps = zip(*(factor.unbind() for factor in self.factors), strict=True)
        return [PolynomialJacobian(tuple(step), self.scale, self.offset) for step in steps]

    def nbytes(self) -> int:
        return sum(factor.nbytes() for factor in self.factors)

    def left(self, rows: Tensor, arena: Arena = HEAP) -> Tensor:
        if self.scale == 0:
            return torch.mul(rows, self.offset, out=arena.take(rows.shape, rows))
        product = rows
        for factor in reversed(self.factors):
            following = factor.left(product, arena)
            if product is not rows:
                arena.give(product)
            product = following
        return product.mul_(self.scale).add_(rows, alpha=self.offset)

    def right(self, columns: Tensor) -> Tensor:
        if self.scale == 0:
            return columns * self.offset
        product = columns
        for factor in self.factors:
            product = factor.right(product)
        return torch.add(product * self.scale, columns, alpha=self.offset)


class Drive(Batched, ABC):
    """d state_t / d input term and d state_t / d x_t; the term is ``weight @ x + ...`` or x itself."""

    weight: Tensor | None

    @abstractmethod
    def left_term(self, rows: Tensor) -> Tensor:
        """Rows times d state_t / d term, (..., r, n) -> (..., r, p)."""

    @abstractmethod
    def right_term(self, columns: Tensor) -> Tensor:
        """d state_t / d term times columns, (..., p, c) -> (..., n, c)."""

    @abstractmethod
    def term_to_dense(self) -> Tensor:
        """d state_t / d term, (..., n, p)."""

    def left(self, rows: Tensor) -> Tensor:
        """Rows times d state_t / d x_t, (..., r, n) -> (..., r, f)."""
        moved = self.left_term(rows)
        return moved if self.weight is None else moved @ self.weight

    def to_dense(self) -> Tensor:
        """d state_t / d x_t, (..., n, f)."""
        dense = self.term_to_dense()
        return dense if self.weight is None else dense @ self.weight


@dataclass(frozen=True)
class DenseDrive(Drive):
    """``matrix`` (..., n, p), ``weight`` (p, f) or None where the term is the input."""

    matrix: Tensor
    weight: Tensor | None = None
    shared = ("weight",)

    def left_term(self, rows: Tensor) -> Tensor:
        return rows @ self.matrix

    def right_term(self, columns: Tensor) -> Tensor:
        return self.matrix @ columns

    def term_to_dense(self) -> Tensor:
        return self.matrix


@dataclass(frozen=True)
class GainDrive(Drive):
    """Gains (..., s, g, d) on the pre-activations, to which the term adds; ``weight`` (g * d, f)."""

    gains: Tensor
    weight: Tensor | None
    shared = ("weight",)

    def left_term(self, rows: Tensor) -> Tensor:
        out = rows.new_empty(*rows.shape[:-1], *self.gains.shape[-2:])
        return blocks_left(rows.unflatten(-1, (self.gains.shape[-3], -1)), self.gains, out).flatten(-2)

    def right_term(self, columns: Tensor) -> Tensor:
        split = columns.unflatten(-2, self.gains.shape[-2:]).unsqueeze(-4)
        return (self.gains.unsqueeze(-1) * split).sum(-3).flatten(-3, -2)

    def term_to_dense(self) -> Tensor:
        channels, gates, units = self.gains.shape[-3:]
        dense = self.gains.new_zeros(*self.gains.shape[:-3], channels, units, gates, units)
        dense.diagonal(dim1=-3, dim2=-1).copy_(self.gains)
        return dense.flatten(-4, -3).flatten(-2)


@dataclass(frozen=True)
class PolynomialDrive(Drive):
    """d g_K / d term of K inner steps g_k = A_k g_{k-1} + slope_k term + ..., never formed.

    Attributes:
        factors: A_1 ... A_K. slopes: slope_1 ... slope_K, each (..., d). weight: (d, f).
    """

    factors: tuple[DiagonalPlusDense, ...]
    slopes: tuple[Tensor, ...]
    weight: Tensor | None = None
    shared = ("weight",)

    def unbind(self) -> list[PolynomialDrive]:
        factors = zip(*(factor.unbind() for factor in self.factors), strict=True)
        slopes = zip(*(slope.unbind(0) for slope in self.slopes), strict=True)
        return [PolynomialDrive(*step, self.weight) for step in zip(factors, slopes, strict=True)]

    def nbytes(self) -> int:
        return sum(slope.numel() * slope.element_size() for slope in self.slopes)

    def left_term(self, rows: Tensor) -> Tensor:
        total = torch.zeros_like(rows)
        for index in range(len(self.factors) - 1, -1, -1):
            total.addcmul_(rows, self.slopes[index].unsqueeze(-2))
            if index:
                rows = self.factors[index].left(rows)
        return total

    def right_term(self, columns: Tensor) -> Tensor:
        columns = columns[..., : self.slopes[0].shape[-1], :]
        total = columns * self.slopes[0].unsqueeze(-1)
        for factor, slope in zip(self.factors[1:], self.slopes[1:], strict=True):
            total = factor.right(total).addcmul_(columns, slope.unsqueeze(-1))
        return total

    def term_to_dense(self) -> Tensor:
        slope = self.slopes[0]
        eye = torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device)
        return self.right_term(eye.expand(*slope.shape[:-1], *eye.shape))


@dataclass(frozen=True)
class Linearization:
    """One step linearised: d state_t / d state_{t-1} and d state_t / d x_t."""

    jacobian: StepJacobian
    drive: Drive

    def unbind(self) -> list[Linearization]:
        """One linearisation for each index of the first leading axis."""
        pairs = zip(self.jacobian.unbind(), self.drive.unbind(), strict=True)
        return [Linearization(jacobian, drive) for jacobian, drive in pairs]


def detached(value: Any) -> Any:
    """The same linearisation without a graph, and sharing no live Parameter."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple):
        return tuple(map(detached, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: detached(getattr(value, field.name)) for field in fields(value)})
    return value
