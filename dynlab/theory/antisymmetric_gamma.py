"""The smallest diffusion with which AntisymmetricRNN satisfies its Proposition 2 along a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab.compare import seeded_cell
from dynlab.theory._subject import array, described, subject, transitions_of
from dynlab.theory.antisymmetric import KEYS, diagonal, eigenvalues
from dynlab.theory.base import Proposition, finding

EPSILONS = (0.01, 0.1, 1.0)
SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""The paper's grids; its sigma_w = 0 needs no gamma."""
TRACES = ("fixed", "re-rolled")
SCAN = 24
"""Gammas tried before the root-finder: geometric, from a hundredth of what a small eps ||A|| asks for to 4 / eps."""
MOST = 50
"""Transitions looked at one by one in a long trace."""
ROUNDING = 1e-12
"""By how much |1 + eps lambda| may exceed 1: rounding of eigenvalues of a few units' size."""


def smallest_gamma(excess: Callable[[float], float], epsilon: float, norm: float) -> float:
    """The smallest gamma >= 0 with excess(gamma) <= 0, by SciPy's brentq; inf where none is found.

    The excess need not fall all the way: the bracket is the first one of a scan, so that a dip below zero narrower than
    a step of the scan (a factor of about 1.5) can be missed.

    Arguments:
        excess: max |1 + eps lambda| - 1 at a gamma. norm: ||A||, the largest |omega| of A.
    """
    from scipy.optimize import brentq

    def shifted(gamma: float) -> float:
        return excess(gamma) - ROUNDING

    if shifted(0.0) <= 0:
        return 0.0
    reach = epsilon * norm
    grid = np.geomspace(min(reach**2 / 200, 0.01) / epsilon, 4 / epsilon, SCAN)
    if reach < 1:
        # Enough for every trace of a plain cell, see ``needed_gamma``.
        enough = (1 - math.sqrt(1 - reach**2)) / epsilon
        grid = np.append(grid[grid < enough], [enough, *grid[grid > enough]])
    below = 0.0
    for gamma in grid.tolist():
        if shifted(gamma) <= 0:
            return float(brentq(shifted, below, gamma, xtol=1e-14 / epsilon, rtol=1e-10))
        below = gamma
    return math.inf


@torch.no_grad()
def excess_at(slopes: Tensor, matrix: Tensor, epsilon: float, gamma: float) -> float:
    """max |1 + eps lambda_i| - 1 of J = D (matrix - gamma I) over all D: slopes (..., d), matrix (d, d)."""
    step = epsilon * eigenvalues(slopes, matrix - gamma * torch.eye(matrix.shape[0], dtype=matrix.dtype))
    # |1 + z| - 1 without the cancellation that would hide an excess of 1e-10.
    square = 2 * step.real + step.abs() ** 2
    return float((square / ((1 + square).clamp_min(0).sqrt() + 1)).max())


def excess_of(cell: Any, inputs: Tensor, trace: str) -> Callable[[float], float]:
    """gamma -> max over the trace of |1 + eps lambda_i(J_t)| - 1.

    Arguments:
        trace: "fixed", D of the rollout at the cell's own gamma, only J's diffusion changes; "re-rolled", the states
            follow the gamma too.
    """
    matrix, own = undamped(cell), diagonal(cell, inputs)
    if trace == "fixed":
        return lambda gamma: excess_at(own, matrix, cell.epsilon, gamma)

    def excess(gamma: float) -> float:
        kept, cell.gamma = cell.gamma, gamma
        slopes = diagonal(cell, inputs)
        cell.gamma = kept
        return excess_at(slopes, matrix, cell.epsilon, gamma)

    return excess


def undamped(cell: Any) -> Tensor:
    """M without its diffusion, (d, d): A = W_h - W_h^T, or the ablation's W_h."""
    weight = cell.weight_hh.detach()
    return weight - weight.T if cell.structured else weight


def along_trace(cell: Any, inputs: Tensor) -> tuple[list[int], np.ndarray]:
    """Up to MOST transitions (1..T) of the rollout at the cell's own gamma, and the smallest gamma at each of them."""
    slopes, matrix = diagonal(cell, inputs), undamped(cell)
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    chosen = transitions_of(slopes.shape[0], MOST)
    found = [
        smallest_gamma(partial(excess_at, slopes[t - 1], matrix, cell.epsilon), cell.epsilon, norm) for t in chosen
    ]
    return chosen, np.array(found)


def needed_gamma(
    cell: Any = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    steps: int = 12,
    epsilons: Sequence[float] = EPSILONS,
    sigmas: Sequence[float] = SIGMAS,
) -> xr.Dataset:
    """AntisymmetricRNN Prop. 2 turned round: gamma must be at least the smallest one with max |1 + eps lambda_i| <= 1.

    Found by SciPy's brentq, once along the trace at the cell's own gamma ("fixed") and once with the trace rolled out
    anew at every gamma tried ("re-rolled"). For a plain cell with eps ||A|| <= 1, A = W_h - W_h^T, our bound
    (1 - sqrt(1 - (eps ||A||)^2)) / eps is enough whatever the trace: an eigenvector v of the similar
    D^(1/2) M D^(1/2) has q = v* D v in (0, 1], Re lambda = -gamma q and |Im lambda| <= ||A|| q. Without a cell: the
    paper's grids of eps and sigma_w, at gamma = 0.01 (iRNN section 4.2) and 24 units (our choice).

    Returns:
        bound (epsilon, sigma_w, trace) or (trace,): the smallest gamma, inf where none up to 4 / eps does; measured:
        the cell's gamma; ``enough`` (epsilon, sigma_w) or (): the closed form, inf where eps ||A|| > 1 or the cell is
        gated. ``gamma_along_trace`` (transition): what each transition of the given cell's own rollout asks for, the
        largest over samples; without a cell of one with eps = 0.01 and sigma_w = 1.
    """
    key = "antisymmetric-gamma"
    first, drawn = subject(
        cell, inputs, where=key, keys=KEYS, spec="antisymmetric", sizes=(1, 24), steps=steps, seed=seed
    )
    settings = [{"epsilon": first.epsilon}] if cell is not None else [
        {"epsilon": epsilon, "sigma_w": sigma} for epsilon in epsilons for sigma in sigmas
    ]  # fmt: skip
    found, enough = [], []
    for setting in settings:
        one = first
        if cell is None:
            text = ",".join(f"{name}={value}" for name, value in setting.items())
            one = seeded_cell(f"antisymmetric:{text}", first.input_size, first.hidden_size, seed).double()
        norm = float(torch.linalg.matrix_norm(undamped(one), 2))
        found.append([smallest_gamma(excess_of(one, drawn, trace), one.epsilon, norm) for trace in TRACES])
        reach = one.epsilon * norm
        plain = one.structured and not one.gated
        enough.append((1 - math.sqrt(1 - reach**2)) / one.epsilon if plain and reach <= 1 else math.inf)
    transitions, each = along_trace(first, drawn)
    shape, grid = ((len(epsilons), len(sigmas)), ("epsilon", "sigma_w")) if cell is None else ((), ())
    coords: dict[str, Any] = {"epsilon": list(epsilons), "sigma_w": list(sigmas)} if cell is None else {}
    values = np.array(found).reshape(*shape, 2)
    if cell is None:
        lacking = [
            f"({s['epsilon']:g}, {s['sigma_w']:g})" for s, f in zip(settings, found, strict=True) if math.inf in f
        ]
        note = f"(eps, sigma_w) for which no gamma up to 4 / eps does: {', '.join(lacking) or 'none'}"
    else:
        note = ", ".join(f"{trace}: {value:.6g}" for trace, value in zip(TRACES, found[0], strict=True))
    return finding(
        key=key,
        reference="AntisymmetricRNN, Prop. 2 and the diffusion of section 3",
        statement="gamma >= the smallest gamma with max_i |1 + eps lambda_i(J_t)| <= 1 along the trace",
        relation=">=",
        bound=array((*grid, "trace"), values, "smallest gamma that satisfies Prop. 2", trace=list(TRACES), **coords),
        measured=array((), first.gamma, "the cell's gamma"),
        hypotheses=(),
        extra={
            "enough": array(grid, np.array(enough).reshape(shape), "gamma that is enough for any trace", **coords),
            "gamma_along_trace": array(
                ("transition",), each, "smallest gamma that satisfies Prop. 2", transition=transitions
            ),
        },
        note=note,
        **described(first, drawn, seed),
    )


PROPOSITIONS = (
    Proposition(
        "antisymmetric-gamma", "the smallest gamma that satisfies Prop. 2 along a trace",
        "AntisymmetricRNN, Prop. 2", KEYS, needed_gamma,
    ),
)  # fmt: skip
