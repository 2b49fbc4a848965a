"""Exponential growth in UnICORNN: what an input that modulates the stiffness of its oscillators does.

The step's linearisation is y'' = -(w sigma'(w y + V u + b) + alpha) y, a Hill equation: the input moves sigma', and
with it the frequency. Its exponents come in pairs +-lambda; nothing keeps lambda at 0.

Index conventions: n time step, b batch, i unit; h = dt sigmoid(c), P steps a period of the input.
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
from dynlab.probes.exponents import LyapunovSpectrum
from dynlab.recording import record
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_settings import Setting, find_setting
from dynlab.theory.unicornn_subject import CELLS, listed, missed, refined, step_sizes, stiffness, subject

# Rounding in the modulus of an eigenvalue near 1, sqrt(eps) where two of them meet: our choice.
MODULUS = 1e-7


class Response(NamedTuple):
    """The response of period P to an input of period P, of each unit.

    Attributes:
        state: at the start of a period, (n,). multipliers: eigenvalues of d state_P / d state_0, (unit, 2).
        exponents: log of the larger modulus, a step, (unit,).
    """

    state: Tensor
    multipliers: np.ndarray
    exponents: np.ndarray


def monodromy(layer: UnICORNN, inputs: Tensor, state: Tensor) -> tuple[Tensor, np.ndarray]:
    """The state after one period (n,), and d state_P / d state_0 of each unit (unit, 2, 2)."""
    with torch.no_grad():
        states = layer.scan(inputs, state[None])
    blocks = layer.linearization(inputs, states[:-1]).jacobian.blocks[:, 0].permute(0, 3, 1, 2).numpy()  # type: ignore[attr-defined]
    product = np.broadcast_to(np.eye(2), blocks.shape[1:])
    for block in blocks:
        product = block @ product
    return states[-1, 0], product


def periodic_response(layer: UnICORNN, inputs: Tensor, stages: int = 10) -> Response:
    """The periodic orbit that grows out of rest as the input is turned up in ``stages``, by Newton's method.

    Arguments:
        inputs: one period, (P, 1, f).

    Raises:
        ValueError: if it is lost on the way, as where a unit is in resonance with the input.
    """
    state = torch.zeros(layer.state_size, dtype=torch.float64)
    for stage in range(1, stages + 1):
        for _ in range(30):
            after, product = monodromy(layer, inputs * (stage / stages), state)
            miss = (after - state).reshape(2, -1).T.numpy()
            if np.abs(miss).max() < 1e-13 * max(1.0, float(state.abs().max())):
                break
            try:
                move = np.linalg.solve(np.eye(2) - product, miss[..., None])[..., 0]
            except np.linalg.LinAlgError:
                raise ValueError(
                    "periodic_response: expected an orbit of the input's period, got a multiplier of 1, at which there "
                    "is none or a continuum; another period or a weaker input keeps clear of resonance"
                ) from None
            state = state + torch.from_numpy(np.ascontiguousarray(move.T)).reshape(-1)
    after, product = monodromy(layer, inputs, state)
    miss_after = float((after - state).abs().max())
    if not miss_after < 1e-9 * max(1.0, float(state.abs().max())):
        raise ValueError(
            f"periodic_response: expected an orbit of the input's period, got one that misses by {miss_after:.1e} "
            "after Newton's method; another period or a weaker input keeps clear of resonance"
        )
    multipliers = np.linalg.eigvals(product)
    return Response(state, multipliers, np.log(np.abs(multipliers).max(-1)) / len(inputs))


def half_period(h: float, alpha: float, w: float) -> int:
    """Half the natural period in steps, where a stiffness that is modulated between alpha and alpha + w drives most."""
    stiffness = alpha + max(w, 0) / 2
    if stiffness <= 0:
        raise ValueError(f"half_period: expected an oscillator, alpha + w / 2 > 0, got alpha = {alpha}, w = {w}")
    return max(2, round(math.pi / math.acos(max(-1.0, 1 - h**2 * stiffness / 2))))


def modulated(dt: float, alpha: float, units: int = 16) -> UnICORNN:
    """w evenly over (0, 1], V = 1, b = 0, h = dt / 2 (c = 0): appendix A's ranges, V our choice."""
    with torch.random.fork_rng(devices=[]):  # drawn, then replaced
        layer = UnICORNN(1, units, dt=dt, alpha=alpha).double()
    with torch.no_grad():
        layer.weight_ih.fill_(1.0)
        layer.c.zero_()
        layer.weight_hh.copy_(torch.arange(1, units + 1) / units)
    return layer


def square_wave(steps: int, period: int, amplitude: float) -> Tensor:
    """0 for the first half of each period, ``amplitude`` for the rest, (time, 1, 1)."""
    high = torch.arange(steps) % period >= period / 2
    return (amplitude * high.double())[:, None, None]


def parametric(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "healthcare-rr",
    amplitude: float = 5.0,
    periods: int = 50,
) -> xr.Dataset:
    """Multipliers of the periodic response stay on the unit circle: no exponential growth (section 3, after Prop. 3.1).

    "There is no exponential growth of the gradient with respect to the number of time steps", at any dt that is "small
    enough". Hypotheses: a step that is stable for each stiffness in the range of sigma', h^2 (alpha + max(w, 0)) < 4;
    so what is found is no failure of the discretisation.

    By default one layer with dt and alpha of Table 6's healthcare-rr, w over (0, 1], under a square wave between
    V u = 0 (sigma' = 1) and 5 (sigma' = 0) at half the natural period of the middle unit: parametric resonance, where
    2 x 2 blocks of determinant 1 have a trace beyond 2.

    Arguments:
        inputs: one period, (P, 1, f); of a network, its first layer is driven. periods: for ``lyapunov_exponent``.

    Measured: log of the largest modulus of each unit's Floquet multipliers, in nats a step, by the product of 2 x 2
    blocks over one period of the orbit found by Newton's method; to be <= 0 within 1e-7 / P. ``lyapunov_exponent``:
    the probe's, along that orbit for ``periods``; ``sum`` of all of them. ``exponent_at_dt``: the largest one a unit of
    time as dt is divided by 1, 2, 4.
    """
    where = "unicornn-driving"
    row = find_setting(setting, where)
    one = subject(modulated(row.dt, row.alpha) if cell is None else cell, inputs, where=where, seed=seed, steps=2)
    if cell is None:
        one.attrs["setting"] = f"dt and alpha of UnICORNN Table 6, {row.name}; one layer, w over (0, 1]: our choice"
    layer = one.layers[0]
    middle = int(layer.weight_hh.detach().argsort()[layer.hidden_size // 2])
    if inputs is not None:
        _check.shaped("inputs", one.inputs, ("P", 1, layer.input_size), where)
        period = one.inputs
    else:
        P = half_period(float(step_sizes(layer)[middle]), layer.alpha, float(layer.weight_hh.detach()[middle]))
        reach = layer.weight_ih.detach().abs().sum(1).max()
        period = (square_wave(P, P, amplitude) / reach).expand(-1, -1, layer.input_size)
        one.attrs["inputs"] = f"square wave of {P} steps, V u up to {amplitude}"
    response = periodic_response(layer, period)
    found = record(layer, period.repeat(periods, 1, 1), [LyapunovSpectrum()], state=response.state[None])
    factors = (1, 2, 4)
    by_dt = []
    for factor in factors:
        finer: UnICORNN = refined(Network([layer]), factor).layers[0]  # type: ignore[assignment]
        by_dt.append(periodic_response(finer, period.repeat_interleave(factor, 0)).exponents.max() / finer.dt)
    one.attrs["T"] = len(period) * periods
    hypotheses = [Hypothesis("h^2 (alpha + max(w, 0)) < 4", stiffness([layer]) < 4, stiffness([layer]), 4.0)]
    tolerance, worst = MODULUS / len(period), int(response.exponents.argmax())
    total = float(found.lyapunov_exponent[0].sum("mode"))
    return finding(
        key=where,
        reference="UnICORNN, section 3, after Prop. 3.1",
        statement="|multiplier| <= 1 for the periodic response to a periodic input",
        relation="<=",
        bound=xr.DataArray(0.0, attrs={"units": "nat/step"}),
        measured=xr.DataArray(
            response.exponents, dims=("unit",), attrs={"units": "nat/step", "long_name": "Floquet exponent"}
        ),
        tolerance=tolerance,
        hypotheses=hypotheses,
        extra={
            "multiplier_modulus": xr.DataArray(
                np.abs(response.multipliers), dims=("unit", "pair"), attrs={"units": "1"}
            ),
            "lyapunov_exponent": found.lyapunov_exponent[0],
            "sum": found.lyapunov_exponent[0].sum("mode"),
            "exponent_at_dt": xr.DataArray(
                by_dt,
                {"dt": [layer.dt / factor for factor in factors]},
                ("dt",),
                attrs={"units": "nat/time", "long_name": "largest Floquet exponent"},
            ),
        },
        note=f"{missed(hypotheses)}{int((response.exponents > tolerance).sum())} of {layer.hidden_size} units grow, "
        f"at most {response.exponents[worst]:.2g} nat/step (w = {float(layer.weight_hh.detach()[worst]):.2g}, "
        f"P = {len(period)}); {listed(by_dt)} nat/time with dt / {', '.join(map(str, factors))}; "
        f"exponents sum to {total:.1g}",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-driving",
        "|multiplier| <= 1 for the periodic response to a periodic input",
        "UnICORNN, section 3, after Prop. 3.1",
        CELLS,
        parametric,
    ),
)
