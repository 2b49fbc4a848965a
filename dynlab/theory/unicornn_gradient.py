"""UnICORNN's bound on the gradient of the loss: Prop. 3.1, which is C.2 of the appendix.

Index conventions: n time step, b batch, l layer, i unit; T = N dt here, as in the paper.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_state import at_rest, beta, small_step, state_hypotheses
from dynlab.theory.unicornn_subject import CELLS, Subject, missed, subject

STATEMENT = "|dE / d theta| <= (1 - dt^L) / (1 - dt) T (1 + 2 gamma T) Vbar (Ybar + F) Delta"


class Bound(NamedTuple):
    """Eq. (14): with the constants of the proof, and with those printed in Eq. (12); gamma of Eq. (15)."""

    proved: float
    printed: float
    gamma: float


def gradient_bound(layers: list[UnICORNN], steps: int, largest_target: float) -> Bound:
    """The right-hand side of Eqs. (12) and (14).

    F and Delta are printed three times, each time differently. The proof, Eqs. (39) and (40), has everything under the
    roots, F = sqrt(2 (1 + 2 beta T) / alpha), Delta = 2 + sqrt(2 (1 + 2 beta T)) + (2 + alpha) F, and gives the
    smallest bound: that one is checked. Eq. (12) has the factor 1 + 2 beta T of F outside the root, and so once more
    in Delta. Eq. (15) leaves the factor 2 out of Delta's first root, which its proof does not give. Infinite at
    alpha = 0. With several dt or alpha the largest dt and the top layer's alpha enter.
    """
    dt, alpha = max(layer.dt for layer in layers), layers[-1].alpha
    T, depth = steps * dt, len(layers)
    m = max(2.0, float(layers[-1].weight_hh.detach().abs().max()) + alpha)
    gamma = m + m**2 / 2
    rows = [float(layer.weight_ih.detach().abs().sum(1).max()) for layer in layers]
    weights = math.prod(max(1.0, row) for row in rows)
    geometric = float(depth) if dt == 1 else (1 - dt**depth) / (1 - dt)
    factor = geometric * T * (1 + 2 * gamma * T) * weights
    growth = 1 + 2 * beta(alpha) * T
    if not alpha:
        return Bound(math.inf, math.inf, gamma)
    forms = (math.sqrt(2 * growth / alpha), math.sqrt(2 / alpha) * growth)
    proved, printed = (factor * (largest_target + F) * (2 + math.sqrt(2 * growth) + (2 + alpha) * F) for F in forms)
    return Bound(proved, printed, gamma)


def largest_gradients(network: Network, inputs: Tensor, targets: Tensor) -> tuple[list[str], np.ndarray]:
    """max |dE / d theta| within each parameter, for each sample, by autodiff: (names, (parameter, batch)).

    E of Eq. (10): the mean over n of |y_n - target_n|^2 / 2.
    """
    named = list(network.named_parameters())
    found = []
    for one in range(inputs.shape[1]):
        hidden = network.scan(inputs[:, one : one + 1], keep="hidden")
        _check.finite("hidden states", hidden.detach(), "largest_gradients")
        loss = (hidden - targets[:, one : one + 1]).square().sum() / (2 * inputs.shape[0])
        gradients = torch.autograd.grad(loss, [parameter for _, parameter in named])
        found.append([float(gradient.abs().max()) if gradient.numel() else 0.0 for gradient in gradients])
    return [name for name, _ in named], np.array(found).T


def gradient_hypotheses(network: Network, layers: list[UnICORNN], inputs: Tensor, gamma: float) -> list[Hypothesis]:
    """What the proof of C.2 uses."""
    steps, dt, alpha = inputs.shape[0], max(layer.dt for layer in layers), layers[-1].alpha
    T = steps * dt
    same = {(layer.dt, layer.alpha) for layer in layers}
    largest = float(inputs.abs().max()) if inputs.numel() else 0.0
    limit = math.sqrt(2 * (1 + 2 * beta(alpha) * T) / alpha) if alpha else math.inf
    return [
        at_rest(network),
        *state_hypotheses(layers, steps),
        small_step("gamma", dt, steps, gamma),
        Hypothesis("max |u| <= sqrt(2 (1 + 2 beta T) / alpha)", largest <= limit, largest, limit),
        Hypothesis("one dt and one alpha for all layers", len(same) == 1, len(same), 1),
        Hypothesis("dense stacking, Eq. (6)", not network.skips, len(network.skips), 0),
    ]


def _targets(targets: Tensor | None, one: Subject, seed: int, where: str) -> Tensor:
    """The given ones, or uniform in (-1, 1), (time, batch, d)."""
    shape = (*one.inputs.shape[:2], one.network.hidden_size)
    if targets is None:
        return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
    return _check.shaped("targets", _check.floating("targets", targets, where), shape, where).to("cpu", torch.float64)


def proposition_3_1(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    targets: Tensor | None = None,
) -> xr.Dataset:
    """|dE / d theta| <= (1 - dt^L) / (1 - dt) T (1 + 2 gamma T) Vbar (Ybar + F) Delta (Prop. 3.1, C.2; Eqs. 12, 14).

    For every weight w, V, b, c of every layer and the loss of Eq. (10). The constants are those of the proof, see
    ``gradient_bound``. Hypotheses, where the paper has "dt << 1 sufficiently small": those of ``unicornn-C.1``, which
    Eqs. (39) and (40) rest on; (1 + gamma dt)^N <= 1 + 2 gamma N dt, used in Eq. (27), that is gamma T <= 1.256;
    inputs within the bound of the states, since Eq. (39) bounds y^{l-1} by Eq. (7) for l = 1 too, where it is u; one dt
    and alpha; dense stacking. Eq. (41) also takes the infinity norm of a row, where a sum over the m units belongs,
    and Eq. (19) one path out of the many from layer l at k to layer L at n: ``unicornn-3.1-gaps``,
    ``unicornn-C.4-depth``.

    Arguments:
        targets: (time, batch, d), by default uniform in (-1, 1): our choice.

    Measured: the largest |dE / d theta| of each parameter and sample, by autodiff in float64.
    """
    where = "unicornn-3.1"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting)
    targets = _targets(targets, one, seed, where)
    bound = gradient_bound(one.layers, one.inputs.shape[0], float(targets.abs().max()))
    names, measured = largest_gradients(one.network, one.inputs, targets)
    hypotheses = gradient_hypotheses(one.network, one.layers, one.inputs, bound.gamma)
    largest = int(measured.max(1).argmax())
    values = xr.DataArray(
        measured,
        {"parameter": names},
        ("parameter", "batch"),
        attrs={"units": "1", "long_name": "max |dE / d theta|"},
    )
    return finding(
        key="unicornn-3.1",
        reference="UnICORNN, Prop. 3.1, Eq. (12); Prop. C.2, Eq. (14)",
        statement=STATEMENT,
        relation="<=",
        bound=xr.DataArray(bound.proved, attrs={"units": "1", "long_name": "Eq. (14), constants of its proof"}),
        measured=values,
        hypotheses=hypotheses,
        extra={
            "bound_as_printed": xr.DataArray(bound.printed, attrs={"units": "1", "long_name": "Eq. (12)"}),
            "tightness": values / bound.proved,
        },
        note=f"{missed(hypotheses)}|dE / d theta| at most {measured[largest].max():.2g}, by {names[largest]}: "
        f"{measured[largest].max() / bound.proved:.1e} of the bound",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-3.1", STATEMENT, "UnICORNN, Prop. 3.1, Eq. (12); Prop. C.2, Eq. (14)", CELLS, proposition_3_1
    ),
)
