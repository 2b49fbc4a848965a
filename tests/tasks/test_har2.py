import hashlib
import io
import os
import zipfile

import numpy as np
import pytest

from dynlab.tasks import DataError, DataMissingError, get_task, har2

COUNTS = {"train": 12, "test": 6}


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes an archive of the test's own in place of the original, with its checksum; there is no network."""
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(har2, "MIRRORS", [])
    (tmp_path / "uci_har").mkdir()

    def write(files):
        packed = zipped({"UCI HAR Dataset.names": "", "UCI HAR Dataset.zip": zipped(files)})
        (tmp_path / "uci_har" / har2.ARCHIVE).write_bytes(packed)
        monkeypatch.setattr(har2, "SHA256", hashlib.sha256(packed).hexdigest())

    return write


def small():
    """Windows by split (sample, step, channel), and the files of the original's format that hold them."""
    generator = np.random.default_rng(0)
    windows = {split: generator.normal(1, 3, (count, 128, 9)) for split, count in COUNTS.items()}
    files = {"UCI HAR Dataset/README.txt": "hello"}
    for split, data in windows.items():
        folder = f"UCI HAR Dataset/{split}"
        for index, channel in enumerate(har2.CHANNELS):
            # Two spaces before a positive number, one before a minus sign, as in the original.
            lines = ("".join(f" {number: .7e}" for number in window[:, index]) for window in data)
            files[f"{folder}/Inertial Signals/{channel}_{split}.txt"] = "\n".join(lines) + "\n"
        files[f"{folder}/y_{split}.txt"] = "".join(f"{1 + i % 6}\n" for i in range(len(data)))
    return windows, files


def test_reads_the_original_format(write):
    windows, files = small()
    write(files)
    task = get_task("har2")
    mean, std = windows["train"].mean((0, 1)), windows["train"].std((0, 1))
    for split, data in windows.items():
        inputs, labels = task.load(split)
        assert inputs.shape == (128, len(data), 9)
        # The files have eight digits.
        assert np.allclose(inputs.numpy().transpose(1, 0, 2), (data - mean) / std, rtol=0, atol=1e-5)
        assert labels.tolist() == [1, 0, 1, 0, 1, 0] * (len(data) // 6)
    train = task.load("train")[0].double()
    assert train.mean((0, 1)).abs().max() < 1e-6 and (train.std((0, 1), correction=0) - 1).abs().max() < 1e-6


def test_splits_by_position(write):
    windows, files = small()
    write(files)
    task = get_task("har2:validation=0.25")
    inputs, _ = task.load("train")
    train, validation = task.dataset("train"), task.dataset("validation")
    assert (len(train), len(validation), len(task.dataset("test"))) == (9, 3, 6)
    assert all((train[i][0] == inputs[:, i]).all() for i in range(9))
    assert all((validation[i][0] == inputs[:, 9 + i]).all() for i in range(3))


def test_two_groups_of_activities():
    """iRNN A.4: Sitting, Laying, Walking_Upstairs against Standing, Walking, Walking_Downstairs."""
    labels = har2.binarise(np.arange(1, 7))
    groups = {
        value: {name for name, label in zip(har2.ACTIVITIES, labels, strict=True) if label == value} for value in (0, 1)
    }
    assert groups[0] == {"SITTING", "LAYING", "WALKING_UPSTAIRS"}
    assert groups[1] == {"STANDING", "WALKING", "WALKING_DOWNSTAIRS"}
    assert get_task("har2").output_size == 2 and get_task("har2").baseline == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train/y_train.txt": "1\n2\n"}, "expected windows of 128 numbers and one label each in the train files"),
        ({"test/Inertial Signals/body_acc_x_test.txt": "1 2\n" * 6}, "expected windows of 128 numbers .* test files"),
        ({"test/Inertial Signals/body_acc_x_test.txt": "1 2\n1\n"}, "body_acc_x_test.txt: expected a table of numbers"),
        ({"test/y_test.txt": "1\ntwo\n"}, "y_test.txt: expected a table of numbers, got another text"),
        ({"test/y_test.txt": ""}, "y_test.txt: expected a table of numbers, got an empty file"),
        ({"test/y_test.txt": "1\n2\n3\n4\n5\n7\n"}, "expected labels 1 to 6, got 1 to 7"),
    ],
)
def test_bad_files(write, change, message):
    _, files = small()
    write({**files, **{f"UCI HAR Dataset/{name}": content for name, content in change.items()}})
    with pytest.raises(DataError, match=message):
        get_task("har2").load()


def test_an_inner_archive_that_climbs_out(write):
    _, files = small()
    write({**files, "../evil.txt": "1"})
    with pytest.raises(DataError, match=r"UCI HAR Dataset.zip: expected plain files .* got '\.\./evil.txt'"):
        get_task("har2").load()


def test_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(har2, "MIRRORS", [])
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    with pytest.raises(DataMissingError, match=r"^uci_har/human\+activity.*zip is missing"):
        get_task("har2").load()
    with pytest.raises(DataMissingError, match=r"^uci_har_inertial_subset.npz is missing"):
        get_task("har2:subset=true").load()


def test_subset_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    np.savez(tmp_path / har2.SUBSET, x_train=np.zeros(1))
    with pytest.raises(DataError, match="expected the original uci_har_inertial_subset.npz file, sha256 874f8a4a3f1c"):
        get_task("har2:subset=true").load()
    with pytest.raises(ValueError, match="har2: expected subset to be one of False, True, got 'perhaps'"):
        get_task("har2:subset=perhaps")


def has_subset():
    directory = os.environ.get("DYNLAB_DATA_DIR")
    return bool(directory) and os.path.isfile(os.path.join(directory, har2.SUBSET))


@pytest.mark.skipif(not has_subset(), reason="needs uci_har_inertial_subset.npz in DYNLAB_DATA_DIR")
def test_the_subset():
    task = get_task("har2:subset=true")
    inputs, labels = task.load("train")
    assert inputs.shape == (128, 2400, 9)
    # Of labels 1 to 6 there are 400 350 322 420 449 459; the odd ones are class 1.
    assert np.bincount(labels).tolist() == [350 + 420 + 459, 400 + 322 + 449]
    assert np.bincount(task.load("test")[1]).tolist() == [152 + 158 + 173, 160 + 135 + 172]
    assert inputs.double().mean((0, 1)).abs().max() < 1e-6
    assert (inputs.double().std((0, 1), correction=0) - 1).abs().max() < 1e-6
    assert len(task.dataset("train")) == 1920 and len(task.dataset("validation")) == 480
