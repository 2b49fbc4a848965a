"""How far a run is, on standard error: bars on a terminal, else a line a piece."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dynlab.figures.cache import Kept
from dynlab.figures.pieces import Piece

MOST_LETTERS = 80
"""Of a piece, whose settings may be many."""


class Shown:
    """Counts the pieces of each figure and the figures; may be told from several threads."""

    def __init__(self, figures: int) -> None:
        self._console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not sys.stderr.isatty())
        self._all = self._progress.add_task("figures", total=figures)
        self._bars: dict[str, Any] = {}
        self._counts: dict[str, list[int]] = {}

    def __enter__(self) -> Shown:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def begin(self, name: str) -> None:
        """A figure is begun."""
        self._bars[name] = self._progress.add_task(escape(name), total=None)
        self._counts[name] = [0, 0]

    def expect(self, name: str, pieces: int) -> None:
        """A figure has so many pieces more."""
        self._counts[name][1] += pieces
        self._progress.update(self._bars[name], total=self._counts[name][1])

    def piece(self, name: str, piece: Piece, kept: Kept) -> None:
        """A piece of a figure is there."""
        self._counts[name][0] += 1
        self._progress.advance(self._bars[name])
        if not sys.stderr.isatty():
            done, total = self._counts[name]
            what = str(piece).removeprefix(f"{name}: ")
            what = what if len(what) <= MOST_LETTERS else f"{what[:MOST_LETTERS]}..."
            self._say(f"{name}: {done} of {total}, {kept.origin.get('seconds', 0):.1f} s, {what}")

    def end(self, name: str, message: str) -> None:
        """A figure is made, or not."""
        self._progress.remove_task(self._bars[name])
        self._progress.advance(self._all)
        self._say(message)

    def _say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
