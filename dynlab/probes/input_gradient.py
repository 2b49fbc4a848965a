"""How strongly the final hidden state depends on each input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.product import BlockProduct, Product
from dynlab.probes.base import AdjointRequest, Observer, Of, Probe, Variable, check_of, size_of
from dynlab.trace import Trace


@dataclass(frozen=True)
class InputGradient(Probe):
    """log of the norm of d h_T / d x_t for every input.

    Variables:
        log_input_gradient_norm (transition 1..T, batch): natural logarithm of the Frobenius norm over the square
            root of the number of rows; the input of transition t is inputs[t - 1].
        input_gradient (transition, batch, feature), with ``values``: for each feature the signed derivative of
            the mean of the rows, scaled by exp(-log_input_gradient_norm) so that it never leaves the float range.

    Arguments:
        of: "hidden" for d h_T / d x_t, "state" for d state_T / d x_t.
        values: keep the derivatives as well as their norm.
    """

    of: Of = "hidden"
    values: bool = False

    provides = ("log_input_gradient_norm",)
    summary = "norm of d h_T / d x_t for all t"
    reference = "Pascanu et al. (2013), Eq. (4)"

    def __post_init__(self) -> None:
        check_of(self.of, self)

    def observe(self, trace: Trace) -> Observer:
        if trace.cell.input_size == 0:
            raise ValueError(f"InputGradient: expected a cell with inputs, got {type(trace.cell).__name__} with none")
        return _Observer(self, trace)


class _Observer(Observer):
    def __init__(self, probe: InputGradient, trace: Trace) -> None:
        self.probe, self.trace = probe, trace
        self.adjoint = AdjointRequest(probe.of, 0, trace.steps)
        shape = (trace.steps, trace.batch_size)
        self.norms = torch.empty(shape, dtype=torch.float64, device=trace.states.device)
        self.means = trace.states.new_empty(*shape, trace.cell.input_size) if probe.values else None

    def visit(self, first: int, product: Product, linearization: Linearization | None) -> None:
        if linearization is None:
            return
        if isinstance(product, BlockProduct):
            for index, step in enumerate(linearization.unbind()):
                self._visit(first + index, *product.at(index).to_dense(), step)
        else:
            self._visit(first, *product.to_dense(), linearization)

    def _visit(self, t: int, rows: Tensor, log_scale: Tensor, step: Linearization) -> None:
        gradient = step.drive.left(rows)
        norm = torch.linalg.vector_norm(gradient, dim=(-2, -1))
        self.norms[t - 1] = norm.double().log() + log_scale
        if self.means is not None:
            self.means[t - 1] = gradient.mean(-2) / torch.where(norm > 0, norm, 1)[:, None]

    def variables(self) -> list[Variable]:
        offset = math.log(size_of(self.probe.of, self.trace.cell)) / 2
        attrs = {"of": self.probe.of, "reference": self.probe.reference, "norm": "frobenius_rms"}
        name = f"d {self.probe.of}_T / d x_t"
        found = [
            Variable(
                "log_input_gradient_norm",
                ("transition", "batch"),
                self.norms - offset,
                {**attrs, "units": "nat", "long_name": f"log norm of {name}"},
            )
        ]
        if self.means is not None:
            means = self.means * math.exp(offset)
            long_name = f"row mean of {name}, over its norm"
            found.append(
                Variable(
                    "input_gradient",
                    ("transition", "batch", "feature"),
                    means,
                    {**attrs, "units": "1", "long_name": long_name},
                )
            )
        return found
