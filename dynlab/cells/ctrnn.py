"""The continuous-time RNN (Rosenblatt, 1962, as Kag et al., ICLR 2020, write it)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell, TimeStep
from dynlab.cells.activation import activation
from dynlab.jacobian.drive import GainDrive, Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class CTRNN(Cell):
    """Forward Euler on iRNN Eq. (1), the leaky integrator tau g' = -alpha g + phi(U g + W x + b).

    h_t = h_{t-1} + (dt / tau) [-alpha h_{t-1} + phi(U h_{t-1} + W x_t + b)]

    U ~ N(0, 1 / d), W ~ N(0, 1 / f), b = 0 at the start; these and the defaults of dt, tau and alpha are our choice.

    Arguments:
        input_size: f. hidden_size: d.
        dt: Euler step, > 0. tau: time constant, > 0. alpha: leak, >= 0.
        nonlinearity: phi, "tanh", "relu" or "sigmoid".

    Attributes:
        weight_ih: W (d, f). weight_hh: U (d, d). bias: b (d,).
    """

    reference = "CTRNN, iRNN Eq. (1)"
    bibtex = ("kag2020rnns",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dt: float = 0.1,
        tau: float = 1.0,
        alpha: float = 1.0,
        nonlinearity: str = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.dt = _check.number("dt", dt, "CTRNN", above=0)
        self.tau = _check.number("tau", tau, "CTRNN", above=0)
        self.alpha = _check.number("alpha", alpha, "CTRNN", least=0)
        self.phi, self.phi_derivative = activation(nonlinearity, "CTRNN")
        self.rate = self.dt / self.tau
        self.hyperparameters = {"dt": self.dt, "tau": self.tau, "alpha": self.alpha, "nonlinearity": nonlinearity}
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values, see the class."""
        nn.init.normal_(self.weight_ih, 0, max(1, self.input_size) ** -0.5)
        nn.init.normal_(self.weight_hh, 0, self.hidden_size**-0.5)
        nn.init.zeros_(self.bias)

    def input_term(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight_ih, self.bias)

    def input_weight(self) -> Tensor:
        return self.weight_ih

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        change = self.phi(nn.functional.linear(state, self.weight_hh) + term) - self.alpha * state
        return torch.add(state, change, alpha=self.rate)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """(1 - dt alpha / tau) I + (dt / tau) phi' U for the state."""
        slope = self.phi_derivative(nn.functional.linear(states, self.weight_hh) + term)
        gains = (self.rate * slope)[..., None, None, :]
        return Linearization(
            DiagonalPlusDense(1 - self.rate * self.alpha, gains, self.weight_hh), GainDrive(gains, self.weight_ih)
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(torch.full_like(self.bias, self.rate), ("unit",), "dt / tau, CTRNN, iRNN Eq. (1)")
