"""Products of step Jacobians that never overflow: a matrix and the logarithm of its scale.

Index conventions: k times held at once, b batch, r rows, n state, s channels of the state, d unit.

The entries are kept near one; what has been divided out is a natural logarithm, so that a norm of e^-20000 is
an ordinary number. Independent units keep a scale each: their products drift apart by any factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dynlab.jacobian.arena import HEAP, Arena
from dynlab.jacobian.blocks import BlockDiagonal, block_eigenvalues, block_log_singular
from dynlab.jacobian.step import StepJacobian

# Powers of the float range kept free above and below, so that squares and one more step stay in range.
HEADROOM = {torch.float32: 1e8, torch.float64: 1e60}


def out_of_range(norm: Tensor) -> bool:
    """Whether a product with these norms must be rescaled before the next step.

    On a GPU asking would stall the stream, so the answer there is always yes.
    """
    if norm.device.type != "cpu":
        return True
    headroom = HEADROOM.get(norm.dtype, 1e8)
    low, high = norm.aminmax()
    return not (float(low) > 1 / headroom and float(high) < headroom)


@dataclass(frozen=True)
class DenseProduct:
    """``exp(log_scale) * matrix``, a product of step Jacobians or some rows of it.

    Attributes:
        matrix: (b, r, n). log_scale: (b,), natural.
    """

    matrix: Tensor
    log_scale: Tensor

    @classmethod
    def start(cls, rows: Tensor) -> DenseProduct:
        """From rows (b, r, n)."""
        return cls(rows, rows.new_zeros(rows.shape[0], dtype=torch.float64))

    @cached_property
    def norm(self) -> Tensor:
        """Frobenius norm of ``matrix``, (b,)."""
        return torch.linalg.vector_norm(self.matrix, dim=(-2, -1))

    def times(self, jacobian: StepJacobian, arena: Arena = HEAP) -> DenseProduct:
        """This product followed on the right by one more step Jacobian, (b,) leading.

        With an arena the buffer of this product is given back to it, so this product is gone.
        """
        product = DenseProduct(jacobian.left(self.matrix, arena), self.log_scale)
        if self.matrix.is_contiguous():
            arena.give(self.matrix)
        if not out_of_range(product.norm):
            return product
        # A product that is exactly zero stays so, and its norm says -inf.
        norm = torch.where(product.norm > 0, product.norm, 1)
        return DenseProduct(product.matrix.div_(norm[:, None, None]), self.log_scale + norm.double().log())

    def log_frobenius(self, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
        """log of the Frobenius norm of the rows and columns asked for, (b,), float64."""
        whole = rows == slice(None) and columns == slice(None)
        norm = self.norm if whole else torch.linalg.vector_norm(self.matrix[:, rows, columns], dim=(-2, -1))
        return norm.double().log() + self.log_scale

    def log_spectral(
        self, guess: Tensor | None, rows: slice = slice(None), columns: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """log of the largest singular value by power iteration, (b,), and its right singular vector (b, n).

        The vector of the neighbouring step is a good ``guess``. Iterates until the value is stable to a few
        roundings, 1000 times at most.
        """
        matrix = self.matrix[:, rows, columns]
        vector = torch.ones_like(matrix[:, 0]) if guess is None else guess
        vector = vector + 1e-3 * torch.linspace(1, 2, vector.shape[-1], dtype=vector.dtype, device=vector.device)
        vector = torch.nn.functional.normalize(vector, dim=-1)
        tolerance = 8 * torch.finfo(matrix.dtype).eps
        value = vector.new_zeros(vector.shape[0])
        for _ in range(100):
            image = torch.einsum("brn,bn->br", matrix, vector)
            vector = torch.nn.functional.normalize(torch.einsum("brn,br->bn", matrix, image), dim=-1, eps=0)
            vector = torch.nan_to_num(vector)
            previous, value = value, torch.linalg.vector_norm(image, dim=-1)
            if bool(((value - previous).abs() <= tolerance * value).all()):
                break
        else:
            # Singular values too close for the iteration to part.
            value = torch.linalg.svdvals(matrix)[:, 0]
        return value.double().log() + self.log_scale, vector

    def to_dense(self) -> tuple[Tensor, Tensor]:
        """(matrix (b, r, n), log_scale (b,))."""
        return self.matrix, self.log_scale

    def eigenvalues(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues of a square product as (values (b, n) complex, log_scale (b, n)).

        Computed in float64; those below eps times the largest are rounding noise of the product.
        """
        values = torch.linalg.eigvals(self.matrix.double())
        return values, self.log_scale[:, None].expand(values.shape)


@dataclass(frozen=True)
class BlockProduct:
    """Products of independent units at k consecutive times: a block and a scale a unit.

    Attributes:
        entries: (s, k, b, r, d): column channel, time, sample, row channel, unit. Each column is contiguous.
        log_scale: (b, d), natural, the same for all k times.
    """

    entries: Tensor
    log_scale: Tensor

    @classmethod
    def start(cls, jacobian: BlockDiagonal, rows: int) -> BlockProduct:
        """The identity, its first ``rows`` channels, in the structure of ``jacobian`` with (b,) leading."""
        like = jacobian._like()
        (batch,), channels = jacobian.batch_shape, jacobian.channels
        units = jacobian.size // channels
        entries = like.new_zeros(channels, 1, batch, rows, units)
        for channel in range(rows):
            entries[channel, 0, :, channel] = 1
        return cls(entries, like.new_zeros(batch, units, dtype=torch.float64))

    def at(self, index: int) -> BlockProduct:
        """The product at one of the times held."""
        index = index % self.entries.shape[1]
        return BlockProduct(self.entries[:, index : index + 1], self.log_scale)

    def normalised(self) -> BlockProduct:
        """Every block scaled to norm 1; for a product at one time."""
        # The few entries of a block first: torch reduces over the outermost axis many times faster than over these.
        columns = self.entries[:, 0].transpose(1, 2).flatten(0, 1)
        norm = columns.square().sum(0).sqrt()
        norm = torch.where(norm > 0, norm, 1)
        return BlockProduct(self.entries / norm.unsqueeze(1), self.log_scale + norm.double().log())

    def log_frobenius(self, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
        """log of the Frobenius norm over all units, (k, b), float64. Slices count channels."""
        # The entries are near one, so units that drown in a common scale do not count in the sum either.
        top = self.log_scale.amax(-1)
        weights = (self.log_scale - torch.where(top.isneginf(), 0, top)[:, None]).exp().to(self.entries.dtype)
        # A column at a time: its rows and units lie side by side in memory, the columns do not.
        norms = [
            torch.linalg.vector_norm(column[:, :, rows] * weights[:, None], dim=(2, 3))
            for column in self.entries[columns]
        ]
        return torch.linalg.vector_norm(torch.stack(norms), dim=0).double().log() + top

    def log_singular(
        self, rows: slice = slice(None), columns: slice = slice(None), log_determinant: Tensor | None = None
    ) -> Tensor:
        """log of the singular values of each unit's block, descending, (k, b, min(r, s), d), float64.

        Arguments:
            log_determinant: of the whole product where it is known, (b, d) or (k, b, d); without it small
                singular values are lost below eps times the large ones.
        """
        if log_determinant is not None:
            log_determinant = log_determinant - self.channels * self.log_scale
        return block_log_singular(self.blocks[..., rows, columns, :], log_determinant) + self.log_scale.unsqueeze(-2)

    @property
    def channels(self) -> int:
        """Number of channels s of the state."""
        return self.entries.shape[0]

    @property
    def blocks(self) -> Tensor:
        """The blocks without their scales, (k, b, r, s, d)."""
        return self.entries.permute(1, 2, 3, 0, 4)

    def to_dense(self) -> tuple[Tensor, Tensor]:
        """(matrix (b, r * d, s * d), log_scale (b,)): the last product under one scale.

        Units far below the largest come out as what they are in that scale, zero if need be.
        """
        top = self.log_scale.amax(-1)
        scaled = self.blocks[-1] * (self.log_scale - top[:, None]).exp()[:, None, None].to(self.entries.dtype)
        batch, rows, channels, units = scaled.shape
        dense = scaled.new_zeros(batch, rows, units, channels, units)
        dense.diagonal(dim1=2, dim2=4).copy_(scaled)
        return dense.flatten(1, 2).flatten(2), top

    def eigenvalues(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues of the last product as (values (b, n) complex, log_scale (b, n)), each in its unit's scale."""
        values = block_eigenvalues(self.blocks[-1].double())
        return values, self.log_scale.repeat(1, values.shape[-1] // self.log_scale.shape[-1])


Product = DenseProduct | BlockProduct
