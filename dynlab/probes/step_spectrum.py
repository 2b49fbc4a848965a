"""Eigenvalues of the step Jacobians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.jacobian.step import StepJacobian
from dynlab.probes.base import Computed, Observer, Of, Probe, Variable, check_of
from dynlab.trace import Trace


@dataclass(frozen=True)
class StepSpectrum(Probe):
    """Eigenvalues of d state_t / d state_{t-1}.

    Variables:
        step_eigenvalue (transition, batch, mode): complex, modulus descending.

    Arguments:
        every: each how many transitions; 1 takes all. Dense cells cost O(n^3) a transition and sample, with a
            larger constant than everything else.
        of: "state", or "hidden" for d h_t / d h_{t-1}.
    """

    every: int = 1
    of: Of = "state"

    provides = ("step_eigenvalue",)
    summary = "eigenvalues of each step Jacobian"
    reference = "AntisymmetricRNN, Prop. 2"

    def __post_init__(self) -> None:
        _check.integer("every", self.every, "StepSpectrum")
        check_of(self.of, self)

    def observe(self, trace: Trace) -> Observer:
        rows = []
        chosen = np.arange(1, trace.steps + 1, self.every)
        for t in chosen.tolist():
            values = self._eigenvalues(trace, trace.linearize(t - 1, t).jacobian)[0]
            rows.append(values.gather(-1, values.abs().argsort(-1, descending=True)))
        long_name = f"eigenvalue of d {self.of}_t / d {self.of}_{{t-1}}"
        attrs = {"units": "1", "of": self.of, "long_name": long_name, "reference": self.reference}
        dims = ("transition", "batch", "mode")
        return Computed([Variable("step_eigenvalue", dims, torch.stack(rows), attrs, {"transition": chosen})])

    def _eigenvalues(self, trace: Trace, jacobian: StepJacobian) -> Tensor:
        if self.of == "state":
            return jacobian.eigenvalues()
        hidden = trace.cell.hidden_slice
        return torch.linalg.eigvals(jacobian.to_dense()[..., hidden, hidden])
