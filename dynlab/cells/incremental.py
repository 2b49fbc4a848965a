"""iRNN: increments on an equilibrium manifold (Kag, Zhang & Saligrama, ICLR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell, Keep, Kept, TimeStep, kept_for_backward, needs_backward
from dynlab.cells.activation import activation
from dynlab.jacobian.drive import Linearization, PolynomialDrive
from dynlab.jacobian.step import (
    DiagonalPlusDense,
    LowRankPlusIdentity,
    PolynomialJacobian,
    Weight,
    times_weight,
    weight_times,
)


class IncrementalRNN(Cell):
    """iRNN Eq. (5): K Euler steps towards the equilibrium that belongs to (x_m, h_{m-1}).

    g_k = g_{k-1} + eta_k [phi(U (g_{k-1} + h_{m-1}) + W x_m + b) - alpha (g_{k-1} + h_{m-1})],  h_m = g_K

    Initial values: U Gaussian of mean 0 and small variance, or I + V H (section 3.1, Eq. 9); eta = 0.01
    (section 4.1); b = 0. The variances are not published: standard deviation 0.1 / sqrt(d) for a full U, 0.1
    for V, H and W is our choice.

    Arguments:
        input_size: f. hidden_size: d. K: inner steps, >= 1. alpha: leak, >= 0.
        nonlinearity: phi, "relu" (the paper's experiments), "tanh" or "sigmoid".
        recurrent: "full", U any (d, d); "identity_plus_low_rank", U = I + V H with V (d, rank), H (rank, d).
        rank: of V H; d / 8, at least 1, unless given.
        projection: Eq. (9) with P = U: phi(U [U (g + h) + W x + b]).
        start: g_0, "previous" (h_{m-1}, the paper's Fig. 1) or "zero".
        sign: +1, or -1 for the variant with -h_{m-1} in place of h_{m-1} (remark after Theorem 1). From
            start="previous" that one is an exact accumulator: its step Jacobian is I for every K.
        eta: initial value of every eta. eta_steps: T for an eta of its own a step and inner step, (T, K).

    Attributes:
        weight_ih: W (d, f). weight_hh: U (d, d). bias: b (d,). eta: (K,) or (T, K).
    """

    reference = "iRNN, Eqs. (5), (9)"
    bibtex = ("kag2020rnns",)
    has_native = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        K: int,  # noqa: N803 (the paper's symbol)
        alpha: float = 1.0,
        nonlinearity: str = "relu",
        recurrent: str = "full",
        rank: int | None = None,
        projection: bool = False,
        start: str = "previous",
        sign: int = 1,
        eta_steps: int | None = None,
        eta: float = 0.01,
    ) -> None:
        super().__init__(input_size, hidden_size)
        where = type(self).__name__
        self.K = _check.integer("K", K, where)
        self.alpha = _check.number("alpha", alpha, where, least=0)
        self.recurrent = _check.choice("recurrent", recurrent, ("full", "identity_plus_low_rank"), where)
        self.start = _check.choice("start", start, ("previous", "zero"), where)
        self.sign = _check.choice("sign", sign, (1, -1), where)
        self.phi, self.phi_derivative = activation(nonlinearity, where)
        self.projection = projection
        self.eta_start = _check.number("eta", eta, where, above=0)
        if recurrent == "full" and rank is not None:
            raise ValueError(f'{where}: expected rank only with recurrent="identity_plus_low_rank", got rank={rank}')
        self.hyperparameters = {
            "K": self.K,
            "alpha": self.alpha,
            "nonlinearity": nonlinearity,
            "recurrent": recurrent,
            "projection": projection,
            "start": start,
            "sign": sign,
            "eta": self.eta_start,
        }
        if recurrent == "full":
            self.weight_full = nn.Parameter(torch.empty(hidden_size, hidden_size))
        else:
            rank = max(1, hidden_size // 8) if rank is None else _check.integer("rank", rank, where)
            self.hyperparameters["rank"] = rank
            self.weight_v = nn.Parameter(torch.empty(hidden_size, rank))
            self.weight_h = nn.Parameter(torch.empty(rank, hidden_size))
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        if eta_steps is not None:
            self.hyperparameters["eta_steps"] = _check.integer("eta_steps", eta_steps, where)
        self.eta = nn.Parameter(torch.empty(K) if eta_steps is None else torch.empty(eta_steps, K))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values, see the class."""
        if self.recurrent == "full":
            nn.init.normal_(self.weight_full, 0, 0.1 / self.hidden_size**0.5)
        else:
            nn.init.normal_(self.weight_v, 0, 0.1)
            nn.init.normal_(self.weight_h, 0, 0.1)
        nn.init.normal_(self.weight_ih, 0, 0.1)
        nn.init.zeros_(self.bias)
        nn.init.constant_(self.eta, self.eta_start)

    @property
    def time_varying(self) -> bool:  # type: ignore[override]
        """Whether every step has etas of its own."""
        return self.eta.dim() == 2

    @property
    def weight_hh(self) -> Tensor:
        """U, (d, d)."""
        return _dense(self._recurrent_weight())

    def _recurrent_weight(self) -> Weight:
        return self.weight_full if self.recurrent == "full" else LowRankPlusIdentity(self.weight_v, self.weight_h)

    def _effective_weight(self) -> Weight:
        """What multiplies g + h inside phi: U, or U U where it is projected."""
        weight = self._recurrent_weight()
        if not self.projection:
            return weight
        if isinstance(weight, Tensor):
            return self.derived("UU", lambda: weight @ weight)
        # (I + V H)^2 = I + V (2 H + H V H).
        right = self.derived("2H+HVH", lambda: 2 * weight.right + (weight.right @ weight.left) @ weight.right)
        return LowRankPlusIdentity(weight.left, right)

    def input_weight(self) -> Tensor:
        return weight_times(self._recurrent_weight(), self.weight_ih) if self.projection else self.weight_ih

    def input_term(self, inputs: Tensor, first: int = 0) -> Tensor:
        """W x + b, projected by U in Eq. (9); time-varying cells append the K etas of each step."""
        bias: Tensor = self.bias
        if self.projection:
            bias = weight_times(self._recurrent_weight(), bias.unsqueeze(-1)).squeeze(-1)
        term = nn.functional.linear(inputs, self.input_weight(), bias)
        if not self.time_varying:
            return term
        steps = inputs.shape[0] if inputs.dim() == 3 else 1
        if first + steps > self.eta.shape[0]:
            raise ValueError(
                f"{type(self).__name__}: expected at most eta_steps = {self.eta.shape[0]} time steps, "
                f"got a step {first + steps}"
            )
        eta = self.eta[first : first + steps].unsqueeze(1) if inputs.dim() == 3 else self.eta[first]
        return torch.cat([term, eta.expand(*term.shape[:-1], self.K)], dim=-1)

    def _split(self, term: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The input term and the eta of each inner step, broadcastable to it."""
        if not self.time_varying:
            return term, list(self.eta.unbind())
        return term[..., : self.hidden_size], [eta.unsqueeze(-1) for eta in term[..., self.hidden_size :].unbind(-1)]

    def inner_states(self, term: Tensor, state: Tensor) -> list[Tensor]:
        """g_0 ... g_K of one step, each (..., d): ``term`` from ``terms``, ``state`` h_{m-1}."""
        term, etas = self._split(term)
        weight = _transposed(self._effective_weight())
        held = state if self.sign > 0 else -state
        inner = [state if self.start == "previous" else torch.zeros_like(state)]
        for eta in etas:
            total = inner[-1] + held
            inner.append(inner[-1] + eta * (self.phi(times_weight(total, weight) + term) - self.alpha * total))
        return inner

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        return self.inner_states(term, state)[-1]

    def _native(self, terms: Tensor, state: Tensor, keep: Keep, watch: Tensor | None) -> Kept:
        from dynlab.native.incremental import incremental

        weight = self._effective_weight()
        dense, left, right = (weight, None, None) if isinstance(weight, Tensor) else (None, weight.left, weight.right)
        # Every sample carries the same etas in its terms; one of them is enough.
        eta = terms[:, 0, self.hidden_size :] if self.time_varying else self.eta
        inputs = (terms[..., : self.hidden_size], dense, left, right, eta, state, watch)
        stored, save = kept_for_backward(keep, *inputs), needs_backward(*inputs)
        phi, zero = self.hyperparameters["nonlinearity"], self.start == "zero"
        sequence, last, _ = incremental(*inputs, self.alpha, phi, self.sign, zero, stored, save)
        return Kept(None if keep == "last" else sequence, last)

    def residual(self, term: Tensor, inner: Tensor, state: Tensor) -> Tensor:
        """phi(U (g + h) + W x + b) - alpha (g + h), zero at the equilibrium; all arguments as in ``inner_states``."""
        total = inner + self.sign * state
        weight = _transposed(self._effective_weight())
        return self.phi(times_weight(total, weight) + self._split(term)[0]) - self.alpha * total

    def _slope(self, term: Tensor, inner: Tensor, state: Tensor) -> Tensor:
        """phi' at one inner state, (..., d)."""
        weight = _transposed(self._effective_weight())
        return self.phi_derivative(times_weight(inner + self.sign * state, weight) + self._split(term)[0])

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """The K unrolled inner steps.

        With F_k = d g_k / d h + sign I, each inner step multiplies by A_k = (1 - eta alpha) I + eta phi' U, so
        J = A_K ... A_1 F_0 - sign I, and F_0 is (1 + sign) I from g_0 = h_{m-1}, sign I from 0.
        """
        weight = self._effective_weight()
        factors, slopes = [], []
        for inner, eta in zip(self.inner_states(term, states)[:-1], self._split(term)[1], strict=True):
            slope = eta * self._slope(term, inner, states)
            keep = 1 - eta * self.alpha
            diagonal = keep[..., None, None] if keep.dim() else float(keep.detach())
            factors.append(DiagonalPlusDense(diagonal, slope[..., None, None, :], weight))
            slopes.append(slope)
        origin = 1 if self.start == "previous" else 0
        steps = tuple(factors)
        return Linearization(
            PolynomialJacobian(steps, float(origin + self.sign), float(-self.sign)),
            PolynomialDrive(steps, tuple(slopes), self.input_weight()),
        )

    @torch.no_grad()
    def equilibrium_jacobian(self, x: Tensor, state: Tensor, equilibrium: Tensor) -> Tensor:
        """d h_eq / d h_{m-1} by the implicit function theorem, Eq. (7): -sign I wherever phi' U - alpha I is regular.

        Arguments:
            x: (batch, f). state: (batch, d), h_{m-1}. equilibrium: (batch, d), a root of ``residual``.

        Returns:
            (batch, d, d), the solution X of (phi' U - alpha I) (X + sign I) = 0.

        Raises:
            ValueError: where that matrix is singular, so that Eq. (7) says nothing.
        """
        self.check_step(x, state)
        slope = self._slope(self.terms(x), equilibrium, state)
        eye = torch.eye(self.hidden_size, dtype=state.dtype, device=state.device)
        matrix = slope.unsqueeze(-1) * _dense(self._effective_weight()) - self.alpha * eye
        solution, info = torch.linalg.solve_ex(matrix, -self.sign * matrix)
        if bool((info != 0).any()):
            bad = int((info != 0).nonzero()[0])
            raise ValueError(
                f"{type(self).__name__}: expected phi' U - alpha I regular, it is singular in sample {bad}"
            )
        return solution

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        dims = ("time", "k") if self.time_varying else ("k",)
        return TimeStep(self.eta, dims, "eta, iRNN Eq. (5)")


class SiRNN(IncrementalRNN):
    """iRNN with K = 1, Eq. (6)."""

    reference = "iRNN, Eq. (6)"

    def __init__(self, input_size: int, hidden_size: int, **options: object) -> None:
        if options.pop("K", 1) != 1:
            raise ValueError("SiRNN: expected K = 1, which is what makes it one; use IncrementalRNN for more")
        super().__init__(input_size, hidden_size, 1, **options)  # type: ignore[arg-type]


def _transposed(weight: Weight) -> Weight:
    if isinstance(weight, Tensor):
        return weight.T
    return LowRankPlusIdentity(weight.right.T, weight.left.T, weight.identity)


def _dense(weight: Weight) -> Tensor:
    return weight if isinstance(weight, Tensor) else weight.to_dense()
