"""Where the pieces of a figure are computed: here, one after the other; ``dynlab.figures.cluster`` has the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

from dynlab.figures.cache import Cache, Kept, compute
from dynlab.figures.pieces import Piece

Done = Callable[[Piece, Kept], None]


class PieceError(RuntimeError):
    """A piece that could not be computed.

    Attributes:
        details: the traceback, as text.
    """

    def __init__(self, piece: Piece, reason: str, details: str = "") -> None:
        super().__init__(f"{piece}: {reason}")
        self.details = details


class Stopped(Exception):
    """The executor was told to ``stop``."""


class Executor(Protocol):
    """Computes pieces, and keeps them in its cache."""

    cache: Cache
    at_once: int  # figures whose pieces may be mixed

    def run(self, pieces: Sequence[Piece], done: Done) -> list[Kept]:
        """The pieces in this order, from the cache where they are there; ``done`` is told of each.

        Raises:
            PieceError: for the first that fails, after the others. Stopped: after ``stop``.
        """

    def missing(self, tasks: Sequence[str]) -> str:
        """What the data of these tasks lack where the pieces are computed, one line; "" if they are there."""

    def stop(self) -> None:
        """Begin on nothing more."""


class InProcess:
    """One piece after the other, in this process."""

    at_once = 1

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def run(self, pieces: Sequence[Piece], done: Done) -> list[Kept]:
        found, failed = [], []
        for piece in pieces:
            try:
                found.append(self.cache.once(piece, lambda piece=piece: compute(piece)))  # type: ignore[misc]
            except Exception as error:
                failed.append(PieceError(piece, described(error), traceback.format_exc()))
            else:
                done(piece, found[-1])
        if failed:
            raise failed[0]
        return found

    def missing(self, tasks: Sequence[str]) -> str:
        return missing_data(tasks)

    def stop(self) -> None:
        pass


def described(error: BaseException) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def missing_data(tasks: Sequence[str]) -> str:
    """What lacks here to the data of ``tasks``, specifications such as "har2:subset=true"; "" if nothing."""
    from dynlab.tasks import DataError, get_task

    for task in tasks:
        try:
            get_task(task).available()
        except DataError as error:
            return f"the data of task {task}: {' '.join(str(error).split())}"
    return ""
