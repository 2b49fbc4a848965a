"""An input that breaks UnICORNN's Prop. C.1 at any time-step.

Index conventions: n time step, i unit; h = dt sigmoid(c), t_n = n dt.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Proposition, finding
from dynlab.theory.unicornn_state import beta, state_bounds, state_hypotheses
from dynlab.theory.unicornn_subject import CELLS, listed, missed, refined, step_sizes, subject
from dynlab.trace import rollout

# Pre-activations of this size leave |tanh| = 1 in float64, whatever w y adds at the sizes met here: our choice.
SATURATING = 1e3


def resonant_inputs(layer: UnICORNN, steps: int) -> Tensor:
    """A square wave in step with the oscillation of a single unit while tanh is saturated, (time, 1, f).

    The unit then is z <- z - h (alpha y + s_n), y <- y + h z with s_n = +-1, whose free motion turns by theta a step,
    cos theta = 1 - alpha h^2 / 2. A constant where alpha = 0.
    """
    v = layer.weight_ih.detach()[0]
    if not bool(v.abs().sum() > 0):
        raise ValueError("unicornn-C.1-resonance: expected a unit that reads the input, got V = 0")
    theta = math.acos(max(-1.0, 1 - layer.alpha * float(step_sizes(layer)[0]) ** 2 / 2))
    signs = torch.where(torch.sin(theta * (torch.arange(steps) + 0.5)) >= 0, 1.0, -1.0).to(v)
    return (signs[:, None] * SATURATING * v / v.square().sum())[:, None]


def resonant_cell(dt: float, alpha: float) -> UnICORNN:
    """One unit of w = 1/2, the mean of appendix A's, V = 1 and h = dt (c = 40): our choice."""
    with torch.random.fork_rng(devices=[]):  # drawn, then replaced
        cell = UnICORNN(1, 1, dt=dt, alpha=alpha).double()
    with torch.no_grad():
        for parameter, value in ((cell.weight_hh, 0.5), (cell.weight_ih, 1.0), (cell.bias, 0.0), (cell.c, 40.0)):
            parameter.fill_(value)
    return cell


def single_unit(layer: UnICORNN, unit: int) -> UnICORNN:
    """A layer of this unit alone, which is the same dynamics: units do not interact."""
    part = copy.deepcopy(layer)
    part.hidden_size, part.state_size = 1, 2
    for name in ("weight_ih", "weight_hh", "bias", "c"):
        setattr(part, name, nn.Parameter(getattr(layer, name).detach()[unit : unit + 1].clone()))
    return part


def resonance(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    alpha: float = 1.0,
    dt: float = 0.1,
    T: float | None = None,
    factors: tuple[int, ...] = (1, 2, 4, 8),
) -> xr.Dataset:
    """Prop. C.1 read as it stands: for every t_n, once dt is small enough.

    Statement, source: as ``unicornn-C.1``, Eq. (7), without what its proof uses. Hypotheses: alpha > 0, dt < 1, rest at
    the start; and dt small, for which dt is divided by ``factors`` at a fixed T = N dt.

    A square wave in resonance makes |z| grow as (2 / pi) t, faster than sqrt(4 beta t), so the bound is crossed near
    t = pi^2 beta, at any dt. By default alpha = 1, which section 4 recommends, T = 2 pi^2 beta, and one unit with
    h = dt and a saturating input (``resonant_cell``). Of a user's network the first layer is driven, on the unit with
    the largest input weight; T is then that of ``inputs`` where they are given (their values are not used), otherwise
    longer by (dt / h)^2, for a smaller h slows the oscillator.

    Measured: max over n of |z_n| / bound, to be <= 1, at each dt.
    """
    where = "unicornn-C.1-resonance"
    one = subject(resonant_cell(dt, alpha) if cell is None else cell, inputs, where=where, seed=seed, steps=1)
    first = one.layers[0]
    driven = single_unit(first, int(first.weight_ih.detach().norm(dim=1).argmax()))
    share = float(step_sizes(driven)[0]) / driven.dt
    if T is not None:
        T = _check.number("T", T, where, above=0)
    elif inputs is not None:
        T = one.inputs.shape[0] * driven.dt
    else:
        T = 2 * math.pi**2 * beta(driven.alpha) / share**2
    ratios, crossed = [], []
    for factor in factors:
        layer: UnICORNN = refined(Network([driven]), factor).layers[0]  # type: ignore[assignment]
        speed = rollout(layer, resonant_inputs(layer, max(1, round(T / layer.dt)))).states[1:, 0, 1].abs().numpy()
        times = layer.dt * np.arange(1, len(speed) + 1)
        ratio = speed / state_bounds(layer.alpha, times)[1]
        ratios.append(ratio.max())
        crossed.append(times[(ratio > 1).argmax()] if ratio.max() > 1 else math.inf)
    dts = [driven.dt / factor for factor in factors]
    one.attrs.update(inputs="square wave at resonance", T=round(T / driven.dt))
    if cell is None:
        one.attrs["setting"] = f"alpha = {alpha}, h = dt: our choice"
    hypotheses = state_hypotheses([first], 1)[:2]
    found = [time for time in crossed if time < math.inf]
    when = f"crossed first at t = {min(found):.4g} to {max(found):.4g}" if found else "never crossed"
    return finding(
        key="unicornn-C.1-resonance",
        reference="UnICORNN, Prop. C.1, Eq. (7)",
        statement="|z_n| <= sqrt(2 (1 + 2 beta t_n)) for all n, once dt is sufficiently small",
        relation="<=",
        bound=xr.DataArray(1.0, attrs={"units": "1"}),
        measured=xr.DataArray(ratios, {"dt": dts}, ("dt",), attrs={"units": "1", "long_name": "max |z_n| / bound"}),
        hypotheses=hypotheses,
        extra={
            "crossing_time": xr.DataArray(
                crossed, {"dt": dts}, ("dt",), attrs={"units": "1 (time)", "long_name": "t_n where it is crossed first"}
            )
        },
        note=f"{missed(hypotheses)}max |z| / bound {listed(ratios, '.4g')} at dt = {listed(dts)}: "
        f"{ratios[-1] / ratios[0] - 1:+.2%} as dt falls by {dts[0] / dts[-1]:g}; {when}",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-C.1-resonance",
        "|z_n| <= sqrt(2 (1 + 2 beta t_n)) for all n, once dt is sufficiently small",
        "UnICORNN, Prop. C.1, Eq. (7)",
        CELLS,
        resonance,
    ),
)
