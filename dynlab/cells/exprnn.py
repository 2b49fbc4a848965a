"""expRNN: orthogonal recurrence by the exponential map (Lezcano-Casado & Martinez-Rubio, ICML 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dynlab.cell import Cell, TimeStep
from dynlab.jacobian.drive import GainDrive, Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class ExpRNN(Cell):
    """A plain RNN whose recurrent weight is orthogonal, with modReLU.

    h_t = modrelu(T x_t + B h_{t-1}),   B = exp(A),  A = S - S^T,   modrelu(a) = sign(a) relu(|a| + b)

    S is strictly upper triangular, from ``weight_packed`` of d (d - 1) / 2 numbers. A starts with the block
    initialisation of Henaff et al. (2016), one of those that the authors use: 2x2 blocks [[0, s], [-s, 0]] with
    s ~ U(-pi, pi), so that B starts as independent rotations. b = 0 at the start; T ~ N(0, 1 / f) is our choice.

    Arguments:
        input_size: f. hidden_size: d.

    Attributes:
        weight_ih: T (d, f). weight_packed: the numbers of S, row by row. weight_hh: B (d, d). bias: b (d,).
    """

    reference = "expRNN, Lezcano-Casado & Martinez-Rubio 2019"
    bibtex = ("lezcano2019exprnn",)
    _upper: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_packed = nn.Parameter(torch.empty(hidden_size * (hidden_size - 1) // 2))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        upper = torch.triu_indices(hidden_size, hidden_size, offset=1)
        self.register_buffer("_upper", upper[0] * hidden_size + upper[1], persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values, see the class."""
        nn.init.normal_(self.weight_ih, 0, max(1, self.input_size) ** -0.5)
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            row, column = self._upper // self.hidden_size, self._upper % self.hidden_size
            paired = (row % 2 == 0) & (column == row + 1)
            angles = torch.empty_like(self.weight_packed).uniform_(-math.pi, math.pi)
            self.weight_packed.copy_(torch.where(paired, angles, 0))

    def skew_symmetric(self) -> Tensor:
        """A = S - S^T, (d, d)."""
        flat = self.weight_packed.new_zeros(self.hidden_size**2)
        upper = flat.index_put((self._upper,), self.weight_packed).view(self.hidden_size, self.hidden_size)
        return upper - upper.T

    @property
    def weight_hh(self) -> Tensor:
        """B = exp(A), (d, d), once a rollout."""
        return self.derived("B", lambda: torch.linalg.matrix_exp(self.skew_symmetric()))

    def input_term(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight_ih)

    def input_weight(self) -> Tensor:
        return self.weight_ih

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        total = nn.functional.linear(state, self.weight_hh) + term
        return torch.sign(total) * torch.relu(total.abs() + self.bias)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """B with the rows of the silent units removed: modReLU has slope 1 where |a| + b > 0, else 0."""
        weight = self.weight_hh
        total = nn.functional.linear(states, weight) + term
        slope = (total.abs() + self.bias > 0).to(total.dtype)[..., None, None, :]
        return Linearization(DiagonalPlusDense(0.0, slope, weight), GainDrive(slope, self.weight_ih))

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(torch.ones_like(self.bias), ("unit",), "1: a map, nothing of the old state is kept")
