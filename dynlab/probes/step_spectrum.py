"""Eigenvalues of the step Jacobians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dynlab import _check
from dynlab.probes.base import Computed, Observer, Probe, Variable
from dynlab.trace import Trace


@dataclass(frozen=True)
class StepSpectrum(Probe):
    """Eigenvalues of d state_t / d state_{t-1}.

    Variables:
        step_eigenvalue (transition, batch, mode): complex, modulus descending.

    Arguments:
        every: each how many transitions; 1 takes all. Dense cells cost O(n^3) a transition and sample, with a
            larger constant than everything else.
    """

    every: int = 1

    provides = ("step_eigenvalue",)
    summary = "eigenvalues of each step Jacobian"
    reference = "AntisymmetricRNN, Prop. 2"

    def __post_init__(self) -> None:
        _check.integer("every", self.every, "StepSpectrum")

    def observe(self, trace: Trace) -> Observer:
        rows = []
        chosen = np.arange(1, trace.steps + 1, self.every)
        for t in chosen.tolist():
            values = trace.linearize(t - 1, t).jacobian.eigenvalues()[0]
            rows.append(values.gather(-1, values.abs().argsort(-1, descending=True)))
        attrs = {"units": "1", "long_name": "eigenvalue of d state_t / d state_{t-1}", "reference": self.reference}
        dims = ("transition", "batch", "mode")
        return Computed([Variable("step_eigenvalue", dims, torch.stack(rows), attrs, {"transition": chosen})])
