"""Where UnICORNN's bounds hold, and how tight they are, over (dt, alpha, N) and at Table 6's settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from dynlab import _check
from dynlab.network import Network
from dynlab.theory.unicornn_driving import half_period, modulated, square_wave
from dynlab.theory.unicornn_gradient import gradient_bound, largest_gradients
from dynlab.theory.unicornn_resonance import resonant_cell, resonant_inputs
from dynlab.theory.unicornn_settings import Setting, table_6
from dynlab.theory.unicornn_state import small_step, state_bounds, state_hypotheses
from dynlab.theory.unicornn_subject import layers_of, subject
from dynlab.trace import rollout

QUANTITIES = ("y", "z", "gradient")
# Of V u in parametric driving: sigma' between 1 and almost 0. Our choice.
AMPLITUDE = 5.0


def _states(network: Network, inputs: torch.Tensor, steps: Sequence[int]) -> np.ndarray:
    """max over n <= N of measured / bound of y and z, Eq. (7), the largest over layers, (quantity, steps).

    Infinite beyond float range.
    """
    trace = rollout(network, inputs)
    n = np.arange(1, trace.steps + 1)
    tightest = np.zeros((2, trace.steps))
    for layer, where in zip(layers_of(network), network.layer_slices, strict=True):
        largest = np.stack([half.abs().amax((1, 2)).numpy() for half in trace.states[1:, :, where].chunk(2, -1)])
        tightest = np.maximum(tightest, largest / state_bounds(layer.alpha, n * layer.dt))
    worst = np.maximum.accumulate(tightest, -1)
    return np.stack([worst[:, N - 1] if N <= trace.steps else np.full(2, np.inf) for N in steps], -1)


def _gradients(network: Network, inputs: torch.Tensor, steps: Sequence[int]) -> np.ndarray:
    """measured / bound of the gradient, Eq. (14), with targets 0, (steps,); infinite beyond float range."""
    found = []
    for N in steps:
        bound = gradient_bound(layers_of(network), N, 0.0).proved
        targets = torch.zeros(N, inputs.shape[1], network.hidden_size, dtype=torch.float64)
        if not np.isfinite(bound):
            found.append(0.0)
        elif rollout(network, inputs[:N]).steps < N:
            found.append(np.inf)
        else:
            largest = largest_gradients(network, inputs[:N], targets)[1].max()
            found.append(largest / bound if np.isfinite(largest) else np.inf)
    return np.array(found)


def _proved(network: Network, steps: Sequence[int]) -> np.ndarray:
    """Whether "dt << 1" holds as the proofs of Eqs. (11) and (27) use it, and alpha > 0, (quantity, steps)."""
    layers = layers_of(network)
    gamma, dt = gradient_bound(layers, 1, 0.0).gamma, max(layer.dt for layer in layers)
    state = [all(one.holds for one in state_hypotheses(layers, N)) for N in steps]
    gradient = [holds and small_step("gamma", dt, N, gamma).holds for holds, N in zip(state, steps, strict=True)]
    return np.array([state, state, gradient])


def _at(row: Setting, steps: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A setting's ratios under noise and under driving, and where the proofs apply, each (quantity, steps)."""
    one = subject(None, None, where="bounds_map", seed=seed, setting=row, steps=max(steps), hidden_size=8)
    noise = np.vstack([_states(one.network, one.inputs, steps), _gradients(one.network, one.inputs, steps)])
    forced, swung = resonant_cell(row.dt, row.alpha), modulated(row.dt, row.alpha, units=1)
    wave = square_wave(max(steps), half_period(row.dt / 2, row.alpha, 1.0), AMPLITUDE)
    states = _states(Network([forced]), resonant_inputs(forced, max(steps)), steps)
    return noise, np.vstack([states, _gradients(Network([swung]), wave, steps)]), _proved(one.network, steps)


def bounds_map(
    dts: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3),
    alphas: Sequence[float] = (0.01, 0.1, 1.0, 3.0, 13.0, 30.0),
    steps: Sequence[int] = (10, 100, 1000, 10_000),
    *,
    seed: int = 0,
) -> xr.Dataset:
    """How far from their bounds the states (Prop. C.1) and the gradient (Prop. 3.1) are, and where the proofs apply.

    Noise: one layer of 8 units, initial values of appendix A, standard normal input; Table 6's rows with their own
    layers, time-steps and N. Driving: one unit, and for each quantity the square wave that moves it most. The states:
    h = dt and a saturating wave in step with the oscillation (``unicornn_resonance``). The gradient: w = 1, h = dt / 2
    and a wave of 0 and 5 at half the natural period (``unicornn_driving``), for a saturated tanh passes no gradient on.
    Targets are 0. Our choices.

    Returns:
        tightness (quantity, dt, alpha, steps), max over n <= N of measured / bound, above 1 where the bound is broken,
        0 where it is infinite (alpha = 0), infinite beyond float range; driven_tightness, likewise; proved, likewise,
        whether "dt << 1" holds as the proof uses it. The same with setting_ in front for Table 6's rows,
        (quantity, setting), at setting_dt, setting_alpha and setting_steps.
    """
    for count in steps:
        _check.integer("steps", count, "bounds_map")
    grid = [[_at(Setting("grid", dt, alpha, 1, max(steps), "grid"), steps, seed) for alpha in alphas] for dt in dts]
    rows = table_6()
    points = [_at(row, [row.steps], seed) for row in rows.values()]
    attrs = {"units": "1", "long_name": "measured / bound"}
    variables: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {}
    for index, name in enumerate(("tightness", "driven_tightness", "proved")):
        values = np.array([[point[index] for point in line] for line in grid])
        own = {"units": "1", "long_name": "whether the proof applies"} if name == "proved" else attrs
        variables[name] = (("quantity", "dt", "alpha", "steps"), np.moveaxis(values, 2, 0), own)
        of_settings = np.stack([point[index][:, 0] for point in points], -1)
        variables[f"setting_{name}"] = (("quantity", "setting"), of_settings, own)
    for name, unit in (("dt", "1"), ("alpha", "1"), ("steps", "step")):
        values = np.array([getattr(row, name) for row in rows.values()])
        variables[f"setting_{name}"] = (("setting",), values, {"units": unit})
    coords = {
        "quantity": list(QUANTITIES),
        "dt": list(dts),
        "alpha": list(alphas),
        "steps": list(steps),
        "setting": list(rows),
    }
    return xr.Dataset(variables, coords, {"reference": "UnICORNN, Props. C.1 and 3.1, Table 6", "seed": seed})
