"""The registry: every cell by its key, with the defaults its paper gives.

Lists of cells (tests, command line, widgets, benchmarks) read this; adding a cell is a row here, a file and an
export line in ``dynlab.cells``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from dynlab._specs import parse_spec
from dynlab.cell import Cell


@dataclass(frozen=True)
class Entry:
    """One row: call it with (input_size, hidden_size, **options) to build the cell.

    Attributes:
        key: name on the command line. module: file in ``dynlab.cells``. name: class in it.
        defaults: options that differ from, or are required beyond, the class's own.
        summary: one line for lists.
    """

    key: str
    module: str
    name: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cls(self) -> type[Cell]:
        """The class, imported when asked for."""
        return getattr(import_module(f"dynlab.cells.{self.module}"), self.name)

    @property
    def options(self) -> dict[str, Any]:
        """Every option and its default."""
        parameters = list(inspect.signature(self.cls.__init__).parameters.values())[3:]
        own = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
        return {**own, **self.defaults}

    def __call__(self, input_size: int, hidden_size: int, **options: Any) -> Cell:
        """The cell, with the paper's defaults where no option is given.

        Raises:
            ValueError: for an option the cell does not have, or a value it refuses.
        """
        unknown = set(options) - set(self.options) - {"backend"}  # which every cell takes
        if unknown:
            raise ValueError(f"{self.key}: expected options among {', '.join(self.options)}; got {', '.join(unknown)}")
        return self.cls(input_size, hidden_size, **{**self.defaults, **options})


_ROWS = (
    Entry("unicornn", "unicornn", "UnICORNN", "undamped independent oscillators, symplectic Euler"),
    Entry(
        "irnn",
        "incremental",
        "IncrementalRNN",
        "K Euler steps towards an equilibrium, U = I + V H",
        {"K": 5, "recurrent": "identity_plus_low_rank"},
    ),
    Entry("sirnn", "incremental", "IncrementalRNN", "iRNN with K = 1", {"K": 1, "recurrent": "identity_plus_low_rank"}),
    Entry("antisymmetric", "antisymmetric", "AntisymmetricRNN", "antisymmetric weights, forward Euler"),
    Entry(
        "gated_antisymmetric",
        "antisymmetric",
        "AntisymmetricRNN",
        "AntisymmetricRNN with an input gate",
        {"gated": True},
    ),
    Entry(
        "antisymmetric_ablation",
        "antisymmetric",
        "AntisymmetricRNN",
        "the gated cell with unstructured weights",
        {"gated": True, "structured": False},
    ),
    Entry("ctrnn", "ctrnn", "CTRNN", "continuous-time RNN, forward Euler"),
    Entry("elman", "elman", "Elman", "plain RNN, tanh"),
    Entry("lstm", "lstm", "LSTM", "long short-term memory"),
    Entry("gru", "gru", "GRU", "gated recurrent unit"),
    Entry("fastrnn", "fastrnn", "FastRNN", "plain RNN with two scalar residual weights"),
    Entry("fastgrnn", "fastrnn", "FastGRNN", "FastRNN with a gate that shares its weights"),
    Entry("cornn", "cornn", "CoRNN", "coupled damped oscillators"),
    Entry("exprnn", "exprnn", "ExpRNN", "orthogonal weights, exponential of a skew-symmetric matrix"),
    Entry("indrnn", "indrnn", "IndRNN", "independent neurons, ReLU"),
    Entry(
        "lipschitz",
        "lipschitz",
        "LipschitzRNN",
        "Euler on an ODE with a linear and a tanh part, of bounded symmetric parts",
    ),
    Entry("ugrnn", "ugrnn", "UGRNN", "update gate RNN"),
)

registry: dict[str, Entry] = {row.key: row for row in _ROWS}


def parse_cell(spec: str) -> tuple[Entry, dict[str, Any]]:
    """The row and options of a specification such as ``irnn:K=5,eta=0.01``.

    Raises:
        ValueError: for an unknown key, or options that are not name=value.
    """
    key, options = parse_spec(spec)
    if key not in registry:
        raise ValueError(f"expected a cell among {', '.join(registry)}; got {key!r}")
    return registry[key], options


def build_cell(spec: str, input_size: int, hidden_size: int) -> Cell:
    """The cell of a specification such as ``irnn:K=5,eta=0.01``.

    Raises:
        ValueError, TypeError: unknown key or option, or a value that the cell refuses.
    """
    entry, options = parse_cell(spec)
    return entry(input_size, hidden_size, **options)
