"""Computations behind a control: the newest request wins, long ones can be cancelled, the front end never waits.

No widget is imported here. A request is computed on a thread of its own, which ends when nothing is left to do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")
_Asked = TypeVar("_Asked", contravariant=True)
_Found = TypeVar("_Found", contravariant=True)

WAIT = 0.04
"""Seconds without a newer request before one of a burst is computed; the first of a burst does not wait."""
PATIENCE = 0.3
"""Seconds for which a computation goes on although there is a newer request: dragging shows pictures on the way."""
PROGRESS_EVERY = 0.1
"""Seconds between reports of progress."""


class Cancelled(Exception):
    """The answer is no longer wanted; raised by the tick of a computation, and not an error."""


class Tick(Protocol):
    """What a computation calls as it goes."""

    def __call__(self, share: float) -> None:
        """Say that ``share`` of the work is done, in [0, 1].

        Raises:
            Cancelled: if the answer is no longer wanted.
        """


class Listener(Protocol[_Asked, _Found]):
    """Who is told what becomes of requests, from the thread that computes, one call at a time."""

    def busy(self, share: float | None) -> None:
        """How far it is; None: nothing is being computed."""

    def done(self, request: _Asked, answer: _Found) -> None:
        """The answer to a request. Requests that were overtaken have none."""

    def failed(self, request: _Asked, error: Exception) -> None:
        """The computation, or ``done``, raised an error."""


class Runner(Generic[Request, Answer]):
    """One computation at a time, of the newest request.

    A request that comes while nothing is under way is computed at once. Of those that come meanwhile the newest is
    computed next, ``WAIT`` after it came or 4 ``WAIT`` after the first of them; the others are dropped. A
    computation that was overtaken is cancelled when it has gone on for ``PATIENCE``.

    Arguments:
        compute: (request, tick) -> answer; it calls ``tick`` several times a second.
        listener: see ``Listener``.
        threaded: False computes within ``submit``, for tests and scripts.
    """

    def __init__(
        self,
        compute: Callable[[Request, Tick], Answer],
        listener: Listener[Request, Answer],
        *,
        threaded: bool = True,
    ) -> None:
        self._compute, self._listener, self._threaded = compute, listener, threaded
        self._changed = threading.Condition()
        self._pending: tuple[Request] | None = None
        self._first_asked = self._last_asked = 0.0
        self._working = False
        self._cancelled = threading.Event()  # one for each computation

    def submit(self, request: Request) -> None:
        """Ask for this, and for nothing that was asked before."""
        if not self._threaded:
            self._answer(request, threading.Event(), lambda: False)
            return
        with self._changed:
            self._last_asked = time.monotonic()
            if self._pending is None:
                self._first_asked = self._last_asked
            self._pending = (request,)
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="dynlab-widget", daemon=True).start()
            self._changed.notify_all()

    def cancel(self) -> None:
        """Give up what is under way and what waits; the listener hears ``busy(None)`` and no answer."""
        with self._changed:
            self._pending = None
            self._cancelled.set()
            self._changed.notify_all()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way; whether that came before ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, timeout)

    @property
    def overtaken(self) -> bool:
        """Whether there is a newer request than the one that is being computed."""
        return self._pending is not None

    # ---- the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        burst = False
        while (request := self._next(burst)) is not None:
            self._answer(*request, self._cancelled, lambda: self.overtaken)
            burst = True

    def _next(self, burst: bool) -> tuple[Request] | None:
        """The request to compute now; None, and the thread ends, if there is none."""
        with self._changed:
            while burst and self._pending is not None:
                due = min(self._last_asked + WAIT, self._first_asked + 4 * WAIT)
                if (left := due - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)
            request, self._pending = self._pending, None
            self._cancelled = threading.Event()
            if request is None:
                self._working = False
                self._changed.notify_all()
            return request

    def _answer(self, request: Request, cancelled: threading.Event, overtaken: Callable[[], bool]) -> None:
        begin = reported = time.monotonic()

        def tick(share: float) -> None:
            nonlocal reported
            now = time.monotonic()
            if cancelled.is_set() or (overtaken() and now - begin > PATIENCE):
                raise Cancelled
            if now - reported > PROGRESS_EVERY:
                reported = now
                self._listener.busy(min(max(share, 0.0), 1.0))

        try:
            answer = self._compute(request, tick)
            if not cancelled.is_set():
                self._listener.done(request, answer)
        except Cancelled:
            pass
        except Exception as error:
            self._listener.failed(request, error)
        finally:
            if not overtaken():
                self._listener.busy(None)
