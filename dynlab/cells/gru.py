"""The gated recurrent unit (Cho et al., 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab.cell import Keep, Kept, TimeStep
from dynlab.cells._module import GATE_DIMS, GATE_MEANING, InputDrive, ModuleCell, needs, whole_states
from dynlab.cells.activation import sigmoid_derivative, tanh_derivative
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class GRU(ModuleCell):
    """The GRU as torch.nn.GRUCell has it: the reset gate acts on U_n h + b_hn.

    r, z = sigmoid(W x_t + b_i + U h_{t-1} + b_h),   n = tanh(W_n x_t + b_in + r o (U_n h_{t-1} + b_hn)),
    h_t = (1 - z) o n + z o h_{t-1}

    Initial values are torch's, U(-1 / sqrt(d), 1 / sqrt(d)) for all. ``GRU.wrap(module)`` shares the parameters
    of an existing torch.nn.GRUCell.

    Arguments:
        input_size: f. hidden_size: d.

    Attributes:
        module: the torch.nn.GRUCell; weight_ih (3 d, f), weight_hh (3 d, d), bias_ih (3 d,), bias_hh (3 d,), gates
            in the order r, z, n.
    """

    reference = "Cho et al. 2014; torch.nn.GRUCell"
    bibtex = ("cho2014gru",)
    has_whole = True
    module: nn.GRUCell

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(nn.GRUCell(*self._checked(input_size, hidden_size)))

    def _whole(self, terms: Tensor, state: Tensor, keep: Keep) -> Kept:
        return whole_states(torch.gru, self, terms, state, keep)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """z o h passes; U_n h reaches n through r, W_n x does not."""
        by_input = self._from_input(term).split(self.hidden_size, dim=-1)
        by_hidden = self._from_hidden(states).split(self.hidden_size, dim=-1)
        at_r, at_z = by_input[0] + by_hidden[0], by_input[1] + by_hidden[1]
        r, z = torch.sigmoid(at_r), torch.sigmoid(at_z)
        at_n = by_input[2] + r * by_hidden[2]
        into_n = torch.sigmoid(-at_z) * tanh_derivative(at_n)
        of_r = into_n * by_hidden[2] * sigmoid_derivative(at_r)
        of_z = (states - torch.tanh(at_n)) * sigmoid_derivative(at_z)
        return Linearization(
            DiagonalPlusDense(
                z[..., None, None, :], torch.stack([of_r, of_z, into_n * r], -2).unsqueeze(-3), self.module.weight_hh
            ),
            InputDrive(torch.stack([of_r, of_z, into_n], -2).unsqueeze(-3), self.module.weight_ih),
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        inputs, states = needs(self, inputs, states)
        units = slice(self.hidden_size, 2 * self.hidden_size)
        at_z = (self._from_input(inputs) + self._from_hidden(states))[..., units]
        return TimeStep(torch.sigmoid(-at_z), GATE_DIMS, f"1 - z_t, {GATE_MEANING}")
