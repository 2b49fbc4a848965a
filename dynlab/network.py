"""``Network``: cells stacked into layers, which is again a cell.

Index conventions: l layer, t time, b batch, d hidden unit of a layer, n state component, p input-term component.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.backend import Backend
from dynlab.cell import Cell, Keep, Kept, TimeStep
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.layered import LayeredDrive, LayeredJacobian, Wiring


class Readout(nn.Module):
    """An affine readout of the hidden sequence.

    Arguments:
        hidden_size: d of the top layer. output_size: what comes out.
        at: "last" reads the last hidden state, (batch, output); "every" each one, (time, batch, output).
    """

    def __init__(self, hidden_size: int, output_size: int, at: Literal["last", "every"] = "last") -> None:
        super().__init__()
        self.at = _check.choice("at", at, ("last", "every"), "Readout")
        self.linear = nn.Linear(hidden_size, output_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (time, batch, d) -> (batch, output) or (time, batch, output)."""
        return self.linear(hidden[-1] if self.at == "last" else hidden)


class Network(Cell):
    """A stack of cells; layer l reads the hidden part of layer l - 1 at the same time (UnICORNN Eq. 6).

    Its state is the layers' states one after the other; its hidden part is the top layer's.

    Arguments:
        cells: the layers, bottom first; each reads as many features as the one below shows.
        readout: any module from the hidden sequence (time, batch, d); used by ``read``.
        residual: S >= 2, skipped layers (UnICORNN appendix C.5, Eqs. 75-76): the input term of layer l > S gains
            Lambda_l y_{l-S-1}, with y_0 the input sequence. None stacks densely. The layers above S need an
            input term of their own (``Cell.input_weight``).
        dropout: probability of variational dropout between layers (Gal & Ghahramani 2016): one mask a sequence,
            the same at all times, in training mode only.
        backend: what runs the layers whose own backend is "auto"; see ``Cell``.

    Attributes:
        cells: the layers. skips: the Lambda matrices (p, d), or (p, f) for the layer that skips to the input.
        layer_slices: where each layer's state stands in the state.
    """

    reference = "UnICORNN, Eqs. (6), (75), (76)"

    def __init__(
        self,
        cells: Sequence[Cell],
        readout: nn.Module | None = None,
        residual: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        where = "Network"
        cells = list(cells)
        if not cells:
            raise ValueError(f"{where}: expected at least one cell, got none")
        for index, cell in enumerate(cells):
            if not isinstance(cell, Cell):
                raise TypeError(
                    f"{where}: expected dynlab cells (dynlab.as_cell makes one), got {type(cell).__name__} as layer "
                    f"{index}"
                )
            if index and cell.input_size != cells[index - 1].hidden_size:
                raise ValueError(
                    f"{where}: expected layer {index} to read the {cells[index - 1].hidden_size} hidden units of layer "
                    f"{index - 1}, got input_size = {cell.input_size}"
                )
            if cell.batch_first:
                raise ValueError(f"{where}: expected time-first cells, got batch_first in layer {index}")
        super().__init__(cells[0].input_size, cells[-1].hidden_size, sum(cell.state_size for cell in cells))
        self.dropout = _check.number("dropout", dropout, where, least=0)
        if self.dropout >= 1:
            raise ValueError(f"{where}: expected dropout < 1, got {dropout}")
        self.residual = None if residual is None else _check.integer("residual", residual, where, least=2)
        self.cells = nn.ModuleList(cells)
        self.readout = readout
        ends = torch.tensor([0, *(cell.state_size for cell in cells)]).cumsum(0).tolist()
        self.layer_slices = [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]
        self.skips = nn.ParameterDict()
        for index in range(len(cells)):
            if (source := self._skip_source(index)) is not None:
                self._add_skip(index, source)
        self.bibtex = tuple(dict.fromkeys(key for cell in cells for key in cell.bibtex))  # type: ignore[misc]
        self.hyperparameters = {
            "layers": [f"{type(cell).__name__}({cell.extra_repr()})" for cell in cells],
            "residual": residual,
            "dropout": self.dropout,
        }

    def _skip_source(self, index: int) -> int | None:
        """Which layer's output skips to layer ``index`` (both counted from 0; -1 is the input), or None."""
        if self.residual is None or index < self.residual:
            return None
        return index - self.residual - 1

    def _add_skip(self, index: int, source: int) -> None:
        weight = self.layers[index].input_weight()
        if weight is None:
            raise ValueError(
                f"Network: expected layer {index} to have an input term for its residual connection, but "
                f"{type(self.layers[index]).__name__} takes its input whole; stack it densely (residual=None)"
            )
        size = self.input_size if source < 0 else self.layers[source].hidden_size
        skip = nn.Parameter(weight.new_empty(weight.shape[0], size))
        # As UnICORNN initialises V (appendix A); the paper gives none for Lambda: our choice.
        nn.init.kaiming_uniform_(skip, a=8)
        self.skips[str(index)] = skip

    @property
    def layers(self) -> list[Cell]:
        """The cells, bottom first."""
        return list(self.cells)  # type: ignore[arg-type]

    @property
    def hidden_slice(self) -> slice:
        top, hidden = self.layer_slices[-1], self.layers[-1].hidden_slice
        return slice(top.start + hidden.start, top.start + hidden.stop)

    @property
    def time_varying(self) -> bool:  # type: ignore[override]
        """Whether any layer is."""
        return any(cell.time_varying for cell in self.layers)

    def _layer_terms(self, index: int, below: list[Tensor], first: int) -> Tensor:
        """The input term of a layer from ``below`` = [inputs, hidden of layer 0, hidden of layer 1, ...]."""
        term = self.layers[index].terms(below[index], first)
        source = self._skip_source(index)
        if source is None:
            return term
        skip = self.skips[str(index)]
        added = nn.functional.linear(below[source + 1], skip)
        return term + nn.functional.pad(added, (0, term.shape[-1] - added.shape[-1]))

    def input_term(self, inputs: Tensor, first: int = 0) -> Tensor:
        """The input; time-varying networks append the index of each step."""
        if not self.time_varying:
            return inputs
        index = torch.arange(first, first + (inputs.shape[0] if inputs.dim() == 3 else 1), device=inputs.device)
        index = index.to(inputs.dtype).reshape(-1, *[1] * (inputs.dim() - 1 if inputs.dim() == 3 else inputs.dim()))
        index = index if inputs.dim() == 3 else index[0]
        return torch.cat([inputs, index.expand(*inputs.shape[:-1], 1)], dim=-1)

    def _split(self, term: Tensor) -> tuple[Tensor, int]:
        """The inputs and the index of the first of them."""
        if not self.time_varying:
            return term, 0
        return term[..., : self.input_size], int(term.reshape(-1, term.shape[-1])[0, -1])

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        inputs, first = self._split(term)
        below, new = [inputs], []
        for index, (cell, where) in enumerate(zip(self.layers, self.layer_slices, strict=True)):
            new.append(cell.advance(self._layer_terms(index, below, first), state[..., where]))
            below.append(cell.hidden(new[-1]))
        return torch.cat(new, dim=-1)

    def _run(self, terms: Tensor, state: Tensor, keep: Keep, backend: Backend) -> Kept:
        # Layer by layer, so that each projects its whole input sequence at once and runs on its own backend.
        below = [terms[..., : self.input_size]]
        states, last = [], []
        for index, (cell, where) in enumerate(zip(self.layers, self.layer_slices, strict=True)):
            top = index + 1 == len(self.cells)
            own: Keep = "hidden" if keep == "last" and not top else keep
            kept = cell._run(
                self._layer_terms(index, below, 0),
                state[:, where],
                own,
                backend if cell.backend == "auto" else cell.backend,
            )
            last.append(kept.last)
            if kept.sequence is None:
                break
            states.append(kept.sequence)
            hidden = cell.hidden(kept.sequence[1:]) if keep == "states" else kept.sequence
            below.append(hidden if top else self._dropped(hidden))
        sequence = {"states": lambda: torch.cat(states, dim=-1), "hidden": lambda: below[-1], "last": lambda: None}
        return Kept(sequence[keep](), torch.cat(last, dim=-1))

    def _dropped(self, hidden: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return hidden
        mask = torch.empty_like(hidden[0]).bernoulli_(1 - self.dropout) / (1 - self.dropout)
        return hidden * mask

    def read(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        """The readout of a sequence: inputs as ``scan`` takes them; the hidden sequence where there is no readout."""
        hidden = self.scan(inputs, state, keep="hidden")
        return hidden if self.readout is None else self.readout(hidden)

    def layer_inputs(self, inputs: Tensor, states: Tensor, first: int = 0) -> list[tuple[Tensor, Tensor]]:
        """What each layer read: (its inputs, its states before them), from the states before each input.

        Arguments:
            inputs: (..., f). states: (..., n), the network's state before each input.
        """
        below, pairs = [inputs], []
        for index, (cell, where) in enumerate(zip(self.layers, self.layer_slices, strict=True)):
            pairs.append((below[index], states[..., where]))
            new = cell.advance(self._layer_terms(index, below, first), states[..., where])
            below.append(cell.hidden(new))
        return pairs

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """Block lower triangular: each layer's own Jacobian, and its drive by the layers below; of one, its own."""
        inputs, first = self._split(term)
        below: list[Tensor] = [inputs]
        layers = []
        for index, (cell, where) in enumerate(zip(self.layers, self.layer_slices, strict=True)):
            layer_term = self._layer_terms(index, below, first)
            layers.append(cell.linearize(layer_term, states[..., where]))
            below.append(cell.hidden(cell.advance(layer_term, states[..., where])))
        wiring = Wiring(
            tuple(self.layer_slices),
            tuple(cell.hidden_slice for cell in self.layers),
            tuple(self._skip_source(index) for index in range(len(layers))),
            tuple(self.skips[str(index)] if str(index) in self.skips else None for index in range(len(layers))),
            self.input_size,
        )
        alone = len(layers) == 1 and not self.skips
        jacobian = layers[0].jacobian if alone else LayeredJacobian(tuple(layers), wiring)
        return Linearization(jacobian, LayeredDrive(tuple(layers), wiring))

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        raise ValueError("Network: expected the time-steps of one layer at a time; see layer_inputs and cells")
