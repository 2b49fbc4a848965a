"""The network of a training, and its checkpoint."""

from __future__ import annotations

import torch

from dynlab.compare import make_cell
from dynlab.network import Network, Readout
from dynlab.tasks import Task
from dynlab.training.settings import Settings


def layer_specs(settings: Settings) -> list[str]:
    """The specification of every layer's cell, bottom first."""
    first = settings.cell if settings.first_cell is None else settings.first_cell
    return [first, *[settings.cell] * (settings.layers - 1)]


def build_network(settings: Settings, task: Task) -> Network:
    """The cells and an affine readout of what the task asks, with the initial parameters of the seed.

    The global random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        cells, size = [], task.input_size
        for spec in layer_specs(settings):
            cells.append(make_cell(spec, size, settings.hidden_size))
            size = cells[-1].hidden_size
        readout = Readout(size, task.output_size, at=task.read_at)
        return Network(cells, readout, residual=settings.residual, dropout=settings.dropout)
