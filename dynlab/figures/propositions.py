"""The papers' propositions as the report shows them: evaluated in a run of all figures, and read from its folder."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynlab.figures.digests import of_theory
from dynlab.figures.executor import Executor, PieceError
from dynlab.figures.pieces import Piece, alone
from dynlab.figures.progress import Shown
from dynlab.store import open_dataset, save_dataset

FILE, NAME, MISSING = "theory.zarr", "propositions", "missing"


@dataclass(frozen=True)
class Proposed:
    """A row of the table: an evaluated proposition, in words.

    Attributes:
        key, reference, statement, verdict, note: of the finding. cell: what it was evaluated on, "" if the finding does
            not say. hypotheses: each with whether it holds. bound, measured: a value, or the range of them. share: how
            many of the values satisfy the bound, "" if all of them.
    """

    key: str
    reference: str
    statement: str
    cell: str
    hypotheses: tuple[tuple[str, bool], ...]
    relation: str
    bound: str
    measured: str
    verdict: str
    share: str = ""
    note: str = ""

    @classmethod
    def of(cls, finding: xr.Dataset) -> Proposed:
        """The row of a dataset made by ``dynlab.theory.base.finding``."""
        holds = finding["hypothesis_holds"].values
        attrs = finding.attrs
        return cls(
            attrs["proposition"],
            attrs["reference"],
            attrs["statement"],
            str(attrs.get("setting", attrs.get("cell", ""))),
            tuple((str(name), bool(one)) for name, one in zip(finding["hypothesis"].values, holds, strict=True)),
            attrs["relation"],
            _range(finding["bound"]),
            _range(finding["measured"]),
            attrs["verdict"],
            _share(finding["satisfied"]),
            str(attrs.get("note", "")),
        )


class Evaluation(Piece):
    """A proposition, evaluated at settings of its own, as a piece of work; ``function`` is its key."""

    @property
    def code(self) -> str:
        return of_theory()

    def __str__(self) -> str:
        return f"proposition {self.function}"

    def compute(self) -> xr.Dataset:
        """Evaluate it, alone in this process."""
        with alone():
            evaluated: xr.Dataset = _registry()[self.function].evaluate(**json.loads(self.settings))
        return evaluated


def save_propositions(out: Path, executor: Executor) -> None:
    """Evaluate all propositions that are not kept, and write them to ``<out>/theory.zarr``.

    Raises:
        PieceError: for the first that cannot be evaluated, after the others have been, and written.
    """
    pieces = [Evaluation("theory", key, '{"seed": 0}') for key in _registry()]
    failed = None
    with Shown(1) as shown, alone():
        shown.begin(NAME)
        shown.expect(NAME, len(pieces))
        try:
            executor.run(pieces, lambda piece, kept: shown.piece(NAME, piece, kept))
        except PieceError as error:
            failed = error
        kept = {piece.function: executor.cache.find(piece) for piece in pieces}
        tree = xr.DataTree.from_dict({f"{index:03}": one.dataset for index, one in enumerate(kept.values()) if one})
        tree.attrs[MISSING] = [key for key, one in kept.items() if one is None]
        path = save_dataset(tree, out / FILE)
        shown.end(NAME, f"{NAME}: {path}")
    if failed is not None:
        raise failed


def saved_propositions(out: Path) -> tuple[list[Proposed], list[str]]:
    """What ``save_propositions`` saved, and the keys of those that could not be evaluated; nothing if it has not."""
    path = out / FILE
    if not path.exists():
        return [], []
    opened = open_dataset(path)
    missing = [str(key) for key in opened.attrs.get(MISSING, [])]
    groups = opened.children.values() if isinstance(opened, xr.DataTree) else ()  # of all failed, none is a tree
    return [Proposed.of(group.to_dataset().load()) for group in groups], missing


def _registry() -> Mapping[str, Any]:
    """``dynlab.theory.PROPOSITIONS``: objects with ``evaluate(seed=...)``, which gives a ``finding``."""
    registry: Mapping[str, Any] = importlib.import_module("dynlab.theory").PROPOSITIONS
    return registry


def _share(satisfied: xr.DataArray) -> str:
    met, of = int(satisfied.sum()), satisfied.size
    return "" if met == of or of == 1 else f"satisfied by {met} of {of} values"


def _range(values: xr.DataArray) -> str:
    numbers = np.asarray(values.values, dtype=float)
    numbers = numbers[~np.isnan(numbers)]
    if not numbers.size:
        return "undefined"
    least, most = f"{numbers.min():.4g}", f"{numbers.max():.4g}"
    unit = str(values.attrs.get("units", "1"))
    return (least if least == most else f"{least} to {most}") + ("" if unit in ("", "1") else f" {unit}")
