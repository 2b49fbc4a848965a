"""FastRNN and FastGRNN (Kusupati et al., NeurIPS 2018)."""

from __future__ import annotations

from typing import Any

import torch
import torchrecurrent
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import TimeStep
from dynlab.cells._module import GATE_DIMS, GATE_MEANING, InputDrive, ModuleCell, needs
from dynlab.cells.activation import activation, sigmoid_derivative, tanh_derivative
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.step import DiagonalPlusDense

FAST_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
"""phi of a FastRNN, and what torchrecurrent makes of the name."""


class _Fast(ModuleCell):
    """What the two share: one weight pair, torchrecurrent's names, two biases of which dynlab trains one."""

    module: Any

    def _from_both(self, inputs: Tensor, states: Tensor) -> Tensor:
        """W x + U h without a bias, (..., d)."""
        linear = nn.functional.linear
        return linear(inputs, self.module.weight_ih) + linear(states, self.module.weight_hh)

    def _biases(self) -> Tensor:
        return self.module.bias_ih + self.module.bias_hh


class FastRNN(_Fast):
    """FastRNN, torchrecurrent.FastRNNCell: a plain RNN and two scalars.

    h_t = sigmoid(alpha) phi(W x_t + U h_{t-1} + b) + sigmoid(beta) h_{t-1}

    alpha = -3 and beta = 3 at the start, as in the authors' code (torchrecurrent has the two signs swapped); one
    bias, as the paper counts. W and U Xavier uniform, b = 0: torchrecurrent's, our choice. ``FastRNN.wrap(module)``
    shares the parameters of an existing torchrecurrent.FastRNNCell.

    Arguments:
        input_size: f. hidden_size: d.
        alpha: initial value of alpha. beta: initial value of beta.
        nonlinearity: phi, "tanh", "relu" (iRNN section 4.1, for all its networks) or "sigmoid".

    Attributes:
        module: the FastRNNCell; weight_ih W (d, f), weight_hh U (d, d), bias_ih b (d,), alpha (1,), beta (1,).
    """

    reference = "FastRNN, Kusupati et al. 2018; torchrecurrent.FastRNNCell"
    bibtex = ("kusupati2018fastgrnn",)
    module: torchrecurrent.FastRNNCell

    def __init__(
        self, input_size: int, hidden_size: int, alpha: float = -3.0, beta: float = 3.0, nonlinearity: str = "tanh"
    ) -> None:
        sizes = self._checked(input_size, hidden_size)
        alpha, beta = _check.number("alpha", alpha, "FastRNN"), _check.number("beta", beta, "FastRNN")
        _check.choice("nonlinearity", nonlinearity, tuple(FAST_ACTIVATIONS), "FastRNN")
        module = torchrecurrent.FastRNNCell(
            *sizes, recurrent_bias=False, nonlinearity=nonlinearity, alpha_init=alpha, beta_init=beta
        )
        super().__init__(module, **self._options(module))

    @classmethod
    def _options(cls, module: Any) -> dict[str, Any]:
        names = {kind: name for name, kind in FAST_ACTIVATIONS.items()}
        return {"alpha": module.alpha_init, "beta": module.beta_init, "nonlinearity": names[type(module.act)]}

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """sigmoid(beta) I + sigmoid(alpha) phi' U for the state."""
        total = self._from_both(term, states) + self._biases()
        slope = activation(self.hyperparameters["nonlinearity"], "FastRNN")[1](total)
        gains = (torch.sigmoid(self.module.alpha) * slope)[..., None, None, :]
        keep = float(torch.sigmoid(self.module.beta.detach()))
        return Linearization(
            DiagonalPlusDense(keep, gains, self.module.weight_hh), InputDrive(gains, self.module.weight_ih)
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        step = self._unit_steps(torch.sigmoid(self.module.alpha))
        return TimeStep(step, ("unit",), "sigmoid(alpha), FastRNN")


class FastGRNN(_Fast):
    """FastGRNN, torchrecurrent.FastGRNNCell: FastRNN with a gate that shares W and U.

    z = sigmoid(W x_t + U h_{t-1} + b_z),   h~ = tanh(W x_t + U h_{t-1} + b_h),
    h_t = z o h_{t-1} + (sigmoid(zeta) (1 - z) + sigmoid(nu)) o h~

    zeta = 1 and nu = -4 at the start, as in the authors' code (torchrecurrent has 3 and -3, and a tanh in place of
    the gate's sigmoid unless told); one bias a pre-activation, as the paper counts. W and U Xavier uniform, biases
    0: torchrecurrent's, our choice. ``FastGRNN.wrap(module)`` shares the parameters of an existing
    torchrecurrent.FastGRNNCell whose nonlinearity is the sigmoid.

    Arguments:
        input_size: f. hidden_size: d.
        zeta: initial value of zeta. nu: initial value of nu.

    Attributes:
        module: the FastGRNNCell; weight_ih W (d, f), weight_hh U (d, d), bias_ih [b_z, b_h] (2 d,), zeta (1,), nu (1,).
    """

    reference = "FastGRNN, Kusupati et al. 2018; torchrecurrent.FastGRNNCell"
    bibtex = ("kusupati2018fastgrnn",)
    module: torchrecurrent.FastGRNNCell

    def __init__(self, input_size: int, hidden_size: int, zeta: float = 1.0, nu: float = -4.0) -> None:
        sizes = self._checked(input_size, hidden_size)
        zeta, nu = _check.number("zeta", zeta, "FastGRNN"), _check.number("nu", nu, "FastGRNN")
        module = torchrecurrent.FastGRNNCell(
            *sizes, recurrent_bias=False, nonlinearity="sigmoid", zeta_init=zeta, nu_init=nu
        )
        super().__init__(module, **self._options(module))

    @classmethod
    def _options(cls, module: Any) -> dict[str, Any]:
        return {"zeta": module.zeta_init, "nu": module.nu_init}

    def _gate_and_candidate(self, inputs: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Both pre-activations."""
        total = self._from_both(inputs, states)
        gate, candidate = self._biases().chunk(2)
        return total + gate, total + candidate

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """Gate and candidate read the same W x + U h, so their slopes add."""
        at_z, at_h = self._gate_and_candidate(term, states)
        zeta, nu = torch.sigmoid(self.module.zeta), torch.sigmoid(self.module.nu)
        of_gate = (states - zeta * torch.tanh(at_h)) * sigmoid_derivative(at_z)
        of_candidate = (zeta * torch.sigmoid(-at_z) + nu) * tanh_derivative(at_h)
        gains = (of_gate + of_candidate)[..., None, None, :]
        keep = torch.sigmoid(at_z)[..., None, None, :]
        return Linearization(
            DiagonalPlusDense(keep, gains, self.module.weight_hh), InputDrive(gains, self.module.weight_ih)
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        gate = self._gate_and_candidate(*needs(self, inputs, states))[0]
        return TimeStep(torch.sigmoid(-gate), GATE_DIMS, f"1 - z_t, {GATE_MEANING}")
