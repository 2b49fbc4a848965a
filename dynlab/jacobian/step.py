"""Step Jacobians with their structure.

Index conventions
    ...  any leading axes: (time, batch) for a chunk of steps, (batch,) for one step
    r    rows of a product that stands to the left of a step Jacobian
    n    state component, n = s * d
    s    channel of the state (y and z for an oscillator, h and c for an LSTM)
    g    pre-activation (gate)
    d    hidden unit

A step Jacobian J = d state_t / d state_{t-1} is rarely a full matrix of numbers. Sweeps never form it:
they multiply by it, ``rows @ J`` backward in time and ``J @ columns`` forward.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from dynlab.jacobian.arena import HEAP, Arena
from dynlab.jacobian.matmul import add_product, batches_well

# The largest J that a product forms, in rows; larger ones spend their time in the product itself, whatever its form.
FORMED_SIZE = 512


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

    def narrow(self, start: int, stop: int) -> Self:
        """The same for a range of the first leading axis."""
        own = [field.name for field in fields(self) if field.name not in self.shared]  # type: ignore[arg-type]
        parts = {name: value[start:stop] for name in own if isinstance(value := getattr(self, name), Tensor)}
        return replace(self, **parts)  # type: ignore[type-var]

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
    matrix for all steps and samples. A product costs one matrix product with W for the whole batch, or with J itself
    where that is quicker.

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
        if self._forms(rows, rows.shape[-2]):
            formed = self._form(arena)
            out = torch.matmul(rows, formed, out=arena.take(rows.shape, rows))
            arena.give(formed)
            return out
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

    def _forms(self, factor: Tensor, width: int) -> bool:
        """Whether a product with so many rows or columns is quicker with J as a matrix.

        That is written once a step, where the structure needs several passes over the rows.
        """
        large = self.size <= FORMED_SIZE and 2 * width >= self.size
        return large and isinstance(self.weight, Tensor) and batches_well(factor)

    def to_dense(self) -> Tensor:
        return self._form(HEAP)

    def _form(self, arena: Arena) -> Tensor:
        """J, in a buffer of ``arena``."""
        weight = self.weight if isinstance(self.weight, Tensor) else self.weight.to_dense()
        channels, gates, units = self.gains.shape[-3:]
        reads = weight.shape[1]
        dense = arena.take((*self.batch_shape, self.size, self.size), self.gains)
        by_unit = dense.unflatten(-2, (channels, units))
        through = by_unit[..., :reads]
        gains, parts = self.gains.unsqueeze(-1).unbind(-3), weight.unflatten(0, (gates, units))
        torch.mul(gains[0], parts[0], out=through)
        for gain, part in zip(gains[1:], parts[1:], strict=True):
            through.addcmul_(gain, part)
        by_unit[..., reads:].zero_()
        if isinstance(self.diagonal, Tensor):
            # (..., s, d, s, d), whose diagonals over the units are the blocks.
            by_unit.unflatten(-1, (channels, units)).diagonal(dim1=-3, dim2=-1).add_(self.diagonal)
        else:
            dense.diagonal(dim1=-2, dim2=-1).add_(self.diagonal)
        return dense

    def right(self, columns: Tensor) -> Tensor:
        if self._forms(columns, columns.shape[-1]):
            return self.to_dense() @ columns
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

    def to_dense(self) -> Tensor:
        like = self._like()
        eye = torch.eye(self.size, dtype=like.dtype, device=like.device)
        if self.scale == 0:
            return self.offset * eye.repeat(*self.batch_shape, 1, 1)
        product, arena = self.factors[-1].to_dense(), Arena()
        for factor in reversed(self.factors[:-1]):
            following = factor.left(product, arena)
            arena.give(product)
            product = following
        return product.mul_(self.scale).add_(eye, alpha=self.offset)

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
