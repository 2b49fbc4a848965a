"""Long short-term memory (Hochreiter & Schmidhuber, 1997), with forget gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Keep, Kept, TimeStep
from dynlab.cells._module import GATE_DIMS, GATE_MEANING, InputDrive, ModuleCell, in_one_call, needs
from dynlab.cells.activation import sigmoid_derivative, tanh_derivative
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class LSTM(ModuleCell):
    """The LSTM, torch.nn.LSTMCell.

    i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(W_g x_t + U_g h_{t-1} + b_g),
    c_t = f o c_{t-1} + i o g,   h_t = o o tanh(c_t)

    The state is [h, c]; the next layer and the readout see h. Initial values are torch's, U(-1 / sqrt(d),
    1 / sqrt(d)), except for the forget gate: torch has two biases, and b_ih = forget_bias, b_hh = 0 there, so
    that their sum is forget_bias (1 in AntisymmetricRNN's experiments). ``LSTM.wrap(module)`` shares the
    parameters of an existing torch.nn.LSTMCell and changes none.

    Arguments:
        input_size: f. hidden_size: d.
        forget_bias: initial bias of the forget gate, the sum of both.

    Attributes:
        module: the torch.nn.LSTMCell; weight_ih (4 d, f), weight_hh (4 d, d), bias_ih (4 d,), bias_hh (4 d,), gates
            in the order i, f, g, o.
    """

    reference = "Hochreiter & Schmidhuber 1997; torch.nn.LSTMCell"
    bibtex = ("hochreiter1997lstm",)
    has_whole = True
    parts = 2
    module: nn.LSTMCell

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        sizes = self._checked(input_size, hidden_size)
        forget_bias = _check.number("forget_bias", forget_bias, "LSTM")
        super().__init__(nn.LSTMCell(*sizes), forget_bias=forget_bias)
        with torch.no_grad():
            self.module.bias_ih[hidden_size : 2 * hidden_size] = forget_bias
            self.module.bias_hh[hidden_size : 2 * hidden_size] = 0

    def _whole(self, terms: Tensor, state: Tensor, keep: Keep) -> Kept | None:
        """torch.lstm, which does not say what c is in between."""
        if keep == "states":
            return None
        outputs, h, c = in_one_call(torch.lstm, self, terms, *state.chunk(2, dim=-1))
        return Kept(outputs if keep == "hidden" else None, torch.cat([h, c], dim=-1))

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """Gates on the four pre-activations, which read h alone; c passes through f."""
        c = states[..., self.hidden_size :]
        at_i, at_f, at_g, at_o = self._preactivations(term, states)
        i, f, g, o = torch.sigmoid(at_i), torch.sigmoid(at_f), torch.tanh(at_g), torch.sigmoid(at_o)
        new_c = f * c + i * g
        zero = torch.zeros_like(c)
        into_c = torch.stack(
            [sigmoid_derivative(at_i) * g, sigmoid_derivative(at_f) * c, i * tanh_derivative(at_g), zero], dim=-2
        )
        opening = o * tanh_derivative(new_c)
        into_h = opening.unsqueeze(-2) * into_c
        into_h[..., 3, :] = sigmoid_derivative(at_o) * torch.tanh(new_c)
        gains = torch.stack([into_h, into_c], dim=-3)
        diagonal = torch.stack([zero, opening * f, zero, f], dim=-2).unflatten(-2, (2, 2))
        return Linearization(
            DiagonalPlusDense(diagonal, gains, self.module.weight_hh), InputDrive(gains, self.module.weight_ih)
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        forget = self._preactivations(*needs(self, inputs, states))[1]
        # 1 - sigmoid(a), without the cancellation.
        return TimeStep(torch.sigmoid(-forget), GATE_DIMS, f"1 - f_t, {GATE_MEANING}")
