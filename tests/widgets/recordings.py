"""Recordings with known numbers, made as the Recorder makes them but without a training."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynlab.recording_store import RecordingStore

TIMES, BATCH, MODES, UNITS = 6, 2, 4, 3


def record(step: int, **more: xr.DataArray) -> xr.Dataset:
    """One record whose every number follows from its step."""
    live = -0.1 * step * np.ones((2, TIMES)) - np.arange(TIMES) - 100 * np.arange(2)[:, None]
    angle = 0.1 * step + np.arange(MODES)
    variables = {
        "loss": ((), np.float64(np.exp(-0.1 * step))),
        "log_live_gradient_norm": (("layer", "live_time"), live),
        "log_gradient_norm": (("time", "batch"), step * np.ones((TIMES, BATCH)) + np.array([0.0, 2.0])),
        "end_to_end_eigenvalue": (("batch", "mode"), np.exp(1j * angle) * np.ones((BATCH, 1))),
        "log_end_to_end_modulus": (("batch", "mode"), np.zeros((BATCH, MODES))),
        "end_to_end_resolved": (("batch", "mode"), np.ones((BATCH, MODES), bool)),
        "step_eigenvalue": (("transition", "batch", "mode"), 0.5 * np.exp(1j * angle) * np.ones((TIMES - 1, BATCH, 1))),
        "log_singular_value": (("batch", "mode"), -step * np.arange(MODES) * np.ones((BATCH, 1))),
        "lyapunov_exponent": (("batch", "mode"), -0.01 * np.arange(MODES) * np.ones((BATCH, 1))),
        "time_step": (("layer", "unit"), (1 + step) * np.array([[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]])),
        "weight_norm": (("parameter",), np.array([1.0 + step, 2.0])),
        "weight_max": (("parameter",), np.array([0.5 + step, 0.25])),
        "parameter_gradient_norm": (("parameter",), np.array([0.1, 0.0])),
    }
    coords = {"parameter": ("parameter", np.array(["cells.0.weight", "readout.linear.bias"], dtype=object))}
    counts = {"live_time": TIMES, "time": TIMES, "batch": BATCH, "mode": MODES, "layer": 2, "unit": UNITS}
    coords |= {name: (name, np.arange(count)) for name, count in counts.items()}
    coords["transition"] = ("transition", np.arange(1, TIMES))
    return xr.Dataset(variables | more, coords, {"every": 10, "stride": 1})


def write(path, steps, make=record) -> RecordingStore:
    """A store with records of these steps."""
    store = RecordingStore(path)
    for step in steps:
        store.append(make(step), step)
    return store
