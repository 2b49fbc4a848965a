"""Where data files are: ``DYNLAB_DATA_DIR`` first, then a cache that downloads fill. Every file is checked."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class DataError(OSError):
    """A data file is missing or damaged; the message is one line that says which, where, and what to do."""


class DataMissingError(DataError, FileNotFoundError):
    """A data file is in none of the places, and could not be downloaded."""


def local(folder: str, name: str) -> Path | None:
    """The file ``folder/name`` under DYNLAB_DATA_DIR, if there is one."""
    directory = os.environ.get("DYNLAB_DATA_DIR")
    path = Path(directory or "").expanduser() / folder / name
    return path if directory and path.is_file() else None


def locate(folder: str, name: str, sha256: str | None, urls: Sequence[str], progress: bool | None = None) -> Path:
    """The path of a data file, downloaded if need be.

    Arguments:
        folder, name: the file is ``folder/name``, under DYNLAB_DATA_DIR or in the cache of the user; ``folder`` may
            be "", the top of either.
        sha256: its checksum, hexadecimal. None where none is published; the reader then has to check the content.
        urls: where to download it, tried in this order.
        progress: show a progress bar; by default if standard error is a terminal.

    Raises:
        DataError: if the file under DYNLAB_DATA_DIR is not the one the checksum says.
        DataMissingError: if it is in neither place and no download worked.
    """
    import pooch

    if path := local(folder, name):
        if sha256 is not None and (found := _sha256(path)) != sha256:
            raise DataError(
                f"{path}: expected the original {folder or name} file, sha256 {sha256[:12]}..., got {found[:12]}...; "
                "copy it again, or take it away to have it downloaded"
            )
        return path
    failures = []
    pooch.get_logger().setLevel("WARNING")  # the progress bar says what is downloaded
    cache = Path(pooch.os_cache("dynlab")) / folder
    for url in urls:
        bar = _Bar(name) if progress or (progress is None and sys.stderr.isatty()) else None
        try:
            # A file of the cache that fits its checksum is taken as it is.
            return Path(
                pooch.retrieve(
                    url,
                    known_hash=sha256 and f"sha256:{sha256}",
                    fname=name,
                    path=cache,
                    downloader=pooch.HTTPDownloader(progressbar=bar or False, timeout=20),
                )
            )
        except (OSError, ValueError) as error:  # no network, no such page, a full disk; another checksum
            reason = getattr(error, "strerror", None)
            failures.append(f"{url}: {type(error).__name__}" + (f" ({reason})" if reason else ""))
        finally:
            if bar:
                bar.close()
    place = f"{folder}/{name}".lstrip("/")
    directory = os.environ.get("DYNLAB_DATA_DIR") or "not set"
    raise DataMissingError(
        f"{place} is missing: expected it under DYNLAB_DATA_DIR ({directory}) or in {cache}, and "
        f"the download failed ({'; '.join(failures) or 'no address'}). Put the file at $DYNLAB_DATA_DIR/{place}"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Bar:
    """pooch's interface of a progress bar (``total``, ``update``, ``reset``, ``close``) over rich's."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.total = 0
        self._progress: Any = Progress(console=Console(stderr=True))
        self._task = self._progress.add_task(name, total=None)
        self._progress.start()

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size, total=self.total)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.stop()
