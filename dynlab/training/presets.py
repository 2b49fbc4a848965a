"""Presets: each paper's hyperparameters as data, every number with its source, or "our choice" where it is silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

from dynlab._specs import parse_spec
from dynlab.training.settings import Settings

OURS = "our choice"


class Sourced(NamedTuple):
    """A value, and the table, section or equation it is from, or "our choice" and why."""

    value: Any
    source: str


@dataclass(frozen=True)
class Preset:
    """The settings of one training of a paper.

    Attributes:
        name: PAPER-TASK, and a variant where there are several. summary: one line, with the published result.
        settings: fields of ``Settings``, each with its source.
    """

    name: str
    summary: str
    settings: Mapping[str, Sourced]

    def __post_init__(self) -> None:
        known = {field.name for field in fields(Settings)}
        for name, (_, source) in self.settings.items():
            if name not in known or not source:
                raise ValueError(f"preset {self.name}: expected a field of Settings with a source, got {name!r}")

    @property
    def paper(self) -> str:
        """The paper's key."""
        return self.name.partition("-")[0]

    @property
    def values(self) -> dict[str, Any]:
        """The settings without their sources."""
        return {name: value for name, (value, _) in self.settings.items()}

    def lines(self) -> Iterator[tuple[str, str]]:
        """(setting, "value (source)") for lists."""
        for name, (value, source) in self.settings.items():
            yield name, f"{value} ({source})"


@cache
def all_presets() -> dict[str, Preset]:
    """Every preset by its name."""
    from dynlab.training.papers import antisymmetric, irnn, unicornn

    rows = [*unicornn.PRESETS, *irnn.PRESETS, *antisymmetric.PRESETS]
    return {row.name: row for row in rows}


def find_preset(name: str, task: str | None = None, cell: str | None = None) -> Preset:
    """The preset of that name; or of that paper, the first one for ``task`` and, if given, ``cell``.

    Arguments:
        name: "irnn-adding-K5", or a paper, "irnn".
        task, cell: specifications; a paper's preset for the same key fits, one with the same options fits better.

    Raises:
        ValueError: if there is none, listing those there are.
    """
    rows = all_presets()
    if name in rows:
        return rows[name]
    of_paper = [row for row in rows.values() if row.paper == name]
    if not of_paper:
        papers = ", ".join(dict.fromkeys(row.paper for row in rows.values()))
        raise ValueError(f"train: expected --preset to be a paper ({papers}) or one of {', '.join(rows)}; got {name!r}")
    if task is None:
        raise ValueError(
            f"train: expected a TASK with --preset {name}, or one of {', '.join(row.name for row in of_paper)}"
        )
    best = max(of_paper, key=lambda row: (_likeness(row.values["task"], task), _likeness(row.values["cell"], cell)))
    if not _likeness(best.values["task"], task):
        tasks = ", ".join(dict.fromkeys(parse_spec(row.values["task"])[0] for row in of_paper))
        raise ValueError(f"train: expected a task that --preset {name} has ({tasks}), got {task!r}")
    return best


def _likeness(mine: str, other: str | None) -> float:
    """0 for another key, else from 1 to 2, for equal specifications, by the share of options that are equal."""
    if other is None:
        return 1
    (key, options), (wanted_key, wanted) = parse_spec(mine), parse_spec(other)
    either = {*options.items(), *wanted.items()}
    share = len(options.items() & wanted.items()) / len(either) if either else 1.0
    return 1 + share if key == wanted_key else 0
