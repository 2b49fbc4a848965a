"""A tiny network, trained in seconds, for propositions that ask where learned parameters lie."""

from __future__ import annotations

from functools import lru_cache

import torch

from dynlab.cell import Cell
from dynlab.compare import seeded_cell
from dynlab.network import Network, Readout
from dynlab.tasks import get_task

STEPS, UNITS, BATCH, RATE = 20, 16, 32, 1e-2  # of the adding problem; iRNN section 4.1's learning rate; our choice


@lru_cache(maxsize=16)
def trained_cell(spec: str, seed: int = 0, iterations: int = 100) -> Cell:
    """The cell of ``spec`` after Adam's first ``iterations`` on the adding problem of 20 steps, in float64.

    Do not change what it returns: it is shared.
    """
    task = get_task(f"adding:T={STEPS}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network([seeded_cell(spec, task.input_size, UNITS, seed)], Readout(UNITS, task.output_size))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    with torch.enable_grad():  # whoever asks may measure without
        for iteration in range(iterations):
            inputs, targets = task.sequences(BATCH, seed=seed * iterations + iteration)
            optimizer.zero_grad()
            task.loss(network.read(inputs), targets).backward()
            optimizer.step()
    return network.layers[0].double().eval()
