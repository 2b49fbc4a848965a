"""The Hamiltonian of UnICORNN under a constant input: how far it swings, and whether it drifts.

Index conventions: n time step, b batch, l layer, i unit; h = dt sigmoid(c).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab.cell import Cell
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import (
    CELLS,
    Subject,
    listed,
    missed,
    order,
    refined,
    step_sizes,
    stiffness,
    subject,
)
from dynlab.trace import rollout

FACTORS = (1, 2, 4, 8, 16)
SCHEMES = ("symplectic Euler", "explicit Euler")


def explicit_euler(layer: UnICORNN, inputs: Tensor, state: Tensor) -> Tensor:
    """The states (time 0..T, batch, n) where y moves with the old z: what Eq. (5) would be without its structure."""
    h, w, states = step_sizes(layer), layer.weight_hh.detach(), [state]
    y, z = state.chunk(2, -1)
    for term in layer.terms(inputs).detach().unbind(0):
        y, z = y + h * z, z - h * (torch.tanh(w * y + term) + layer.alpha * y)
        states.append(torch.cat([y, z], -1))
    return torch.stack(states)


def swing(layer: UnICORNN, inputs: Tensor, states: Tensor) -> np.ndarray:
    """max over samples and units of |H_n - H_0|, (time 0..T), each unit's own Hamiltonian; inf beyond float range."""
    with torch.no_grad():
        energy = layer.energy(torch.cat([inputs[:1], inputs]), states, from_rest=True)
    return np.nan_to_num((energy - energy[0]).abs().amax((1, 2)).numpy(), nan=np.inf, posinf=np.inf)


def held_layers(one: Subject) -> list[tuple[UnICORNN, Tensor, Tensor]]:
    """Each layer with the input that it reads at the last step, (1, batch, f), and the state it is in before it."""
    trace = rollout(one.network, one.inputs)
    with torch.no_grad():
        pairs = one.network.layer_inputs(trace.inputs[-1:], trace.states[-2:-1])
    return [(layer, inputs, states[0]) for layer, (inputs, states) in zip(one.layers, pairs, strict=True)]


def swings(held: Sequence[tuple[UnICORNN, Tensor, Tensor]], steps: int, factor: int, scheme: str) -> np.ndarray:
    """The swing of each layer under its constant input, dt divided by ``factor``, (layer, time 0..steps * factor)."""
    found = []
    for layer, inputs, state in held:
        finer: UnICORNN = refined(Network([layer]), factor).layers[0]  # type: ignore[assignment]
        constant = inputs.expand(steps * factor, -1, -1)
        states = finer.scan(constant, state) if scheme == SCHEMES[0] else explicit_euler(finer, constant, state)
        found.append(swing(finer, constant, states.detach()))
    return np.stack(found)


def energy_hypotheses(one: Subject) -> list[Hypothesis]:
    """Where each unit's motion is confined, and its discretisation stable at every y."""
    weakest = min(float(layer.weight_hh.detach().min()) if layer.alpha == 0 else np.inf for layer in one.layers)
    return [
        Hypothesis("h^2 (alpha + max(w, 0)) < 4", stiffness(one.layers) < 4, stiffness(one.layers), 4.0),
        Hypothesis("w > 0 where alpha = 0", weakest > 0, weakest, 0.0),
    ]


def energy_order(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    steps: int = 400,
    factors: Sequence[int] = FACTORS,
) -> xr.Dataset:
    """|H_n - H_0| = O(dt) under a constant input: what symplectic Euler makes of the Hamiltonian of Eq. (4).

    The paper says that the discretisation respects the Hamiltonian structure (section 2, Eq. 5) and leaves it there;
    that the energy swings by O(dt) is Sanz-Serna and Calvo's, whom it cites. Hypotheses: confined motion, which needs
    alpha > 0 or w > 0 (at alpha = 0 and w <= 0 a unit falls for ever), and h^2 (alpha + max(w, 0)) < 4, where the step
    is stable. Each layer is held at the input that it reads at the end of ``inputs`` (without a residual connection's
    share), from its state there; H counts from rest (``UnICORNN.energy``).

    Arguments:
        steps: steps of the cell's own dt; as many times more where dt is divided by one of ``factors``.

    Measured: the order in dt of max |H_n - H_0| over n, samples and units, of each layer: the slope of its logarithm
    over the three smallest dt, to be >= 1 within 0.1 for a finite dt.
    """
    where = "unicornn-energy"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, steps=100)
    layers = held_layers(one)
    sizes = np.array([[row.max() for row in swings(layers, steps, factor, SCHEMES[0])] for factor in factors]).T
    hypotheses = energy_hypotheses(one)
    # A swing beyond float range does not shrink with dt.
    orders = [
        order([1 / factor for factor in factors], values, where) if np.isfinite(values).all() else -np.inf
        for values in sizes
    ]
    return finding(
        key=where,
        reference="UnICORNN, Eqs. (4), (5)",
        statement="max |H_n - H_0| = O(dt) under a constant input",
        relation=">=",
        bound=xr.DataArray(1.0, attrs={"units": "1", "long_name": "order in dt"}),
        measured=xr.DataArray(orders, dims=("layer",), attrs={"units": "1", "long_name": "order in dt"}),
        tolerance=0.1,
        hypotheses=hypotheses,
        extra={
            "largest_swing": xr.DataArray(
                sizes,
                {"dt_share": [1 / factor for factor in factors]},
                ("layer", "dt_share"),
                attrs={"units": "1 (energy)", "long_name": "max |H_n - H_0|"},
            )
        },
        note=f"{missed(hypotheses)}order in dt by layer: {listed(orders, '.2f')}; largest swing "
        f"{listed(sizes.max(0), '.1e')} with dt divided by {', '.join(map(str, factors))}",
        **one.attrs,
    )


def energy_drift(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    steps: int = 4000,
) -> xr.Dataset:
    """max |H_n - H_0| does not grow with n under a constant input: "desirable long time behavior" (section 2.1).

    Hypotheses, input and state: as for ``unicornn-energy``. Our measure of the paper's words: the largest swing over
    the second half of ``steps``, to be at most that over the first half; 5 % more is allowed, for the halves meet a
    unit's extremes at different phases. ``explicit_ratio`` is the same for explicit Euler from the same state, whose
    energy grows by a factor of 1 + h^2 omega^2 a step. A changing input does work, and moves H by more: the bound
    on states, ``unicornn-C.1-linear``, is what is left.

    Measured: that ratio, of each layer. ``swing`` (scheme, layer, time): |H_n - H_0|, largest over samples and units,
    at up to 400 times.
    """
    where = "unicornn-energy-drift"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, steps=100)
    layers = held_layers(one)
    found = np.stack([swings(layers, steps, 1, scheme) for scheme in SCHEMES])
    halves = found[..., 1 : steps // 2 + 1].max(-1), found[..., steps // 2 + 1 :].max(-1)
    if not (halves[0] > 0).all():
        raise ValueError(f"{where}: expected every layer to move, got one at rest under its input")
    beyond = np.isinf(halves[1])
    ratios = np.where(beyond, np.inf, np.where(beyond, 1, halves[1]) / np.where(np.isinf(halves[0]), 1, halves[0]))
    hypotheses = energy_hypotheses(one)
    times = np.unique(np.linspace(0, steps, min(steps, 400) + 1).round().astype(int))
    return finding(
        key=where,
        reference="UnICORNN, section 2.1, Eqs. (4), (5)",
        statement="max |H_n - H_0| over the second half of a run <= over the first, under a constant input",
        relation="<=",
        bound=xr.DataArray(1.0, attrs={"units": "1"}),
        measured=xr.DataArray(
            ratios[0], dims=("layer",), attrs={"units": "1", "long_name": "second half / first half"}
        ),
        tolerance=0.05,
        hypotheses=hypotheses,
        extra={
            "explicit_ratio": xr.DataArray(ratios[1], dims=("layer",), attrs={"units": "1"}),
            "swing": xr.DataArray(
                found[..., times],
                {"scheme": list(SCHEMES), "time": times},
                ("scheme", "layer", "time"),
                attrs={"units": "1 (energy)", "long_name": "max |H_n - H_0|"},
            ),
        },
        note=f"{missed(hypotheses)}second half / first half at most 1 {ratios[0].max() - 1:+.1e} over {steps} steps; "
        f"explicit Euler from the same states {ratios[1].min():.1e} to {ratios[1].max():.1e}",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-energy",
        "max |H_n - H_0| = O(dt) under a constant input",
        "UnICORNN, Eqs. (4), (5)",
        CELLS,
        energy_order,
    ),
    Proposition(
        "unicornn-energy-drift",
        "max |H_n - H_0| does not grow with n under a constant input",
        "UnICORNN, section 2.1, Eqs. (4), (5)",
        CELLS,
        energy_drift,
    ),
)
