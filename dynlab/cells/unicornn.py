"""UnICORNN: undamped independent controlled oscillators (Rusch & Mishra, 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell, Keep, Kept, TimeStep, kept_for_backward
from dynlab.cells.activation import tanh_derivative
from dynlab.jacobian.blocks import ShearBlocks
from dynlab.jacobian.drive import KickDrive, Linearization


class UnICORNN(Cell):
    """One layer of UnICORNN Eq. (6), symplectic Euler on independent oscillators.

    z_n = z_{n-1} - h [tanh(w y_{n-1} + V u_n + b) + alpha y_{n-1}],   y_n = y_{n-1} + h z_n,   h = dt sigmoid(c)

    The state is [y, z]; the next layer and the readout see y. Initial values as in appendix A: w ~ U(0, 1),
    b = 0, c ~ U(-0.1, 0.1), V Kaiming uniform with negative slope 8.

    Arguments:
        input_size: f. hidden_size: d.
        dt: nominal time-step, > 0. Table 6 has 0.126 and alpha = 13 for noise-padded CIFAR-10.
        alpha: restoring force, >= 0.
        train_time_step: whether c is trained; frozen, it gives the model without multi-scale steps (Fig. 6).
        memory: what the backward pass of the native backend rests on. "store" keeps y; "reconstruct" unwinds it by
            Eq. (7), with memory independent of T where only the last state is kept. In float32 that costs up to a
            factor of 2 in the gradients' error up to 4,000 steps, 3 to 10 at 18,000 with alpha = 0 and a strong
            drive (gradients off by a percent). With large w neither is right there: the trajectory is chaotic
            (benchmarks/results/reconstruction.md). Check long sequences against "store" or float64. The reference
            backend always stores.

    Attributes:
        weight_ih: V (d, f). weight_hh: w (d,). bias: b (d,). c: (d,).
    """

    reference = "UnICORNN, Eq. (6)"
    bibtex = ("rusch2021unicornn",)

    has_native = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dt: float = 0.126,
        alpha: float = 13.0,
        train_time_step: bool = True,
        memory: str = "store",
    ) -> None:
        super().__init__(input_size, hidden_size, 2 * hidden_size)
        self.dt = _check.number("dt", dt, "UnICORNN", above=0)
        self.alpha = _check.number("alpha", alpha, "UnICORNN", least=0)
        self.memory = _check.choice("memory", memory, ("store", "reconstruct"), "UnICORNN")
        self.hyperparameters = {
            "dt": self.dt,
            "alpha": self.alpha,
            "train_time_step": train_time_step,
            "memory": memory,
        }
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.c = nn.Parameter(torch.empty(hidden_size), requires_grad=train_time_step)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values of appendix A."""
        if self.input_size:
            nn.init.kaiming_uniform_(self.weight_ih, a=8)
        nn.init.uniform_(self.weight_hh, 0, 1)
        nn.init.zeros_(self.bias)
        nn.init.uniform_(self.c, -0.1, 0.1)

    def effective_time_step(self) -> Tensor:
        """h = dt sigmoid(c), (d,)."""
        return self.derived("h", lambda: self.dt * torch.sigmoid(self.c))

    def input_term(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight_ih, self.bias)

    def input_weight(self) -> Tensor:
        return self.weight_ih

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        y, z = state.chunk(2, dim=-1)
        h = self.effective_time_step()
        force = torch.tanh(torch.addcmul(term, self.weight_hh, y)).add(y, alpha=self.alpha)
        z = torch.addcmul(z, h, force, value=-1)
        return torch.cat([torch.addcmul(y, h, z), z], dim=-1)

    def _native(self, terms: Tensor, state: Tensor, keep: Keep, watch: Tensor | None) -> Kept:
        from dynlab.native.unicornn import unicornn

        w, h, reconstruct = self.weight_hh, self.effective_time_step(), self.memory == "reconstruct"
        stored = keep if reconstruct else kept_for_backward(keep, terms, w, h, state, watch)
        sequence, last = unicornn(terms, w, h, state, watch, self.alpha, stored, reconstruct)
        return Kept(None if keep == "last" else sequence, last)

    def inverse(self, x: Tensor, state: Tensor) -> Tensor:
        """The state before this one, Eq. (7): x (..., f) the input of the step, state (..., n) its result."""
        y, z = state.chunk(2, dim=-1)
        h = self.effective_time_step()
        y = y - h * z
        z = z + h * (torch.tanh(self.weight_hh * y + self.input_term(x)) + self.alpha * y)
        return torch.cat([y, z], dim=-1)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """Eq. (21) for the state; Eq. (23) for the input."""
        y = states[..., : self.hidden_size]
        h = self.effective_time_step()
        slope = tanh_derivative(torch.addcmul(term, self.weight_hh, y))
        kick = torch.addcmul(h * self.alpha, h * self.weight_hh, slope)
        return Linearization(ShearBlocks(h, kick), KickDrive(h, -h * slope, self.weight_ih))

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        return TimeStep(self.effective_time_step(), ("unit",), "dt * sigmoid(c), UnICORNN Eq. (6)")

    def energy(self, inputs: Tensor, states: Tensor, from_rest: bool = False) -> Tensor:
        """The Hamiltonian of each unit, UnICORNN Eq. (4): inputs (..., f), states (..., n) -> (..., d).

        alpha y^2 / 2 + z^2 / 2 + log cosh(w y + V u + b) / w. A Hamiltonian is defined up to a constant in
        (y, z). With ``from_rest`` that constant makes H(0, 0) = 0: log cosh(V u + b) / w is taken off, which
        removes the pole at w = 0. Where w is exactly 0 this limit, y tanh(V u + b), is returned either way.
        """
        y, z = states.chunk(2, dim=-1)
        drive, w = self.input_term(inputs), self.weight_hh
        small = w.abs() < torch.finfo(w.dtype).eps ** (1 / 3)
        # The Taylor series in w where the difference would cancel.
        safe = torch.where(small, 1, w)
        potential = (log_cosh(safe * y + drive) - log_cosh(drive)) / safe
        slope = torch.tanh(drive)
        series = y * slope + w * y**2 * tanh_derivative(drive) * (0.5 - w * y * slope / 3)
        energy = (self.alpha * y**2 + z**2) / 2 + torch.where(small, series, potential)
        if from_rest:
            return energy
        return energy + torch.where(w == 0, 0, log_cosh(drive) / torch.where(w == 0, 1, w))


def log_cosh(a: Tensor) -> Tensor:
    """log cosh without overflow."""
    return a.abs() + nn.functional.softplus(-2 * a.abs()) - math.log(2)
