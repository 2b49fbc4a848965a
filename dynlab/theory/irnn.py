"""iRNN: contraction of the inner steps, their linear rate, and the identity gradient (Props. 1 and 2, Theorem 1).

Index conventions: m transition, b batch, k inner step; u = ||U||_2 of what multiplies g + h (U U in Eq. 9).

Where the paper's text and ``dynlab.cells.IncrementalRNN``, which is Eq. (5), differ: the map T in the proof of Prop. 1
subtracts h_{m-1}, not alpha h_{m-1} (the same at the paper's alpha = 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab import _check
from dynlab.probes import Equilibrium
from dynlab.recording import record
from dynlab.theory._subject import array, described, subject, transitions_of
from dynlab.theory.base import Hypothesis, Proposition, finding

KEYS = ("irnn", "sirnn")
HAR2 = (9, 80)  # inputs a step and units of HAR-2, Tables 4 and 5
GAUSSIAN = "irnn:recurrent=full"  # section 3.1: "U as a Gaussian matrix with IID mean zero, small variance"
DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
PAIRS = 8


def effective_weight(cell: Any) -> Tensor:
    """What multiplies g + h inside phi, (d, d): U, or U U in Eq. (9)."""
    weight = cell.weight_hh.detach()
    return weight @ weight if cell.projection else weight


def recurrent_norm(cell: Any) -> float:
    """u, the spectral norm of ``effective_weight``."""
    return float(torch.linalg.matrix_norm(effective_weight(cell), 2))


def slope(cell: Any, term: Tensor, inner: Tensor, state: Tensor) -> Tensor:
    """phi' at an inner state, (batch, d): term as of ``cell.terms``, state h_{m-1}."""
    total = (inner + cell.sign * state) @ effective_weight(cell).T
    return cell.phi_derivative(total + term[..., : cell.hidden_size])


def etas(cell: Any, transitions: Sequence[int]) -> Tensor:
    """eta of each of the transitions (1..T) and inner steps, (transition, k 1..K)."""
    eta = cell.eta.detach()
    return eta[[m - 1 for m in transitions]] if cell.time_varying else eta.expand(len(transitions), -1)


def lipschitz(cell: Any) -> Hypothesis:
    """Whether phi is 1-Lipschitz, by the largest |phi'| on a grid: of the cell's own activations it is."""
    most = float(cell.phi_derivative(torch.linspace(-20, 20, 4001, dtype=torch.float64)).abs().max())
    return Hypothesis("phi is 1-Lipschitz", most <= 1, most, 1.0)


def contraction_hypotheses(cell: Any, eta: Tensor) -> list[Hypothesis]:
    """Those of Prop. 1, and what its proof takes for granted when it writes |1 - eta alpha| as 1 - eta alpha."""
    norm, low, high = recurrent_norm(cell), float(eta.min()), float(eta.max()) * cell.alpha
    return [
        Hypothesis("||U|| < alpha", norm < cell.alpha, norm, cell.alpha),
        Hypothesis("0 < eta", low > 0, low, 0.0),
        Hypothesis("eta alpha <= 1 (in the proof)", high <= 1, high, 1.0),
    ]


def factors(cell: Any, eta: Tensor) -> Tensor:
    """1 - alpha eta + eta u for each eta."""
    return 1 - cell.alpha * eta + eta * recurrent_norm(cell)


@torch.no_grad()
def contraction(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 16, batch: int = 2
) -> xr.Dataset:
    """iRNN Prop. 1: with phi 1-Lipschitz and ||U|| < alpha, the inner step T contracts.

    T(g) = g + eta (phi(U (g + h) + W x + b) - alpha (g + h)), h = h_{m-1}. The proof's constant is
    1 - eta alpha + eta ||U|| in any norm; here the Euclidean one. Measured: the largest |T(g) - T(g')| / |g - g'| over
    pairs around g_0 of up to 16 transitions, half of the pairs close together. Without a cell: HAR-2's sizes, section
    3.1's Gaussian U, K = 5, eta = 0.01, ReLU; the U = I + V H of section 3.2 does not have ||U|| < alpha, see
    ``irnn-norm``.

    Returns:
        bound (transition, k) and measured (transition, k, batch), k an inner step 1..K.
    """
    key = "irnn-1"
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec=GAUSSIAN, sizes=HAR2, steps=steps, batch=batch, seed=seed
    )
    chosen = transitions_of(inputs.shape[0], 16)
    eta = etas(cell, chosen)
    states = cell.scan(inputs)
    generator = torch.Generator().manual_seed(seed)
    ratios = []
    for row, m in enumerate(chosen):
        held = states[m - 1].expand(PAIRS, -1, -1)
        term = cell.terms(inputs[m - 1], m - 1)
        start = held if cell.start == "previous" else torch.zeros_like(held)
        one = start + torch.randn(start.shape, generator=generator, dtype=start.dtype)
        apart = torch.randn(start.shape, generator=generator, dtype=start.dtype)
        apart[: PAIRS // 2] *= 1e-3
        pull = cell.residual(term, one + apart, held) - cell.residual(term, one, held)
        moved = apart + eta[row, :, None, None, None] * pull
        ratios.append((moved.norm(dim=-1) / apart.norm(dim=-1)).amax(1))
    limit = factors(cell, eta)
    ks, dims = range(1, cell.K + 1), ("transition", "k")
    return finding(
        key=key,
        reference="iRNN, Prop. 1",
        statement="|T(g) - T(g')| <= (1 - eta alpha + eta ||U||) |g - g'|, a factor below 1",
        relation="<=",
        bound=array(dims, limit, "1 - eta alpha + eta ||U||", transition=chosen, k=ks),
        measured=array((*dims, "batch"), torch.stack(ratios), "largest |T(g) - T(g')| / |g - g'|",
                       transition=chosen, k=ks),
        hypotheses=[lipschitz(cell), *contraction_hypotheses(cell, eta)],
        tolerance=1e-11,  # rounding of the difference of states 1e-3 apart
        note=f"||U|| = {recurrent_norm(cell):.3g}; factor {float(limit.max()):.5f}, largest ratio "
        f"{float(torch.stack(ratios).max()):.5f}",
        **described(cell, inputs, seed),
    )  # fmt: skip


@torch.no_grad()
def linear_rate(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 6, batch: int = 2
) -> xr.Dataset:
    """iRNN Prop. 2: g_k approaches the equilibrium h_eq at a linear rate.

    As printed it says |g_K - h_eq| <= (1 - alpha eta + eta ||U||) |g_1 - h_eq|, one factor whatever K, which is false
    at K = 1 (both sides then have g_1). What its proof (Prop. 1) gives is checked: |g_k - h_eq| <= rho_k ... rho_1
    |g_0 - h_eq|, rho_i = 1 - alpha eta_i + eta_i ||U||, for every k; ``as_printed`` says where the printed one holds.
    h_eq by SciPy's root as in A.7.5 (the probe ``Equilibrium``). Without a cell: as ``contraction``, K = 100.

    Returns:
        bound, measured (transition, k, batch), k from 0; ``rate`` (transition, batch), the measured factor a step.
    """
    key = "irnn-2"
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec=f"{GAUSSIAN},K=100", sizes=HAR2, steps=steps, batch=batch, seed=seed
    )
    chosen = transitions_of(inputs.shape[0], 6)
    found = record(cell, inputs, [Equilibrium(chosen)])
    distance, converged = found["equilibrium_distance"].values, found["equilibrium_converged"].values
    limit = factors(cell, etas(cell, chosen))
    shrink = torch.cat([torch.ones(len(chosen), 1), limit.cumprod(-1)], -1).numpy()
    # Where no root was found the distance is +inf, and stands above a bound of 0.
    bound = np.where(
        converged[:, None], shrink[..., None] * np.where(np.isfinite(distance[:, :1]), distance[:, :1], 0), 0
    )
    printed = converged & (distance[:, -1] <= limit[:, -1:].numpy() * distance[:, 1])
    dims, per = ("transition", "k", "batch"), ("transition", "batch")
    coords: dict[str, Any] = {"transition": chosen}
    rate = found["equilibrium_rate"].values if cell.K > 1 else _ratio(distance)
    return finding(
        key=key,
        reference="iRNN, Prop. 2, appendix A.7.5",
        statement="|g_k - h_eq| <= prod_{i <= k} (1 - alpha eta_i + eta_i ||U||) |g_0 - h_eq|",
        relation="<=",
        bound=array(dims, bound, "the product times |g_0 - h_eq|", **coords),
        measured=array(dims, distance, "|g_k - h_eq|", **coords),
        hypotheses=[
            lipschitz(cell),
            *contraction_hypotheses(cell, etas(cell, chosen)),
            Hypothesis("SciPy finds h_eq", bool(converged.all()), float(converged.mean()), 1.0),
        ],
        tolerance=1e-8,  # SciPy's root and its Newton step have residuals below 1e-9 (1 + |h_eq|)
        extra={
            "as_printed": array(per, printed, "whether the printed inequality holds", "bool", **coords),
            "rate": array(per, rate, "measured factor an inner step", **coords),
        },
        note=f"{_span(rate[converged])}, bound {float(limit.max()):.5f}; as printed it holds in {printed.mean():.0%} "
        f"of the cases (K = {cell.K})",
        **described(cell, inputs, seed),
    )  # fmt: skip


@torch.no_grad()
def identity_gradient(
    cell: Any = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    steps: int = 3,
    batch: int = 1,
    depths: Sequence[int] = DEPTHS,
) -> xr.Dataset:
    """iRNN Theorem 1: with phi in C^1, 1-Lipschitz and ||U|| < alpha, d h_m / d h_{m-1} -> -I as K grows.

    (-> +I for the variant with -h_{m-1}.) The theorem gives the limit; how far from it K steps are follows from
    Prop. 1's constant: J_K + I = A_K ... A_1 F_0 with A_k = (1 - eta alpha) I + eta phi' U and F_0 = 2 I from
    g_0 = h_{m-1}, I from 0, so |J_K + I|_2 <= 2 (or 1) prod rho_k. That needs no continuous derivative, so ReLU
    satisfies it too. The inner steps of each transition are continued with the cell's last eta, up to the largest of
    ``depths``. Without a cell: as ``contraction``, tanh.

    Returns:
        bound (transition, K), measured (transition, K, batch), |J_K + sign I|_2; the cell's own K is among them.
    """
    key = "irnn-theorem-1"
    spec = f"{GAUSSIAN},nonlinearity=tanh"
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec=spec, sizes=HAR2, steps=steps, batch=batch, seed=seed
    )
    asked = sorted({cell.K, *(_check.integer("each of depths", depth, key) for depth in depths)})
    chosen = transitions_of(inputs.shape[0], 3)
    states = cell.scan(inputs)
    eta = etas(cell, chosen)
    more = max(0, asked[-1] - cell.K)
    eta = torch.cat([eta, eta[:, -1:].expand(-1, more)], -1)
    errors = [
        _errors(cell, cell.terms(inputs[m - 1], m - 1), states[m - 1], eta[row], asked) for row, m in enumerate(chosen)
    ]
    limit = abs(_start(cell)) * factors(cell, eta).cumprod(-1)[:, [depth - 1 for depth in asked]]
    smooth = cell.hyperparameters["nonlinearity"] != "relu"
    shown = array(("transition", "K", "batch"), torch.stack(errors), "|J_K + sign I|, spectral norm",
                  transition=chosen, K=asked)  # fmt: skip
    near = next((depth for depth in asked if float(shown.sel(K=depth).max()) <= 0.01), None)
    return finding(
        key=key,
        reference="iRNN, Theorem 1, Eqs. (7), (8)",
        statement="|d h_m / d h_{m-1} + I| <= c prod_{k <= K} (1 - alpha eta_k + eta_k ||U||) -> 0 (c = 2 or 1)",
        relation="<=",
        bound=array(("transition", "K"), limit, "c times the product", transition=chosen, K=asked),
        measured=shown,
        hypotheses=[
            Hypothesis("phi is continuously differentiable", smooth),
            lipschitz(cell),
            *contraction_hypotheses(cell, eta),
        ],
        tolerance=1e-12,
        note=f"at the cell's K = {cell.K}: {float(shown.sel(K=cell.K).max()):.3g} away from {-cell.sign:+d} I; "
        f"{f'first at most 0.01 at K = {near}' if near else f'above 0.01 up to K = {asked[-1]}'}",
        **described(cell, inputs, seed),
    )


def _ratio(distance: np.ndarray) -> np.ndarray:
    """|g_1 - h_eq| / |g_0 - h_eq|, 0 where g_0 is the equilibrium, +inf where none was found."""
    ratio = distance[:, 1] / np.where(np.isfinite(distance[:, 0]) & (distance[:, 0] > 0), distance[:, 0], 1)
    return np.where(distance[:, 0] > 0, ratio, 0)


def _span(rates: np.ndarray) -> str:
    return f"measured factor {rates.min():.5f} to {rates.max():.5f}" if rates.size else "no h_eq found"


def _start(cell: Any) -> int:
    """c of F_0 = d (g_0 + sign h) / d h = c I."""
    return (1 if cell.start == "previous" else 0) + cell.sign


def _errors(cell: Any, term: Tensor, state: Tensor, eta: Tensor, depths: Sequence[int]) -> Tensor:
    """|J_K + sign I|_2 = |A_K ... A_1 F_0|_2 for each depth K at one transition, (K, batch)."""
    weight = effective_weight(cell)
    inner = state if cell.start == "previous" else torch.zeros_like(state)
    product = _start(cell) * torch.eye(cell.hidden_size, dtype=state.dtype).expand(state.shape[0], -1, -1)
    norms = []
    for k, step in enumerate(eta, 1):
        gain = slope(cell, term, inner, state).unsqueeze(-1)
        product = (1 - step * cell.alpha) * product + step * gain * (weight @ product)
        inner = inner + step * cell.residual(term, inner, state)
        if k in depths:
            norms.append(torch.linalg.matrix_norm(product, 2))
    return torch.stack(norms)


PROPOSITIONS = (
    Proposition("irnn-1", "the inner steps contract by 1 - eta alpha + eta ||U||", "iRNN, Prop. 1", KEYS, contraction),
    Proposition(
        "irnn-2", "the inner steps approach the equilibrium at a linear rate", "iRNN, Prop. 2", KEYS, linear_rate
    ),
    Proposition("irnn-theorem-1", "d h_m / d h_{m-1} -> -I as K grows", "iRNN, Theorem 1", KEYS, identity_gradient),
)
