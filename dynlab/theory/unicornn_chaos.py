"""Whether UnICORNN is chaotic, and where: its largest exponent over (dt, alpha, input amplitude).

Index conventions: n time step, b batch, N number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell
from dynlab.probes.exponents import LyapunovSpectrum
from dynlab.recording import record
from dynlab.theory.base import Hypothesis, Proposition, finding
from dynlab.theory.unicornn_driving import half_period, modulated, square_wave
from dynlab.theory.unicornn_settings import Setting, find_setting, table_6
from dynlab.theory.unicornn_subject import CELLS, missed, stiffness, subject

DRIVES = ("noise", "square wave")


def cubic(steps: int) -> float:
    """What a gradient that grows as N^3, the bound of section 3, gives as its exponent, 3 log N / N."""
    return 3 * math.log(steps) / steps


def chaos(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "imdb",
    steps: int = 16_000,
) -> xr.Dataset:
    """The gradient grows "at most as (N dt)^3" (section 3), and UnICORNN is "not chaotic by design" (appendix D).

    So the largest Lyapunov exponent over N steps is at most 3 log N / N, apart from a constant over N, and tends to 0.
    Hypotheses: a stable step, h^2 (alpha + max(w, 0)) < 4; so what is found is the oscillators' own.

    By default one layer with dt and alpha of Table 6's imdb, its w over (0, 1] and V = 1 (``modulated``), under
    standard normal noise. alpha = 0, so that the input moves the whole stiffness w sigma'. N is that of the longest
    sequences of Table 6 rather than of a review: in 250 steps the growth is a factor of e or so.

    Measured: the largest exponent of each sample, by QR, in nats a step. ``sum`` of all exponents is 0: volume is
    conserved, gradients explode nevertheless. ``exponent_against_steps``: over the first quarter too, beside ``cubic``.
    """
    where = "unicornn-chaos"
    row = find_setting(setting, where)
    one = subject(
        modulated(row.dt, row.alpha, 8) if cell is None else cell, inputs, where=where, seed=seed, steps=steps
    )
    if cell is None:
        one.attrs["setting"] = f"dt and alpha of UnICORNN Table 6, {row.name}; one layer, w over (0, 1]: our choice"
    N = one.inputs.shape[0]
    lengths = sorted({max(1, N // 4), N})
    found = [record(one.network, one.inputs[:n], [LyapunovSpectrum()]).lyapunov_exponent for n in lengths]
    hypotheses = [Hypothesis("h^2 (alpha + max(w, 0)) < 4", stiffness(one.layers) < 4, stiffness(one.layers), 4.0)]
    grown = "; ".join(
        f"N = {n}: exponent {value:.2g}, growth e^{n * value:.3g} (N^3 = e^{n * cubic(n):.3g})"
        for n, value in zip(lengths, (float(one.isel(mode=0).max()) for one in found), strict=True)
    )
    return finding(
        key=where,
        reference="UnICORNN, section 3, after Prop. 3.1; appendix D",
        statement="largest Lyapunov exponent over N steps <= 3 log N / N",
        relation="<=",
        bound=xr.DataArray(cubic(N), attrs={"units": "nat/step", "long_name": "growth as N^3"}),
        measured=found[-1].isel(mode=0, drop=True),
        hypotheses=hypotheses,
        extra={
            "sum": found[-1].sum("mode"),
            "exponent_against_steps": xr.DataArray(
                [one.isel(mode=0).values for one in found],
                {"steps": lengths},
                ("steps", "batch"),
                attrs={"units": "nat/step", "long_name": "largest Lyapunov exponent"},
            ),
            "cubic": xr.DataArray(
                [cubic(n) for n in lengths], {"steps": lengths}, ("steps",), attrs={"units": "nat/step"}
            ),
        },
        note=f"{missed(hypotheses)}{grown}; exponents sum to {float(abs(found[-1].sum('mode')).max()):.1g}",
        **one.attrs,
    )


def _largest(dt: float, alpha: float, amplitudes: Sequence[float], steps: int, noise: Tensor) -> np.ndarray:
    """Largest exponent of one unit with w = 1 and h = dt / 2, (drive, amplitude)."""
    layer = modulated(dt, alpha, units=1)
    wave = square_wave(steps, half_period(dt / 2, alpha, 1.0), 1.0)
    sizes = torch.tensor(amplitudes, dtype=torch.float64)[:, None]
    inputs = torch.cat([noise * sizes, wave * sizes], dim=1)
    found = record(layer, inputs, [LyapunovSpectrum(k=1)]).lyapunov_exponent
    return found.values[:, 0].reshape(2, -1)


def driving_map(
    dts: Sequence[float] = (0.05, 0.1, 0.2, 0.5),
    alphas: Sequence[float] = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0),
    amplitudes: Sequence[float] = (0.3, 1.0, 3.0, 10.0),
    *,
    steps: int = 10_000,
    seed: int = 0,
) -> xr.Dataset:
    """The largest Lyapunov exponent of a unit over (dt, alpha, input amplitude), from rest.

    One unit with w = 1, V = 1, b = 0 and h = dt / 2. "noise" is standard normal, a draw a step, times the amplitude;
    "square wave" is 0 and the amplitude in turn, with half the unit's natural period. Both are our choice.

    Returns:
        exponent (drive, dt, alpha, amplitude) in nats a step, and at Table 6's rows setting_exponent (drive, setting,
        amplitude); ``cubic``, 3 log N / N, above which growth is faster than the paper's bound; setting_dt,
        setting_alpha. The two exponents of a unit sum to 0.
    """
    _check.integer("steps", steps, "driving_map", least=2)
    noise = torch.randn(steps, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid = [[_largest(dt, alpha, amplitudes, steps, noise) for alpha in alphas] for dt in dts]
    rows = table_6()
    settings = [_largest(row.dt, row.alpha, amplitudes, steps, noise) for row in rows.values()]
    attrs = {"units": "nat/step", "long_name": "largest Lyapunov exponent"}
    return xr.Dataset(
        {
            "exponent": (("drive", "dt", "alpha", "amplitude"), np.moveaxis(np.array(grid), 2, 0), attrs),
            "setting_exponent": (("drive", "setting", "amplitude"), np.stack(settings, 1), attrs),
            "cubic": ((), cubic(steps), {"units": "nat/step", "long_name": "growth as N^3"}),
            "setting_dt": (("setting",), [row.dt for row in rows.values()], {"units": "1"}),
            "setting_alpha": (("setting",), [row.alpha for row in rows.values()], {"units": "1"}),
        },
        {
            "drive": list(DRIVES),
            "dt": list(dts),
            "alpha": list(alphas),
            "amplitude": list(amplitudes),
            "setting": list(rows),
        },
        {"reference": "UnICORNN, section 3, appendix D, Table 6", "seed": seed, "T": steps},
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition(
        "unicornn-chaos",
        "largest Lyapunov exponent over N steps <= 3 log N / N",
        "UnICORNN, section 3, after Prop. 3.1; appendix D",
        CELLS,
        chaos,
    ),
)
