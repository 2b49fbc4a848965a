"""Lyapunov exponents and singular values, from the QR sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.jacobian.graded import GradedProduct
from dynlab.probes.base import GradedRequest, Observer, Of, Probe, Variable, check_of
from dynlab.trace import Trace


@dataclass(frozen=True)
class LyapunovSpectrum(Probe):
    """Lyapunov exponents over the trace, by QR (Benettin et al. 1980).

    Variables:
        lyapunov_exponent (batch, mode): nats a step, descending.

    Arguments:
        k: number of exponents, the largest ones; all by default.
        transient: transitions left out at the start of the mean.
    """

    k: int | None = None
    transient: int = 0

    provides = ("lyapunov_exponent",)
    summary = "Lyapunov exponents in nats a step"
    reference = "Benettin et al. (1980)"

    def __post_init__(self) -> None:
        if self.k is not None:
            _check.integer("k", self.k, "LyapunovSpectrum")
        _check.integer("transient", self.transient, "LyapunovSpectrum", least=0)

    def observe(self, trace: Trace) -> Observer:
        size = trace.cell.state_size
        if self.k is not None and self.k > size:
            raise ValueError(f"LyapunovSpectrum: expected k <= state_size = {size}, got {self.k}")
        if self.transient >= trace.steps:
            raise ValueError(f"LyapunovSpectrum: expected transient < T = {trace.steps}, got {self.transient}")
        return _Exponents(self, trace)


class _Exponents(Observer):
    def __init__(self, probe: LyapunovSpectrum, trace: Trace) -> None:
        self.probe, self.trace = probe, trace
        self.k = trace.cell.state_size if probe.k is None else probe.k
        self.graded = GradedRequest(self.k, transient=probe.transient)

    def take_graded(self, time: int, product: GradedProduct) -> None:
        if time == self.trace.steps:
            rates = product.log_growth / product.counted
            self.values = rates.sort(-1, descending=True).values[:, : self.k]

    def variables(self) -> list[Variable]:
        attrs = {
            "units": "nat/step",
            "long_name": "Lyapunov exponent",
            "reference": self.probe.reference,
            "transient": self.probe.transient,
        }
        return [Variable("lyapunov_exponent", ("batch", "mode"), self.values, attrs)]


@dataclass(frozen=True)
class SingularValues(Probe):
    """Singular values of d state_t / d state_0, small ones as accurate as large ones.

    Variables:
        log_singular_value (batch, mode): of d state_T / d state_0, natural logarithm, descending.
        log_singular_value_against_time (singular_time, batch, quantile): with ``times``, the largest, median and
            smallest of d state_t / d state_0.

    Arguments:
        times: None for T alone; a number of times, evenly spaced over 1 .. T; or the times themselves.
        of: "state", or "hidden" for d h_t / d h_0.
    """

    times: int | tuple[int, ...] | None = None
    of: Of = "state"

    provides = ("log_singular_value",)
    summary = "singular values of d state_T / d state_0, also against t"
    reference = "Loh et al. (1989), Demmel & Veselic (1992) for the numerics"

    def __post_init__(self) -> None:
        check_of(self.of, self)
        if isinstance(self.times, int):
            _check.integer("times", self.times, "SingularValues", least=2)

    def observe(self, trace: Trace) -> Observer:
        times = self.times
        if isinstance(times, int):
            times = tuple(np.unique(np.linspace(1, trace.steps, times).round().astype(int)).tolist())
        for time in times or ():
            if not 1 <= time <= trace.steps:
                raise ValueError(f"SingularValues: expected times in 1 .. T = {trace.steps}, got {time}")
        return _Singular(self, trace, times)


QUANTILES: tuple[Literal["largest", "median", "smallest"], ...] = ("largest", "median", "smallest")


class _Singular(Observer):
    def __init__(self, probe: SingularValues, trace: Trace, times: tuple[int, ...] | None) -> None:
        self.probe, self.trace = probe, trace
        self.times = None if times is None else tuple(sorted(set(times)))
        self.graded = GradedRequest(trace.cell.state_size, full=True, times=self.times or ())
        self.against_time: dict[int, Tensor] = {}

    def take_graded(self, time: int, product: GradedProduct) -> None:
        wanted = time in (self.times or ())
        if not wanted and time != self.trace.steps:
            return
        values = product.log_singular_values(None if self.probe.of == "state" else self.trace.cell.hidden_slice)
        if wanted:
            middle = values.shape[-1] // 2
            self.against_time[time] = torch.stack([values[:, 0], values[:, middle], values[:, -1]], dim=-1)
        self.values = values

    def variables(self) -> list[Variable]:
        attrs = {"units": "nat", "of": self.probe.of, "reference": self.probe.reference}
        found = [
            Variable(
                "log_singular_value",
                ("batch", "mode"),
                self.values,
                {**attrs, "long_name": f"log singular value of d {self.probe.of}_T / d {self.probe.of}_0"},
            )
        ]
        if self.times:
            found.append(
                Variable(
                    "log_singular_value_against_time",
                    ("singular_time", "batch", "quantile"),
                    torch.stack([self.against_time[time] for time in self.times]),
                    {**attrs, "long_name": f"log singular value of d {self.probe.of}_t / d {self.probe.of}_0"},
                    {"singular_time": np.array(self.times), "quantile": np.array(QUANTILES)},
                )
            )
        return found
