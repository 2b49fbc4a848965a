"""A piece of work: a function of a script and its settings; and computing one so that the answer is always the same."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynlab.figures.digests import code_of, versions
from dynlab.figures.discover import PREFIX, load

_turn = threading.RLock()
_GENERATORS_START = 0
"""What torch's, NumPy's and Python's own generators start from in a piece; a script that means a seed sets it."""


@dataclass(frozen=True)
class Piece:
    """What one call of ``function`` in a script computes.

    Attributes:
        script: its name. function: at its top level. settings: keyword arguments, as JSON with sorted keys.
        folder: of the scripts, "" for dynlab's own.
    """

    script: str
    function: str
    settings: str
    folder: str = ""

    @classmethod
    def of(cls, function: Callable[..., Any], settings: Mapping[str, Any], folder: str = "") -> Piece:
        """The piece that a script asks for.

        Raises:
            TypeError: if the function cannot be found by its name, or the settings are not JSON.
        """
        module, name = function.__module__, function.__qualname__
        script = module.removeprefix(PREFIX)
        if script == module or getattr(load(script, Path(folder) if folder else None), name, None) is not function:
            raise TypeError(f"figures: expected a function at the top level of a script, got {module}.{name}")
        try:
            text = json.dumps(dict(settings), sort_keys=True)
        except (TypeError, ValueError) as error:
            raise TypeError(f"figures: expected JSON values as settings of {script}.{name}: {error}") from None
        return cls(script, name, text, folder)

    @property
    def key(self) -> str:
        """A name for code, function, settings and versions: another one of these is another key."""
        parts = (self.script, self.function, self.settings, self.code, json.dumps(versions(), sort_keys=True))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]

    @property
    def code(self) -> str:
        """The digest of the code that computes it."""
        return code_of(self._module().__source__, self.function)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in json.loads(self.settings).items())
        return f"{self.script}: {self.function}({given})"

    def compute(self) -> xr.Dataset:
        """Call the function, alone in this process."""
        with alone():
            dataset = getattr(self._module(), self.function)(**json.loads(self.settings))
        if not isinstance(dataset, xr.Dataset):
            raise TypeError(f"expected an xarray.Dataset, got {type(dataset).__name__}")
        return dataset

    def _module(self) -> Any:
        return load(self.script, Path(self.folder) if self.folder else None)


@contextmanager
def alone() -> Iterator[None]:
    """Nothing else computes in this process meanwhile: on one thread, with random generators of its own.

    torch's generator and number of threads belong to the process, so that pieces in two threads would disturb each
    other. One thread, because sums are split among threads, and rounded by how they are split.
    """
    import torch

    with _turn:
        before, threads = _generators(), torch.get_num_threads()
        random.seed(_GENERATORS_START)
        np.random.seed(_GENERATORS_START)
        torch.manual_seed(_GENERATORS_START)
        try:
            with _one_thread():
                yield
        finally:
            torch.set_num_threads(threads)
            _set_generators(before)


@contextmanager
def let_others() -> Iterator[None]:
    """Within ``alone``, while waiting: others may compute. Afterwards the generators are as they were."""
    before = _generators()
    _turn.release()
    try:
        yield
    finally:
        _turn.acquire()
        _set_generators(before)
        _one_thread()


def _one_thread() -> Any:
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    return threadpool_limits(1)  # NumPy's and SciPy's linear algebra


def _generators() -> tuple[Any, ...]:
    import torch

    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set_generators(states: tuple[Any, ...]) -> None:
    import torch

    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
