"""The update gate RNN (Collins, Sohl-Dickstein & Sussillo, ICLR 2017)."""

from __future__ import annotations

import torch
import torchrecurrent
from torch import Tensor

from dynlab import _check
from dynlab.cell import TimeStep
from dynlab.cells._module import GATE_DIMS, GATE_MEANING, InputDrive, ModuleCell, needs
from dynlab.cells.activation import sigmoid_derivative, tanh_derivative
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class UGRNN(ModuleCell):
    """The UGRNN, torchrecurrent.UGRNNCell.

    c = tanh(W_c x_t + U_c h_{t-1} + b_c),   g = sigmoid(W_g x_t + U_g h_{t-1} + b_g),
    h_t = g o h_{t-1} + (1 - g) o c

    b_g = forget_bias at the start, W and U Xavier uniform and b_c = 0 (torchrecurrent's, our choice); one bias a
    gate. ``UGRNN.wrap(module)`` shares the parameters of an existing torchrecurrent.UGRNNCell and changes none.

    Arguments:
        input_size: f. hidden_size: d.
        forget_bias: initial b_g.

    Attributes:
        module: the UGRNNCell; weight_ih (2 d, f), weight_hh (2 d, d), bias_ih (2 d,), in the order c, g.
    """

    reference = "UGRNN, Collins et al. 2017; torchrecurrent.UGRNNCell"
    bibtex = ("collins2017capacity",)
    module: torchrecurrent.UGRNNCell

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        sizes = self._checked(input_size, hidden_size)
        forget_bias = _check.number("forget_bias", forget_bias, "UGRNN")
        super().__init__(torchrecurrent.UGRNNCell(*sizes, recurrent_bias=False), forget_bias=forget_bias)
        with torch.no_grad():
            self.module.bias_ih[hidden_size:] = forget_bias

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """g o h passes; candidate and gate have weights of their own."""
        at_c, at_g = self._preactivations(term, states)
        of_candidate = torch.sigmoid(-at_g) * tanh_derivative(at_c)
        of_gate = (states - torch.tanh(at_c)) * sigmoid_derivative(at_g)
        gains = torch.stack([of_candidate, of_gate], dim=-2).unsqueeze(-3)
        keep = torch.sigmoid(at_g)[..., None, None, :]
        return Linearization(
            DiagonalPlusDense(keep, gains, self.module.weight_hh), InputDrive(gains, self.module.weight_ih)
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        gate = self._preactivations(*needs(self, inputs, states))[1]
        return TimeStep(torch.sigmoid(-gate), GATE_DIMS, f"1 - g_t, {GATE_MEANING}")
