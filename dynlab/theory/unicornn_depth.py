"""UnICORNN's gradient against depth: Eq. (74), and Eq. (80) for residual stacks.

Index conventions: n and k time step, L number of layers, S skipped layers, p unit of the first layer; t_n = n dt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from torch import Tensor

from dynlab.cell import Cell
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_depth_formula import DEEP_FACTORS, orders_in_dt
from dynlab.theory.unicornn_representation import early_hypothesis
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import CELLS, Subject, first_layers, listed, missed, subject


def dense_order(L: int) -> int:
    """The exponent of Eq. (74)."""
    return 2 * L - 1


def residual_order(L: int, S: int) -> int:
    """The exponent of Eq. (80), with nu of Eq. (78)."""
    nu = L // S if L % S else L // S - 1
    return 2 * nu + 2 * L - 2 * nu * S - 1


def shortest_order(L: int, S: int | None) -> int:
    """The exponent of the shortest way down where a connection leads from layer l to l - S - 1, as Eq. (76) has it.

    Eqs. (77) to (80) let it lead to l - S. Two powers of dt a connection, one for t_n d+z_k.
    """
    jumps = 0 if S is None else (L - 1) // (S + 1)
    return 2 * (L - 1 - jumps * (S or 0)) + 1


def _by_depth(one: Subject, factors: Sequence[int], seed: int, where: str) -> tuple[list[int], np.ndarray]:
    """Depths, and the orders of the contribution through all paths and through one, (2, depth)."""
    depths = list(range(1, len(one.layers) + 1))
    found = [orders_in_dt(first_layers(one.network, L), one.inputs, factors, seed, where)[:2] for L in depths]
    return depths, np.array(found).T


def _depth_finding(
    one: Subject, key: str, equation: str, statement: str, exponents: list[int], found: tuple[list[int], np.ndarray]
) -> xr.Dataset:
    depths, orders = found
    coords, attrs = {"L": depths}, {"units": "1", "long_name": "order in dt"}
    S = one.network.residual
    residual = key.endswith("residual")
    stacking = (
        Hypothesis("residual stacking, Eqs. (75), (76)", S is not None, S or 0, 2)
        if residual
        else Hypothesis("dense stacking, Eq. (6)", not one.network.skips, len(one.network.skips), 0)
    )
    hypotheses = [stacking, early_hypothesis(one.inputs.shape[0])]
    return finding(
        key=key,
        reference=f"UnICORNN, {equation}",
        statement=statement,
        relation="==",
        bound=xr.DataArray(np.array(exponents, dtype=float), coords, ("L",), attrs=attrs),
        measured=xr.DataArray(orders[0], coords, ("L",), attrs=attrs),
        tolerance=0.1,
        hypotheses=hypotheses,
        extra={
            "one_path": xr.DataArray(orders[1], coords, ("L",), attrs=attrs),
            "one_path_expected": xr.DataArray(
                [float(shortest_order(L, S)) for L in depths], coords, ("L",), attrs=attrs
            ),
        },
        note=f"{missed(hypotheses)}order in dt {orders[0].min():.2f} to {orders[0].max():.2f} at L = {depths[0]} to "
        f"{depths[-1]}, where {equation} has {listed(exponents)}; along one path {listed(orders[1], '.2f')}",
        **one.attrs,
    )


def dense_depth(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    steps: int = 40,
    layers: int = 5,
    factors: Sequence[int] = DEEP_FACTORS,
) -> xr.Dataset:
    """dE_{k,1}^{(n,L)} / dw^{1,p} ~ dt^(2 L - 1) (Eq. 74): the gradient vanishes with depth, the faster the smaller dt.

    "~" is two-sided, Eq. (45). Hypotheses: dense stacking, k << n (k <= n / 10: our choice). dt is divided by
    ``factors`` at a fixed t_n, the input held between its samples. Of a network the lowest 1 .. L layers are taken.

    Measured: the order in dt of max |dE_k / dw^1| over the early k, samples and units, by autodiff; "==" within 0.1 for
    a finite dt. It is 1 at every L: the total derivative tends to that of the ODE, and one step's share in it is O(dt).
    ``one_path`` is the order along the one path of Eq. (65), where Eq. (74) is right. How the gradient does depend on
    depth, dt and alpha: ``unicornn_depth_map``.
    """
    where = "unicornn-C.4-depth"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, steps=steps, layers=layers, hidden_size=8)
    found = _by_depth(one, factors, seed, where)
    statement = "dE_k^(n,L) / dw^1 ~ dt^(2 L - 1)"
    return _depth_finding(one, where, "Eq. (74)", statement, [dense_order(L) for L in found[0]], found)


def residual_depth(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    steps: int = 40,
    layers: int = 7,
    residual: int = 3,
    factors: Sequence[int] = DEEP_FACTORS,
) -> xr.Dataset:
    """dE_{k,1}^{(n,L)} / dw^{1,p} ~ dt^(2 nu + 2 L - 2 nu S - 1), residual stacking (Eq. 80, nu of Eq. 78).

    By default the paper's example, L = 7 and S = 3, whose exponent is 5. Hypotheses, limit and what is measured: as
    for ``unicornn-C.4-depth``, and it fails likewise: the order is 1. Along the path of Eq. (65) (``one_path``)
    Eq. (80) is right only up to L = S: by Eq. (76) a connection leads from layer l to l - S - 1, by Eqs. (77) to (80)
    to l - S. ``one_path_expected`` counts as Eq. (76) does, 7 in the example.
    """
    where = "unicornn-C.5-residual"
    one = subject(
        cell,
        inputs,
        where=where,
        seed=seed,
        setting=setting,
        steps=steps,
        layers=layers,
        residual=residual,
        hidden_size=8,
    )
    found, S = _by_depth(one, factors, seed, where), one.network.residual
    exponents = [dense_order(L) if S is None else residual_order(L, S) for L in found[0]]
    return _depth_finding(
        one, where, "Eq. (80)", "dE_k^(n,L) / dw^1 ~ dt^(2 nu + 2 L - 2 nu S - 1), residual", exponents, found
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition("unicornn-C.4-depth", "dE_k^(n,L) / dw^1 ~ dt^(2 L - 1)", "UnICORNN, Eq. (74)", CELLS, dense_depth),
    Proposition(
        "unicornn-C.5-residual",
        "dE_k^(n,L) / dw^1 ~ dt^(2 nu + 2 L - 2 nu S - 1), residual stacking",
        "UnICORNN, Eq. (80)",
        CELLS,
        residual_depth,
    ),
)
