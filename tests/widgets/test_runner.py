"""The newest request wins, whatever the timing; cancelled work gives no answer; errors reach the listener."""

from __future__ import annotations

import threading
import time

import pytest

from dynlab.widgets import runner
from dynlab.widgets.runner import Runner


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[object, object]] = []
        self.errors: list[tuple[object, Exception]] = []
        self.progress: list[float | None] = []
        self.threads: set[str] = set()

    def busy(self, share):
        self.progress.append(share)

    def done(self, request, answer):
        self.threads.add(threading.current_thread().name)
        self.answers.append((request, answer))

    def failed(self, request, error):
        self.errors.append((request, error))


def slow(seconds):
    """A computation of a request, which takes so long and ticks every 5 ms."""

    def compute(request, tick):
        begin = time.monotonic()
        while (past := time.monotonic() - begin) < seconds:
            tick(past / seconds)
            time.sleep(0.005)
        return 10 * request

    return compute


def test_one_request_is_computed_on_another_thread():
    heard = Heard()
    run = Runner(lambda request, tick: request + 1, heard)
    run.submit(1)
    assert run.settle(10)
    assert heard.answers == [(1, 2)] and heard.progress == [None]
    assert heard.threads == {"dynlab-widget"}


def test_without_threads_the_answer_is_there_at_once():
    heard = Heard()
    Runner(slow(0.0), heard, threaded=False).submit(3)
    assert heard.answers == [(3, 30)]
    assert heard.threads == {threading.current_thread().name}


def test_of_a_burst_the_first_and_the_last_are_computed():
    heard = Heard()
    started = []
    gate = threading.Event()

    def compute(request, tick):
        started.append(request)
        gate.wait(10)
        return request

    run = Runner(compute, heard)
    run.submit(0)
    while not started:
        time.sleep(0.001)
    for request in range(1, 26):
        run.submit(request)
    gate.set()
    assert run.settle(10)
    assert started == [0, 25]
    assert heard.answers == [(0, 0), (25, 25)]
    assert heard.progress[-1] is None


def test_a_steady_stream_is_shown_on_the_way():
    """A debounce that waits for silence would show nothing while a slider moves."""
    heard = Heard()
    run = Runner(slow(0.01), heard)
    end = time.monotonic() + 1.0
    number = 0
    while time.monotonic() < end:
        number += 1
        run.submit(number)
        time.sleep(0.01)
    assert run.settle(10)
    assert len(heard.answers) >= 3
    requests = [request for request, _ in heard.answers]
    assert requests == sorted(requests) and requests[-1] == number


def test_long_work_is_given_up_for_a_newer_request(monkeypatch):
    monkeypatch.setattr(runner, "PATIENCE", 0.05)
    heard = Heard()
    run = Runner(lambda request, tick: slow(60 if request == 1 else 0.0)(request, tick), heard)
    run.submit(1)
    time.sleep(0.02)
    run.submit(2)
    assert run.settle(10)
    assert heard.answers == [(2, 20)] and heard.errors == []


def test_short_work_is_not():
    heard = Heard()
    begun = threading.Event()

    def compute(request, tick):
        begun.set()
        return slow(0.05)(request, tick)

    run = Runner(compute, heard)
    run.submit(1)
    assert begun.wait(10)
    run.submit(2)
    assert run.settle(10)
    assert heard.answers == [(1, 10), (2, 20)]


def test_cancel():
    heard = Heard()
    run = Runner(slow(60), heard)
    run.submit(1)
    while 0.0 not in [round(share or 0, 2) for share in heard.progress]:
        time.sleep(0.005)
    run.cancel()
    assert run.settle(10)
    assert heard.answers == [] and heard.errors == [] and heard.progress[-1] is None
    run._compute = slow(0)
    run.submit(2)
    assert run.settle(10) and heard.answers == [(2, 20)], "it stays usable"


def test_an_answer_that_comes_after_cancel_is_dropped():
    heard = Heard()
    begun, go = threading.Event(), threading.Event()

    def deaf(request, tick):
        begun.set()
        go.wait(10)
        return request

    run = Runner(deaf, heard)
    run.submit(1)
    assert begun.wait(10)
    run.cancel()
    run.submit(2)
    go.set()
    assert run.settle(10)
    assert heard.answers == [(2, 2)], "the newer request does not bring the older one back"


@pytest.mark.parametrize("threaded", [True, False])
def test_errors_reach_the_listener_and_the_next_request_is_computed(threaded):
    heard = Heard()

    def compute(request, tick):
        if request == 0:
            raise ZeroDivisionError("dt is 0")
        return 1 / request

    run = Runner(compute, heard, threaded=threaded)
    run.submit(0)
    assert run.settle(10)
    run.submit(2)
    assert run.settle(10)
    assert [(request, str(error)) for request, error in heard.errors] == [(0, "dt is 0")]
    assert heard.answers == [(2, 0.5)]
    assert heard.progress[-1] is None


def test_an_error_while_showing_is_reported_too():
    heard = Heard()
    heard.done = lambda request, answer: 1 / 0
    run = Runner(lambda request, tick: request, heard)
    run.submit(1)
    assert run.settle(10)
    assert [type(error) for _, error in heard.errors] == [ZeroDivisionError]


def test_progress_is_reported_in_order_and_within_its_range():
    heard = Heard()
    run = Runner(slow(0.5), heard)
    run.submit(1)
    assert run.settle(10)
    *shares, last = heard.progress
    assert last is None and 1 <= len(shares) <= 5
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
