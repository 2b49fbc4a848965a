"""What the comparison widget shows, as a value: a specification, its datasets, and the code that makes them again.

No widget is imported here.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from dynlab import _check
from dynlab.cell import Cell
from dynlab.compare import seeded_cell
from dynlab.probes import PROBES
from dynlab.recording import record
from dynlab.widgets.runner import Cancelled
from dynlab.widgets.signals import KINDS, Kind, signal

if TYPE_CHECKING:
    import xarray as xr

    from dynlab.widgets.runner import Tick

PAPERS = ("unicornn", "irnn:K=5", "antisymmetric")
"""The cells at the start."""
KEPT = 64
"""Datasets that are kept, so that moving one cell's slider measures that cell only."""


@dataclass(frozen=True)
class Comparison:
    """Several cells on the same inputs.

    Attributes:
        cells: specifications such as "irnn:K=5,eta=0.01", or names of cells that the widget was given; one may
            stand there twice.
        steps: T. hidden_size: d of the cells that are built here. batch_size: sequences.
        seed: of inputs and parameters. inputs: kind of ``dynlab.widgets.signals.signal``. scale: factor on the inputs.
        probes: names of probes, with their defaults.
    """

    cells: tuple[str, ...] = PAPERS
    steps: int = 200
    hidden_size: int = 64
    batch_size: int = 4
    seed: int = 0
    inputs: Kind = "noise"
    scale: float = 1.0
    probes: tuple[str, ...] = ("GradientNorm",)

    def __post_init__(self) -> None:
        where = "comparison"
        for name in ("steps", "hidden_size", "batch_size"):
            _check.integer(name, getattr(self, name), where)
        _check.integer("seed", self.seed, where, least=0)
        _check.choice("inputs", self.inputs, KINDS, where)
        _check.number("scale", self.scale, where)
        for probe in self.probes:
            _check.choice("each of probes", probe, tuple(PROBES), where)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each cell, told apart where one stands there twice."""
        seen: Counter[str] = Counter()
        found = []
        for spec in self.cells:
            seen[spec] += 1
            found.append(spec if seen[spec] == 1 else f"{spec} ({seen[spec]})")
        return tuple(found)

    def to_json(self) -> str:
        """Everything, to be kept or shared."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` wrote.

        Raises:
            ValueError: for another text.
        """
        try:
            content = json.loads(text)
            known = {field.name for field in fields(cls)}
            if not isinstance(content, dict) or not set(content) <= known:
                raise ValueError(f"expected an object with names among {', '.join(sorted(known))}")
            for name in ("cells", "probes"):
                if name in content:
                    content[name] = tuple(content[name])
            return cls(**content)
        except (ValueError, TypeError) as error:
            raise ValueError(f"comparison: expected what to_json wrote, got {text[:60]!r}: {error}") from None

    def code(self, given: Mapping[str, str] | None = None) -> str:
        """A script that measures exactly this.

        Arguments:
            given: by name, the expression that makes a cell which the widget was given, such as
                "dynlab.load_checkpoint('run/model.pt')[0]"; a name without one is left to the reader.
        """
        scale = "" if self.scale == 1 else f", scale={self.scale!r}"
        lines = [
            "import torch",
            "",
            "import dynlab",
            "from dynlab.widgets.signals import signal",
            "",
            f"inputs = signal({self.inputs!r}, {self.steps}, {self.batch_size}, seed={self.seed}{scale})",
            f"probes = {list(self.probes)!r}",
            "data = {}",
        ]
        for label, spec in zip(self.labels, self.cells, strict=True):
            lines.append("")
            if given is not None and spec in given:
                lines.append(f"cell = {given[spec]}")
            else:
                lines += [
                    f"torch.manual_seed({self.seed})",
                    f"cell = dynlab.build_cell({spec!r}, inputs.shape[-1], {self.hidden_size})",
                ]
            lines.append(f"data[{label!r}] = dynlab.record(cell, inputs, probes)")
        return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Measured:
    """One cell's part of a comparison.

    Attributes:
        label: see ``Comparison.labels``. dataset: None if the cell could not be measured.
        problem: one line, why not, or what happened on the way; "" if nothing.
    """

    label: str
    spec: str
    dataset: xr.Dataset | None
    problem: str = ""


class Laboratory:
    """Measures comparisons; what has been measured lately is kept.

    Arguments:
        given: cells of the user's own by name: cells at hand (trained ones), or functions (input_size, hidden_size)
            that build one, which are called with the comparison's seed.
    """

    def __init__(self, given: Mapping[str, Cell | Callable[[int, int], Any]] | None = None) -> None:
        self.given = dict(given or {})
        self._kept: OrderedDict[Comparison, Measured] = OrderedDict()

    def compute(self, comparison: Comparison, tick: Tick) -> list[Measured]:
        """Every cell measured, in order; one that cannot be built or run does not keep the others from it.

        Arguments:
            tick: see ``dynlab.widgets.runner.Tick``; what it raises ends the computation, and what has been measured
                by then is kept.
        """
        count = len(comparison.cells)
        found = []
        for index, (label, spec) in enumerate(zip(comparison.labels, comparison.cells, strict=True)):
            alone = replace(comparison, cells=(spec,))
            if alone not in self._kept:

                def part(share: float, before: int = index) -> None:
                    tick((before + share) / count)

                self._kept[alone] = self._measure(spec, alone, part)
            self._kept.move_to_end(alone)
            kept = self._kept[alone]
            found.append(replace(kept, label=label))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        tick(1.0)
        return found

    def _measure(self, spec: str, comparison: Comparison, tick: Tick) -> Measured:
        sweeps = max(1, 2 * len(comparison.probes)) * comparison.steps
        done = 0

        def swept(steps: int) -> None:
            nonlocal done
            done += steps
            tick(min(done / sweeps, 1.0))

        tick(0.0)
        try:
            inputs = signal(
                comparison.inputs, comparison.steps, comparison.batch_size, seed=comparison.seed, scale=comparison.scale
            )
            cell = self._cell(spec, inputs.shape[-1], comparison)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", RuntimeWarning)
                dataset = record(cell, inputs, comparison.probes, tick=swept)
        except Cancelled:
            raise
        except Exception as error:  # a user's cell may raise anything
            return Measured(spec, spec, None, _line(error) or type(error).__name__)
        runtime = [one for one in said if issubclass(one.category, RuntimeWarning)]
        return Measured(spec, spec, dataset, "; ".join(dict.fromkeys(_line(one.message) for one in runtime)))

    def _cell(self, spec: str, input_size: int, comparison: Comparison) -> Any:
        import torch

        own = self.given.get(spec)
        if own is None:
            return seeded_cell(spec, input_size, comparison.hidden_size, comparison.seed)
        if not isinstance(own, torch.nn.Module):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(comparison.seed)
                return own(input_size, comparison.hidden_size)
        if getattr(own, "input_size", input_size) != input_size:
            raise ValueError(
                f"{spec}: expected inputs with {own.input_size} features, got {comparison.inputs} with {input_size}"
            )
        return own


def _line(error: object) -> str:
    return " ".join(str(error).split())
