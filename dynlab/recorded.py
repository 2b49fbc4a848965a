"""The parts of one record of the ``Recorder``, each a Dataset.

Index conventions: t time, b batch, n state, l layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dynlab.adjoints import Adjoints
from dynlab.cell import Cell
from dynlab.network import Network
from dynlab.probes import TimeSteps
from dynlab.probes.base import Probe
from dynlab.recording import record
from dynlab.recording_store import Template
from dynlab.trace import StateOverflow

if TYPE_CHECKING:
    import xarray as xr


def loss(value: Tensor | float) -> xr.Dataset:
    """The live batch's loss."""
    import xarray as xr

    number = float(value.detach()) if isinstance(value, Tensor) else float(value)
    return xr.Dataset({"loss": ((), np.float64(number), {"units": "loss", "long_name": "loss of the live batch"})})


def parameters(model: nn.Module) -> xr.Dataset:
    """Norms of every parameter and its gradient; NaN where it has none."""
    import xarray as xr

    named = dict(model.named_parameters())
    numbers = np.full((len(named), 3), np.nan)
    for row, parameter in zip(numbers, named.values(), strict=True):
        weight = parameter.detach()
        row[:2] = float(weight.norm()), float(weight.abs().max()) if weight.numel() else 0.0
        if parameter.grad is not None:
            row[2] = float(parameter.grad.norm())
    meanings = {
        "weight_norm": "Euclidean norm of the parameter",
        "weight_max": "largest absolute entry of the parameter (of a vector the infinity norm, UnICORNN Fig. 7)",
        "parameter_gradient_norm": "Euclidean norm of dL/d parameter of the live batch",
    }
    return xr.Dataset(
        {
            name: ("parameter", numbers[:, column], {"units": "1", "long_name": meaning})
            for column, (name, meaning) in enumerate(meanings.items())
        },
        {"parameter": ("parameter", np.array(list(named), dtype=object), {"units": "1"})},
    )


def live_gradients(adjoints: Adjoints, layers: Sequence[Cell], of: str, step: int) -> xr.Dataset:
    """log |dL/d state_t| over batch and state, (layer, live_time 0..T), natural logarithm."""
    import xarray as xr

    rows = []
    for index, cell in enumerate(layers):
        scans = adjoints.of(cell)
        if not scans:
            raise ValueError(
                f"Recorder: step {step}: expected the forward pass inside watching() to run through scan (or read) of "
                f"layer {index}, {type(cell).__name__}, and a backward pass through it before step(loss); found none"
            )
        parts = [scan if of == "state" else cell.hidden(scan) for scan in scans]
        if len({part.shape[0] for part in parts}) > 1:
            raise ValueError(f"Recorder: step {step}: expected scans of one length in a step, got several")
        # Several scans in a step (batches whose gradients add up) are one batch.
        # In float64, where squares of float32 neither vanish nor overflow.
        norms = [torch.linalg.vector_norm(part, dim=(1, 2), dtype=torch.float64) for part in parts]
        rows.append(torch.stack(norms).norm(dim=0).log().cpu().numpy())
    values = np.stack(rows)
    meaning = f"log of the Euclidean norm, over batch and {of}, of dL/d state_t of the live batch"
    return xr.Dataset(
        {"log_live_gradient_norm": (("layer", "live_time"), values, {"units": "nat", "long_name": meaning})},
        {
            "layer": ("layer", np.arange(len(rows)), {"units": "1"}),
            "live_time": ("live_time", np.arange(values.shape[1]), {"units": "step"}),
        },
    )


def with_time_steps(probes: Sequence[Probe], model: Cell) -> list[Probe]:
    """The probes, and TimeSteps where every layer has time-steps that do not vary along the sequence."""
    layers = model.layers if isinstance(model, Network) else [model]
    if any(isinstance(probe, TimeSteps) for probe in probes) or any(
        "time_steps" not in _defines(cell) for cell in layers
    ):
        return list(probes)
    try:
        with torch.no_grad():
            dims = {dim for cell in layers for dim in cell.time_steps().dims}
    except (ValueError, TypeError):  # they depend on the input: large, so only on request
        return list(probes)
    return list(probes) if dims & {"time", "batch"} else [*probes, TimeSteps()]


def _defines(cell: Cell) -> set[str]:
    """Names that the cell's own class, or one between it and ``Cell``, defines."""
    return {name for cls in type(cell).__mro__ if issubclass(cls, Cell) and cls is not Cell for name in vars(cls)}


# ---- the held batch --------------------------------------------------------------------------------------------------


def held(model: Cell, inputs: Tensor, probes: Sequence[Probe], first: Template | None) -> xr.Dataset:
    """What the probes measure on the held batch; what an overflow cut off is missing (NaN, or 0 for counts)."""
    import xarray as xr

    try:
        data = record(model, inputs, probes)
    except StateOverflow:
        if first is None:
            raise
        own = ("loss", "weight_norm", "weight_max", "parameter_gradient_norm", "log_live_gradient_norm")
        missing: dict[str, Any] = {
            name: (dims, np.full(size, _missing(dtype), dtype))
            for name, (dims, size, dtype) in first.variables.items()
            if name not in own
        }
        missing["overflow_step"] = ("batch", np.ones(missing["overflow_step"][1].shape, int))
        used = {dim for dims, _ in missing.values() for dim in dims}
        return xr.Dataset(missing, {name: value for name, value in first.coords.items() if name in used})
    full = {"time": np.arange(data.attrs["requested_T"] + 1), "transition": np.arange(1, data.attrs["requested_T"] + 1)}
    cut = {dim: full[str(dim)] for dim in data.dims if dim in full and data.sizes[dim] < len(full[str(dim)])}
    if cut:
        filled = {name: _missing(variable.dtype) for name, variable in data.data_vars.items()}
        types = {name: variable.dtype for name, variable in data.data_vars.items()}
        attrs = {name: variable.attrs for name, variable in data.variables.items()}
        data = data.reindex(cut, fill_value=filled)
        data = data.assign({name: data[name].astype(dtype) for name, dtype in types.items()})
        for name, values in attrs.items():
            data[name].attrs.update(values)
    for name, coordinate in data.coords.items():
        if first is not None and not np.array_equal(first.coords[str(name)], coordinate.values):
            raise ValueError(
                f"Recorder: expected the coordinate {name} of the first record, got another one: a probe whose grid "
                "depends on the state cannot be recorded during training"
            )
    # Of this rollout, not of the recording.
    for name in ("T", "requested_T", "overflow_step", "seed"):
        data.attrs.pop(name, None)
    return data


def _missing(dtype: Any) -> Any:
    kind = np.dtype(dtype).kind
    return np.nan if kind in "fc" else False if kind == "b" else 0
