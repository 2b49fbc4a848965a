"""How strongly the final state depends on each earlier one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dynlab import _check
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.product import BlockProduct, DenseProduct, Product
from dynlab.probes.base import AdjointRequest, Observer, Of, Probe, Variable, check_of, columns_of, size_of
from dynlab.trace import Trace

Norm = Literal["frobenius_rms", "spectral"]


@dataclass(frozen=True)
class GradientNorm(Probe):
    """log of the norm of d state_T / d state_t for every t, and the ratio that the verdict is taken from.

    Variables:
        log_gradient_norm (time 0..T, batch): natural logarithm; 0 at t = T.
        log_gradient_ratio (batch): log norm at t = 1 minus log norm at t = T - 1, the dh_T/dh_1 over
            dh_T/dh_{T-1} of iRNN Fig. 3 (b); only for T >= 2.
        log_gradient_norm_by_layer (layer, time, batch): for a Network and of="state", the norm of d top layer's
            state_T / d layer's state_t, over the square root of the top layer's state size. Below the top layer it
            is -inf at t = T, where no step lies between.
        log_gradient_norm_standard_error (time, batch): with ``vectors``, of the estimate.

    Arguments:
        of: "state", or "hidden" for d h_T / d h_t.
        norm: "frobenius_rms", the Frobenius norm over the square root of the number of rows, or "spectral", the
            largest singular value by power iteration.
        vectors: estimate the Frobenius norm from so many random vectors, O(n^2) a step in place of O(n^3).
            Each entry is +-1, so the mean of |v^T P|^2 is |P|_F^2 (Hutchinson). seed: of those vectors.
        ratio: whether the ratio is asked for; None takes it where T allows.
    """

    of: Of = "state"
    norm: Norm = "frobenius_rms"
    vectors: int | None = None
    seed: int = 0
    ratio: bool | None = None

    provides = ("log_gradient_norm", "log_gradient_ratio")
    summary = "norm of d state_T / d state_t for all t, and the EVGP ratio"
    reference = "Pascanu et al. (2013), Eq. (5); iRNN Fig. 3 (b)"

    def __post_init__(self) -> None:
        check_of(self.of, self)
        _check.choice("norm", self.norm, ("frobenius_rms", "spectral"), "GradientNorm")
        if self.vectors is not None:
            _check.integer("vectors", self.vectors, "GradientNorm", least=2)
            if self.norm == "spectral":
                raise ValueError('GradientNorm: expected norm="frobenius_rms" with vectors, got norm="spectral"')

    def observe(self, trace: Trace) -> Observer:
        if self.ratio and trace.steps < 2:
            raise ValueError(
                f"GradientNorm: expected at least 2 time steps for the ratio of the norms at t = 1 and T - 1, "
                f"got T = {trace.steps}"
            )
        if self.vectors is not None:
            return _Estimated(self, trace, self.vectors)
        return _Exact(self, trace)


def norm_variables(probe: GradientNorm, trace: Trace, log_norm: Tensor) -> list[Variable]:
    """The variables every kind of observer gives."""
    attrs = {"units": "nat", "norm": probe.norm, "of": probe.of, "reference": probe.reference}
    found = [
        Variable(
            "log_gradient_norm",
            ("time", "batch"),
            log_norm,
            {**attrs, "long_name": f"log norm of d {probe.of}_T / d {probe.of}_t"},
        )
    ]
    if trace.steps >= 2 and probe.ratio is not False:
        # An exact zero against an exact zero is as vanished as can be, not NaN.
        ratio = log_norm[1] - log_norm[-2]
        ratio = torch.where(torch.isneginf(log_norm[1]), log_norm[1], ratio)
        attrs["long_name"] = "log norm at t = 1 minus log norm at t = T - 1"
        found.append(Variable("log_gradient_ratio", ("batch",), ratio, attrs))
    return found


class _Exact(Observer):
    def __init__(self, probe: GradientNorm, trace: Trace) -> None:
        self.probe, self.trace = probe, trace
        self.adjoint = AdjointRequest(probe.of, 0, trace.steps)
        self.values = torch.empty(trace.steps + 1, trace.batch_size, dtype=torch.float64, device=trace.states.device)
        self.offset = math.log(size_of(probe.of, trace.cell)) / 2
        self.vector: Tensor | None = None
        whole = probe.norm == "frobenius_rms" and probe.of == "state"
        self.layers: list[slice] = getattr(trace.cell, "layer_slices", []) if whole else []
        # One layer is the whole.
        self.by_layer = self.values[None]
        if len(self.layers) > 1:
            self.by_layer = self.values.new_empty(len(self.layers), *self.values.shape)

    def visit(self, first: int, product: Product, linearization: Linearization | None) -> None:
        columns = columns_of(self.probe.of, self.trace.cell, product)
        if self.probe.norm == "frobenius_rms":
            value = product.log_frobenius(columns=columns) - self.offset
        elif isinstance(product, BlockProduct):
            value = product.log_singular(columns=columns)[:, :, 0].amax(-1)
        else:
            value, self.vector = product.log_spectral(self.vector, columns=columns)
        held = value.shape[0] if value.dim() == 2 else 1
        self.values[first : first + held] = value
        if len(self.layers) > 1 and isinstance(product, DenseProduct):
            self._visit_layers(first, product)

    def _visit_layers(self, first: int, product: DenseProduct) -> None:
        top = self.layers[-1]
        offset = math.log(top.stop - top.start) / 2
        for index, columns in enumerate(self.layers):
            self.by_layer[index, first] = product.log_frobenius(top, columns) - offset

    def variables(self) -> list[Variable]:
        found = norm_variables(self.probe, self.trace, self.values)
        if self.layers:
            attrs = {
                "units": "nat",
                "of": self.probe.of,
                "long_name": "log norm of d top layer_T / d layer_t",
                "reference": "UnICORNN, appendix C.4",
            }
            found.append(Variable("log_gradient_norm_by_layer", ("layer", "time", "batch"), self.by_layer, attrs))
        return found


class _Estimated(Observer):
    def __init__(self, probe: GradientNorm, trace: Trace, vectors: int) -> None:
        self.probe, self.trace, self.vectors = probe, trace, vectors
        generator = torch.Generator().manual_seed(probe.seed)
        size = size_of(probe.of, trace.cell)
        signs = torch.randint(0, 2, (trace.batch_size, vectors, size), generator=generator) * 2 - 1
        rows = trace.states.new_zeros(trace.batch_size, vectors, trace.cell.state_size)
        rows[..., slice(None) if probe.of == "state" else trace.cell.hidden_slice] = signs.to(rows)
        self.adjoint = AdjointRequest(rows, 0, trace.steps)
        self.log_squares = torch.empty(trace.steps + 1, trace.batch_size, vectors, dtype=torch.float64)
        self.offset = math.log(size)

    def visit(self, first: int, product: Product, linearization: Linearization | None) -> None:
        columns = columns_of(self.probe.of, self.trace.cell, product)
        norms = torch.linalg.vector_norm(product.matrix[..., columns], dim=-1)  # type: ignore[union-attr]
        self.log_squares[first] = (2 * (norms.double().log() + product.log_scale[:, None])).cpu()

    def variables(self) -> list[Variable]:
        centre = self.log_squares.amax(-1, keepdim=True)
        squares = (self.log_squares - torch.where(torch.isneginf(centre), 0, centre)).exp()
        mean = squares.mean(-1)
        log_norm = (mean.log() + centre.squeeze(-1) - self.offset) / 2
        # d log sqrt(m) = dm / (2 m).
        error = squares.std(-1) / self.vectors**0.5 / (2 * torch.where(mean > 0, mean, 1))
        found = norm_variables(self.probe, self.trace, log_norm)
        for variable in found:
            variable.attrs["vectors"] = self.vectors  # type: ignore[index]
        attrs = {"units": "nat", "long_name": "standard error of log_gradient_norm", "vectors": self.vectors}
        return [*found, Variable("log_gradient_norm_standard_error", ("time", "batch"), error, attrs)]
