import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from dynlab.tasks import DataError
from dynlab.tasks.archive import read_members

FILES = {"set/a.bin": b"alpha" * 1000, "set/deep/b.bin": b"beta"}


def tar(files, mode="w:gz", **member):
    """A tar of files; ``member`` sets attributes of the last one."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == list(files)[-1]:
                for key, value in member.items():
                    setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zipped(files, mode=None):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if mode is not None and name == list(files)[-1]:
                info.external_attr = mode << 16
            archive.writestr(info, content)
    return packed.getvalue()


@pytest.mark.parametrize("packed", [tar(FILES), tar(FILES, "w:"), tar(FILES, "w:xz"), zipped(FILES)])
def test_reads_what_is_asked_for(tmp_path, packed):
    path = tmp_path / "archive"
    path.write_bytes(packed)
    for archive in (path, packed):
        assert read_members(archive, ["set/deep/b.bin", "set/a.bin"], "here") == list(FILES.values())[::-1]
        assert read_members(archive, ["set/a.bin"], "here") == [FILES["set/a.bin"]]
    assert list(tmp_path.iterdir()) == [path], "nothing is unpacked"


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "set/../../evil", "..", "..\\evil", "C:\\evil", "C:evil", "\\\\server\\share\\evil"],
)
def test_a_path_that_leads_out_is_refused(pack, name):
    with pytest.raises(DataError, match=r"here: expected plain files inside the archive's own folder, got .*leads out"):
        read_members(pack({"set/a.bin": b"1", name: b"2"}), ["set/a.bin"], "here")


@pytest.mark.parametrize(
    "packed",
    [
        tar({"a": b"", "b": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar({"a": b"", "b": b""}, type=tarfile.LNKTYPE, linkname="a"),
        tar({"a": b"", "b": b""}, type=tarfile.FIFOTYPE),
        tar({"a": b"", "b": b""}, type=tarfile.CHRTYPE),
        zipped({"a": b"", "b": b"/etc/passwd"}, stat.S_IFLNK | 0o777),
    ],
)
def test_links_and_devices_are_refused(packed):
    with pytest.raises(DataError, match="here: expected plain files .*, got 'b', a link or a device"):
        read_members(packed, ["a"], "here")


def test_folders_are_plain():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo("set/empty"))
    assert read_members(packed.getvalue(), ["set/empty"], "here") == [b""]
    assert read_members(zipped({"set/": b"", "set/a": b"1"}, stat.S_IFREG | 0o644), ["set/a"], "here") == [b"1"]


def damaged(packed):
    """With a bit changed in what is compressed of the first file."""
    return packed[:60] + bytes([packed[60] ^ 0xFF]) + packed[61:]


LONG = {"a": bytes(range(256)) * 40}


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"<html>404</html>",
        tar(LONG)[: len(tar(LONG)) // 2],
        tar(LONG, "w:")[:5000],
        tar(LONG)[:-6],
        damaged(tar(LONG)),
        zipped(LONG)[:200],
        damaged(zipped(LONG)),
        gzip.compress(b"no tar"),
    ],
    ids=["empty", "page", "half", "half tar", "no end", "bit", "half zip", "bit in zip", "gzip of another"],
)
def test_damaged(packed, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(packed)
    with pytest.raises(
        DataError, match=r"archive: expected a complete zip or tar archive, got one that does not unpack"
    ):
        read_members(path, ["a"])


def test_missing_member():
    for packed in (tar(FILES), zipped(FILES)):
        with pytest.raises(DataError, match="here: expected a file set/c.bin in the archive, found none"):
            read_members(packed, ["set/a.bin", "set/c.bin"], "here")
