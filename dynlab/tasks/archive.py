"""Files out of zip and tar archives, read in memory: nothing is unpacked to where an archive would like it."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from dynlab.tasks.data import DataError


def read_members(archive: Path | bytes, names: Sequence[str], where: str | None = None) -> list[bytes]:
    """The contents of files in a zip or a tar, compressed or not.

    An archive with any member that is a link or a device, or whose path is absolute or climbs with "..", is refused
    as a whole: the originals have none.

    Arguments:
        archive: its path, or its bytes. names: of the files, as the archive has them.
        where: names the archive in errors; its path unless given.

    Raises:
        DataError: if it is no such archive, is damaged or cut short, has such a member, or lacks a file.
    """
    where = where or str(archive)
    file = io.BytesIO(archive) if isinstance(archive, bytes) else archive.open("rb")
    try:
        with file:
            found = (_zip if zipfile.is_zipfile(file) else _tar)(file, set(names), where)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, RuntimeError) as error:
        raise DataError(
            f"{where}: expected a complete zip or tar archive, got one that does not unpack ({error})"
        ) from error
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{where}: expected a file {missing[0]} in the archive, found none")
    return [found[name] for name in names]


def _zip(file: io.BufferedIOBase, names: set[str], where: str) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the maker was no Unix
            _check_member(member.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR), where)
        return {name: archive.read(name) for name in names & set(archive.namelist())}


def _tar(file: io.BufferedIOBase, names: set[str], where: str) -> dict[str, bytes]:
    found = {}
    file.seek(0)
    # One pass: a compressed tar cannot be sought in.
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in archive:
            _check_member(member.name, not (member.isfile() or member.isdir()), where)
            if member.name in names and (content := archive.extractfile(member)):
                found[member.name] = content.read()
        # The checksum of gzip and its like stands at the very end, behind what a tar needs.
        while archive.fileobj and archive.fileobj.read(1 << 20):
            pass
    return found


def _check_member(name: str, is_special: bool, where: str) -> None:
    windows = PureWindowsPath(name)
    outside = PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if is_special or outside:
        kind = "a link or a device" if is_special else "a path that leads out of the folder"
        raise DataError(f"{where}: expected plain files inside the archive's own folder, got {name!r}, {kind}")
