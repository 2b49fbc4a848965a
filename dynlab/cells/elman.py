"""The plain recurrent network (Elman, 1990)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Keep, Kept, TimeStep
from dynlab.cells._module import InputDrive, ModuleCell, whole_states
from dynlab.cells.activation import activation
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class Elman(ModuleCell):
    """The plain RNN, torch.nn.RNNCell.

    h_t = phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    Initial values are torch's, U(-1 / sqrt(d), 1 / sqrt(d)) for all. ``Elman.wrap(module)`` shares the
    parameters of an existing torch.nn.RNNCell.

    Arguments:
        input_size: f. hidden_size: d.
        nonlinearity: phi, "tanh" or "relu".

    Attributes:
        module: the torch.nn.RNNCell; weight_ih (d, f), weight_hh (d, d), bias_ih (d,), bias_hh (d,).
    """

    reference = "Elman 1990; torch.nn.RNNCell"
    bibtex = ("elman1990finding",)
    has_whole = True
    module: nn.RNNCell

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        sizes = self._checked(input_size, hidden_size)
        _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"), "Elman")
        super().__init__(nn.RNNCell(*sizes, nonlinearity=nonlinearity), nonlinearity=nonlinearity)

    @classmethod
    def _options(cls, module: Any) -> dict[str, Any]:
        return {"nonlinearity": module.nonlinearity}

    def _whole(self, terms: Tensor, state: Tensor, keep: Keep) -> Kept:
        return whole_states(
            torch.rnn_tanh if self.module.nonlinearity == "tanh" else torch.rnn_relu, self, terms, state, keep
        )

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """phi' W_hh for the state, phi' W_ih for the input."""
        (total,) = self._preactivations(term, states)
        slope = activation(self.module.nonlinearity, "Elman")[1](total)[..., None, None, :]
        return Linearization(
            DiagonalPlusDense(0.0, slope, self.module.weight_hh), InputDrive(slope, self.module.weight_ih)
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(self._unit_steps(1), ("unit",), "1: a map, nothing of the old state is kept")
