"""What there is to show in a recording. No widget is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

GRADIENTS = {
    "log_live_gradient_norm": "dL/d state_t, live batch",
    "log_gradient_norm": "d state_T/d state_t, held batch",
    "log_gradient_norm_by_layer": "d state_T/d state_t, held batch",
}
EIGENVALUES = {
    "end_to_end_eigenvalue": "of d state_T/d state_0",
    "step_eigenvalue": "of all step Jacobians",
}
RANKED = {
    "log_singular_value": "singular values of d state_T/d state_0",
    "log_end_to_end_modulus": "|eigenvalues| of d state_T/d state_0",
    "lyapunov_exponent": "Lyapunov exponents",
}
WEIGHTS = {
    "weight_norm": "norms of parameters",
    "weight_max": "largest entries of parameters",
    "parameter_gradient_norm": "norms of dL/d parameter",
}


def present(data: xr.Dataset, names: dict[str, str]) -> dict[str, str]:
    """Variables among ``names`` that the recording has, by what they are called in the widget."""
    return {meaning: name for name, meaning in names.items() if name in data}


def gradients(data: xr.Dataset) -> dict[str, tuple[str, int | None]]:
    """What can be shown over step and t: (variable, layer) by name; no layer where there is one or none."""
    found: dict[str, tuple[str, int | None]] = {}
    for name, meaning in GRADIENTS.items():
        if name not in data:
            continue
        layers = data.sizes["layer"] if "layer" in data[name].dims else 1
        if layers == 1 and meaning not in found:
            found[meaning] = (name, None)
        elif layers > 1:
            found |= {f"{meaning}, layer {layer}": (name, layer) for layer in range(layers)}
    return found


def gradient(data: xr.Dataset, variable: str, layer: int | None = None) -> xr.DataArray:
    """Natural logarithms over (step, time), the mean of samples'; the second dim is "time" or "live_time"."""
    values = data[variable]
    if "layer" in values.dims:
        values = values.isel(layer=layer or 0)
    if "batch" in values.dims:
        values = values.mean("batch", skipna=False)
    return values


def time_steps(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Smallest, median and largest effective time-step, (step, 3), by layer, and by inner step where they differ."""
    found: dict[str, np.ndarray] = {}
    for name in sorted(str(name) for name in data.data_vars if str(name).startswith("time_step")):
        values = data[name]
        of = name.removeprefix("time_step").removeprefix("_").replace("layer", "layer ")
        groups = [str(dim) for dim in values.dims if dim == "layer" or str(dim).partition("_")[0] == "k"]
        others = [dim for dim in values.dims if dim not in ("step", *groups)]
        three = np.moveaxis(values.quantile([0, 0.5, 1], others).transpose("quantile", "step", *groups).values, 0, -1)
        for index in np.ndindex(three.shape[1:-1]):
            parts = [f"{dim.partition('_')[0]} {data[dim].values[i]}" for dim, i in zip(groups, index, strict=True)]
            label = ", ".join(filter(None, [of, *parts])) or "time-step"
            found[label] = three[(slice(None), *index)]
    return found
