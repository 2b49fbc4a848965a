"""The effective time-step of each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell
from dynlab.probes.base import Computed, Observer, Probe, Variable
from dynlab.trace import Trace

# Axes of a ``TimeStep`` in the order they take after layer and unit, and their names in the dataset.
_AXES = {"time": "transition", "batch": "batch", "k": "k"}


@dataclass(frozen=True)
class TimeSteps(Probe):
    """How far each unit moves in one step: dt sigmoid(c), epsilon z_t, eta_k, as the cell defines it.

    Variables:
        time_step (layer, unit, ...): and, where it varies, transition 1..T, batch, and k, the inner step 1..K. One
            number for all units, as iRNN's eta, is repeated. A single cell is one layer.
        time_step_layer0 (unit_layer0, ...), time_step_layer1, ...: in its place, for a Network whose layers differ
            in what their time-steps vary with, or in size; an inner step is then k_layer0, ...

    Raises:
        ValueError: from a cell that defines no time-step.
    """

    provides = ("time_step",)
    summary = "effective time-step of each unit"
    reference = "UnICORNN Eq. (6); AntisymmetricRNN Eqs. (12), (13); iRNN Eq. (5)"

    def observe(self, trace: Trace) -> Observer:
        """As ``Probe.observe``."""
        layers = [_axes_in_order(trace, *layer) for layer in _layers(trace)]
        for index, (_, dims, _) in enumerate(layers):
            if "batch" in dims and str(index) in getattr(trace.cell, "skips", ()):
                raise ValueError(
                    f"TimeSteps: expected time-steps that do not depend on the input in layer {index}, whose residual "
                    "connection changes the input term that they would depend on"
                )
        attrs = {"units": "1 (integration time per step)", "reference": self.reference}
        meaning = "; ".join(dict.fromkeys(meaning for *_, meaning in layers))
        shapes = {(dims, tuple(values.shape)) for values, dims, _ in layers}
        if len(shapes) == 1:
            dims = layers[0][1]
            values = torch.stack([values for values, *_ in layers])
            attrs["long_name"] = meaning
            return Computed(
                [Variable("time_step", ("layer", *dims), values, attrs, _inner_steps("k", dims, values[0]))]
            )
        found = []
        for index, (values, dims, meaning) in enumerate(layers):
            named = tuple(f"{dim}_layer{index}" if dim in ("unit", "k") else dim for dim in dims)
            coords = _inner_steps(f"k_layer{index}", named, values)
            found.append(Variable(f"time_step_layer{index}", named, values, {**attrs, "long_name": meaning}, coords))
        return Computed(found)


def _layers(trace: Trace) -> list[tuple[Cell, Tensor, Tensor]]:
    """Each layer's cell, its inputs (time, batch, f) and its states before them (time, batch, n)."""
    before = trace.states[:-1]
    if not hasattr(trace.cell, "layer_inputs"):
        return [(trace.cell, trace.inputs, before)]
    # A Network, or a cell of one's own that has its interface.
    network: Any = trace.cell
    pairs = network.layer_inputs(trace.inputs, before)
    return [(cell, *pair) for cell, pair in zip(network.cells, pairs, strict=True)]


@torch.no_grad()
def _axes_in_order(trace: Trace, cell: Cell, inputs: Tensor, states: Tensor) -> tuple[Tensor, tuple[str, ...], str]:
    """One layer's time-steps with axes (unit, then those of ``_AXES`` that it has), the dims and the meaning."""
    values, dims, meaning = cell.time_steps(inputs, states)
    _check_time_step(cell, values, dims)
    values = values.detach()
    if "unit" not in dims:
        values, dims = values.unsqueeze(-1).expand(*values.shape, cell.hidden_size), (*dims, "unit")
    order = ["unit", *(dim for dim in _AXES if dim in dims)]
    values = values.permute([dims.index(dim) for dim in order])
    if "time" in dims:
        # Parameters of their own for every step may be there for longer sequences than this one.
        values = values.narrow(order.index("time"), 0, min(trace.steps, values.shape[order.index("time")]))
    for dim, size in (("unit", cell.hidden_size), ("time", trace.steps), ("batch", trace.batch_size)):
        if dim in order and values.shape[order.index(dim)] != size:
            raise ValueError(
                f"TimeSteps: expected {type(cell).__name__}.time_steps to give {size} along {dim!r}, "
                f"got {_check.describe(values)} with dims {tuple(order)}"
            )
    return values, tuple(_AXES.get(dim, dim) for dim in order), meaning


def _check_time_step(cell: Cell, values: Tensor, dims: tuple[str, ...]) -> None:
    known = set(dims) <= {"unit", *_AXES} and len(set(dims)) == len(dims)
    if not isinstance(values, Tensor) or not known or values.dim() != len(dims):
        raise ValueError(
            f"TimeSteps: expected {type(cell).__name__}.time_steps to return TimeStep(values, dims, meaning) "
            f"with one of 'time', 'batch', 'k', 'unit' a dimension, got {_check.describe(values)} with dims {dims!r}"
        )


def _inner_steps(name: str, dims: tuple[str, ...], values: Tensor) -> dict[str, Tensor]:
    """Inner steps count from 1: g_k is made with eta_k."""
    return {name: torch.arange(1, values.shape[dims.index(name)] + 1)} if name in dims else {}
