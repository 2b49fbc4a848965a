"""Files that are made once a machine: under a key, behind a lock, all or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dynlab.native.compilers import BuildError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def cache_folder() -> Path:
    """The folder of the built libraries: under DYNLAB_CACHE_DIR, else under the cache of the user."""
    import pooch

    chosen = os.environ.get("DYNLAB_CACHE_DIR")
    return Path(chosen or pooch.os_cache("dynlab")).expanduser().absolute() / "kernels"


def key_of(parts: Iterable[str | bytes]) -> str:
    """A short name for ``parts``; another part, or another order, is another name."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()[:20]


def make_once(target: Path, make: Callable[[Path], None], *, waiting: str, force: bool = False) -> None:
    """Have ``target`` made unless it is there.

    Of several processes and threads one makes it and the others wait. It is made beside its place and moved there, so
    that what is there is whole.

    Arguments:
        target: the file.
        make: writes the file at the path it is given, in an empty folder that is its own.
        waiting: said on standard error when another process is at it.
        force: make it again.

    Raises:
        BuildError: if the cache cannot be written to. Errors of ``make`` pass through.
    """
    if not force and os.path.isfile(target):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent / "lock", waiting):
            if force or not os.path.isfile(target):
                _make(target, make)
    except OSError as error:
        raise BuildError(
            f"the cache folder {target.parent} cannot be written to ({error.strerror or error}); "
            "set DYNLAB_CACHE_DIR to a folder that can"
        ) from None


def _make(target: Path, make: Callable[[Path], None]) -> None:
    for left in target.parent.glob("making-*"):  # by a process that was killed: who holds the lock is alone here
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="making-", dir=target.parent))
    try:
        made = folder / target.name
        make(made)
        with made.open("rb+") as file:
            os.fsync(file.fileno())  # a crash of the machine after the move must not leave an empty file
        os.replace(made, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock of ``path``. The system frees it when its holder dies; the file stays, removing it is a race."""
    with path.open("a+b") as file:
        said = False
        while not _try_lock(file.fileno()):
            if not said:
                print(waiting, file=sys.stderr, flush=True)
                said = True
            time.sleep(0.05)
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
