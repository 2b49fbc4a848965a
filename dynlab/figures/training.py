"""A training as a piece of a figure."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import xarray as xr

from dynlab.figures.workspaces import workspace
from dynlab.recording_store import open_recording
from dynlab.training import Machine, Settings, train
from dynlab.training.run import RECORDING, Result

MACHINE = Machine(accelerator="cpu", progress=False, tensorboard=False)


def trained(**settings: Any) -> Result:
    """Train on the CPU in the ``workspace`` of the piece: one that was interrupted goes on.

    Arguments:
        settings: of ``dynlab.training.Settings``.
    """
    with without_denormals():
        return train(Settings(**settings), workspace(), MACHINE)


@contextmanager
def without_denormals() -> Iterator[None]:
    """Numbers below 1e-38 are 0: an adjoint that vanishes ends among them, where a CPU is ten times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def recording_of(result: Result) -> xr.Dataset:
    """What the Recorder kept of a training with ``record_every``, in memory."""
    return open_recording(result.out / RECORDING).load()


def validation_curve(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """(updates, validation scores) of a training, (evaluation,) each."""
    with (result.out / "validation.csv").open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return np.array([int(row[0]) for row in rows]), np.array([float(row[-1]) for row in rows])
