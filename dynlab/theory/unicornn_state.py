"""Bounds on UnICORNN's states: Prop. C.1, and the bound that we put in its place.

Index conventions: n time step, b batch, l layer, i unit; h = dt sigmoid(c), t_n = n dt.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab.cell import Cell
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import CELLS, missed, step_sizes, subject
from dynlab.trace import rollout

QUANTITIES = ("y", "z")


def beta(alpha: float) -> float:
    """The constant of Prop. C.1."""
    return max(1 + 2 * alpha, 4 * alpha**2)


def state_bounds(alpha: float, t: np.ndarray) -> np.ndarray:
    """Eq. (7) of Prop. C.1 at times t, (quantity, time); infinite for y at alpha = 0."""
    square = 2 * (1 + 2 * beta(alpha) * t)
    return np.stack([np.sqrt(square / alpha) if alpha else np.full_like(t, np.inf), np.sqrt(square)])


def small_step(name: str, dt: float, steps: int, rate: float) -> Hypothesis:
    """What the proofs of C.1 (Eq. 11) and C.2 (Eq. 27) take from "dt << 1": (1 + rate dt)^N <= 1 + 2 rate N dt."""
    power, linear = steps * math.log1p(rate * dt), math.log1p(2 * rate * steps * dt)
    return Hypothesis(f"N log(1 + {name} dt) <= log(1 + 2 {name} N dt)", power <= linear, power, linear)


def state_hypotheses(layers: list[UnICORNN], steps: int) -> list[Hypothesis]:
    """Those of Prop. C.1; of several layers the one that is farthest from fulfilling each."""
    return [
        Hypothesis("alpha > 0", all(layer.alpha > 0 for layer in layers), min(layer.alpha for layer in layers), 0.0),
        Hypothesis("dt < 1", all(layer.dt < 1 for layer in layers), max(layer.dt for layer in layers), 1.0),
        max(
            (small_step("beta", layer.dt, steps, beta(layer.alpha)) for layer in layers),
            key=lambda one: one.value - one.limit,
        ),
    ]


def at_rest(network: Network) -> Hypothesis:
    """Before Prop. C.1: y_0 = z_0 = 0."""
    largest = float(network.initial_state(1).abs().max())
    return Hypothesis("y_0 = z_0 = 0", largest == 0, largest, 0.0)


def largest_states(network: Network, inputs: Tensor) -> np.ndarray:
    """max over b and i of |y| and |z|, (quantity, layer, time 1..N); ends where a state leaves the float range."""
    trace = rollout(network, inputs)
    parts = [trace.states[1:, :, where] for where in network.layer_slices]
    return torch.stack(
        [torch.stack([half.abs().amax((1, 2)) for half in part.chunk(2, -1)]) for part in parts], 1
    ).numpy()


def _rows(values: np.ndarray, name: str) -> xr.DataArray:
    coords = {"quantity": list(QUANTITIES), "time": np.arange(1, values.shape[-1] + 1)}
    dims = ("quantity", "layer", "time") if values.ndim == 3 else ("quantity", "time")
    return xr.DataArray(values, coords, dims, attrs={"units": "1", "long_name": name})


def _tightest(tightness: np.ndarray) -> str:
    """How near y and z come to their bounds, and when: (quantity, layer, time)."""
    each = zip(QUANTITIES, tightness.max(1), strict=True)
    return "measured / bound at most " + ", ".join(
        f"{rows.max():.2g} (|{name}|, n = {1 + int(rows.argmax())})" for name, rows in each
    )


def proposition_c1(
    cell: Cell | None = None, inputs: Tensor | None = None, *, seed: int = 0, setting: str | Setting = "cifar10"
) -> xr.Dataset:
    """max_i |y_n| <= sqrt(2 (1 + 2 beta t_n) / alpha) and max_i |z_n| <= sqrt(2 (1 + 2 beta t_n)) (Prop. C.1, Eq. 7).

    beta = max(1 + 2 alpha, 4 alpha^2). Hypotheses: alpha > 0 (appendix C, before C.1; Table 6 has alpha = 0 twice, and
    the bound of y is then infinite), rest at the start, and "dt << 1 sufficiently small". We take of the latter what
    the proof uses: dt < 1, and (1 + beta dt)^n <= 1 + 2 beta n dt in Eq. (11). That is a condition on beta t_n, about
    <= 1.256, which no dt fulfils once t_n is larger; ``unicornn-C.1-resonance`` shows that the bound is then lost.

    Measured: the largest |y| and |z| of each layer at each step, over units and samples, with each layer's own dt and
    alpha. ``tightness`` is measured / bound.
    """
    one = subject(cell, inputs, where="unicornn-C.1", seed=seed, setting=setting)
    measured = largest_states(one.network, one.inputs)
    n = np.arange(1, measured.shape[-1] + 1)
    bound = np.stack([state_bounds(layer.alpha, n * layer.dt) for layer in one.layers], 1)
    hypotheses = [at_rest(one.network), *state_hypotheses(one.layers, one.inputs.shape[0])]
    largest = max(beta(layer.alpha) * layer.dt for layer in one.layers) * one.inputs.shape[0]
    return finding(
        key="unicornn-C.1",
        reference="UnICORNN, Prop. C.1, Eq. (7)",
        statement="|y_n| <= sqrt(2 (1 + 2 beta t_n) / alpha), |z_n| <= sqrt(2 (1 + 2 beta t_n))",
        relation="<=",
        bound=_rows(bound, "bound of the largest state"),
        measured=_rows(measured, "largest state"),
        hypotheses=hypotheses,
        extra={"tightness": _rows(measured / bound, "measured / bound")},
        note=f"{missed(hypotheses)}beta T = {largest:.4g}; {_tightest(measured / bound)}",
        **one.attrs,
    )


def linear_bounds(layer: UnICORNN, steps: int) -> np.ndarray:
    """The bound of ``linear_growth``, (quantity, time 1..N)."""
    n, h = np.arange(1, steps + 1), float(step_sizes(layer).max())
    z = n * h / math.sqrt(1 - layer.alpha * h**2 / 4)
    y = h * z * (n + 1) / 2
    return np.stack([np.minimum(y, z / math.sqrt(layer.alpha)) if layer.alpha else y, z])


def linear_growth(
    cell: Cell | None = None, inputs: Tensor | None = None, *, seed: int = 0, setting: str | Setting = "eigenworms"
) -> xr.Dataset:
    """|z_n| <= n h / sqrt(1 - alpha h^2 / 4) and |y_n| <= min(that / sqrt(alpha), h sum of that over 1..n): ours.

    In place of Prop. C.1, for alpha = 0 too, at every T. Proof: S(y, z) = alpha y^2 + z^2 - h alpha y z is kept by the
    step without tanh (see tests/probes/test_energy.py), and is positive where alpha h^2 < 4. The tanh adds the vector
    -h tanh(A) (h, 1), whose S is h^2 tanh(A)^2 <= h^2. By the triangle inequality sqrt(S_n) <= n h. The rest is
    S >= (1 - alpha h^2 / 4) max(z^2, alpha y^2), and y_n = h (z_1 + ... + z_n).

    Hypotheses: alpha h^2 < 4, which is where symplectic Euler is stable, and rest at the start. Nothing about T, w or
    the input. The growth, linear in t, is attained up to 2 / pi at resonance. h is the layer's largest. By default at
    Table 6's EigenWorms, where alpha = 0 and Prop. C.1 says nothing of y. Measured: as for ``unicornn-C.1``.
    """
    one = subject(cell, inputs, where="unicornn-C.1-linear", seed=seed, setting=setting)
    measured = largest_states(one.network, one.inputs)
    stable = [layer.alpha * float(step_sizes(layer).max()) ** 2 for layer in one.layers]
    hypotheses = [at_rest(one.network), Hypothesis("alpha h^2 < 4", max(stable) < 4, max(stable), 4.0)]
    if hypotheses[1].holds:
        bound = np.stack([linear_bounds(layer, measured.shape[-1]) for layer in one.layers], 1)
    else:
        bound = np.full_like(measured, np.inf)
    return finding(
        key="unicornn-C.1-linear",
        reference="ours, in place of UnICORNN Prop. C.1",
        statement="|z_n| <= n h / sqrt(1 - alpha h^2 / 4), |y_n| <= min(|z| bound / sqrt(alpha), h sum of |z| bounds)",
        relation="<=",
        bound=_rows(bound, "bound of the largest state"),
        measured=_rows(measured, "largest state"),
        hypotheses=hypotheses,
        extra={"tightness": _rows(measured / bound, "measured / bound")},
        note=f"{missed(hypotheses)}{_tightest(measured / bound)}, of N = {measured.shape[-1]}",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-C.1",
        "|y_n| <= sqrt(2 (1 + 2 beta t_n) / alpha), |z_n| <= sqrt(2 (1 + 2 beta t_n))",
        "UnICORNN, Prop. C.1, Eq. (7)",
        CELLS,
        proposition_c1,
    ),
    Proposition(
        "unicornn-C.1-linear",
        "|z_n| <= n h / sqrt(1 - alpha h^2 / 4), and y likewise: for alpha = 0 too, at every T",
        "ours, in place of UnICORNN Prop. C.1",
        CELLS,
        linear_growth,
    ),
)
