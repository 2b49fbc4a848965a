"""What the comparison widget shows, as a value: a specification, and the code that makes its datasets.

No widget is imported here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from dynlab import _check, probes
from dynlab._specs import parse_spec
from dynlab.probes import PROBES
from dynlab.probes.base import Probe
from dynlab.widgets.signals import KINDS, Kind, signal
from dynlab.widgets.values import from_json

if TYPE_CHECKING:
    from torch import Tensor


PAPERS = ("unicornn", "irnn:K=5", "antisymmetric")
"""The cells at the start."""
SLOW = ("SingularValues", "LyapunovSpectrum")
"""Probes that may take seconds: the others are shown before these are measured."""
SPECTRA = 10
"""Transitions whose eigenvalues are measured: all of them would take longer than everything else."""


def probe_options(name: str, steps: int) -> dict[str, Any]:
    """Where a comparison's probe differs from its defaults."""
    return {"every": -(-steps // SPECTRA)} if name == "StepSpectrum" and steps > SPECTRA else {}


def probe_of(name: str, steps: int) -> Probe:
    """The probe of this name, as a comparison of so many steps uses it."""
    probe: Probe = getattr(probes, name)(**probe_options(name, steps))
    return probe


def _probe_code(name: str, steps: int) -> str:
    options = ", ".join(f"{key}={value!r}" for key, value in probe_options(name, steps).items())
    return f"dynlab.{name}({options})" if options else repr(name)


@dataclass(frozen=True)
class Comparison:
    """Several cells on the same inputs.

    Attributes:
        cells: specifications such as "irnn:K=5,eta=0.01", or names of cells that the widget was given; one may
            stand there twice.
        steps: T. hidden_size: d of the cells that are built here. batch_size: sequences.
        seed: of inputs and parameters. inputs: kind of ``dynlab.widgets.signals.signal``. scale: factor on the inputs.
        features: inputs a step, None for as many as the kind has.
        probes: names of probes, with their defaults.
    """

    cells: tuple[str, ...] = PAPERS
    steps: int = 200
    hidden_size: int = 64
    batch_size: int = 4
    seed: int = 0
    inputs: Kind = "noise"
    scale: float = 1.0
    features: int | None = None
    probes: tuple[str, ...] = ("GradientNorm",)

    def __post_init__(self) -> None:
        where = "comparison"
        for name in ("steps", "hidden_size", "batch_size"):
            _check.integer(name, getattr(self, name), where)
        _check.integer("seed", self.seed, where, least=0)
        _check.choice("inputs", self.inputs, KINDS, where)
        _check.number("scale", self.scale, where)
        if self.features is not None:
            _check.integer("features", self.features, where)
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

    def make_inputs(self) -> Tensor:
        """(time, batch, feature), see ``signal``.

        Raises:
            ValueError: features for digits, which have theirs.
        """
        return signal(
            self.inputs, self.steps, self.batch_size, features=self.features, seed=self.seed, scale=self.scale
        )

    def to_json(self) -> str:
        """Everything, to be kept or shared."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` wrote.

        Raises:
            ValueError: for another text.
        """
        return from_json(cls, text, "comparison", ("cells", "probes"))

    def code(
        self,
        given: Mapping[str, str] | None = None,
        builders: Sequence[str] = (),
        left_out: Mapping[str, Sequence[str]] | None = None,
    ) -> str:
        """A script that measures exactly this.

        Arguments:
            given: by name, the expression for a cell which the widget was given, such as
                "dynlab.load_checkpoint('run/model.pt')[0]"; its name unless there is one.
            builders: the names that are called with (input_size, hidden_size, options).
            left_out: by label, the probes that cannot be had from a cell.
        """
        given, left_out = given or {}, left_out or {}
        scale = "" if self.scale == 1 else f", scale={self.scale!r}"
        features = "" if self.features is None else f", features={self.features}"
        lines = [
            "import torch",
            "",
            "import dynlab",
            "from dynlab.widgets.signals import signal",
            "",
            f"inputs = signal({self.inputs!r}, {self.steps}, {self.batch_size}, seed={self.seed}{scale}{features})",
            f"probes = {self._probes_code(self.probes)}",
            "data = {}",
        ]
        for label, spec in zip(self.labels, self.cells, strict=True):
            had = [probe for probe in self.probes if probe not in left_out.get(label, ())]
            listed = "probes" if len(had) == len(self.probes) else self._probes_code(had)
            lines += ["", *self.cell_code(spec, given, builders)]
            lines.append(f"data[{label!r}] = dynlab.record(cell, inputs, {listed})")
        return "\n".join([*lines, ""])

    def cell_code(self, spec: str, given: Mapping[str, str], builders: Sequence[str]) -> list[str]:
        """The lines of ``code`` that make ``cell``."""
        name = spec.partition(":")[0]
        if name in given and name not in builders:
            return [f"cell = {given[name]}"]
        if name in builders:
            options = "".join(f", {key}={value!r}" for key, value in parse_spec(spec)[1].items())
            built = f"dynlab.as_cell({given.get(name, name)}(inputs.shape[-1], {self.hidden_size}{options}))"
        else:
            built = f"dynlab.build_cell({spec!r}, inputs.shape[-1], {self.hidden_size})"
        return [f"torch.manual_seed({self.seed})", f"cell = {built}"]

    def _probes_code(self, names: Sequence[str]) -> str:
        return f"[{', '.join(_probe_code(name, self.steps) for name in names)}]"
