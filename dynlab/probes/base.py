"""What a probe is: a description of a quantity, and an observer that collects it from the shared sweeps.

A probe is a small frozen dataclass that users build. ``record`` asks it for an observer of one trace, runs one
sweep of each kind for all observers together, and collects their variables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.graded import GradedProduct
from dynlab.jacobian.product import BlockProduct, Product
from dynlab.jacobian.sweep import Rows
from dynlab.trace import Trace

Of = Literal["state", "hidden"]


@dataclass(frozen=True)
class Variable:
    """One variable of the dataset.

    Attributes:
        name, dims: as in the data contract. values: a tensor or array of that many axes.
        attrs: at least ``units`` and ``long_name``; ``reference`` where a paper defines it.
        coords: coordinate values for dims that do not simply count (``record`` counts time from 0, transition
            from 1 and everything else from 0).
    """

    name: str
    dims: tuple[str, ...]
    values: Tensor | np.ndarray
    attrs: Mapping[str, Any]
    coords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AdjointRequest:
    """A wish for d state_stop / d state_t, backward from ``stop`` to ``start``; equal requests share a sweep."""

    rows: Rows
    start: int
    stop: int


@dataclass(frozen=True)
class GradedRequest:
    """A wish for the forward QR sweep: ``k`` columns; ``full`` to keep what singular values need.

    Attributes:
        times: when, besides T, the full product is wanted.
        transient: transitions whose growth is not counted in the exponents.
    """

    k: int
    full: bool = False
    times: tuple[int, ...] = ()
    transient: int = 0


class Observer(ABC):
    """Collects one probe's quantity from one trace."""

    adjoint: AdjointRequest | None = None
    graded: GradedRequest | None = None

    def visit(self, first: int, product: Product, linearization: Linearization | None) -> None:
        """As ``Visitor.visit``; the product has the rows asked for."""

    def take_adjoint(self, product: Product) -> None:
        """Take the product at t = start."""

    def take_graded(self, time: int, product: GradedProduct) -> None:
        """Take the state of the QR sweep at one of the times asked for, T last."""

    @abstractmethod
    def variables(self) -> list[Variable]:
        """What was measured, after all sweeps."""


class Probe(ABC):
    """A quantity to record. Subclasses are frozen dataclasses.

    Attributes:
        provides: names of the variables it gives, for lists. summary: one line. reference: where it is defined.
    """

    provides: ClassVar[tuple[str, ...]] = ()
    summary: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    @abstractmethod
    def observe(self, trace: Trace) -> Observer:
        """An observer of this trace.

        Raises:
            ValueError: if the quantity cannot be had from this cell or this trace.
        """


class Computed(Observer):
    """An observer that needs no sweep: its variables come straight from the trace."""

    def __init__(self, variables: list[Variable]) -> None:
        self._variables = variables

    def variables(self) -> list[Variable]:
        """What was computed."""
        return self._variables


def check_of(of: str, probe: Probe) -> None:
    """``of`` must be "state" or "hidden"."""
    _check.choice("of", of, ("state", "hidden"), type(probe).__name__)


def size_of(of: Of, cell: Cell) -> int:
    """Number of components meant by ``of``."""
    return cell.state_size if of == "state" else cell.hidden_size


def columns_of(of: Of, cell: Cell, product: Product) -> slice:
    """The columns of a product meant by ``of``: components of a dense one, channels of independent units."""
    if of == "state":
        return slice(None)
    return slice(0, 1) if isinstance(product, BlockProduct) else cell.hidden_slice


def restrict_rows(product: Product, cell: Cell) -> Product:
    """The rows of the hidden part, from a product that starts from the whole state."""
    if isinstance(product, BlockProduct):
        return BlockProduct(product.entries[:, :, :, :1], product.log_scale)
    return type(product)(product.matrix[:, cell.hidden_slice], product.log_scale)
