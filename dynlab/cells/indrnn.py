"""IndRNN: independent neurons (Li et al., CVPR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab.cell import Cell, Keep, Kept, TimeStep, kept_for_backward
from dynlab.cells.activation import activation
from dynlab.jacobian.blocks import UnitBlocks
from dynlab.jacobian.drive import GainDrive, Linearization


class IndRNN(Cell):
    """A recurrence in which each unit sees of the old state only itself.

    h_t = phi(V x_t + u o h_{t-1} + b)

    u ~ U(0, 1), V ~ N(0, 1 / f) and b = 0 at the start are our choice.

    Arguments:
        input_size: f. hidden_size: d.
        nonlinearity: phi, "relu" (the paper's), "tanh" or "sigmoid".

    Attributes:
        weight_ih: V (d, f). weight_hh: u (d,). bias: b (d,).
    """

    reference = "IndRNN, Li et al. 2018"
    bibtex = ("li2018indrnn",)
    has_native = True

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "relu") -> None:
        super().__init__(input_size, hidden_size)
        self.phi, self.phi_derivative = activation(nonlinearity, "IndRNN")
        self.hyperparameters = {"nonlinearity": nonlinearity}
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values, see the class."""
        nn.init.normal_(self.weight_ih, 0, max(1, self.input_size) ** -0.5)
        nn.init.uniform_(self.weight_hh, 0, 1)
        nn.init.zeros_(self.bias)

    def input_term(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight_ih, self.bias)

    def input_weight(self) -> Tensor:
        return self.weight_ih

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        return self.phi(torch.addcmul(term, self.weight_hh, state))

    def _native(self, terms: Tensor, state: Tensor, keep: Keep, watch: Tensor | None) -> Kept:
        from dynlab.native.indrnn import indrnn

        stored = kept_for_backward(keep, terms, self.weight_hh, state, watch)
        phi = self.hyperparameters["nonlinearity"]
        sequence, last = indrnn(terms, self.weight_hh, state, watch, phi, stored)
        return Kept(None if keep == "last" else sequence, last)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """phi' u, a number a unit."""
        slope = self.phi_derivative(torch.addcmul(term, self.weight_hh, states))
        return Linearization(
            UnitBlocks((slope * self.weight_hh)[..., None, None, :]),
            GainDrive(slope[..., None, None, :], self.weight_ih),
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(torch.ones_like(self.bias), ("unit",), "1: a map, nothing of the old state is kept")
