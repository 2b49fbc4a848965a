import gzip
import hashlib
import os
import struct

import numpy as np
import pytest

from dynlab.tasks import DataError, DataMissingError, get_task, mnist
from dynlab.tasks.permutation import permutation

MNIST = get_task("mnist")
NAMES = {"images": "train-images-idx3-ubyte.gz", "labels": "train-labels-idx1-ubyte.gz"}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files of the test's own in place of MNIST's, with their checksums; there is no network."""
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(mnist, "MIRRORS", [])
    monkeypatch.setattr(mnist, "SHA256", dict(mnist.SHA256))
    (tmp_path / "mnist").mkdir()

    def write(images, labels):
        for part, array in (("images", images), ("labels", labels)):
            header = struct.pack(f">{1 + array.ndim}i", 2048 + array.ndim, *array.shape)
            packed = gzip.compress(header + array.tobytes())
            (tmp_path / "mnist" / NAMES[part]).write_bytes(packed)
            mnist.SHA256[NAMES[part]] = hashlib.sha256(packed).hexdigest()

    return write


def small(count=5, size=28):
    images = np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)
    return images, np.arange(count, dtype=np.uint8) % 10


def test_reads_the_rows_of_the_data_dir(write):
    images, labels = small()
    write(images, labels)
    inputs, read = MNIST.load("train")
    assert inputs.shape == (28, 5, 28) and read.tolist() == [0, 1, 2, 3, 4]
    # Row 3 is the fourth time step.
    expected = (images[2, 3].astype(np.float64) - MNIST.mean) / MNIST.std
    assert np.allclose(inputs[3, 2].numpy(), expected, rtol=0, atol=1e-6)
    assert MNIST.sequences(5, steps=100)[0].shape == (100, 5, 28)


@pytest.mark.parametrize("order", [None, "unicornn", "irnn"])
def test_pixel_by_pixel(write, order):
    images, labels = small()
    write(images, labels)
    task = get_task("mnist_pixel:scale=unit" if order is None else f"mnist_permuted:scale=unit,permutation={order}")
    assert (task.length, task.input_size, task.normalisation) == (784, 1, "pixel / 255")
    inputs, _ = task.load("train")
    assert inputs.shape == (784, 5, 1)
    pixels = images.reshape(5, 784) / 255
    expected = pixels if order is None else pixels[:, permutation(order)]
    assert np.allclose(inputs[:, :, 0].numpy().T, expected, rtol=0, atol=1e-7)


def test_splits(write):
    write(*small(20))
    train, validation = (get_task("mnist:validation=0.2").dataset(split, steps=40) for split in ("train", "validation"))
    assert [int(label) for _, label in train] == [i % 10 for i in range(16)]
    assert [int(label) for _, label in validation] == [6, 7, 8, 9]


def test_checksum_mismatch(write, monkeypatch):
    write(*small())
    monkeypatch.setitem(mnist.SHA256, NAMES["labels"], "0" * 64)
    with pytest.raises(DataError, match=f"{NAMES['labels']}: expected the original mnist file, sha256 000000000000"):
        MNIST.load("train")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (small(size=27), "expected images of 28 x 28 pixels, got 27 x 27"),
        ((small(5)[0], small(4)[1]), "expected 5 labels, one an image, got 4"),
        ((small(5)[0], small(5)[1] + 6), "expected labels 0 to 9, got 10"),
        ((small(20)[1], small(5)[1]), "expected magic number 2051 .* got 2049"),
    ],
)
def test_bad_files(write, arrays, message):
    write(*arrays)
    with pytest.raises(DataError, match=message):
        MNIST.load("train")


def test_missing(write, tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    with pytest.raises(DataMissingError, match=r"mnist/t10k-images-idx3-ubyte.gz is missing"):
        MNIST.load("test")


def has_mnist():
    directory = os.environ.get("DYNLAB_DATA_DIR")
    return bool(directory) and os.path.isfile(os.path.join(directory, "mnist", NAMES["images"]))


@pytest.mark.skipif(not has_mnist(), reason="needs the original MNIST files in DYNLAB_DATA_DIR")
def test_the_original_files():
    inputs, labels = MNIST.load("train")
    assert inputs.shape == (28, 60_000, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(labels.numpy()).tolist() == counts
    assert inputs.double().mean().item() == pytest.approx(0, abs=1e-6)
    assert inputs.double().std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert len(MNIST.dataset("train")) == 57_000 and len(MNIST.dataset("validation")) == 3000
    inputs, labels = MNIST.sequences(10_000, steps=30, split="test")
    assert np.bincount(labels.numpy()).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
