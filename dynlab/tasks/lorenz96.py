"""Lorenz-96: states of a differential equation, calm or chaotic, to be told ahead of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.tasks.base import Task
from dynlab.tasks.samples import STREAM, Sample, Split

STATES = 5
TRAJECTORIES = 128
TIME_STEP = 0.01
TOLERANCE = 1e-12
"""Of the solver. At F = 8 errors grow by 1e6 over a trajectory of 2025 points; float32 is reached with this one."""


@dataclass(frozen=True, kw_only=True)
class Lorenz96(Task):
    """From the states up to now, the state ``lag`` steps ahead, at each step.

    x_j' = (x_{j+1} - x_{j-2}) x_{j-1} - x_j + F for five cyclic states, 128 trajectories of 2000 steps a split:
    UnICORNN, appendix D, which refers to coRNN for the discretisation. That paper was not at hand. The step 0.01,
    x(0) uniform on [F - 1/2, F + 1/2]^5 and the lag of 25 are those of public re-implementations of its experiment;
    that every one of the 2000 inputs has a target (2025 points are solved) is our choice.

    Attributes:
        F: the force. lag: steps ahead.
    """

    F: float
    lag: int
    input_size: int = STATES
    output_size: int = STATES
    target: Literal["class", "value"] = "value"
    read_at: Literal["last", "every"] = "every"
    metric: str = "NRMSE"

    @property
    def baseline(self) -> float:
        """Of the present state as the forecast, on the test split of seed 0: 0.052 for F = 0.9, 0.99 for F = 8."""
        states = trajectories(self.F, self.length + self.lag, 0, "test").transpose(0, 1)
        return self.score(states[: -self.lag], states[self.lag :])

    def _open(self, split: Split, steps: int, seed: int) -> tuple[int, Callable[[int], Sample]]:
        return TRAJECTORIES, partial(_sample, trajectories(self.F, steps + self.lag, seed, split), self.lag)


def _sample(states: Tensor, lag: int, index: int) -> Sample:
    return states[index, :-lag].clone(), states[index, lag:].clone()


@lru_cache(maxsize=6)
def trajectories(F: float, points: int, seed: int, split: str) -> Tensor:
    """128 solutions at ``points`` times 0, 0.01, 0.02 ..., (trajectory, point, state) float32."""
    from scipy.integrate import solve_ivp

    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM[split],)))
    start = generator.uniform(F - 0.5, F + 0.5, (TRAJECTORIES, STATES))
    ahead, behind, far_behind = (np.roll(np.arange(STATES), shift) for shift in (-1, 1, 2))

    def derivative(_: float, flat: np.ndarray) -> np.ndarray:
        x = flat.reshape(TRAJECTORIES, STATES)
        return ((x[:, ahead] - x[:, far_behind]) * x[:, behind] - x + F).ravel()

    times = TIME_STEP * np.arange(points)
    solution = solve_ivp(
        derivative, (0, times[-1]), start.ravel(), "DOP853", t_eval=times, rtol=TOLERANCE, atol=TOLERANCE
    )
    states = solution.y.reshape(TRAJECTORIES, STATES, -1)
    if states.shape[-1] != points or not np.isfinite(states).all():
        raise ValueError(f"lorenz96: expected a solution at F = {F} up to {times[-1]:g}, got: {solution.message}")
    return torch.from_numpy(states.transpose(0, 2, 1).astype(np.float32))


def lorenz96(F: float = 0.9, lag: int = 25) -> Lorenz96:
    """Lorenz-96 with force F; the papers have 0.9, not chaotic, and 8, chaotic."""
    _check.integer("lag", lag, "lorenz96")
    return Lorenz96(
        key="lorenz96",
        summary=f"five states, to be told {lag} steps ahead",
        F=_check.number("F", F, "lorenz96"),
        lag=lag,
        length=2000,
        splits="128 trajectories each, from initial states of their own",
        normalisation="none",
        source="E. N. Lorenz, Predictability: a problem partly solved (1996); as in UnICORNN, appendix D",
        license="generated",
    )
