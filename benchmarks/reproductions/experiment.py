"""What a reproduction consists of: rows of a published table, each with a declared search, and what came of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from dynlab.training import Settings


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        title: as the table names it. search: every training that is made; the best validation score counts.
        published: what the paper says, in the table's words.
        seeds: further seeds that the best setting is trained with.
        group: rows are compared within a group, which has a table of its own.
    """

    title: str
    search: tuple[Settings, ...]
    published: str = ""
    seeds: tuple[int, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Experiment:
    """A published table or figure.

    Attributes:
        name: of the files. title: the heading. metric: of the task. better: which way. scale: factor and format in
            which scores are shown. notes: data, scale and source, a paragraph each. findings: what came of it.
        rows: see ``Row``. threshold: a score worth knowing the first step of, or None.
        analyse: further sections, made from the outcomes, of Markdown lines; may write figures into the folder.
    """

    name: str
    title: str
    metric: str
    better: Literal["higher", "lower"]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    show: Callable[[float], str] = "{:.4f}".format
    threshold: float | None = None
    analyse: Callable[[list[Outcome], Path], list[str]] | None = None
    findings: tuple[str, ...] = ()

    @property
    def sign(self) -> int:
        """+1 where a higher score is better."""
        return 1 if self.better == "higher" else -1


@dataclass
class Outcome:
    """A training of one setting, or why there is none.

    Attributes:
        validation, test: scores of the parameters that the settings select. steps: updates made.
        failure: the message of a loss or gradient that was not finite.
        curve: (step, training loss). scores: (step, validation score).
    """

    row: Row
    settings: Settings
    folder: Path
    validation: float | None = None
    test: float | None = None
    steps: int = 0
    parameters: int = 0
    failure: str | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def read(cls, row: Row, settings: Settings, folder: Path) -> Outcome | None:
        """What a training has left in its folder; None if it has not ended."""
        outcome = cls(row, settings, folder)
        if (folder / FAILED).exists():
            outcome.failure = (folder / FAILED).read_text(encoding="utf-8").strip()
        elif (folder / "result.json").exists():
            content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            outcome.validation, outcome.test = content["validation"], content["test"]
            outcome.steps, outcome.parameters = content["steps"], content["parameters"]
        else:
            return None
        outcome.curve = [(int(line["step"]), float(line["loss"])) for line in _lines(folder / "training.csv")]
        found = _lines(folder / "validation.csv")
        outcome.scores = [(int(line["step"]), float(list(line.values())[-1])) for line in found]
        return outcome

    def first_step(self, threshold: float, sign: int) -> int | None:
        """The first validation with a score as good."""
        return next((step for step, score in self.scores if sign * score >= sign * threshold), None)


FAILED = "failed.txt"


def _lines(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def best_of(outcomes: Iterable[Outcome], sign: int) -> Outcome | None:
    """The one with the best validation score."""
    ended = [one for one in outcomes if one.validation is not None]
    return max(ended, key=lambda one: sign * (one.validation or 0.0), default=None)


def vary(settings: Settings, *changes: dict[str, Any]) -> tuple[Settings, ...]:
    """``settings`` with each of the changes."""
    return tuple(replace(settings, **change) for change in changes)


def differing(settings: Settings, others: Iterable[Settings]) -> str:
    """What tells a setting from the others of its row, as the table shows it."""
    names = dict.fromkeys(
        difference.partition(":")[0] for other in others for difference in settings.differences(other)
    )
    shown = {name: getattr(settings, name) for name in names if name != "seed"}
    cell = shown.pop("cell", None)
    parts = [f"`{cell}`"] if cell else []
    parts += [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items()]
    return ", ".join(parts)


def draw_curves(experiment: Experiment, best: list[Outcome], baselines: dict[str, float | None], path: Path) -> None:
    """The learning curves of each row's best setting, a panel a task.

    Arguments:
        baselines: by task, what is reached without a memory.
    """
    titles = list(dict.fromkeys(one.row.title for one in best))
    figure = Figure(figsize=(4.2 + 3.8 * len(baselines), 4.6), layout="constrained")
    panels = figure.subplots(1, len(baselines), squeeze=False)[0]
    for axes, (task, baseline) in zip(panels, baselines.items(), strict=True):
        for outcome in best:
            if outcome.scores and outcome.settings.task == task:
                steps, scores = zip(*outcome.scores, strict=True)
                index = titles.index(outcome.row.title)
                style = ("-", "--", ":")[index // 10 % 3]
                axes.plot(steps, scores, style, color=f"C{index % 10}", lw=1.5, label=outcome.row.title)
        if baseline is not None:
            axes.axhline(baseline, color="0.6", lw=1, ls=(0, (4, 3)), label="without a memory")
        if experiment.better == "lower":
            axes.set_yscale("log")
        axes.set(xlabel="update", title=experiment.title if len(baselines) == 1 else task)
    panels[0].set_ylabel(f"validation {experiment.metric}")
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    panels[-1].legend(
        handles.values(), handles.keys(), frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    figure.savefig(path, dpi=110)
