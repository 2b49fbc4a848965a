"""How the input drives a step: d state_t / d x_t, and the linearised step as a whole.

Index conventions: ... leading axes, r rows, n state, s channels, g pre-activations, d unit, f input feature, p
component of the input term.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dynlab.jacobian.step import Batched, DiagonalPlusDense, StepJacobian, blocks_left


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
class KickDrive(Drive):
    """The input of symplectic Euler, UnICORNN Eq. (23): it kicks the momentum, and the position drifts with it.

    Attributes:
        drift: dt * sigmoid(c), (d,). pull: d z_t / d term, (..., d). weight: (d, f).
    """

    drift: Tensor
    pull: Tensor
    weight: Tensor | None
    shared = ("drift", "weight")

    def _gains(self) -> GainDrive:
        # Only made where it is asked for: most sweeps never look at the input.
        return GainDrive(torch.stack([self.drift * self.pull, self.pull], dim=-2).unsqueeze(-2), None)

    def left_term(self, rows: Tensor) -> Tensor:
        return self._gains().left_term(rows)

    def right_term(self, columns: Tensor) -> Tensor:
        return self._gains().right_term(columns)

    def term_to_dense(self) -> Tensor:
        return self._gains().term_to_dense()


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

    def nbytes(self) -> int:
        """Bytes held, shared weights left out."""
        return self.jacobian.nbytes() + self.drive.nbytes()

    def narrow(self, start: int, stop: int) -> Linearization:
        """The same for a range of the first leading axis."""
        return Linearization(self.jacobian.narrow(start, stop), self.drive.narrow(start, stop))

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
