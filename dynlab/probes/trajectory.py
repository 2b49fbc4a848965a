"""The states themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dynlab import _check
from dynlab.probes.base import Computed, Observer, Of, Probe, Variable, check_of, size_of
from dynlab.trace import Trace


@dataclass(frozen=True)
class Trajectory(Probe):
    """The states of the rollout, or some of their components at some of the times.

    Variables:
        trajectory (time 0..T, batch, unit): in the trace's dtype; ``unit`` counts components of ``of``.

    Arguments:
        of: "hidden", what the readout sees, or "state", all of it.
        units: which components: a sequence of indices from 0, or a slice; all by default.
        every: keep times 0, every, 2 every, ... up to T.
    """

    of: Of = "hidden"
    units: Sequence[int] | slice | None = None
    every: int = 1

    provides = ("trajectory",)
    summary = "the states themselves"
    reference = "definition of the rollout"

    def __post_init__(self) -> None:
        check_of(self.of, self)
        _check.integer("every", self.every, "Trajectory")
        if self.units is None or isinstance(self.units, slice):
            return
        if isinstance(self.units, str) or not isinstance(self.units, Sequence):
            raise TypeError(
                f"Trajectory: expected units to be a sequence of indices or a slice, got {_check.describe(self.units)}"
            )
        for unit in self.units:
            _check.integer("each of units", unit, "Trajectory", least=0)
        if not self.units or len(set(self.units)) != len(self.units):
            raise ValueError(f"Trajectory: expected one or more different units, got {self.units!r}")
        object.__setattr__(self, "units", tuple(self.units))

    def observe(self, trace: Trace) -> Observer:
        """As ``Probe.observe``."""
        chosen = self._chosen(size_of(self.of, trace.cell), type(trace.cell).__name__)
        kept = trace.states[:: self.every]
        if self.of == "hidden":
            kept = trace.cell.hidden(kept)
        coords = {}
        if self.units is not None:
            kept = kept[..., chosen]
            coords["unit"] = torch.tensor(chosen)
        if self.every > 1:
            coords["time"] = torch.arange(0, trace.steps + 1, self.every)
        attrs = {
            "units": "1",
            "long_name": f"{self.of} component",
            "of": self.of,
            "every": self.every,
            "reference": trace.cell.reference,
        }
        return Computed([Variable("trajectory", ("time", "batch", "unit"), kept, attrs, coords)])

    def _chosen(self, size: int, cell: str) -> list[int]:
        if self.units is None:
            return list(range(size))
        chosen = list(range(size)[self.units]) if isinstance(self.units, slice) else list(self.units)
        if not chosen or max(chosen) >= size:
            raise ValueError(
                f"Trajectory: expected units among the {size} {self.of} components of {cell}, got {self.units!r}"
            )
        return chosen
