"""iRNN: where in the plane of eta and K a step's Jacobian is +I, 0 or -I, and where the paper's settings lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell
from dynlab.cells import IncrementalRNN
from dynlab.compare import seeded_cell
from dynlab.theory._subject import array, check_kind, described, subject, transitions_of
from dynlab.theory._trained import trained_cell
from dynlab.theory.base import Proposition, finding
from dynlab.theory.irnn import GAUSSIAN, KEYS, etas, lipschitz, recurrent_norm

ETAS = tuple(float(eta) for eta in np.geomspace(1e-3, 1, 16))
DEPTHS = (1, 2, 3, 5, 7, 10, 20, 30, 50)
STARTS = ("previous", "zero")
ADDING = (2, 128)  # inputs a step and units of the adding problem, Table 5
LOW_RANK = "irnn:rank=16"
TRAINED = ("irnn:K=5,recurrent=full", "irnn:K=5,eta=0.002", "irnn:K=1")
"""Trained in seconds; with section 4.1's eta = 0.01 for K = 5, U = I + V H does not learn (benchmarks/results)."""


def closed_form(eta: Tensor, alpha: float, start: str, sign: int = 1) -> Tensor:
    """The step Jacobian's factor of I where phi' U = 0: eta (..., K) -> (...).

    2 prod (1 - eta alpha) - 1 from g_0 = h_{m-1}, prod (1 - eta alpha) - 1 from 0; with -h_{m-1} (sign -1) 1, or 1 less
    the product.
    """
    return ((start == "previous") + sign) * (1 - eta * alpha).prod(-1) - sign


@torch.no_grad()
def gain(cell: Any, inputs: Tensor) -> tuple[float, float, float]:
    """Over up to 16 transitions: mean and spread of the diagonal of the step Jacobian, and its rms singular value."""
    states = cell.scan(inputs)
    dense = torch.cat([
        cell.linearization(inputs[m - 1], states[m - 1], m - 1).jacobian.to_dense()
        for m in transitions_of(inputs.shape[0], 16)
    ])  # fmt: skip
    entries = dense.diagonal(dim1=-2, dim2=-1)
    rms = (dense.square().sum((-2, -1)) / dense.shape[-1]).mean().sqrt()
    return float(entries.mean()), float(entries.std()), float(rms)


def settings(seed: int, cells: Mapping[str, Cell], depths: Sequence[int] = (1, 3, 5, 10)) -> dict[str, Cell]:
    """What the paper uses, at its initial values, tiny trained cells, and ``cells``, by label."""
    made: dict[str, Cell] = {}
    for K in depths:
        made[f"Gaussian U, K = {K} (section 3.1)"] = seeded_cell(f"{GAUSSIAN},K={K}", *ADDING, seed)
        made[f"U = I + V H, K = {K} (section 3.2)"] = seeded_cell(f"{LOW_RANK},K={K}", *ADDING, seed)
        made[f"P = U = I + V H, K = {K} (Eq. 9)"] = seeded_cell(f"{LOW_RANK},projection=true,K={K}", *ADDING, seed)
    made |= {f"{spec} after 100 updates": trained_cell(spec, seed) for spec in TRAINED}
    made |= {label: check_kind(cell, KEYS, "irnn-map") for label, cell in cells.items()}
    return made


def _measured(seed: int, cells: Mapping[str, Cell], where: str) -> dict[str, dict[str, float]]:
    """For each setting: gain, spread, rms, K, the mean eta and the closed form, on Gaussian inputs."""
    rows: dict[str, dict[str, float]] = {}
    for label, cell in settings(seed, cells).items():
        one, inputs = subject(
            cell, None, where=where, keys=KEYS, spec=GAUSSIAN, sizes=ADDING, steps=20, batch=2, seed=seed
        )
        mean, spread, rms = gain(one, inputs)
        eta = etas(one, [1])[0]
        rows[label] = {
            "gain": mean, "gain_spread": spread, "rms_singular_value": rms, "K": float(one.K), "eta": float(eta.mean()),
            "closed_form": float(closed_form(eta, one.alpha, one.start, one.sign)),
        }  # fmt: skip
    return rows


@torch.no_grad()
def jacobian_map(
    cell: Any = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    grid: Sequence[float] = ETAS,
    depths: Sequence[int] = DEPTHS,
    cells: Mapping[str, Cell] | None = None,
) -> xr.Dataset:
    """iRNN Theorem 1 at finite K: with phi' U small the step Jacobian is (2 (1 - eta alpha)^K - 1) I.

    From g_0 = 0 it is ((1 - eta alpha)^K - 1) I. So from h_{m-1} it is near +I for K eta alpha << 1, through zero at
    K eta alpha ~ ln 2, where the gradient vanishes in one step, to Theorem 1's -I. Ours, from Eq. (5): A_k =
    (1 - eta alpha) I + eta phi' U. What a U that is not zero changes is at most c ((|1 - eta alpha| + eta ||U||)^K -
    |1 - eta alpha|^K), c = 2 or 1, the bound here; measured is |J - closed form I|_2, of the cell with every eta and K
    of the grid. Without a cell: section 3.1's Gaussian U, ReLU, 32 units.

    Arguments:
        cells: trained cells or others to place in the map, by label.

    Returns:
        bound (start, eta, K), measured (start, eta, K): the largest over the first step of the samples; ``gain``, the
        mean diagonal entry, and ``closed_form`` (start, eta, K). Where settings of the paper, cells trained for a few
        seconds and ``cells`` lie: ``setting_eta``, ``setting_K``, ``setting_gain``, ``setting_gain_spread``,
        ``setting_rms_singular_value``, ``setting_closed_form`` (setting).
    """
    key = "irnn-map"
    given: dict[str, Cell] = {} if cell is None else {"the given cell": cell}
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec=GAUSSIAN, sizes=(2, 32), steps=2, batch=2, seed=seed
    )
    for depth in depths:
        _check.integer("each of depths", depth, key)
    norm = recurrent_norm(cell)
    # A state and input at which phi' is neither all 0 nor all 1: the second step of the cell's own rollout.
    state, x = cell.scan(inputs)[-2], inputs[-1]
    shape = (len(STARTS), len(grid), len(depths))
    found, expected, limit = np.empty(shape), np.empty(shape), np.empty(shape)
    gains = np.empty(shape)
    eye = torch.eye(cell.hidden_size, dtype=inputs.dtype)
    for i, start in enumerate(STARTS):
        for j, eta in enumerate(grid):
            for k, depth in enumerate(depths):
                jacobian = _with(cell, start, eta, depth).step_jacobian(x, state).to_dense()
                keep, scale = 1 - eta * cell.alpha, abs((start == "previous") + cell.sign)
                every = torch.full((depth,), eta, dtype=torch.float64)
                expected[i, j, k] = float(closed_form(every, cell.alpha, start, cell.sign))
                limit[i, j, k] = scale * ((abs(keep) + eta * norm) ** depth - abs(keep) ** depth)
                found[i, j, k] = float(torch.linalg.matrix_norm(jacobian - expected[i, j, k] * eye, 2).max())
                gains[i, j, k] = float(jacobian.diagonal(dim1=-2, dim2=-1).mean())
    dims = ("start", "eta", "K")
    coords: dict[str, Any] = {"start": list(STARTS), "eta": list(grid), "K": list(depths)}
    rows = _measured(seed, {**given, **(cells or {})}, key)
    names = ("eta", "K", "gain", "gain_spread", "rms_singular_value", "closed_form")
    return finding(
        key=key,
        reference="ours, from iRNN Eq. (5); Theorem 1 is its limit",
        statement="|J - (c (1 - eta alpha)^K - 1) I| <= c ((|1 - eta alpha| + eta ||U||)^K - |1 - eta alpha|^K), "
        "c = 2 from g_0 = h_{m-1}, 1 from 0",
        relation="<=",
        bound=array(dims, limit, "what ||U|| can change", **coords),
        measured=array(dims, found, "|J - closed form I|, spectral norm", **coords),
        hypotheses=[lipschitz(cell)],
        tolerance=1e-12,
        extra={
            "gain": array(dims, gains, "mean diagonal entry of the step Jacobian", **coords),
            "closed_form": array(dims, expected, "factor of I where phi' U = 0", **coords),
            **{
                f"setting_{name}": array(("setting",), np.array([row[name] for row in rows.values()]), name,
                                         setting=list(rows))
                for name in names
            },
        },
        note=f"gain a step (closed form): {_extremes(rows)}",
        **described(cell, inputs, seed),
    )  # fmt: skip


def _extremes(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The settings with the least and the most gain, and the one furthest from its closed form."""
    if not rows:
        return "no settings"
    by_gain = sorted(rows, key=lambda label: rows[label]["gain"])
    furthest = max(rows, key=lambda label: abs(rows[label]["gain"] - rows[label]["closed_form"]))
    return "; ".join(
        f"{which} {rows[label]['gain']:+.3f} ({rows[label]['closed_form']:+.3f}), {label}"
        for which, label in (("least", by_gain[0]), ("most", by_gain[-1]), ("furthest from it", furthest))
    )


def _with(cell: Any, start: str, eta: float, depth: int) -> Any:
    """A cell of the same U, W, b, phi, alpha and sign, with another start, eta and K."""
    own = cell.hyperparameters
    with torch.random.fork_rng(devices=[]):  # its own initial values are replaced
        made = IncrementalRNN(
            cell.input_size, cell.hidden_size, depth, alpha=cell.alpha, nonlinearity=own["nonlinearity"],
            projection=cell.projection, start=start, sign=cell.sign,
        ).double()  # fmt: skip
    made.weight_full, made.weight_ih, made.bias = (
        nn.Parameter(value.detach()) for value in (cell.weight_hh, cell.weight_ih, cell.bias)
    )
    made.eta = nn.Parameter(torch.full((depth,), eta, dtype=torch.float64))
    return made


@torch.no_grad()
def norm_of_experiments(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, cells: Mapping[str, Cell] | None = None
) -> xr.Dataset:
    """iRNN section 3.1, "Handling ||U|| <= alpha": at the start and after learning U does not violate it.

    Measured, unless cells are given: ||U||_2 of what multiplies g + h (U U in Eq. 9), for section 3.1's Gaussian U,
    for the I + V H that section 3.2 says all experiments use, and for cells trained for a few seconds. With V H of rank
    below d, I + V H leaves some vector as it is, so its norm is at least 1 whatever V and H: with alpha = 1 it cannot
    fulfil the hypothesis of Props. 1, 2 and Theorem 1.

    Arguments:
        cell: to be measured instead, or ``cells`` by label. inputs: not used.

    Returns:
        bound (setting): alpha; measured (setting): the spectral norm.
    """
    key = "irnn-norm"
    own: dict[str, Cell] = {} if cell is None else {"the given cell": check_kind(cell, KEYS, key)}
    for label, one in (cells or {}).items():
        own[label] = check_kind(one, KEYS, key)
    chosen = own or settings(seed, {}, depths=(5,))
    labels, norms = list(chosen), [recurrent_norm(one) for one in chosen.values()]
    return finding(
        key=key,
        reference="iRNN, section 3.1, Handling ||U|| <= alpha",
        statement="||U|| <= alpha at the start and after training",
        relation="<=",
        bound=array(("setting",), np.array([one.alpha for one in chosen.values()]), "alpha", setting=labels),
        measured=array(("setting",), np.array(norms), "||U||_2", setting=labels),
        hypotheses=(),
        note=f"||U|| from {min(norms):.3f} ({labels[norms.index(min(norms))]}) to {max(norms):.3f} "
        f"({labels[norms.index(max(norms))]})",
        seed=seed,
    )


PROPOSITIONS = (
    Proposition("irnn-map", "the step Jacobian over eta and K", "iRNN, Eq. (5), Theorem 1", KEYS, jacobian_map),
    Proposition(
        "irnn-norm", "||U|| <= alpha at the start and after training", "iRNN, section 3.1", KEYS, norm_of_experiments
    ),
)
