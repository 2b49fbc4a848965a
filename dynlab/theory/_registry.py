"""The registry: every proposition by its key, paper by paper. Tables, reports and the command line read this.

A new proposition is a row in its module's ``PROPOSITIONS``; a new module, a name here.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import xarray as xr

from dynlab import _check
from dynlab.theory.base import Proposition

_MODULES = (
    "antisymmetric", "antisymmetric_growth", "antisymmetric_gamma",
    "irnn", "irnn_local", "irnn_map",
    "unicornn_state", "unicornn_resonance", "unicornn_gradient", "unicornn_gradient_gaps", "unicornn_representation",
    "unicornn_depth_formula", "unicornn_depth", "unicornn_geometry", "unicornn_energy", "unicornn_chaos",
    "unicornn_driving",
    "parameter_counts",
)  # fmt: skip

PROPOSITIONS: dict[str, Proposition] = {
    one.key: one for name in _MODULES for one in import_module(f"dynlab.theory.{name}").PROPOSITIONS
}


def find_proposition(key: str) -> Proposition:
    """The proposition of that key.

    Raises:
        ValueError: for a key that is none.
    """
    if key not in PROPOSITIONS:
        raise ValueError(f"theory: expected a proposition among {', '.join(PROPOSITIONS)}; got {key!r}")
    return PROPOSITIONS[key]


def evaluate_all(*, seed: int = 0) -> Iterator[xr.Dataset]:
    """Every proposition at its own settings, one after the other."""
    _check.integer("seed", seed, "theory", least=0)
    for proposition in PROPOSITIONS.values():
        yield proposition.evaluate(seed=seed)
