"""coRNN: coupled oscillators (Rusch & Mishra, ICLR 2021)."""

from __future__ import annotations

from typing import Any

import torch
import torchrecurrent
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Keep, Kept, TimeStep
from dynlab.cells._module import InputDrive, ModuleCell
from dynlab.cells._oscillators import Oscillators
from dynlab.cells.activation import tanh_derivative
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class CoRNN(ModuleCell):
    """coRNN, torchrecurrent.coRNNCell: damped oscillators, each driven by all others.

    z_t = z_{t-1} + dt [tanh(W_y y_{t-1} + W_z z_{t-1} + V x_t + b) - gamma y_{t-1} - epsilon z_{t-1}],
    y_t = y_{t-1} + dt z_t

    The state is [y, z]; the next layer and the readout see y. The default dt, gamma and epsilon are our choice of a
    published set (permuted sequential MNIST), not verified here; weights Xavier uniform and b = 0 are
    torchrecurrent's, our choice; one bias, where torchrecurrent has three. ``CoRNN.wrap(module)`` shares the
    parameters of an existing torchrecurrent.coRNNCell.

    Arguments:
        input_size: f. hidden_size: d.
        dt: time-step, > 0. gamma: restoring force, >= 0. epsilon: damping, >= 0.

    Attributes:
        module: the coRNNCell; weight_ih V (d, f), weight_hh W_y (d, d), weight_ch W_z (d, d), bias_ih b (d,).
    """

    reference = "coRNN, Rusch & Mishra 2021; torchrecurrent.coRNNCell"
    bibtex = ("rusch2021cornn",)
    has_whole = True
    parts = 2
    module: torchrecurrent.coRNNCell

    def __init__(
        self, input_size: int, hidden_size: int, dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7
    ) -> None:
        sizes = self._checked(input_size, hidden_size)
        options = {
            "dt": _check.number("dt", dt, "CoRNN", above=0),
            "gamma": _check.number("gamma", gamma, "CoRNN", least=0),
            "epsilon": _check.number("epsilon", epsilon, "CoRNN", least=0),
        }
        super().__init__(torchrecurrent.coRNNCell(*sizes, recurrent_bias=False, cell_bias=False, **options), **options)

    @classmethod
    def _options(cls, module: Any) -> dict[str, Any]:
        return {"dt": module.dt, "gamma": module.gamma, "epsilon": module.epsilon}

    def _drive(self, inputs: Tensor) -> Tensor:
        """V x + b, (..., d)."""
        bias = self.module.bias_ih + self.module.bias_hh + self.module.bias_ch
        return nn.functional.linear(inputs, self.module.weight_ih, bias)

    def _recurrent(self) -> Tensor:
        """[W_y, W_z], (d, 2 d)."""
        return torch.cat([self.module.weight_hh, self.module.weight_ch], dim=1)

    def _whole(self, terms: Tensor, state: Tensor, keep: Keep) -> Kept:
        module = self.module
        states = Oscillators.apply(
            self._drive(terms), self._recurrent(), state, module.dt, module.gamma, module.epsilon
        )
        sequence = {"states": states, "hidden": states[1:, :, : self.hidden_size]}.get(keep)
        return Kept(sequence, states[-1])

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """A kick of z, which y then takes over dt times."""
        dt, gamma, epsilon = self.module.dt, self.module.gamma, self.module.epsilon
        weight = self._recurrent()
        total = self._drive(term) + nn.functional.linear(states, weight)
        kick = dt * tanh_derivative(total)
        gains = torch.stack([dt * kick, kick], dim=-2).unsqueeze(-2)
        direct = torch.tensor(
            [[1 - dt**2 * gamma, dt * (1 - dt * epsilon)], [-dt * gamma, 1 - dt * epsilon]],
            dtype=kick.dtype,
            device=kick.device,
        )
        diagonal = direct.unsqueeze(-1).expand(*kick.shape[:-1], 2, 2, self.hidden_size)
        return Linearization(DiagonalPlusDense(diagonal, gains, weight), InputDrive(gains, self.module.weight_ih))

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(self._unit_steps(self.module.dt), ("unit",), "dt, coRNN")
