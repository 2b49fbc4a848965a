"""What iRNN's Figs. 3, 5, 8 and 9 show of a training: the score, and gradients between states and of the loss."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynlab.figures.training import MACHINE, without_denormals
from dynlab.figures.workspaces import workspace
from dynlab.recording import record
from dynlab.recording_store import open_recording
from dynlab.tasks import get_task
from dynlab.training import NonFiniteError, Settings, train
from dynlab.training.run import RECORDING

SINGULAR = {"units": "nat", "long_name": "log singular value of d state_T / d state_0"}


def learning(singular_values: bool = False, **settings: Any) -> xr.Dataset:
    """Train in the ``workspace``, going on where an interrupted piece stopped; one that diverges ends early.

    Arguments:
        singular_values: also those of d state_T / d state_0 after the training, on a test sequence.
        settings: of ``dynlab.training.Settings``; gradients are there with ``record_every``, on ``record_batch`` held
            sequences.

    Returns:
        ``score (update)``, of the validation split; ``diverged ()``; and on ``recorded``, the updates of the records,
        natural logarithms: ``log_first (recorded, sequence)`` of |d h_T / d h_1|, ``log_last`` of
        |d h_T / d h_(T-1)|, both Frobenius over sqrt(d), ``log_ratio`` of the one over the other;
        ``log_loss_first (recorded)``, ``log_loss_last`` of |d L / d h_1| and |d L / d h_T| of the live batch;
        ``log_singular (mode)``, descending, missing where the training diverged.
    """
    chosen, folder = Settings(**settings), workspace()
    network = None
    try:
        with without_denormals():
            result = train(chosen, folder, MACHINE, test=False)
    except NonFiniteError:
        pass
    else:
        network = result.network
    with (folder / "validation.csv").open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    found: dict[str, Any] = {
        "score": ("update", [float(row[-1]) for row in rows], {"units": "1", "long_name": "validation score"}),
        "diverged": (
            (),
            network is None,
            {"units": "1", "long_name": "whether the loss or a gradient became infinite"},
        ),
    }
    coords: dict[str, Any] = {"update": ("update", np.array([row[0] for row in rows], dtype=int), {"units": "1"})}
    if chosen.record_every is not None:
        found |= _gradients(open_recording(folder / RECORDING).load())
        coords["recorded"] = ("recorded", found.pop("step"), {"units": "1", "long_name": "update"})
    if singular_values and network is not None:
        inputs, _ = get_task(chosen.task).sequences(1, seed=chosen.seed, split="test")
        values = record(network, inputs, ["SingularValues"]).log_singular_value.isel(batch=0)
        found["log_singular"] = ("mode", values.values, SINGULAR)
        coords["mode"] = ("mode", np.arange(values.size), {"units": "1"})
    return xr.Dataset(found, coords)


def _gradients(recording: xr.Dataset) -> dict[str, Any]:
    """The variables of a recording, see ``learning``, and its steps."""
    last = int(recording["time"][-1])
    between = {
        "log_first": (recording["log_gradient_norm"].sel(time=1), "log |d h_T / d h_1|"),
        "log_last": (recording["log_gradient_norm"].sel(time=last - 1), "log |d h_T / d h_(T-1)|"),
        "log_ratio": (recording["log_gradient_ratio"], "log of |d h_T / d h_1| over |d h_T / d h_(T-1)|"),
    }
    of_loss = recording["log_live_gradient_norm"].isel(layer=0)
    live = {
        "log_loss_first": (of_loss.sel(live_time=1), "log |d L / d h_1|, L the mean over the live batch"),
        "log_loss_last": (of_loss.sel(live_time=last), "log |d L / d h_T|, L the mean over the live batch"),
    }
    found: dict[str, Any] = {"step": recording["step"].values}
    for name, (values, meaning) in between.items():
        ordered = values.transpose("step", "batch").values
        found[name] = (("recorded", "sequence"), ordered, {"units": "nat", "long_name": meaning})
    for name, (values, meaning) in live.items():
        found[name] = ("recorded", values.values, {"units": "nat", "long_name": meaning})
    return found


def stacked(pieces: Sequence[xr.Dataset], names: Sequence[str]) -> xr.Dataset:
    """Trainings beside each other along ``run``; NaN where one has ended before the others."""
    data = xr.concat(pieces, "run", join="outer", combine_attrs="override", coords="minimal", compat="equals")
    return data.assign_coords(run=list(names))


def first_at(data: xr.Dataset, name: str, threshold: float) -> float:
    """The first update at which the score of a run is at most ``threshold``; infinite if it never is."""
    score = data["score"].sel(run=name)
    reached = data["update"].values[np.flatnonzero(score.values <= threshold)]
    return float(reached[0]) if len(reached) else float("inf")
