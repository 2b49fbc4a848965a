"""Making figures: compute what is not kept, draw, and write what belongs together."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from dynlab.figures.cache import Kept
from dynlab.figures.discover import Script, load
from dynlab.figures.executor import Executor, PieceError, Stopped, described
from dynlab.figures.machine import hardware
from dynlab.figures.pieces import Piece, alone
from dynlab.figures.progress import Shown
from dynlab.figures.results import Origin, Places


@dataclass(frozen=True)
class Job:
    """A figure to make.

    Attributes:
        name: of the script. scale, seed: what ``compute`` gets. places: where it goes.
    """

    name: str
    scale: str
    seed: int
    places: Places
    folder: str = ""

    @property
    def script(self) -> Script:
        return load(self.name, Path(self.folder) if self.folder else None)

    @property
    def whole(self) -> Piece:
        """The dataset as a piece of its own: ``compute`` does more than call its pieces."""
        return Piece.of(self.script.compute, {"scale": self.scale, "seed": self.seed}, self.folder)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: "made", "failed" or "skipped", and why."""

    name: str
    state: str
    why: str = ""


def obstacle(job: Job, executor: Executor) -> str:
    """Why a figure cannot be made at this scale, one line; "" if nothing is in the way, or it is kept already."""
    scales = job.script.SCALES
    if job.scale not in scales:
        return f"{job.name} has no scale {job.scale!r}, expected one of {', '.join(scales)}"
    needed = tuple((job.script.ITEM.needs or {}).get(job.scale, ()))
    if not needed or job.whole in executor.cache:
        return ""
    missing = executor.missing(needed)
    return missing and f"{job.name} at scale {job.scale} needs {missing}"


def make_all(jobs: Sequence[Job], executor: Executor, commit: str) -> list[Outcome]:
    """Make the figures, as many at once as the executor takes; one that fails does not keep the others from it.

    Raises:
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    with Shown(len(jobs)) as shown:
        if executor.at_once == 1:
            return [_make(job, executor, commit, shown) for job in jobs]
        pool = ThreadPoolExecutor(executor.at_once)
        try:
            futures = [pool.submit(_make, job, executor, commit, shown) for job in jobs]
            for future in as_completed(futures):
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            executor.stop()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _make(job: Job, executor: Executor, commit: str, shown: Shown) -> Outcome:
    shown.begin(job.name)
    try:
        why = obstacle(job, executor)
        if why:
            job.places.save_reason(why)
            shown.end(job.name, f"skipped: {why}")
            return Outcome(job.name, "skipped", why)
        _compute_and_draw(job, executor, commit, shown)
    except Stopped:
        return Outcome(job.name, "skipped", "stopped")
    except Exception as error:
        why = str(error) if isinstance(error, PieceError) else f"{job.name} at scale {job.scale}: {described(error)}"
        details = error.details if isinstance(error, PieceError) else traceback.format_exc()
        job.places.save_reason(why, details)
        shown.end(job.name, f"failed: {why} (traceback: {job.places.file('.not-run.txt')})")
        return Outcome(job.name, "failed", why)
    shown.end(job.name, f"{job.name}: {job.places.png}")
    return Outcome(job.name, "made")


def _compute_and_draw(job: Job, executor: Executor, commit: str, shown: Shown) -> None:
    from matplotlib.figure import Figure

    from dynlab.plots.style import style

    whole = job.whole
    kept = executor.cache.once(whole, lambda: _computed(job, executor, shown))
    with alone(), style():  # matplotlib's settings belong to the process
        figure = job.script.draw(kept.dataset)
        if not isinstance(figure, Figure):
            raise TypeError(f"expected draw to give a matplotlib Figure, got {type(figure).__name__}")
        origin = Origin(
            job.scale,
            job.seed,
            whole.code,
            commit,
            tuple(kept.origin["hardware"]),
            kept.origin["seconds"],
            kept.origin["finished"],
        )
        job.places.save(kept.dataset, figure, origin)


@dataclass
class _Collector:
    """The ``run`` that a script gets; remembers where its pieces were computed."""

    job: Job
    executor: Executor
    shown: Shown
    kept: list[Kept] = field(default_factory=list)

    def __call__(self, function: Callable[..., xr.Dataset], settings: Sequence[Mapping[str, Any]]) -> list[xr.Dataset]:
        pieces = [Piece.of(function, one, self.job.folder) for one in settings]
        self.shown.expect(self.job.name, len(pieces))
        found = self.executor.run(pieces, lambda piece, kept: self.shown.piece(self.job.name, piece, kept))
        self.kept += found
        return [one.dataset for one in found]


def _computed(job: Job, executor: Executor, shown: Shown) -> tuple[xr.Dataset, dict[str, Any]]:
    collector = _Collector(job, executor, shown)
    begin = time.perf_counter()
    with alone():
        dataset = job.script.compute(job.scale, seed=job.seed, run=collector)
    if not isinstance(dataset, xr.Dataset):
        raise TypeError(f"expected compute to give an xarray.Dataset, got {type(dataset).__name__}")
    pieces = [kept.origin for kept in collector.kept]
    return dataset, {
        "piece": str(job.whole),
        "hardware": sorted({one["hardware"] for one in pieces}) or [hardware()],
        "seconds": sum(one["seconds"] for one in pieces) or round(time.perf_counter() - begin, 3),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
