"""LipschitzRNN (Erichson et al., ICLR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell, TimeStep
from dynlab.cells.activation import tanh_derivative
from dynlab.jacobian.drive import GainDrive, Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class LipschitzRNN(Cell):
    """Forward Euler on a linear part and a Lipschitz nonlinearity.

    h_t = h_{t-1} + eps A h_{t-1} + eps tanh(W h_{t-1} + U x_t + b),
    A, W = beta (M - M^T) + (1 - beta) (M + M^T) - gamma I, each from an M of its own

    M ~ N(0, (std / d)^2) at the start, std / d being the standard deviation as in the authors' code;
    U ~ N(0, 1 / f), b = 0 and the defaults of epsilon, beta, gamma and std are our choice.

    Arguments:
        input_size: f. hidden_size: d.
        epsilon: Euler step, > 0. beta: weight of the skew part, 0 to 1. gamma: diffusion, >= 0.
        std: standard deviation of M times d, >= 0.

    Attributes:
        weight_ih: U (d, f). weight_a, weight_w: M of A and of W, (d, d). bias: b (d,).
    """

    reference = "LipschitzRNN, Erichson et al. 2021"
    bibtex = ("erichson2021lipschitz",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        epsilon: float = 0.03,
        beta: float = 0.75,
        gamma: float = 0.001,
        std: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        where = "LipschitzRNN"
        self.epsilon = _check.number("epsilon", epsilon, where, above=0)
        self.beta = _check.number("beta", beta, where, least=0)
        if self.beta > 1:
            raise ValueError(f"{where}: expected beta between 0 and 1, got {beta!r}")
        self.gamma = _check.number("gamma", gamma, where, least=0)
        self.std = _check.number("std", std, where, least=0)
        self.hyperparameters = {"epsilon": self.epsilon, "beta": self.beta, "gamma": self.gamma, "std": self.std}
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_a = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.weight_w = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values, see the class."""
        nn.init.normal_(self.weight_ih, 0, max(1, self.input_size) ** -0.5)
        nn.init.normal_(self.weight_a, 0, self.std / self.hidden_size)
        nn.init.normal_(self.weight_w, 0, self.std / self.hidden_size)
        nn.init.zeros_(self.bias)

    def _mixed(self, raw: Tensor) -> Tensor:
        """beta (M - M^T) + (1 - beta) (M + M^T) - gamma I."""
        eye = torch.eye(self.hidden_size, dtype=raw.dtype, device=raw.device)
        return self.beta * (raw - raw.T) + (1 - self.beta) * (raw + raw.T) - self.gamma * eye

    def recurrent_matrices(self) -> Tensor:
        """A over W, (2 d, d), once a rollout."""
        return self.derived("AW", lambda: torch.cat([self._mixed(self.weight_a), self._mixed(self.weight_w)]))

    def input_term(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight_ih, self.bias)

    def input_weight(self) -> Tensor:
        return self.weight_ih

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        linear, total = nn.functional.linear(state, self.recurrent_matrices()).chunk(2, dim=-1)
        return torch.add(state, linear + torch.tanh(total + term), alpha=self.epsilon)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """I + eps A + eps tanh' W: A counts as a gate of slope 1."""
        weight = self.recurrent_matrices()
        total = nn.functional.linear(states, weight[self.hidden_size :]) + term
        slope = tanh_derivative(total)
        gains = self.epsilon * torch.stack([torch.ones_like(slope), slope], dim=-2).unsqueeze(-3)
        return Linearization(
            DiagonalPlusDense(1.0, gains, weight),
            GainDrive(self.epsilon * slope[..., None, None, :], self.weight_ih),
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(torch.full_like(self.bias, self.epsilon), ("unit",), "epsilon, LipschitzRNN")
