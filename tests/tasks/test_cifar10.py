import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import torch

from dynlab.tasks import DataError, DataMissingError, cifar10, get_task

COUNTS = {**{f"cifar-10-batches-bin/data_batch_{i}.bin": 4 for i in range(1, 6)},
          "cifar-10-batches-bin/test_batch.bin": 3}  # fmt: skip


def pack(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes an archive of the test's own in place of the original, with its checksum; there is no network."""
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(cifar10, "MIRRORS", [])
    (tmp_path / "cifar10").mkdir()

    def write(packed):
        (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(packed)
        monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(packed).hexdigest())

    return write


@pytest.fixture
def records(write):
    """The records of a small archive: (split -> labels, pixels (sample, channel, row, column)), in its order."""
    generator = np.random.default_rng(0)
    labels = {name: generator.integers(0, 10, count, dtype=np.uint8) for name, count in COUNTS.items()}
    pixels = {name: generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8) for name, count in COUNTS.items()}
    content = {
        name: b"".join(
            bytes([label]) + image.tobytes() for label, image in zip(labels[name], pixels[name], strict=True)
        )
        for name in COUNTS
    }
    write(pack({"cifar-10-batches-bin/readme.html": b"hello", **content}))
    *train, test = COUNTS
    joined = {"train": train, "test": [test]}
    return {
        split: (np.concatenate([labels[name] for name in names]), np.concatenate([pixels[name] for name in names]))
        for split, names in joined.items()
    }


def test_rows(records):
    task = get_task("cifar10")
    for split, (labels, pixels) in records.items():
        inputs, read = task.load(split)
        assert inputs.shape == (32, len(labels), 96) and read.tolist() == labels.tolist()
        # Sample 2, row 7: its red numbers, then green, then blue.
        for channel in range(3):
            stored = pixels[2, channel, 7].astype(np.float64)
            expected = (stored - cifar10.MEAN[channel]) / cifar10.STD[channel]
            assert np.allclose(inputs[7, 2, 32 * channel : 32 * channel + 32].numpy(), expected, rtol=0, atol=1e-6)


def test_pixels(records):
    labels, pixels = records["test"]
    inputs, _ = get_task("cifar10_pixel:scale=unit").load("test")
    assert inputs.shape == (1024, 3, 3)
    # Sample 1, row 5, column 9.
    assert np.allclose(inputs[5 * 32 + 9, 1].numpy(), pixels[1, :, 5, 9] / 255, rtol=0, atol=1e-7)


def test_datasets(records):
    task = get_task("cifar10:T=40,validation=0.1")
    train, validation = task.dataset("train"), task.dataset("validation")
    labels, _ = records["train"]
    assert [int(label) for _, label in train] == labels[:18].tolist()
    assert [int(label) for _, label in validation] == labels[18:].tolist()
    assert train[0][0].shape == (40, 96)
    assert torch.equal(train[0][0][:32], get_task("cifar10").load("train")[0][:, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected records of 3073 bytes, got 0 bytes"),
        (bytes(3072), "expected records of 3073 bytes, got 3072 bytes"),
        (b"\x0a" + bytes(3072), "expected labels 0 to 9, got 10"),
    ],
)
def test_bad_records(content, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        cifar10.parse_records(content, "here")


def test_an_archive_that_climbs_out(write, tmp_path):
    write(pack({**dict.fromkeys(COUNTS, bytes(3073)), "../evil": b"1"}))
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz: expected plain files .* got '\.\./evil'"):
        get_task("cifar10").dataset()
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


def test_an_archive_without_a_batch(write):
    write(pack(dict.fromkeys(list(COUNTS)[1:], bytes(3073))))
    with pytest.raises(
        DataError, match="expected a file cifar-10-batches-bin/data_batch_1.bin in the archive, found none"
    ):
        get_task("cifar10_pixel").dataset("test")


def test_checksum_mismatch(records, monkeypatch):
    monkeypatch.setattr(cifar10, "SHA256", "0" * 64)
    with pytest.raises(DataError, match="expected the original cifar10 file, sha256 000000000000"):
        get_task("cifar10").load()


def test_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(cifar10, "MIRRORS", [])
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    with pytest.raises(DataMissingError, match=r"^cifar10/cifar-10-binary.tar.gz is missing"):
        get_task("cifar10").load()
    with pytest.raises(DataMissingError, match=r"^cifar10_subset.npz is missing.* at \$DYNLAB_DATA_DIR/cifar10_subset"):
        get_task("cifar10:subset=true").load()


def has_subset():
    directory = os.environ.get("DYNLAB_DATA_DIR")
    return bool(directory) and os.path.isfile(os.path.join(directory, cifar10.SUBSET))


@pytest.mark.skipif(not has_subset(), reason="needs cifar10_subset.npz in DYNLAB_DATA_DIR")
def test_the_subset_is_the_beginning_of_the_original():
    rows, pixels = (get_task(f"{key}:subset=true") for key in ("cifar10", "cifar10_pixel"))
    inputs, labels = rows.load("train")
    assert inputs.shape == (32, 10_000, 96) and rows.load("test")[0].shape == (32, 1000, 96)
    mean, std = (torch.tensor(values).repeat_interleave(32) for values in (cifar10.MEAN, cifar10.STD))
    stored = (inputs * std + mean).round().to(torch.uint8)
    planes = stored.view(32, 10_000, 3, 32).permute(1, 2, 0, 3).flatten(1)
    content = torch.cat([labels[:, None].to(torch.uint8), planes], 1).numpy().tobytes()
    # The published checksum of data_batch_1.bin in the binary archive.
    assert hashlib.sha256(content).hexdigest().startswith("cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d4")
    assert np.array_equal(cifar10.parse_records(content, "")[1], labels)
    by_pixel = pixels.load("test")[0].view(32, 32, 1000, 3)
    by_row = rows.load("test")[0].view(32, 1000, 3, 32)
    torch.testing.assert_close(by_pixel.permute(0, 2, 3, 1), by_row)
