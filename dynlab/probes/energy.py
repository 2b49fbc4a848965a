"""The energy of cells that have one: UnICORNN's Hamiltonian along the trace."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell
from dynlab.probes.base import Computed, Observer, Probe, Variable
from dynlab.trace import Trace


@dataclass(frozen=True)
class Energy(Probe):
    """The time-dependent Hamiltonian of UnICORNN Eq. (4), or the energy that a cell of your own defines.

    It depends on time through the input. State row t is paired with the input of the transition that made it,
    inputs[t - 1], and row 0 with the first input: H_t = H(state_t, u_max(t, 1)). So H_0 and H_1 share one input,
    and a change of H holds both the integrator's error and the work that a changing input does.

    Variables:
        energy (time 0..T, batch): summed over units; over layers too, for a Network.
        energy_drift (batch): energy at T minus energy at 0.
        energy_by_unit (time, batch, unit): with ``per_unit``; single cells only.
        energy_by_layer (layer, time, batch): for a Network.

    Arguments:
        from_rest: count from the energy at state 0 with the same input, which removes UnICORNN's pole at w = 0.
            Asked of a cell whose ``energy`` has no such argument, it is an error.
        per_unit: give the units' energies too.

    A cell of your own defines ``energy(inputs, states)``: inputs (time, batch, f), states (time, batch, n) -> (time,
    batch, unit), or (time, batch) for the total.

    Raises:
        ValueError: for cells without an energy, and Networks with residual connections.
    """

    from_rest: bool = False
    per_unit: bool = False

    provides = ("energy", "energy_drift")
    summary = "the Hamiltonian along the trace, and its drift"
    reference = "UnICORNN, Eq. (4)"

    def observe(self, trace: Trace) -> Observer:
        """As ``Probe.observe``."""
        parts = [self._energy(*part) for part in _layers(trace)]
        attrs = {
            "units": "1 (energy of unit mass)",
            "reference": self.reference,
            "from_rest": self.from_rest,
            "input": "state t with the input of transition max(t, 1)",
        }
        layers = torch.stack([part.sum(-1) for part in parts])
        total = layers.sum(0)
        found = [
            Variable("energy", ("time", "batch"), total, {**attrs, "long_name": "Hamiltonian"}),
            Variable(
                "energy_drift", ("batch",), total[-1] - total[0], {**attrs, "long_name": "Hamiltonian at T minus at 0"}
            ),
        ]
        if hasattr(trace.cell, "layer_inputs"):
            named = {**attrs, "long_name": "Hamiltonian of each layer"}
            found.append(Variable("energy_by_layer", ("layer", "time", "batch"), layers, named))
        if self.per_unit:
            if hasattr(trace.cell, "layer_inputs") or parts[0].shape[-1] != trace.cell.hidden_size:
                raise ValueError(
                    "Energy: expected a single cell that gives the energy of each unit with per_unit=True, got "
                    f"{type(trace.cell).__name__}"
                )
            named = {**attrs, "long_name": "Hamiltonian of each unit"}
            found.append(Variable("energy_by_unit", ("time", "batch", "unit"), parts[0], named))
        return Computed(found)

    @torch.no_grad()
    def _energy(self, cell: Cell, inputs: Tensor, states: Tensor) -> Tensor:
        """Energies of one layer, (time 0..T, batch, unit) in float64; one unit where it gives the total."""
        name = type(cell).__name__
        method = getattr(cell, "energy", None)
        if not callable(method):
            raise ValueError(f"Energy: expected a cell with a method energy(inputs, states), got {name}")
        options = {}
        if self.from_rest:
            if "from_rest" not in inspect.signature(method).parameters:
                raise ValueError(
                    f"Energy: expected {name}.energy to take from_rest, got energy{inspect.signature(method)}"
                )
            options["from_rest"] = True
        acting = torch.cat([inputs[:1], inputs])
        energy = method(acting, states, **options)
        if not isinstance(energy, Tensor) or energy.dim() not in (2, 3) or energy.shape[:2] != states.shape[:2]:
            raise ValueError(
                f"Energy: expected {name}.energy to return a tensor of shape {tuple(states.shape[:2])} or "
                f"{(*states.shape[:2], 'unit')}, got {_check.describe(energy)}"
            )
        return _check.finite(
            f"{name}.energy", energy.double() if energy.dim() == 3 else energy.double()[..., None], "Energy"
        )


def _layers(trace: Trace) -> list[tuple[Cell, Tensor, Tensor]]:
    """Each layer's cell, the inputs it read (time 1..T, batch, f) and its states (time 0..T, batch, n)."""
    if not hasattr(trace.cell, "layer_inputs"):
        return [(trace.cell, trace.inputs, trace.states)]
    # A Network, or a cell of one's own that has its interface.
    network: Any = trace.cell
    if getattr(network, "skips", None):
        # A layer's energy knows its own V u, not the Lambda term beside it.
        raise ValueError("Energy: expected a densely stacked Network, got residual connections")
    with torch.no_grad():
        pairs = network.layer_inputs(trace.inputs, trace.states[:-1])
    return [
        (cell, inputs, trace.states[..., where])
        for cell, (inputs, _), where in zip(network.cells, pairs, network.layer_slices, strict=True)
    ]
