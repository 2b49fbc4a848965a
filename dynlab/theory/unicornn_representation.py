"""UnICORNN's representation formula of the gradient, Prop. 3.2 (C.3 in the appendix).

Index conventions: n and k time step, b batch, p unit; h = dt sigmoid(c), t_n = n dt, A the pre-activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab import _check
from dynlab.adjoints import watch_adjoints
from dynlab.cell import Cell
from dynlab.cells.activation import tanh_derivative
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import CELLS, first_layers, held, missed, order, refined, step_sizes, subject

# "k << n" is taken as k <= n / 10: our choice.
EARLY = 10
FACTORS = (1, 2, 4, 8, 16)


class Sensitivity(NamedTuple):
    """dE_n / dw^{1,p} step by step, row k - 1 for step k.

    Attributes:
        contributions: exact, Eq. (44), (N, batch, p). kicks: d+ z_k / d w of Eq. (48), likewise.
        adjoint: dE_n / d z_k^1, likewise.
    """

    contributions: Tensor
    kicks: Tensor
    adjoint: Tensor


def sensitivity(network: Network, inputs: Tensor, gradient: Tensor) -> Sensitivity:
    """The contribution of every step k to dE_n / dw of the first layer, given dE_n / dy_n^L, (batch, d).

    By autodiff: dE_n / dX_k^1 times d+ X_k^1 / d w of Eq. (48). Their sum over k is dE_n / dw.
    """
    first: UnICORNN = network.layers[0]  # type: ignore[assignment]
    with watch_adjoints() as adjoints:
        network.scan(inputs, keep="hidden")[-1].backward(gradient)
    network.zero_grad()
    by_y, by_z = adjoints[first][1:].chunk(2, -1)
    with torch.no_grad():
        y = first.scan(inputs)[:-1, :, : first.hidden_size]
        slope = tanh_derivative(first.weight_hh * y + first.terms(inputs))
        h = step_sizes(first)
        kicks = -h * slope * y
        return Sensitivity((h * by_y + by_z) * kicks, kicks, by_z)


def final_gap(network: Network, inputs: Tensor, target: Tensor) -> Tensor:
    """dE_n / dy_n = y_n - target, (batch, d)."""
    with torch.no_grad():
        return network.hidden(network.scan(inputs, keep="last")) - target


def formula(network: Network, found: Sensitivity, gap: Tensor, steps: int) -> Tensor:
    """The leading term of Eq. (46): sigmoid(c) t_n d+ z_k (y_n - target_n), (N, batch, p)."""
    return steps * step_sizes(network.layers[0]) * found.kicks * gap  # type: ignore[arg-type]


def early(values: Tensor, steps: int, factor: int) -> Tensor:
    """Rows of the steps k that end the coarse steps 2 .. steps / EARLY; at step 1 y_{k-1} is 0."""
    return values[[factor * k - 1 for k in range(2, max(2, steps // EARLY) + 1)]]


def early_hypothesis(steps: int) -> Hypothesis:
    """That the compared k are << n, as taken here; fewer than 20 steps do not reach it."""
    latest = max(2, steps // EARLY) / steps
    return Hypothesis("k <= n / 10", latest <= 1 / EARLY, latest, 1 / EARLY)


def require_steps(steps: int, where: str) -> None:
    """Refuse sequences in which no k is early."""
    if steps < EARLY:
        raise ValueError(f"{where}: expected at least {EARLY} time steps, got {steps}")


def default_target(network: Network, batch: int, seed: int) -> Tensor:
    """Uniform in (-1, 1), (batch, d): our choice."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(batch, network.hidden_size, generator=generator, dtype=torch.float64) - 1


def _sizes(network: Network, inputs: Tensor, target: Tensor, factor: int, steps: int) -> tuple[float, float]:
    """max over the early k of |the formula| and of |exact - formula|."""
    gap = final_gap(network, inputs, target)
    found = sensitivity(network, inputs, gap)
    leading = formula(network, found, gap, len(inputs))
    parts = (early(values, steps, factor).abs().max() for values in (leading, found.contributions - leading))
    return tuple(map(float, parts))  # type: ignore[return-value]


def _against_length(network: Network, inputs: Tensor, target: Tensor) -> tuple[list[int], list[float]]:
    """max |exact - formula| / max |formula| over all k against n, the formula with its n replaced by n - k + 1."""
    lengths = sorted({max(2, round(len(inputs) * 2.0**-j)) for j in range(8)})
    found_sizes = []
    for n in lengths:
        gap = final_gap(network, inputs[:n], target)
        found = sensitivity(network, inputs[:n], gap)
        leading = formula(network, found, gap, n) * torch.arange(n, 0, -1)[:, None, None] / n
        found_sizes.append(float((found.contributions - leading).abs().max() / leading.abs().max()))
    return lengths, found_sizes


def proposition_3_2(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    steps: int = 100,
    target: Tensor | None = None,
    factors: Sequence[int] = FACTORS,
) -> xr.Dataset:
    """dE_{k}^{(n)} / dw^p = -dt sigmoid(c)^2 t_n sigma'(A_{k-1}) y_{k-1} (y_n - target) + O(dt^2), k << n (Prop. 3.2).

    Eqs. (14), (46), of one layer; of a network, its first alone. Hypotheses: k << n (k <= n / 10: our choice), and
    dt small, for which dt is divided by ``factors``. Two readings of the limit, since the paper has both:

    - "t_n fixed": n grows as 1 / dt, the input is held between its samples, the same times k dt are compared. It is
      the one in which the paper's leading term is O(dt).
    - "n fixed": the same n inputs, so that t_n -> 0 with dt. Here the leading term shrinks at least as fast as dt^2, so
      that a remainder of that order says nothing.

    Why the first fails: Eq. (53) sums the first-order terms of a product of n factors I + dt C_j and calls the rest
    O(dt^2), but the terms of order dt^2 are n^2 / 2 in number, t_n^2 in all. ``relative_remainder`` against t_n shows
    this with one factor changed: the length. There n - k + 1 stands for n, so that "k << n" plays no part. The exact
    propagator dy_n / dz_k (``propagator``, of the first sample) oscillates with t_n - t_k, with the units'
    frequencies, where the formula has the constant t_n sigmoid(c) (``propagator_formula``).

    Arguments:
        steps: n of the default inputs, reduced. target: (batch, d), uniform in (-1, 1) by default: our choice.

    Measured: the order in dt of max |exact - formula| over the early k, samples and units, by the slope of its
    logarithm over the three smallest dt; the bound is 2, missed by at most 0.1 for a finite dt. Exact by autodiff.
    """
    where = "unicornn-3.2"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, steps=steps, layers=1)
    network = first_layers(one.network, 1)
    steps, batch = one.inputs.shape[:2]
    require_steps(steps, where)
    if target is None:
        target = default_target(network, batch, seed)
    else:
        target = _check.shaped("target", _check.floating("target", target, where), (batch, network.hidden_size), where)
        target = target.to("cpu", torch.float64)
    sizes = np.empty((2, 2, len(factors)))
    for column, factor in enumerate(factors):
        finer = refined(network, factor)
        sizes[0, :, column] = _sizes(finer, held(one.inputs, factor), target, factor, steps)
        sizes[1, :, column] = _sizes(finer, one.inputs, target, 1, steps)
    dt = one.layers[0].dt
    dts = [dt / factor for factor in factors]
    orders = np.array([[order(dts, values, where) for values in limit] for limit in sizes])
    finest = refined(network, max(factors))
    lengths, relative = _against_length(finest, held(one.inputs, max(factors)), target)
    propagator = sensitivity(network, one.inputs, torch.ones_like(target)).adjoint[:, 0]
    limits = {"limit": ["t_n fixed", "n fixed"]}
    times = np.array(lengths) * finest.layers[0].dt
    hypotheses = [early_hypothesis(steps)]
    shown = ", ".join(
        f"{remainder:.2f} at {limit} (formula {leading:.2f})"
        for limit, (leading, remainder) in zip(limits["limit"], orders, strict=True)
    )
    return finding(
        key=where,
        reference="UnICORNN, Prop. 3.2, Eq. (14); Prop. C.3, Eq. (46)",
        statement="dE_k^(n) / dw = -dt sigmoid(c)^2 t_n sigma'(A_{k-1}) y_{k-1} (y_n - target) + O(dt^2)",
        relation=">=",
        bound=xr.DataArray(2.0, attrs={"units": "1", "long_name": "order of the remainder in dt"}),
        measured=xr.DataArray(orders[:, 1], limits, ("limit",), attrs={"units": "1", "long_name": "order in dt"}),
        tolerance=0.1,
        hypotheses=hypotheses,
        extra={
            "leading_order": xr.DataArray(orders[:, 0], limits, ("limit",), attrs={"units": "1"}),
            "size": xr.DataArray(
                sizes,
                {**limits, "part": ["formula", "remainder"], "dt": dts},
                ("limit", "part", "dt"),
                attrs={"units": "1", "long_name": "max |dE_k / dw|"},
            ),
            "relative_remainder": xr.DataArray(relative, {"t_n": times}, ("t_n",), attrs={"units": "1"}),
            "propagator": xr.DataArray(
                propagator.numpy(), {"k": np.arange(1, steps + 1)}, ("k", "unit"), attrs={"units": "1"}
            ),
            "propagator_formula": xr.DataArray(
                steps * step_sizes(one.layers[0]).numpy(), dims=("unit",), attrs={"units": "1"}
            ),
        },
        note=f"{missed(hypotheses)}order in dt of the remainder, 2 or more claimed: {shown}; "
        f"remainder / formula {relative[0]:.2g} at t_n = {times[0]:.2g}, {relative[-1]:.2g} at {times[-1]:.3g}",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-3.2",
        "dE_k^(n) / dw = -dt sigmoid(c)^2 t_n sigma'(A_{k-1}) y_{k-1} (y_n - target) + O(dt^2) for k << n",
        "UnICORNN, Prop. 3.2, Eq. (14); Prop. C.3, Eq. (46)",
        CELLS,
        proposition_3_2,
    ),
)
