"""Lightning without its advertisements: what it logs and warns of that is no news to whoever trains with dynlab."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero",
            "lightning.fabric.utilities.seed")  # fmt: skip
_NOISE = (
    ".*does not have many workers",
    ".*GPU available but not used",
    ".*The number of training batches .* is smaller than the logging interval",
    ".*is not resumable",
    ".*It is recommended to use .*sync_dist=True",
    ".*exists and is not empty",
    ".*srun. command is available",
    ".*Experiment logs directory .* exists",
    # Of torch, about Lightning's own calls.
    ".*isinstance\\(treespec, LeafSpec\\).* is deprecated",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Within this context only what went wrong is said."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _NOISE:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def on_interrupt(ask: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) calls ``ask``; the second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        ask()

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
