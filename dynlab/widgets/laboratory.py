"""Measures comparisons, one cell at a time; what has been measured lately is kept. No widget is imported here."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dynlab._specs import parse_spec
from dynlab.adapt import as_cell
from dynlab.cell import Cell
from dynlab.compare import seeded_cell
from dynlab.recording import record, record_trace, take_trace
from dynlab.trace import Trace
from dynlab.widgets.comparison import Comparison, probe_of
from dynlab.widgets.runner import Cancelled

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from dynlab.widgets.runner import Tick

KEPT = 64
"""Datasets that are kept, so that moving one cell's slider measures that cell only."""


@dataclass(frozen=True)
class Measured:
    """One cell's part of a comparison.

    Attributes:
        label: see ``Comparison.labels``. dataset: None if the cell could not be measured.
        problem: one line, why not, or what happened on the way; "" if nothing.
        left_out: probes that this cell does not have, each with the reason.
    """

    label: str
    spec: str
    dataset: xr.Dataset | None
    problem: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)

    def joined(self, other: Measured) -> Measured:
        """This and the same cell's other variables."""
        if self.dataset is None or other.dataset is None:
            return other if self.dataset is not None else self
        problems = dict.fromkeys(filter(None, (self.problem, other.problem)))
        return replace(
            self,
            dataset=other.dataset.assign(self.dataset.variables).assign_coords(self.dataset.coords),
            problem="; ".join(problems),
            left_out={**self.left_out, **other.left_out},
        )


class Laboratory:
    """Measures comparisons; what has been measured lately is kept.

    Arguments:
        given: cells of the user's own by name: cells at hand (trained ones), or functions (input_size, hidden_size)
            that build one, which are called with the comparison's seed; "name:beta=0.3" passes them options.
    """

    def __init__(self, given: Mapping[str, Cell | Callable[[int, int], Any]] | None = None) -> None:
        self.given = dict(given or {})
        self._kept: OrderedDict[Comparison, Measured] = OrderedDict()
        self._traces: dict[Comparison, Trace] | None = None
        self._has: dict[tuple[str, int], dict[str, str]] = {}  # probes of a kind of cell: "", or why it has not

    @contextmanager
    def same_traces(self) -> Iterator[None]:
        """Within it what is measured in several calls of ``compute`` shares the rollouts."""
        self._traces = {}
        try:
            yield
        finally:
            self._traces = None

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
            inputs = comparison.make_inputs()
            cell = self.cell(spec, inputs.shape[-1], comparison)
            left_out = self._impossible(spec, cell, inputs, comparison)
            chosen = [probe_of(name, comparison.steps) for name in comparison.probes if name not in left_out]
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", RuntimeWarning)
                dataset = record_trace(self._trace(comparison, cell, inputs), chosen, tick=swept)
        except Cancelled:
            raise
        except Exception as error:  # a user's cell may raise anything
            return Measured(spec, spec, None, _line(error) or type(error).__name__)
        runtime = [one for one in said if issubclass(one.category, RuntimeWarning)]
        problem = "; ".join(dict.fromkeys(_line(one.message) for one in runtime))
        return Measured(spec, spec, dataset, problem, left_out)

    def _trace(self, comparison: Comparison, cell: Any, inputs: Tensor) -> Trace:
        key = replace(comparison, probes=())
        if self._traces is not None and key in self._traces:
            return self._traces[key]
        trace = take_trace(cell if isinstance(cell, Cell) else as_cell(cell), inputs)
        if self._traces is not None:
            self._traces[key] = trace
        return trace

    def _impossible(self, spec: str, cell: Any, inputs: Tensor, comparison: Comparison) -> dict[str, str]:
        """The probes that this cell does not have, such as an LSTM's energy: they are tried on two steps."""
        key = (spec.partition(":")[0], comparison.hidden_size)
        known = self._has.setdefault(key, {})
        for name in comparison.probes:
            if name not in known:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", RuntimeWarning)
                        record(cell, inputs[:2], [probe_of(name, 2)])
                    known[name] = ""
                except (ValueError, TypeError) as error:
                    known[name] = _line(error)
        wanted = {name: known[name] for name in comparison.probes}
        # Where none can be had, it is the cell that is at fault: let it say so.
        return {} if all(wanted.values()) else {name: why for name, why in wanted.items() if why}

    def cell(self, spec: str, input_size: int, comparison: Comparison) -> Any:
        """The cell that this specification means in this comparison.

        Raises:
            ValueError, TypeError: if there is none, or it does not fit; and what a user's builder raises.
        """
        import torch

        name = spec.partition(":")[0]
        own = self.given.get(name)
        if own is None:
            return seeded_cell(spec, input_size, comparison.hidden_size, comparison.seed)
        if not isinstance(own, torch.nn.Module):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(comparison.seed)
                return as_cell(own(input_size, comparison.hidden_size, **parse_spec(spec)[1]))
        if getattr(own, "input_size", input_size) != input_size:
            raise ValueError(
                f"{spec}: expected inputs with {own.input_size} features, got {comparison.inputs} with {input_size}"
            )
        return own

    def code(self, comparison: Comparison, given: Mapping[str, str] | None = None, proposition: str = "") -> str:
        """As ``Comparison.code``, with what is known of the cells.

        Arguments:
            proposition: "KEY on SPEC" evaluates one on a cell, as ``finding``.
        """
        import torch

        builders = [name for name, own in self.given.items() if not isinstance(own, torch.nn.Module)]
        expressions = {name: (given or {}).get(name, name) for name in self.given}
        left_out = {
            label: [
                name for name, why in self._has.get((spec.partition(":")[0], comparison.hidden_size), {}).items() if why
            ]
            for label, spec in zip(comparison.labels, comparison.cells, strict=True)
        }
        text = comparison.code(expressions, builders, left_out)
        if proposition:
            key, _, spec = proposition.partition(" on ")
            made = comparison.cell_code(spec, expressions, builders)
            evaluated = f"dynlab.theory.PROPOSITIONS[{key!r}].evaluate(cell, inputs, seed={comparison.seed})"
            text += "\n".join(["", *made, f"finding = {evaluated}", ""])
        return text


def _line(error: object) -> str:
    return " ".join(str(error).split())
