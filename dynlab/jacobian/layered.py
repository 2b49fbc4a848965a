"""Linearised steps of stacked layers: block lower triangular in the layers, each block with its own structure.

Index conventions: l, m layer, r rows, c columns, n state of the whole stack, p input-term component of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynlab.jacobian.arena import HEAP, Arena
from dynlab.jacobian.drive import Drive, Linearization
from dynlab.jacobian.step import StepJacobian


@dataclass(frozen=True)
class Wiring:
    """How the layers are connected.

    Attributes:
        states: where each layer's state stands in the whole. hidden: where its hidden part stands in its state.
        sources: for each layer the layer that skips to it (-1 is the input), or None. skips: its Lambda (p, d).
        input_size: f.
    """

    states: tuple[slice, ...]
    hidden: tuple[slice, ...]
    sources: tuple[int | None, ...]
    skips: tuple[Tensor | None, ...]
    input_size: int

    def backward(self, layers: tuple[Linearization, ...], rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """Rows (..., r, n) pulled through the layers at one time, the top layer first.

        Returns:
            For each layer its rows with all that reaches it from above, and the rows that reach the input.
        """
        at_layer = [rows[..., where].clone() for where in self.states]
        at_input = rows.new_zeros(*rows.shape[:-1], self.input_size)
        for index in range(len(layers) - 1, -1, -1):
            drive = layers[index].drive
            moved = drive.left_term(at_layer[index])
            straight = moved if drive.weight is None else moved[..., : drive.weight.shape[0]] @ drive.weight
            self._deliver(index - 1, straight, at_layer, at_input)
            if (skip := self.skips[index]) is not None:
                self._deliver(self.sources[index], moved[..., : skip.shape[0]] @ skip, at_layer, at_input)  # type: ignore[arg-type]
        return at_layer, at_input

    def _deliver(self, target: int, rows: Tensor, at_layer: list[Tensor], at_input: Tensor) -> None:
        if target < 0:
            at_input += rows[..., : self.input_size]
        else:
            at_layer[target][..., self.hidden[target]] += rows

    def forward(self, layers: tuple[Linearization, ...], columns: list[Tensor], at_input: Tensor) -> Tensor:
        """Columns of each layer (..., n_l, c) and of the input (..., f, c) pushed through the layers at one time."""
        new: list[Tensor] = []
        for index, layer in enumerate(layers):
            moved = self._reading(index - 1, new, at_input)
            if layer.drive.weight is not None:
                moved = layer.drive.weight @ moved
            if (skip := self.skips[index]) is not None:
                moved = moved + skip @ self._reading(self.sources[index], new, at_input)  # type: ignore[arg-type]
            new.append(columns[index] + layer.drive.right_term(moved))
        return torch.cat(new, dim=-2)

    def _reading(self, source: int, new: list[Tensor], at_input: Tensor) -> Tensor:
        return at_input if source < 0 else new[source][..., self.hidden[source], :]


class Layered:
    """What the Jacobian and the drive of a stack share."""

    layers: tuple[Linearization, ...]
    wiring: Wiring

    def _unbound_layers(self) -> list[tuple[Linearization, ...]]:
        return list(zip(*(layer.unbind() for layer in self.layers), strict=True))


@dataclass(frozen=True)
class LayeredJacobian(Layered, StepJacobian):
    """d state_t / d state_{t-1} of a stack, never formed."""

    layers: tuple[Linearization, ...]
    wiring: Wiring

    @property
    def size(self) -> int:
        return self.wiring.states[-1].stop

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.layers[0].jacobian.batch_shape

    def _like(self) -> Tensor:
        return self.layers[0].jacobian._like()

    def nbytes(self) -> int:
        return sum(layer.jacobian.nbytes() for layer in self.layers)

    def unbind(self) -> list[LayeredJacobian]:
        return [LayeredJacobian(layers, self.wiring) for layers in self._unbound_layers()]

    def left(self, rows: Tensor, arena: Arena = HEAP) -> Tensor:
        at_layer, _ = self.wiring.backward(self.layers, rows)
        parts = [layer.jacobian.left(part, arena) for layer, part in zip(self.layers, at_layer, strict=True)]
        out = torch.cat(parts, dim=-1, out=arena.take(rows.shape, rows))
        for part in parts:
            arena.give(part)
        return out

    def right(self, columns: Tensor) -> Tensor:
        own = [
            layer.jacobian.right(columns[..., where, :])
            for layer, where in zip(self.layers, self.wiring.states, strict=True)
        ]
        nothing = columns.new_zeros(*columns.shape[:-2], self.wiring.input_size, columns.shape[-1])
        return self.wiring.forward(self.layers, own, nothing)


@dataclass(frozen=True)
class LayeredDrive(Layered, Drive):
    """d state_t / d x_t of a stack; the term is the input itself."""

    layers: tuple[Linearization, ...]
    wiring: Wiring
    weight: Tensor | None = None

    def nbytes(self) -> int:
        return sum(layer.drive.nbytes() for layer in self.layers)

    def unbind(self) -> list[LayeredDrive]:
        return [LayeredDrive(layers, self.wiring) for layers in self._unbound_layers()]

    def left_term(self, rows: Tensor) -> Tensor:
        return self.wiring.backward(self.layers, rows)[1]

    def right_term(self, columns: Tensor) -> Tensor:
        lead, width = columns.shape[:-2], columns.shape[-1]
        own = [columns.new_zeros(*lead, where.stop - where.start, width) for where in self.wiring.states]
        return self.wiring.forward(self.layers, own, columns[..., : self.wiring.input_size, :])

    def term_to_dense(self) -> Tensor:
        like = self.layers[0].jacobian._like()
        eye = torch.eye(self.wiring.input_size, dtype=like.dtype, device=like.device)
        lead = self.layers[0].jacobian.batch_shape
        return self.right_term(eye.expand(*lead, *eye.shape))
