"""AntisymmetricRNN, plain and gated, and its unstructured ablation (Chang, Chen, Haber & Chi, ICLR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell, Keep, Kept, TimeStep, kept_for_backward, needs_backward
from dynlab.cells.activation import sigmoid_derivative, tanh_derivative
from dynlab.jacobian.drive import GainDrive, Linearization
from dynlab.jacobian.step import DiagonalPlusDense


class AntisymmetricRNN(Cell):
    """Forward Euler on an ODE whose Jacobian has imaginary eigenvalues, AntisymmetricRNN Eq. (12) and Eq. (13).

    h_t = h_{t-1} + eps [z_t o] tanh(M h_{t-1} + V_h x_t + b_h),   M = W_h - W_h^T - gamma I
    z_t = sigmoid(M h_{t-1} + V_z x_t + b_z)                       (gated only; it shares M)

    W_h is strictly upper triangular, from ``weight_packed`` of d (d - 1) / 2 numbers, as the paper counts
    parameters. V ~ N(0, 1 / f), the numbers of W_h ~ N(0, sigma_w^2 / d), biases 0. The paper draws sigma_w
    from {0, 1, 2, 4, 8, 16} and eps from {0.01, 0.1, 1}; gamma = 0.01 is that of iRNN's comparison (its Fig. 3);
    sigma_w = 1 and eps = 0.01 as defaults are our choice.

    Arguments:
        input_size: f. hidden_size: d.
        epsilon: Euler step, > 0. gamma: diffusion, >= 0.
        gated: Eq. (13) in place of Eq. (12).
        structured: False is the paper's ablation: M = W_h, any (d, d) matrix of the same variance.
        sigma_w: standard deviation of W_h times sqrt(d), >= 0.

    Attributes:
        weight_ih: V_h (d, f). weight_hh: W_h (d, d). bias: b_h (d,). Gated: weight_ih_gate V_z, bias_gate b_z.
    """

    reference = "AntisymmetricRNN, Eqs. (12), (13)"
    bibtex = ("chang2019antisymmetricrnn",)
    has_native = True
    _upper: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        epsilon: float = 0.01,
        gamma: float = 0.01,
        gated: bool = False,
        structured: bool = True,
        sigma_w: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        where = "AntisymmetricRNN"
        self.epsilon = _check.number("epsilon", epsilon, where, above=0)
        self.gamma = _check.number("gamma", gamma, where, least=0)
        self.sigma_w = _check.number("sigma_w", sigma_w, where, least=0)
        self.gated, self.structured = gated, structured
        self.hyperparameters = {
            "epsilon": self.epsilon,
            "gamma": self.gamma,
            "gated": gated,
            "structured": structured,
            "sigma_w": self.sigma_w,
        }
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        if structured:
            self.weight_packed = nn.Parameter(torch.empty(hidden_size * (hidden_size - 1) // 2))
        else:
            self.weight_free = nn.Parameter(torch.empty(hidden_size, hidden_size))
        if gated:
            self.weight_ih_gate = nn.Parameter(torch.empty(hidden_size, input_size))
            self.bias_gate = nn.Parameter(torch.empty(hidden_size))
        upper = torch.triu_indices(hidden_size, hidden_size, offset=1)
        self.register_buffer("_upper", upper[0] * hidden_size + upper[1], persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The paper's initial values."""
        for name, parameter in self.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            elif name.startswith("weight_ih"):
                nn.init.normal_(parameter, 0, self.input_size**-0.5 if self.input_size else 1.0)
            else:
                nn.init.normal_(parameter, 0, self.sigma_w / self.hidden_size**0.5)

    @property
    def weight_hh(self) -> Tensor:
        """W_h, (d, d), strictly upper triangular (or free, in the ablation)."""
        if not self.structured:
            return self.weight_free
        flat = self.weight_packed.new_zeros(self.hidden_size**2)
        return flat.index_put((self._upper,), self.weight_packed).view(self.hidden_size, self.hidden_size)

    def recurrent_matrix(self) -> Tensor:
        """M = W_h - W_h^T - gamma I, (d, d); the ablation has W_h - gamma I."""
        w = self.weight_hh
        eye = torch.eye(self.hidden_size, dtype=w.dtype, device=w.device)
        return (w - w.T if self.structured else w) - self.gamma * eye

    def ode_jacobian(self, x: Tensor, state: Tensor) -> Tensor:
        """Jacobian of the ODE's right-hand side at each sample, (batch, d, d): (step Jacobian - I) / eps."""
        dense = self.step_jacobian(x, state).to_dense()
        return (dense - torch.eye(self.hidden_size, dtype=dense.dtype, device=dense.device)) / self.epsilon

    def input_weight(self) -> Tensor:
        return torch.cat([self.weight_ih, self.weight_ih_gate]) if self.gated else self.weight_ih

    def input_term(self, inputs: Tensor) -> Tensor:
        bias = torch.cat([self.bias, self.bias_gate]) if self.gated else self.bias
        return nn.functional.linear(inputs, self.input_weight(), bias)

    def _preactivations(self, term: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        recurrent = nn.functional.linear(state, self.derived("M", self.recurrent_matrix))
        return tuple(recurrent + part for part in term.split(self.hidden_size, dim=-1))

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        candidate, *gate = self._preactivations(term, state)
        change = torch.tanh(candidate)
        if gate:
            change = change * torch.sigmoid(gate[0])
        return torch.add(state, change, alpha=self.epsilon)

    def _native(self, terms: Tensor, state: Tensor, keep: Keep, watch: Tensor | None) -> Kept:
        from dynlab.native.antisymmetric import antisymmetric

        matrix = self.derived("M", self.recurrent_matrix)
        inputs = (terms, matrix, state, watch)
        stored, save = kept_for_backward(keep, *inputs), needs_backward(*inputs)
        sequence, last, _ = antisymmetric(*inputs, self.epsilon, stored, save)
        return Kept(None if keep == "last" else sequence, last)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """I + eps diag(.) M, the gate's slope in the same diagonal since both read M h."""
        candidate, *gate = self._preactivations(term, states)
        gains = [self.epsilon * tanh_derivative(candidate)]
        if gate:
            gains = [
                gains[0] * torch.sigmoid(gate[0]),
                self.epsilon * torch.tanh(candidate) * sigmoid_derivative(gate[0]),
            ]
        both = gains[0] + gains[1] if gate else gains[0]
        return Linearization(
            DiagonalPlusDense(1.0, both[..., None, None, :], self.recurrent_matrix()),
            GainDrive(torch.stack(gains, dim=-2).unsqueeze(-3), self.input_weight()),
        )

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        if not self.gated:
            return TimeStep(torch.full_like(self.bias, self.epsilon), ("unit",), "epsilon, AntisymmetricRNN Eq. (12)")
        if inputs is None or states is None:
            raise ValueError("AntisymmetricRNN: expected inputs and states, which the gate's time-step depends on")
        gate = self._preactivations(self.input_term(inputs), states)[1]
        return TimeStep(
            self.epsilon * torch.sigmoid(gate), ("time", "batch", "unit"), "epsilon * z_t, AntisymmetricRNN Eq. (13)"
        )
