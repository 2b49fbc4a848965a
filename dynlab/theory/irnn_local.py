"""iRNN: local convergence with a linear rate for general etas (Theorem 2, in A.8 Theorem 3; Corollary 1, in A.8 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import xarray as xr
from torch import Tensor

from dynlab.probes.equilibrium import _roots
from dynlab.theory._subject import array, described, subject, transitions_of
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.irnn import GAUSSIAN, HAR2, KEYS, effective_weight, etas, slope

RADIUS = 1e-3
"""How near h_eq the iteration starts, the theorem's epsilon: our choice."""
LENGTH = 20


class _Run(NamedTuple):
    """Iterations near equilibria, axes (transition, k, batch) but for the last one.

    ``ratio``: |z_{k+1} - z*|_* / |z_k - z*|_*. ``forcing``: |r_k| / |F(z_k)|. ``norm``: |I + eta_k grad F(z_k)|_2.
    ``found``: whether SciPy found the root, (transition, batch); the ratio is +inf where it did not.
    """

    ratio: Tensor
    forcing: Tensor
    norm: Tensor
    found: Tensor


def _setup(
    cell: Any, inputs: Tensor | None, key: str, seed: int, steps: int, batch: int
) -> tuple[Any, Tensor, list[int], _Run]:
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec=GAUSSIAN, sizes=HAR2, steps=steps, batch=batch, seed=seed
    )
    chosen = transitions_of(inputs.shape[0], 4)
    return cell, inputs, chosen, _near_equilibrium(cell, inputs, chosen, seed)


@torch.no_grad()
def _near_equilibrium(cell: Any, inputs: Tensor, chosen: list[int], seed: int) -> _Run:
    """Euler's iteration, Eq. (13), from RADIUS away from h_eq of each transition, its etas going round."""
    states = cell.scan(inputs)
    generator = torch.Generator().manual_seed(seed)
    eta = etas(cell, chosen)
    weight = effective_weight(cell)
    eye = torch.eye(cell.hidden_size, dtype=inputs.dtype)
    columns: list[tuple[Tensor, ...]] = []
    for row, m in enumerate(chosen):
        term, held = cell.terms(inputs[m - 1], m - 1), states[m - 1]

        def gradient(z: Tensor, term: Tensor = term, held: Tensor = held) -> Tensor:
            return slope(cell, term, z, held).unsqueeze(-1) * weight - cell.alpha * eye

        def at(sample: int, term: Tensor = term, held: Tensor = held) -> Any:
            rows = slice(sample, sample + 1)
            return lambda g: cell.residual(term[rows], g[None], held[rows])[0]

        functions = [at(sample) for sample in range(held.shape[0])]
        near = cell.inner_states(term, held)[-1]
        root, found = _roots(functions, [torch.func.jacrev(one) for one in functions], near, 1e-9)
        scale = gradient(root)
        away = torch.randn(root.shape, generator=generator, dtype=root.dtype)
        z = root + RADIUS * away / away.norm(dim=-1, keepdim=True)
        ratios, forcings, norms = [], [], []
        for k in range(LENGTH):
            step, matrix, value = eta[row, k % cell.K], gradient(z), cell.residual(term, z, held)
            rest = value + step * (matrix @ value.unsqueeze(-1)).squeeze(-1)
            forcings.append(rest.norm(dim=-1) / value.norm(dim=-1))
            norms.append(torch.linalg.matrix_norm(eye + step * matrix, 2))
            before = (scale @ (z - root).unsqueeze(-1)).norm(dim=(-2, -1))
            z = z + step * value
            ratios.append((scale @ (z - root).unsqueeze(-1)).norm(dim=(-2, -1)) / before)
        columns.append(
            (torch.stack(ratios).masked_fill(~found, torch.inf), torch.stack(forcings), torch.stack(norms), found)
        )
    return _Run(*(torch.stack(parts) for parts in zip(*columns, strict=True)))


def local_convergence(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 4, batch: int = 2
) -> xr.Dataset:
    """iRNN Theorem 2 (Eq. 10; Theorem 3, Eq. 18): Euler's iteration near h_eq converges to it at a linear rate.

    Hypothesis: eta^2 |grad F F|^2 + 2 eta F^T grad F F < 0 at all iterates, which says |r| < |F| for the residual
    r = F + eta grad F F of an inexact Newton step (Eq. 19). By Lemma 1 (Thm. 2.3 of Dembo et al. 1982) the distance in
    |y|_* = |grad F(h_eq) y| then shrinks by any t above tau = max |r| / |F|, from near enough; we take t halfway
    between tau and 1, and start 1e-3 away from h_eq, which SciPy finds. alpha is 1 in the paper's F; the cell's here.
    Without a cell: HAR-2's sizes, section 3.1's Gaussian U, K = 5, eta = 0.01, ReLU, whose (sub)gradient is meant.

    Returns:
        bound (transition, batch): t. measured (transition, k, batch): the factor of each of 20 iterations; ``forcing``,
        |r| / |F| (transition, k, batch).
    """
    key = "irnn-theorem-2"
    cell, inputs, chosen, run = _setup(cell, inputs, key, seed, steps, batch)
    forcing = float(run.forcing.max())
    return _finding(
        key, "iRNN, Theorem 2, Eq. (10); Theorem 3, Eq. (18)", run.forcing.amax(1), run, chosen,
        [Hypothesis("eta^2 |grad F F|^2 + 2 eta F' grad F F < 0 (as |r| / |F| < 1)", forcing < 1, forcing, 1.0)],
        seed, cell, inputs,
    )  # fmt: skip


def local_corollary(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 4, batch: int = 2
) -> xr.Dataset:
    """iRNN Corollary 1 (Corollary 2): if |I + eta grad F(g)| < 1 at all iterates, they converge at a linear rate.

    As ``local_convergence``, with the spectral norm in place of tau. With U = I + V H the hypothesis fails
    wherever every phi' is 1: I + eta grad F is then I + eta V H, which leaves what H does not see as it is.

    Returns:
        bound (transition, batch), measured (transition, k, batch), as ``local_convergence``.
    """
    key = "irnn-corollary-1"
    cell, inputs, chosen, run = _setup(cell, inputs, key, seed, steps, batch)
    norm = float(run.norm.max())
    return _finding(
        key, "iRNN, Corollary 1; Corollary 2", run.norm.amax(1), run, chosen,
        [Hypothesis("|I + eta grad F| < 1", norm < 1, norm, 1.0)], seed, cell, inputs,
    )  # fmt: skip


def _finding(
    key: str, reference: str, tau: Tensor, run: _Run, chosen: list[int], hypotheses: list[Hypothesis], seed: int,
    cell: Any, inputs: Tensor,
) -> xr.Dataset:  # fmt: skip
    dims = ("transition", "k", "batch")
    share = float(run.found.double().mean())
    return finding(
        key=key,
        reference=reference,
        statement="|z_{k+1} - h_eq|_* <= t |z_k - h_eq|_* near h_eq, t = (1 + tau) / 2 < 1",
        relation="<=",
        bound=array(("transition", "batch"), (1 + tau) / 2, "t = (1 + tau) / 2", transition=chosen),
        measured=array(dims, run.ratio, "factor of the distance to h_eq in one iteration", transition=chosen),
        hypotheses=[*hypotheses, Hypothesis("SciPy finds h_eq", share == 1, share, 1.0)],
        extra={"forcing": array(dims, run.forcing, "|r_k| / |F(z_k)|", transition=chosen)},
        note=f"factors {float(run.ratio.min()):.6f} to {float(run.ratio.max()):.6f}, tau up to {float(tau.max()):.6f}",
        **described(cell, inputs, seed),
    )


PROPOSITIONS = (
    Proposition(
        "irnn-theorem-2", "local convergence with linear rate under Eq. (10)", "iRNN, Theorem 2", KEYS,
        local_convergence,
    ),  # fmt: skip
    Proposition(
        "irnn-corollary-1", "local convergence with linear rate if |I + eta grad F| < 1", "iRNN, Corollary 1", KEYS,
        local_corollary,
    ),
)  # fmt: skip
