"""Pieces on a Dask cluster. Nothing but names and numbers goes there; a dataset comes back."""

from __future__ import annotations

import contextlib
import json
import logging
import traceback
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from dynlab.figures.cache import Cache, Kept, compute, default_folder
from dynlab.figures.digests import versions
from dynlab.figures.executor import Done, PieceError, Stopped, described, missing_data
from dynlab.figures.pieces import Piece, let_others

CONNECT_SECONDS = 5
ALLOWED_FAILURES = 5
"""How often a worker may die under a piece before the piece is given up. Pieces that merely waited there count, too."""


class Cluster:
    """A Dask cluster: see ``local`` and ``at``.

    Attributes:
        cache: where results are kept. at_once: figures whose pieces may be mixed.
    """

    at_once = 16

    def __init__(self, client: Any, cache: Cache) -> None:
        self.cache = cache
        self._client = client
        self._stopped = False
        # A worker that sees this file shares our file system, and keeps the pieces in our cache itself.
        self._token = cache.folder / f".shared-{uuid.uuid4().hex}"

    def run(self, pieces: Sequence[Piece], done: Done) -> list[Kept]:
        from distributed import as_completed

        found: dict[Piece, Kept] = {}
        futures: dict[Any, Piece] = {}
        for piece in dict.fromkeys(pieces):
            if (kept := self.cache.find(piece)) is not None:
                found[piece] = kept
                done(piece, kept)
            elif self._stopped:
                raise Stopped
            else:
                futures[self._submit(piece)] = piece
        failed: list[PieceError] = []
        with let_others():
            for future in as_completed(futures, loop=self._client.loop):
                piece = futures[future]
                try:
                    found[piece] = self._received(piece, future)
                    done(piece, found[piece])
                except PieceError as error:
                    failed.append(error)
                future.release()
        if failed:
            raise failed[0]
        return [found[piece] for piece in pieces]

    def missing(self, tasks: Sequence[str]) -> str:
        return str(self._client.submit(missing_data, list(tasks), pure=False).result()) if tasks else ""

    def stop(self) -> None:
        self._stopped = True

    def _submit(self, piece: Piece) -> Any:
        return self._client.submit(
            work,
            piece,
            piece.key,
            json.dumps(versions()),
            str(self._token),
            key=f"{piece.script}-{piece.function}-{piece.key}-{uuid.uuid4().hex[:8]}",
            pure=False,
        )

    def _received(self, piece: Piece, future: Any) -> Kept:
        from distributed import KilledWorker

        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            times = f"{ALLOWED_FAILURES + 1} times" if self._is_local() else "too often"
            raise PieceError(piece, f"the worker that computed it died {times} (out of memory?)")
        if error is not None:
            raise PieceError(piece, f"on a worker: {described(error)}")
        if future.status != "finished":
            if self._stopped:
                raise Stopped
            raise ConnectionError("figures: the Dask scheduler has gone away; the same command goes on")
        dataset, origin, failure, details = future.result()
        if failure:
            raise PieceError(piece, failure, details)
        return self.cache.once(piece, lambda: (dataset, origin))

    def _is_local(self) -> bool:
        return self._client.cluster is not None

    @contextlib.contextmanager
    def open(self) -> Iterator[Cluster]:
        """Within this context it can be used."""
        self._token.parent.mkdir(parents=True, exist_ok=True)
        self._token.touch()
        try:
            yield self
        finally:
            self._token.unlink(missing_ok=True)


Answer = tuple[xr.Dataset | None, dict[str, Any], str, str]


def work(piece: Piece, key: str, client_versions: str, token: str) -> Answer:
    """What a worker does: the dataset and its origin, else why not and the traceback.

    Errors go back as text: their classes may be known to the script only.
    """
    try:
        if piece.key != key:
            mine, theirs = versions(), json.loads(client_versions)
            differing = [f"{name} {mine[name]}, not {theirs.get(name)}" for name in mine if mine[name] != theirs[name]]
            what = "; ".join(differing) or "its files of dynlab or of the script differ, or did when it was started"
            return None, {}, f"the worker has other code than this command ({what}); restart it from the same code", ""
        shared = Path(token).is_file()
        kept = Cache(Path(token).parent if shared else default_folder()).once(piece, lambda: compute(piece))
        return kept.dataset, kept.origin, "", ""
    except Exception as error:
        return None, {}, described(error), traceback.format_exc()


@contextlib.contextmanager
def local(workers: int, cache: Cache) -> Iterator[Cluster]:
    """A cluster of ``workers`` processes of one thread each, on this machine and for this process only."""
    import dask
    from distributed import Client, LocalCluster

    settings = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}
    with dask.config.set(settings), _quiet(), LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        memory_limit=0,  # a piece needs what it needs; killed for its share of the memory, it would be killed again
        silence_logs=logging.CRITICAL,
    ) as cluster, Client(cluster, set_as_default=False) as client, Cluster(client, cache).open() as opened:  # fmt: skip
        yield opened


@contextlib.contextmanager
def at(address: str, cache: Cache) -> Iterator[Cluster]:
    """The cluster of a running scheduler, such as "tcp://127.0.0.1:8786".

    Raises:
        OSError: if it cannot be reached, or has no workers.
    """
    from distributed import Client
    from distributed.comm import get_address_host_port

    with _quiet():
        try:
            get_address_host_port(address)  # first: a client of an address that cannot be one does not close
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(
                f"figures: expected a Dask scheduler at {address}, got none within {CONNECT_SECONDS} s ({reason}); "
                "start one with 'dask scheduler' and 'dask worker ADDRESS', or use --workers"
            ) from None
        with client:
            try:
                client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            except TimeoutError:
                raise OSError(
                    f"figures: the Dask scheduler at {address} has no workers; start some with 'dask worker {address}'"
                ) from None
            with Cluster(client, cache).open() as opened:
                yield opened


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own log would break into the progress; what goes wrong comes back from the pieces."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
