"""UnICORNN's gradient against depth, time-step, alpha and stacking.

Index conventions: n time step, b batch, L number of layers, S skipped layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from dynlab import _check
from dynlab.theory.unicornn_representation import default_target, final_gap, sensitivity
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import first_layers, subject


def gradient_against_depth(
    depths: Sequence[int] = (1, 2, 3, 4, 5, 6, 7),
    dts: Sequence[float] = (0.03, 0.126, 0.5),
    alphas: Sequence[float] = (0.0, 1.0, 13.0),
    residual: Sequence[int] = (0, 2, 3),
    *,
    T: float = 12.0,
    seed: int = 0,
    hidden_size: int = 16,
    batch: int = 2,
) -> xr.Dataset:
    """|dE_n / dw^1| against depth, dt, alpha and stacking, one factor changed at a time.

    Arguments:
        residual: S, 0 for dense stacking. T: t_n in time, the same for every dt. The input is the same signal for every
            dt, noise held for 0.5: our choice. The layers are drawn once; a shallower net is the lower part of a deep.

    Returns:
        gradient (alpha, dt, residual, L): Euclidean norm over the units, mean over samples.
    """
    _check.number("T", T, "gradient_against_depth", above=0)
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(max(1, round(T / 0.5)), batch, 1, generator=generator, dtype=torch.float64)
    values = np.empty((len(alphas), len(dts), len(residual), len(depths)))
    for index in np.ndindex(values.shape[:3]):
        alpha, dt, S = alphas[index[0]], dts[index[1]], residual[index[2]]
        row = Setting("own", dt, alpha, max(depths), 1, "our choice")
        n = max(1, round(T / dt))
        inputs = signal[(torch.arange(n) * dt / 0.5).long().clamp(max=len(signal) - 1)]
        one = subject(None, inputs, where="depth", seed=seed, setting=row, residual=S or None, hidden_size=hidden_size)
        for column, L in enumerate(depths):
            network = first_layers(one.network, L)
            target = default_target(network, batch, seed)
            found = sensitivity(network, inputs, final_gap(network, inputs, target)).contributions.sum(0)
            values[index][column] = float(found.norm(dim=-1).mean())
    return xr.Dataset(
        {"gradient": (("alpha", "dt", "residual", "L"), values, {"units": "1", "long_name": "|dE_n / dw^1|"})},
        {"alpha": list(alphas), "dt": list(dts), "residual": list(residual), "L": list(depths)},
        {"reference": "UnICORNN, Eqs. (74), (80)", "seed": seed, "T": T},
    )
