"""UnICORNN's representation formula of the gradient through three layers, Prop. C.4.

Index conventions: n and k time step, b batch, l layer, p unit of the first layer; h = dt sigmoid(c), t_n = n dt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab.cell import Cell
from dynlab.cells.activation import tanh_derivative
from dynlab.network import Network
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_representation import (
    default_target,
    early,
    early_hypothesis,
    final_gap,
    formula,
    require_steps,
    sensitivity,
)
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import CELLS, first_layers, held, missed, order, refined, step_sizes, subject

# Coarse steps are far from the limit in a deep stack; finer ones than for one layer: our choice.
DEEP_FACTORS = (16, 32, 64)
GRADIENTS = ("all paths, Eq. (44)", "one path, Eq. (65)")


def climb(network: Network, inputs: Tensor, gradient: Tensor) -> Tensor:
    """``gradient`` (batch, d) of y_n^L carried down to y_n^1 at the last time alone, (batch, p).

    The product of the matrices D of Eqs. (22) and (23), -h^2 sigma'(A_{n-1}^q) V^q, and those of the skipping
    connections, -h^2 sigma'(A_{n-1}^q) Lambda^q, over all ways down.
    """
    with torch.no_grad():
        states = network.scan(inputs)
        y = [states[-1, :, where].chunk(2, -1)[0] for where in network.layer_slices]
        before = [states[-2, :, where].chunk(2, -1)[0] for where in network.layer_slices]
        at = [torch.zeros_like(one) for one in y]
        at[-1] = gradient
        for index in range(len(y) - 1, 0, -1):
            layer = network.layers[index]
            skip = network.skips[str(index)] if str(index) in network.skips else None
            source = index - 1 - (network.residual or 0)
            term = layer.terms(y[index - 1])
            if skip is not None:
                term = term + (y[source] if source >= 0 else inputs[-1]) @ skip.T
            slope = tanh_derivative(layer.weight_hh * before[index] + term)  # type: ignore[operator]
            moved = -(step_sizes(layer) ** 2) * slope * at[index]  # type: ignore[arg-type]
            at[index - 1] += moved @ layer.weight_ih  # type: ignore[operator]
            if skip is not None and source >= 0:
                at[source] += moved @ skip
        return at[0]


def _parts(network: Network, inputs: Tensor, target: Tensor, factor: int, steps: int) -> np.ndarray:
    """max over the early k of the contribution through all paths, through the one of Eq. (65), and of both remainders.

    In this order; the remainders are those of Eq. (62), whose leading term is Eq. (46)'s with the climb for the gap.
    """
    gap = final_gap(network, inputs, target)
    whole = sensitivity(network, inputs, gap).contributions
    bottom, carried = first_layers(network, 1), climb(network, inputs, gap)
    path = sensitivity(bottom, inputs, carried)
    leading = formula(bottom, path, carried, len(inputs))
    values = (whole, path.contributions, whole - leading, path.contributions - leading)
    return np.array([float(early(one, steps, factor).abs().max()) for one in values])


def orders_in_dt(network: Network, inputs: Tensor, factors: Sequence[int], seed: int, where: str) -> np.ndarray:
    """Orders in dt of the four quantities of ``_parts`` at a fixed t_n."""
    steps, batch = inputs.shape[:2]
    require_steps(steps, where)
    target = default_target(network, batch, seed)
    found = [_parts(refined(network, factor), held(inputs, factor), target, factor, steps) for factor in factors]
    dts = [1 / factor for factor in factors]
    return np.array([order(dts, values, where) for values in np.array(found).T])


def proposition_c4(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    steps: int = 100,
    factors: Sequence[int] = DEEP_FACTORS,
) -> xr.Dataset:
    """dE_{k,1}^{(n,3)} / dw^{1,p} = dt^4 sigmoid(c) t_n d+z_k sum_i G_{ip} (y^{3,i} - target^i) + O(dt^6) (Prop. C.4).

    Eq. (62), with G of Eq. (63). Hypotheses: L = 3, k << n (k <= n / 10: our choice); dt small, for which dt is divided
    by ``factors`` at a fixed t_n, the input held between its samples, and the same times k dt are compared.

    The left side is Eq. (44), a total derivative: through all the ways from layer 1 at step k to layer 3 at step n. The
    proof, Eq. (65), follows one, along layer 1 to n and up at n (Eq. 19 another one, up at k). There are about
    (n - k)^2 / 2, and those that go up before n can do so by way of z, E of Eq. (23), O(dt) where D is O(dt^2): both
    together are worth 1 / dt^2 a layer at a fixed t_n. Along the one path the formula still misses its order by one
    power of dt, for the reason given under ``unicornn-3.2``.

    Measured: the order in dt of max |exact - formula| over the early k, samples and units, exact by autodiff, for both
    left sides; the bound is 6, missed by at most 0.1 for a finite dt. ``order``: that of the left sides themselves.
    """
    where = "unicornn-C.4"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, steps=steps, layers=3, hidden_size=8)
    orders = orders_in_dt(one.network, one.inputs, factors, seed, where)
    coords = {"gradient": list(GRADIENTS)}
    hypotheses = [
        Hypothesis("L = 3", len(one.layers) == 3, len(one.layers), 3),
        Hypothesis("dense stacking, Eq. (6)", not one.network.skips, len(one.network.skips), 0),
        early_hypothesis(one.inputs.shape[0]),
    ]
    return finding(
        key=where,
        reference="UnICORNN, Prop. C.4, Eq. (62)",
        statement="dE_k^(n,3) / dw^1 = dt^4 sigmoid(c) t_n d+z_k sum_i G_i (y^i - target^i) + O(dt^6)",
        relation=">=",
        bound=xr.DataArray(6.0, attrs={"units": "1", "long_name": "order of the remainder in dt"}),
        measured=xr.DataArray(orders[2:], coords, ("gradient",), attrs={"units": "1", "long_name": "order in dt"}),
        tolerance=0.1,
        hypotheses=hypotheses,
        extra={"order": xr.DataArray(orders[:2], coords, ("gradient",), attrs={"units": "1"})},
        note=f"{missed(hypotheses)}order in dt of the remainder (of the left side), 6 or more claimed: "
        + "; ".join(
            f"{remainder:.2f} ({left:.2f}) by {name}"
            for name, left, remainder in zip(GRADIENTS, orders[:2], orders[2:], strict=True)
        ),
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-C.4",
        "dE_k^(n,3) / dw^1 = dt^4 sigmoid(c) t_n d+z_k sum_i G_i (y^i - target^i) + O(dt^6) for k << n",
        "UnICORNN, Prop. C.4, Eq. (62)",
        CELLS,
        proposition_c4,
    ),
)
