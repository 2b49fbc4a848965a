"""A folder for the piece that is being computed, which is still there after it was interrupted."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_folder: ContextVar[Path | None] = ContextVar("dynlab_figures_workspace", default=None)


def workspace() -> Path:
    """The folder of the piece being computed: it belongs to its code and settings, and no other process uses it.

    What an interrupted piece left there is there when it is computed again, so that a training can go on; once the
    piece is finished, the folder is removed. Outside of ``dynlab figures`` every call gives a new temporary folder,
    removed when Python ends.
    """
    folder = _folder.get()
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="dynlab-figure-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Let ``workspace`` give ``folder`` in this thread."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)
