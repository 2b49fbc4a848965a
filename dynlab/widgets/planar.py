"""Recurrences with two state components, explored by hand: a specification, its motion, the code that makes it again.

No widget is imported here. Index conventions: t time, b start, d state component, r row and c column of a grid.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from dynlab import _check, cells
from dynlab.figures.planar import STARTS
from dynlab.trace import rollout
from dynlab.widgets import planar_stability
from dynlab.widgets.planar_kinds import ALL, KINDS, Recurrence
from dynlab.widgets.values import from_json

if TYPE_CHECKING:
    import xarray as xr

    from dynlab.cell import Cell

Pair = tuple[float, float]

MOST_STEPS, MOST_STARTS = 500, 5
GRID = 17
"""Points of the vector field along each axis."""


@dataclass(frozen=True)
class PlanarModel:
    """A recurrence of two state components with its numbers, from a few initial states, without input.

    Attributes:
        kind: a key of ``KINDS``.
        W: the matrix ((w11, w12), (w21, w22)); UnICORNN's one unit has w11 as w and reads nothing else of it.
        bias: (b1, b2), or b and nothing else for UnICORNN. It stands for a constant input too, V x + b.
        options: the cell's own, ``KINDS[kind].options``; those that are not given have their defaults.
        starts: initial states, 1 to ``MOST_STARTS``. steps: T, 1 to ``MOST_STEPS``.
    """

    kind: str = "feedback"
    W: tuple[Pair, Pair] = ((0.0, -1.0), (1.0, 0.0))
    bias: Pair = (0.0, 0.0)
    options: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Pair, ...] = STARTS
    steps: int = 50

    def __post_init__(self) -> None:
        where = "phase explorer"
        _check.choice("kind", self.kind, tuple(KINDS), where)
        given = dict(self.options)
        known = {option.name: option.default for option in self.recurrence.options}
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(f"{where}: expected options of {self.kind} among {list(known)}, got {', '.join(unknown)}")
        rows = _pairs("W", self.W, where)
        starts = _pairs("starts", self.starts, where)
        if len(rows) != 2 or not 1 <= len(starts) <= MOST_STARTS:
            raise ValueError(
                f"{where}: expected 2 rows of W and 1 to {MOST_STARTS} starts, got {len(rows)} and {len(starts)}"
            )
        _check.integer("steps", self.steps, where)
        if self.steps > MOST_STEPS:
            raise ValueError(f"{where}: expected steps <= {MOST_STEPS}, got {self.steps}")
        completed: dict[str, Any] = {
            "W": rows, "starts": starts, "bias": _pairs("bias", [self.bias], where)[0], "options": {**known, **given},
        }  # fmt: skip
        for name, value in completed.items():
            object.__setattr__(self, name, value)
        self.cell()

    @property
    def recurrence(self) -> Recurrence:
        """What kind it is."""
        return KINDS[self.kind]

    def changed(self, name: str, value: Any) -> Self:
        """The same with one number changed: "W11" ... "W22", "b1", "b2", an option, or an attribute.

        Another kind of the same cell class keeps the options, any other has its defaults.

        Raises:
            TypeError, ValueError: as for a new model.
        """
        if name == "kind":
            same = value in KINDS and KINDS[value].cell == self.recurrence.cell
            return replace(self, kind=value, options=self.options if same else {})
        if name in self.options:
            return replace(self, options={**self.options, name: value})
        if name in ("b1", "b2"):
            return replace(self, bias=(value, self.bias[1]) if name == "b1" else (self.bias[0], value))
        if name in ALL:
            (w11, w12), (w21, w22) = (
                tuple(value if f"W{r}{c}" == name else self.W[r - 1][c - 1] for c in (1, 2)) for r in (1, 2)
            )
            return replace(self, W=((w11, w12), (w21, w22)))
        if name not in {one.name for one in fields(self)}:
            raise ValueError(f"phase explorer: expected something to change in {self.kind}, got {name!r}")
        return replace(self, **{name: value})

    def number(self, name: str) -> Any:
        """What ``changed`` changes."""
        if name in self.options:
            return self.options[name]
        if name in ("b1", "b2"):
            return self.bias[int(name[1]) - 1]
        return self.W[int(name[1]) - 1][int(name[2]) - 1] if name in ALL else getattr(self, name)

    def with_starts(self, count: int) -> Self:
        """So many starts: the first ones, and further ones each a turn of 137.5 degrees from the last, and inward."""
        found = list(self.starts[:count])
        turn = math.pi * (3 - math.sqrt(5))
        while len(found) < count:
            x, y = found[-1] if any(found[-1]) else (1.0, 0.0)
            found.append((0.9 * (x * math.cos(turn) - y * math.sin(turn)),
                          0.9 * (x * math.sin(turn) + y * math.cos(turn))))  # fmt: skip
        return replace(self, starts=tuple(found))

    def numbers(self) -> str:
        """The numbers that count, in a line."""
        kind = self.recurrence
        found = {kind.name_of(name): self.number(name) for name in kind.entries}
        found |= {name: self.number(name) for name in kind.biases} | dict(self.options)
        return ", ".join(
            f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in found.items()
        )

    def cell(self) -> Cell:
        """The cell with these numbers, in float64."""
        made: Cell = getattr(cells, self.recurrence.cell)(0, self.recurrence.hidden_size, **self._arguments()).double()
        with torch.no_grad():
            for name, value in self._parameters().items():
                made.get_parameter(name).copy_(torch.tensor(value, dtype=torch.float64))
        return made

    def _parameters(self) -> dict[str, Any]:
        return self.recurrence.parameters(self.W, self.bias, self.options)

    def _arguments(self) -> dict[str, Any]:
        return {**self.recurrence.fixed, **self.options}

    def states(self) -> Tensor:
        """The initial states, (b, d), float64."""
        return torch.tensor(self.starts, dtype=torch.float64)

    def inputs(self) -> Tensor:
        """No input, (t, b, 0)."""
        return torch.zeros(self.steps, len(self.starts), 0, dtype=torch.float64)

    def to_json(self) -> str:
        """Everything, to be kept or shared."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` wrote.

        Raises:
            ValueError: for another text.
        """
        return from_json(cls, text, "phase explorer")

    def code(self) -> str:
        """A script that makes ``trajectory`` and ``step_eigenvalue`` of ``dataset`` again, to the last digit."""
        arguments = "".join(f", {name}={value!r}" for name, value in self._arguments().items())
        size = self.recurrence.hidden_size
        lines = [
            "import torch",
            "",
            "import dynlab",
            "",
            f"# {self.recurrence.equation}",
            f"cell = dynlab.cells.{self.recurrence.cell}(0, {size}{arguments}).double()",
            "with torch.no_grad():",
            *(
                f"    cell.{name}.copy_(torch.tensor({value!r}, dtype=torch.float64))"
                for name, value in self._parameters().items()
            ),
            f"starts = torch.tensor({[list(start) for start in self.starts]!r}, dtype=torch.float64)",
            f"inputs = torch.zeros({self.steps}, len(starts), 0, dtype=torch.float64)  # the cell has none",
            "probes = [dynlab.Trajectory(of='state'), dynlab.StepSpectrum()]",
            "data = dynlab.record(cell, inputs, probes, state=starts)",
            "",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Motion:
    """What a model does.

    Attributes:
        model: whose it is.
        states: (time 0..T, b, d). step_eigenvalues: (transition 1..T, b, 2), complex, modulus descending.
        overflow: the first step at which a state left the float range, None for none; ``states`` end before it.
        eigenvalues: (2,) of ``planar_stability.linear_part``, real part descending. growth: (2,), what a step makes
            of them where nothing saturates, its modulus; 1 at the edge of the region.
        region: corners of the stability region, complex.
        line: coordinates of the field's columns and rows. flow: (r, c, d), how far a step moves a state from there.
    """

    model: PlanarModel
    states: np.ndarray
    step_eigenvalues: np.ndarray
    overflow: int | None
    eigenvalues: np.ndarray
    growth: np.ndarray
    region: np.ndarray
    line: np.ndarray
    flow: np.ndarray


@torch.no_grad()
def compute(model: PlanarModel, half_width: float = 1.3) -> Motion:
    """Trajectories, eigenvalues and the vector field over [-half_width, half_width] squared.

    Raises:
        ValueError: if the very first step leaves the float range, or an eigenvalue does.
    """
    cell = model.cell()
    trace = rollout(cell, model.inputs(), model.states())
    jacobians = trace.linearize(0, trace.steps).jacobian
    if not bool(torch.isfinite(jacobians.to_dense()).all()):
        raise ValueError("phase explorer: expected finite step Jacobians; a derivative left the float range")
    values = jacobians.eigenvalues()
    values = values.gather(-1, values.abs().argsort(-1, descending=True))
    matrix = planar_stability.linear_part(model)
    line, flow = _field(cell, half_width)
    eigenvalues = np.sort_complex(np.linalg.eigvals(matrix))[::-1]
    return Motion(
        model, trace.states.numpy(), values.numpy(), trace.overflow, eigenvalues,
        planar_stability.growth(model, eigenvalues), planar_stability.region(model), line, flow,
    )  # fmt: skip


def _field(cell: Cell, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    line = torch.linspace(-half_width, half_width, GRID, dtype=torch.float64)
    states = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    moved = cell(states.new_zeros(len(states), 0), states) - states
    # Where a step leaves the float range there is no arrow.
    return line.numpy(), torch.nan_to_num(moved, 0.0, 0.0, 0.0).reshape(GRID, GRID, 2).numpy()


def dataset(model: PlanarModel, half_width: float = 1.3) -> xr.Dataset:
    """What is drawn: ``dynlab.record`` of the trajectories, the eigenvalues, the vector field.

    Returns:
        ``trajectory`` (time 0..T, batch, unit), ``step_eigenvalue`` (transition, batch, mode), ``linear_eigenvalue``
        and ``linear_growth`` (mode), ``flow`` (flow_row, flow_column, unit); the model as JSON among the attributes.

    Raises:
        ValueError: as ``compute``.
    """
    import dynlab

    motion = compute(model, half_width)
    with warnings.catch_warnings():
        # That a state left the float range stands in overflow_step.
        warnings.filterwarnings("ignore", ".*left the range", RuntimeWarning)
        found = dynlab.record(
            model.cell(), model.inputs(), [dynlab.Trajectory(of="state"), dynlab.StepSpectrum()], model.states(),
            attrs={"model": model.to_json()},
        )  # fmt: skip
    meaning = f"eigenvalue of {model.recurrence.linear}"
    grid = {"units": "1", "long_name": "where the field is measured"}
    return found.assign(
        linear_eigenvalue=("mode", motion.eigenvalues, {"units": "1", "long_name": meaning}),
        linear_growth=("mode", motion.growth, {"units": "1", "long_name": planar_stability.growth_name(model)}),
        flow=(
            ("flow_row", "flow_column", "unit"),
            motion.flow,
            {"units": "1", "long_name": "new state minus state, one step"},
        ),
    ).assign_coords(flow_row=("flow_row", motion.line, grid), flow_column=("flow_column", motion.line, grid))


def _pairs(name: str, rows: Any, where: str) -> tuple[Pair, ...]:
    if not all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):
        raise ValueError(f"{where}: expected {name} as pairs of numbers, got {rows!r}")
    return tuple((_check.number(name, row[0], where), _check.number(name, row[1], where)) for row in rows)
