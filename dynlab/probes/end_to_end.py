"""The Jacobian over many steps, and its eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dynlab import _check
from dynlab.jacobian.product import BlockProduct, DenseProduct, Product
from dynlab.probes.base import AdjointRequest, Observer, Of, Probe, Variable, check_of, columns_of
from dynlab.trace import Trace


def _check_range(probe: Probe, start: int, stop: int | None, trace: Trace) -> tuple[int, int]:
    where = type(probe).__name__
    stop = trace.steps if stop is None else stop
    _check.integer("start", start, where, least=0)
    _check.integer("stop", stop, where)
    if not 0 <= start < stop <= trace.steps:
        raise ValueError(
            f"{where}: expected 0 <= start < stop <= T = {trace.steps}, got start = {start}, stop = {stop}"
        )
    return start, stop


@dataclass(frozen=True)
class EndToEndJacobian(Probe):
    """d state_stop / d state_start.

    Variables:
        end_to_end_jacobian (batch, row, column): of Frobenius norm one.
        end_to_end_log_norm (batch): natural logarithm of the norm taken off.

    Arguments:
        start, stop: times, 0 <= start < stop <= T; T by default. of: "state" or "hidden".
    """

    start: int = 0
    stop: int | None = None
    of: Of = "state"

    provides = ("end_to_end_jacobian", "end_to_end_log_norm")
    summary = "d state_t / d state_s for any s < t, matrix and log norm"
    reference = "Pascanu et al. (2013), Eq. (5)"

    def __post_init__(self) -> None:
        check_of(self.of, self)
        _check.integer("start", self.start, "EndToEndJacobian", least=0)

    def observe(self, trace: Trace) -> Observer:
        return _Matrix(self, trace)


class _Matrix(Observer):
    def __init__(self, probe: EndToEndJacobian, trace: Trace) -> None:
        start, stop = _check_range(probe, probe.start, probe.stop, trace)
        self.probe, self.trace = probe, trace
        self.adjoint = AdjointRequest(probe.of, start, stop)

    def take_adjoint(self, product: Product) -> None:
        matrix, log_scale = product.to_dense()
        if self.probe.of == "hidden":
            matrix = matrix[..., self.trace.cell.hidden_slice]
        norm = torch.linalg.vector_norm(matrix, dim=(-2, -1))
        self.matrix = matrix / torch.where(norm > 0, norm, 1)[:, None, None]
        self.log_norm = norm.double().log() + log_scale

    def variables(self) -> list[Variable]:
        assert self.adjoint is not None
        attrs = {
            "start": self.adjoint.start,
            "stop": self.adjoint.stop,
            "of": self.probe.of,
            "reference": self.probe.reference,
        }
        name = f"d {self.probe.of}_{self.adjoint.stop} / d {self.probe.of}_{self.adjoint.start}"
        return [
            Variable(
                "end_to_end_jacobian",
                ("batch", "row", "column"),
                self.matrix,
                {**attrs, "units": "1", "long_name": f"{name} over its Frobenius norm"},
            ),
            Variable(
                "end_to_end_log_norm",
                ("batch",),
                self.log_norm,
                {**attrs, "units": "nat", "long_name": f"log Frobenius norm of {name}"},
            ),
        ]


@dataclass(frozen=True)
class EndToEndSpectrum(Probe):
    """Eigenvalues of d state_T / d state_0 (AntisymmetricRNN Fig. 2).

    Variables:
        end_to_end_eigenvalue (batch, mode): complex, modulus descending. NaN where it is not resolved or its
            modulus leaves the float range; the logarithm below stays.
        log_end_to_end_modulus (batch, mode): natural logarithm of the modulus; -inf where not resolved.
        end_to_end_resolved (batch, mode): False where the eigenvalue lies below eps times the norm of the
            product, so that it is rounding noise and not a number.
        log_end_to_end_modulus_mean, log_end_to_end_modulus_std (batch): logs of the mean and standard deviation
            of the modulus over all modes; unresolved ones count as zero, which is what they are in this mean.

    Arguments:
        of: "state", or "hidden" for d h_T / d h_0. start, stop: other times than 0 and T.
    """

    of: Of = "state"
    start: int = 0
    stop: int | None = None

    provides = ("end_to_end_eigenvalue", "log_end_to_end_modulus", "end_to_end_resolved")
    summary = "eigenvalues of d state_T / d state_0, mean and std of their modulus"
    reference = "AntisymmetricRNN, Fig. 2"

    def __post_init__(self) -> None:
        check_of(self.of, self)

    def observe(self, trace: Trace) -> Observer:
        return _Spectrum(self, trace)


class _Spectrum(Observer):
    def __init__(self, probe: EndToEndSpectrum, trace: Trace) -> None:
        self.probe, self.trace = probe, trace
        self.adjoint = AdjointRequest(probe.of, *_check_range(probe, probe.start, probe.stop, trace))

    def take_adjoint(self, product: Product) -> None:
        eps = torch.finfo(self.trace.states.dtype).eps
        columns = columns_of(self.probe.of, self.trace.cell, product)
        if isinstance(product, BlockProduct):
            blocks = BlockProduct(product.entries[columns], product.log_scale)
            norm = blocks.blocks[-1].double().square().sum((-3, -2)).sqrt().repeat(1, blocks.channels)
            values, log_scale = blocks.eigenvalues()
        else:
            square = DenseProduct(product.matrix[..., columns], product.log_scale)
            norm = square.norm.double()[:, None]
            values, log_scale = square.eigenvalues()
        modulus = values.abs()
        resolved = modulus > eps * norm
        log_modulus = torch.where(resolved, modulus.log() + log_scale, -torch.inf)
        order = log_modulus.argsort(-1, descending=True)
        self.log_modulus, self.resolved = log_modulus.gather(-1, order), resolved.gather(-1, order)
        value = values * log_scale.exp()
        good = self.resolved & (self.log_modulus.abs() < 700)
        nan = torch.full_like(value, complex(float("nan"), float("nan")))
        self.values = torch.where(good, value.gather(-1, order), nan)

    def variables(self) -> list[Variable]:
        top = self.log_modulus.amax(-1, keepdim=True)
        shift = torch.where(top.isneginf(), 0, top)
        scaled = (self.log_modulus - shift).exp()
        attrs = {"of": self.probe.of, "reference": self.probe.reference, "units": "nat"}
        dims = ("batch", "mode")
        spread = scaled.std(-1, correction=0).log() + shift.squeeze(-1)
        return [
            Variable(
                "end_to_end_eigenvalue",
                dims,
                self.values,
                {**attrs, "units": "1", "long_name": "eigenvalue of d state_T / d state_0"},
            ),
            Variable("log_end_to_end_modulus", dims, self.log_modulus, {**attrs, "long_name": "log |eigenvalue|"}),
            Variable(
                "end_to_end_resolved",
                dims,
                self.resolved,
                {**attrs, "units": "bool", "long_name": "whether the eigenvalue stands above rounding"},
            ),
            Variable(
                "log_end_to_end_modulus_mean",
                ("batch",),
                scaled.mean(-1).log() + shift.squeeze(-1),
                {**attrs, "long_name": "log of the mean |eigenvalue|"},
            ),
            Variable(
                "log_end_to_end_modulus_std",
                ("batch",),
                spread,
                {**attrs, "long_name": "log of the standard deviation of |eigenvalue|"},
            ),
        ]
