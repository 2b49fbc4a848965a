"""What UnICORNN's bound on the gradient leaves out: the width, and the size of the inputs.

Index conventions: n time step, b batch, l layer, i unit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from dynlab.cell import Cell
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Proposition, finding
from dynlab.theory.unicornn_gradient import STATEMENT, gradient_bound, gradient_hypotheses, largest_gradients
from dynlab.theory.unicornn_subject import CELLS, listed, missed, subject

CASES = ("wide layer", "large input")


def widened(network: Network, factor: int) -> Network:
    """The network with every unit of its top layer ``factor`` times: the same states and the same ||V||_inf."""
    network = copy.deepcopy(network)
    top = network.layers[-1]
    top.hidden_size, top.state_size = top.hidden_size * factor, top.state_size * factor
    for name in ("weight_ih", "weight_hh", "bias", "c"):
        setattr(top, name, nn.Parameter(getattr(top, name).detach().repeat_interleave(factor, 0)))
    skips = {key: skip.detach() for key, skip in network.skips.items()}
    last = str(len(network.layers) - 1)
    if last in skips:
        skips[last] = skips[last].repeat_interleave(factor, 0)
    with torch.random.fork_rng(devices=[]):
        wide = Network(network.layers, residual=network.residual)
    wide.skips = nn.ParameterDict({key: nn.Parameter(skip) for key, skip in skips.items()})
    return wide


def _example() -> Network:
    """Two layers of one unit with alpha = w = 1/2 and V = 1, h = dt = 0.02 (c = 40): our choice."""
    with torch.random.fork_rng(devices=[]):  # drawn, then replaced
        network = Network([UnICORNN(1, 1, dt=0.02, alpha=0.5) for _ in range(2)]).double()
    with torch.no_grad():
        for layer in network.layers:
            for name, value in (("weight_ih", 1.0), ("weight_hh", 0.5), ("bias", 0.0), ("c", 40.0)):
                getattr(layer, name).fill_(value)
    return network


def gaps(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    factors: Sequence[int] | None = None,
    largest_target: float = 100.0,
) -> xr.Dataset:
    """Eq. (14) as it stands: it knows neither the number of units nor the size of the inputs.

    Statement, source: as ``unicornn-3.1``. Hypotheses: the paper's "dt << 1", as there, but no bound on u, of which
    the paper has none. Two changes that leave every state, and the bound, as they are:

    - "wide layer": each unit of the top layer ``factor`` times. The gradients of the layers below are ``factor`` times
      as large, a sum over units where Eq. (41) has the infinity norm of a row.
    - "large input": u is ``factor`` times as large and V^1 as small. So is the gradient by V^1 as large as u, which
      Eq. (39) bounds by the states' bound, Eq. (7) for l = 0.

    By default two layers of one unit, N = 16 steps of constant input 1 at gamma T = 1.28, where every hypothesis holds;
    targets are all -``largest_target``.

    Measured: max |dE / d theta| over the bound, to be <= 1, by autodiff in float64.
    """
    where = "unicornn-3.1-gaps"
    if cell is None and inputs is None:
        inputs = torch.ones(16, 1, 1, dtype=torch.float64)
    one = subject(_example() if cell is None else cell, inputs, where=where, seed=seed)
    chosen = factors or ((1, 1000, 400_000) if cell is None else (1, 10, 100))
    steps, batch = one.inputs.shape[:2]
    ratios, bounds = np.empty((2, len(chosen))), np.empty((2, len(chosen)))
    for column, factor in enumerate(chosen):
        wide, scaled = widened(one.network, factor), copy.deepcopy(one.network)
        with torch.no_grad():
            scaled.layers[0].weight_ih.div_(factor)  # type: ignore[operator]
        for row, (network, u) in enumerate(((wide, one.inputs), (scaled, one.inputs * factor))):
            targets = torch.full((steps, batch, network.hidden_size), -largest_target, dtype=torch.float64)
            layers: list[UnICORNN] = network.layers  # type: ignore[assignment]
            bounds[row, column] = gradient_bound(layers, steps, largest_target).proved
            ratios[row, column] = largest_gradients(network, u, targets)[1].max() / bounds[row, column]
    gamma = gradient_bound(one.layers, steps, largest_target).gamma
    hypotheses = [
        one for one in gradient_hypotheses(one.network, one.layers, one.inputs, gamma) if "|u|" not in one.name
    ]
    ends = dict.fromkeys(f"{value:.4g}" for value in (bounds.min(), bounds.max()))
    if cell is None:
        one.attrs["setting"] = "two layers of one unit: our choice"
    return finding(
        key=where,
        reference="UnICORNN, Prop. C.2, Eqs. (14), (39), (41)",
        statement=f"{STATEMENT}, at every width m and every input u",
        relation="<=",
        bound=xr.DataArray(1.0, attrs={"units": "1"}),
        measured=xr.DataArray(
            ratios,
            {"case": list(CASES), "factor": list(chosen)},
            ("case", "factor"),
            attrs={"units": "1", "long_name": "max |dE / d theta| / bound"},
        ),
        hypotheses=hypotheses,
        note=f"{missed(hypotheses)}gradient / bound at factor {', '.join(map(str, chosen))}: "
        + "; ".join(f"{case} {listed(row, '.2g')}" for case, row in zip(CASES, ratios, strict=True))
        + f"; bound {' to '.join(ends)}",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-3.1-gaps",
        f"{STATEMENT}, at every width m and every input u",
        "UnICORNN, Prop. C.2, Eqs. (14), (39), (41)",
        CELLS,
        gaps,
    ),
)
