"""What a figure script consists of, and what is said of it afterwards.

A script ``figures/<paper>_<figure>.py`` has a docstring (paper, number, what the paper says one sees) and

- ``SCALES: dict[str, dict]``, settings by scale: "smoke" (seconds), "laptop" (2 cores), "paper" (the paper's own; a
  scale that cannot be run with what is at hand is still written down);
- ``compute(scale, seed=0, run=one_by_one) -> xarray.Dataset``, which sends every independent piece of work (a seed,
  a cell, a setting) through ``run``;
- ``draw(dataset) -> matplotlib.figure.Figure``, which computes nothing;
- ``ITEM``, see ``Item``, with its claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import xarray as xr

Scale = Literal["smoke", "laptop", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "paper")


class Run(Protocol):
    """The executor as a script sees it."""

    def __call__(self, function: Callable[..., xr.Dataset], settings: Sequence[Mapping[str, Any]]) -> list[xr.Dataset]:
        """``[function(**one) for one in settings]``, in this order, wherever it runs; finished pieces are kept.

        Arguments:
            function: defined at the top level of the script. settings: JSON values only, which name the piece.
        """


def one_by_one(function: Callable[..., xr.Dataset], settings: Sequence[Mapping[str, Any]]) -> list[xr.Dataset]:
    """A ``Run`` that keeps nothing: one piece after the other, here."""
    return [function(**one) for one in settings]


@dataclass(frozen=True)
class Measured:
    """What a claim's check finds.

    Attributes:
        value: ours, as the report shows it. holds: whether the claim does; None where nothing can be decided at this
            scale (then ``why`` says what is missing).
        why: what explains a failure, or a value worth a word.
    """

    value: str
    holds: bool | None
    why: str = ""


@dataclass(frozen=True)
class Claim:
    """Something the paper says the figure shows, or a published number.

    Attributes:
        says: the paper's statement, one sentence. check: dataset -> Measured; it must be able to fail.
        published: the published value where there is one, else "". tolerance: in words, with its reason.
        scales: at which it means something; elsewhere the verdict is "not run at this scale".
    """

    says: str
    check: Callable[[xr.Dataset], Measured]
    published: str = ""
    tolerance: str = ""
    scales: tuple[Scale, ...] = SCALES


@dataclass(frozen=True)
class Item:
    """A published figure or table.

    Attributes:
        paper: "AntisymmetricRNN", "iRNN" or "UnICORNN". number: "Fig. 1", "Table 7". title: one line.
        protocol: how the paper made it, as far as it says. claims: see ``Claim``.
        choices: what the paper leaves open and we chose, a sentence each.
        needs: tasks whose data must be at hand, for a scale that uses them: ``{"laptop": ("har2:subset=true",)}``.
        findings: what came out and why, paragraphs shown in the report beside the claims.
    """

    paper: str
    number: str
    title: str
    protocol: str
    claims: tuple[Claim, ...]
    choices: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] | None = None
    findings: tuple[str, ...] = ()
