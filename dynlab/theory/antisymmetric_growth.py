"""Whether AntisymmetricRNN's eigenvalue criteria keep perturbations bounded, as its Propositions 1 and 2 say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab.probes import LyapunovSpectrum
from dynlab.recording import record
from dynlab.theory._subject import array, described, subject
from dynlab.theory.antisymmetric import KEYS, diagonal, eigenvalues, rounding
from dynlab.theory.base import Hypothesis, Proposition, finding

UNITS = 16  # our choice: the tangent flow has UNITS^2 equations
SCALES = (1.0, 0.1)
RTOL = 1e-6


def ode_growth(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 500, scales: Sequence[float] = SCALES
) -> xr.Dataset:
    """AntisymmetricRNN Prop. 1: if max_i Re lambda_i(J(t)) <= 0, solutions of the ODE that start close stay close.

    The tangent flow Phi' = J(t) Phi along the solution h' = tanh(M h + V x_t + b) from h = 0, of the first sample, is
    integrated by SciPy (DOP853, rtol 1e-6), each input held for eps. Stability bounds its norm for all time; measured
    is the rate at which log |Phi(t)| grows over the second half. Were J = D A constant, D > 0, D^(-1/2) Phi D^(1/2)
    would be orthogonal and |Phi| at most sqrt(max D / min D). The bound is that number's log (its median over the
    trace) over the window's length: what a flow that stays bounded may show there.

    Eigenvalues at frozen times say little about a J that moves. Controlled experiment: J held at its value in the
    middle of the trace, everything else as it was (``frozen_growth``, by SciPy's matrix exponential). Without a cell:
    gamma = 0, eps = 1 (the paper's grid), sigma_w = 1, 16 units, standard Gaussian inputs.

    Returns:
        bound, measured (input_scale): growth in nats per unit of the ODE's time, the inputs as they are first and then
        scaled; ``log_growth`` (time, input_scale), log |Phi(t)|, spectral norm; ``frozen_growth`` (input_scale).
    """
    key = "antisymmetric-1-stability"
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec="antisymmetric:epsilon=1.0,gamma=0.0", sizes=(1, UNITS),
        steps=steps, seed=seed,
    )  # fmt: skip
    used = [1.0, *(scale for scale in scales if scale != 1.0)]
    length = inputs.shape[0]
    window = cell.epsilon * (length - length // 2)
    runs = [_tangent(cell, (scale * inputs[:, 0]).numpy()) for scale in used]
    rates = np.array([(logs[-1] - logs[length // 2]) / window for logs, _ in runs])
    allowances = np.array([_spread(slopes) / window for _, slopes in runs])
    matrix = cell.recurrent_matrix().detach()
    frozen = np.array([_frozen(slopes[length // 2][:, None] * matrix.numpy(), window) for _, slopes in runs])
    values = eigenvalues(torch.from_numpy(np.concatenate([slopes for _, slopes in runs])), matrix)
    real, slack = float(values.real.max()), rounding(values)
    units = "nat/ODE time"
    return finding(
        key=key,
        reference="AntisymmetricRNN, Def. 1, Prop. 1",
        statement="max Re lambda(J(t)) <= 0 for all t implies that |Phi(t)| stays bounded",
        relation="<=",
        bound=array(("input_scale",), allowances, "growth that a bounded flow may show", units, input_scale=used),
        measured=array(("input_scale",), rates, "growth of log |Phi|", units, input_scale=used),
        hypotheses=(Hypothesis("max Re lambda(J(t)) <= 0, but for rounding", real <= slack, real, slack),),
        tolerance=10 * RTOL,  # the integrator's own errors, per unit of time
        extra={
            "frozen_growth": array(("input_scale",), frozen, "growth of log |Phi|, J held", units, input_scale=used),
            "log_growth": array(("time", "input_scale"), np.stack([logs for logs, _ in runs], -1), "log |Phi(t)|",
                                "nat", input_scale=used),
        },
        note="nats per unit time (and what a bounded flow may show) with inputs scaled by "
        + ", ".join(f"{s:g}: {r:.4f} ({a:.4f})" for s, r, a in zip(used, rates, allowances, strict=True))
        + f"; with J held in the middle of the trace at most {float(frozen.max()):.4f}",
        **described(cell, inputs, seed),
    )  # fmt: skip


def _tangent(cell: Any, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of inputs (time, f): log |Phi| at times 0..T, and D at times 0..T-1, (T, d)."""
    from scipy.integrate import solve_ivp

    size = cell.hidden_size
    matrix = cell.recurrent_matrix().detach().numpy()
    terms = cell.terms(torch.from_numpy(inputs)).detach().numpy()

    def field(h: np.ndarray, term: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """h' and D, Eq. (12) or (13) without its time step."""
        recurrent = matrix @ h
        change = np.tanh(recurrent + term[:size])
        if not cell.gated:
            return change, 1 - change**2
        gate = 0.5 * (1 + np.tanh((recurrent + term[size:]) / 2))
        return gate * change, gate * (1 - change**2) + change * gate * (1 - gate)

    flow, state, scale = np.eye(size), np.zeros(size), 0.0
    logs, slopes = [0.0], []
    for term in terms:

        def change(_: float, packed: np.ndarray, term: np.ndarray = term) -> np.ndarray:
            moved, slope = field(packed[:size], term)
            return np.concatenate([moved, (slope[:, None] * (matrix @ packed[size:].reshape(size, size))).ravel()])

        slopes.append(field(state, term)[1])
        packed = np.concatenate([state, flow.ravel()])
        end = solve_ivp(change, (0, cell.epsilon), packed, method="DOP853", rtol=RTOL, atol=1e-9).y[:, -1]
        state, flow = end[:size], end[size:].reshape(size, size)
        norm = float(np.linalg.norm(flow, 2))
        flow, scale = flow / norm, scale + math.log(norm)
        logs.append(scale)
    return np.array(logs), np.array(slopes)


def _frozen(jacobian: np.ndarray, window: float) -> float:
    """Growth of log |exp(J t)| from t = window to 2 window, per unit time."""
    from scipy.linalg import expm

    half = expm(jacobian * window)
    return float(np.log(np.linalg.norm(half @ half, 2) / np.linalg.norm(half, 2))) / window


def _spread(slopes: np.ndarray) -> float:
    """Median over times of log sqrt(max |D| / min |D|), slopes (time, d)."""
    size = np.abs(slopes)
    return float(np.median(np.log(size.max(-1) / np.maximum(size.min(-1), np.finfo(float).tiny)) / 2))


def euler_growth(cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 4000) -> xr.Dataset:
    """AntisymmetricRNN Prop. 2: if max_i |1 + eps lambda_i(J_t)| <= 1, forward Euler is stable.

    Measured is the largest Lyapunov exponent of the product of step Jacobians over the second half of the trace (QR),
    against what a bounded product may show there, as in ``ode_growth``. Without a cell: eps = 0.01,
    sigma_w = 1, 16 units, and gamma 0.02, just above what the criterion asks for: (eps / 2) (2 sigma_w)^2.

    Returns:
        measured (batch): the exponent in nats a step.
    """
    key = "antisymmetric-2-stability"
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec="antisymmetric:epsilon=0.01,gamma=0.02", sizes=(1, UNITS),
        steps=steps, seed=seed,
    )  # fmt: skip
    half = inputs.shape[0] // 2
    exponents = record(cell, inputs, [LyapunovSpectrum(1, transient=half)])["lyapunov_exponent"].values[:, 0]
    slopes = diagonal(cell, inputs)
    rows = slopes[:: max(1, slopes.shape[0] // 500)]  # the criterion is looked at in 500 places of a long trace
    values = eigenvalues(rows, cell.recurrent_matrix().detach())
    modulus = float((1 + cell.epsilon * values).abs().max())
    limit = 1 + cell.epsilon * rounding(values)
    allowance = _spread(slopes.flatten(0, 1).numpy()) / (inputs.shape[0] - half)
    return finding(
        key=key,
        reference="AntisymmetricRNN, Prop. 2",
        statement="max |1 + eps lambda(J_t)| <= 1 for all t implies that |d h_T / d h_0| does not grow exponentially",
        relation="<=",
        bound=array((), allowance, "growth that a bounded product may show", "nat/step"),
        measured=array(("batch",), exponents, "largest Lyapunov exponent of the second half", "nat/step"),
        hypotheses=(Hypothesis("max |1 + eps lambda(J_t)| <= 1", modulus <= limit, modulus, limit),),
        note=f"{float(exponents.max()) / cell.epsilon:+.4f} nats per unit of the ODE's time (a bounded product may "
        f"show {allowance / cell.epsilon:.4f}); log growth of the second half {float(exponents.max()) * half:+.2f}",
        **described(cell, inputs, seed),
    )


PROPOSITIONS = (
    Proposition(
        "antisymmetric-1-stability", "what Prop. 1 concludes: perturbations of the ODE's solution stay bounded",
        "AntisymmetricRNN, Prop. 1", KEYS, ode_growth,
    ),
    Proposition(
        "antisymmetric-2-stability", "what Prop. 2 concludes: perturbations of the rollout stay bounded",
        "AntisymmetricRNN, Prop. 2", KEYS, euler_growth,
    ),
)  # fmt: skip
