"""Which of the papers' propositions can be evaluated on a comparison. No widget is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dynlab.cells import registry
from dynlab.theory import PROPOSITIONS
from dynlab.widgets.comparison import Comparison
from dynlab.widgets.laboratory import Laboratory

if TYPE_CHECKING:
    import xarray as xr


def applicable(comparison: Comparison, own: Mapping[str, Any]) -> list[str]:
    """Lines "KEY on SPEC" for every proposition and every cell that it is about."""
    found = []
    for spec in dict.fromkeys(comparison.cells):
        name = spec.partition(":")[0]
        for key, proposition in PROPOSITIONS.items():
            classes = tuple(registry[kind].cls for kind in proposition.cells)
            if name in proposition.cells or isinstance(own.get(name), classes):
                found.append(f"{key} on {spec}")
    return found


def evaluate(laboratory: Laboratory, comparison: Comparison, proposition: str) -> xr.Dataset:
    """The finding of "KEY on SPEC", on the comparison's inputs.

    Raises:
        ValueError, TypeError: if the cell or the inputs do not suit the proposition.
    """
    key, _, spec = proposition.partition(" on ")
    inputs = comparison.make_inputs()
    cell = laboratory.cell(spec, inputs.shape[-1], comparison)
    return PROPOSITIONS[key].evaluate(cell, inputs, seed=comparison.seed)
