import importlib.util
import io
import sys
import types
import zipfile
from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from dynlab.tasks import DataError, DataMissingError, eigenworms, get_task

HEADER = """#A comment
@problemName EigenWorms
@timeStamps false
@missing false
@univariate false
@dimensions 6
@equalLength true
@seriesLength 4
@classLabel true 1 2 3 4 5
@data
"""
COUNTS = {"TRAIN": 11, "TEST": 9}


def load_from_ts_file(path):
    """As aeon's, for files of this form: (sample, channel, step) and the labels as strings."""
    with open(path) as file:
        lines = file.read().partition("@data\n")[2].splitlines()
    cases = [line.split(":") for line in lines]
    series = np.array([[[float(number) for number in channel.split(",")] for channel in case[:-1]] for case in cases])
    return series, np.array([case[-1] for case in cases])


@pytest.fixture(params=["stand-in", "aeon"])
def reader(request, monkeypatch):
    """aeon's reader where it is installed, and one like it anywhere."""
    if request.param == "aeon":
        if importlib.util.find_spec("aeon") is None:
            pytest.skip("needs aeon, the extra 'eigenworms'")
        return
    for name in ("aeon", "aeon.datasets"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["aeon.datasets"].load_from_ts_file = load_from_ts_file


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A data folder for a set of 20 short series; there is no network, and nothing is remembered."""
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    for name, value in (("MIRRORS", []), ("SERIES", 20), ("STEPS", 4)):
        monkeypatch.setattr(eigenworms, name, value)
    eigenworms._split.cache_clear()
    yield tmp_path / "eigenworms"
    eigenworms._split.cache_clear()


def small():
    """Series (sample, channel, step), their labels, and the two files that hold them."""
    generator = np.random.default_rng(0)
    series = generator.normal(size=(20, 6, 4)).round(5)
    labels = [str(1 + i % 5) for i in range(20)]
    lines = [
        ":".join([*(",".join(map(str, channel)) for channel in worm), label])
        for worm, label in zip(series, labels, strict=True)
    ]
    parts = {"TRAIN": lines[:11], "TEST": lines[11:]}
    files = {f"EigenWorms_{part}.ts": HEADER + "\n".join(chosen) + "\n" for part, chosen in parts.items()}
    return series, np.array(labels), files


def write(folder, files, packed=False):
    folder.mkdir()
    if packed:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        (folder / "EigenWorms.zip").write_bytes(content.getvalue())
    else:
        for name, text in files.items():
            (folder / name).write_text(text)


@pytest.mark.parametrize("packed", [False, True])
def test_reads_and_splits(home, reader, packed):
    series, labels, files = small()
    write(home, {**files, "EigenWorms.txt": ""}, packed)
    task = get_task("eigenworms")
    train, rest = train_test_split(np.arange(20), test_size=0.3, random_state=1234)
    validation, test = train_test_split(rest, test_size=0.5, random_state=1234)
    assert sorted([*train, *validation, *test]) == list(range(20))
    for split, part in (("train", train), ("validation", validation), ("test", test)):
        dataset = task.dataset(split, steps=4)
        assert len(dataset) == len(part)
        for i, worm in enumerate(part):
            sequence, label = dataset[i]
            assert np.allclose(sequence.numpy(), series[worm].T, rtol=0, atol=1e-6)
            assert int(label) == int(labels[worm]) - 1
    assert task.sequences(2, steps=3)[0].shape == (3, 2, 6)


def test_published_sizes():
    task = get_task("eigenworms")
    train, rest = train_test_split(np.arange(259), test_size=0.3, random_state=1234)
    assert (len(train), len(rest) // 2) == (181, 39) and task.splits.startswith("181 train, 39 validate, 39 test")
    assert (task.length, task.input_size, task.output_size) == (17_984, 6, 5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n@data", "\n@data", None),
        (":1\n", ":2\n", r"and 5 classes in .* got shape and classes \(20, 6, 4, 4\)"),
        ("@data\n", "@data\nnan,1,1,1:0,0,0,0:0,0,0,0:0,0,0,0:0,0,0,0:0,0,0,0:1\n", r"expected 20 finite series"),
        (",", ",x", "expected EigenWorms in .ts files, got others"),
    ],
)
def test_bad_content(home, reader, old, new, message):
    _, _, files = small()
    write(home, {name: text.replace(old, new) for name, text in files.items()})
    if message is None:
        get_task("eigenworms").dataset()
    else:
        with pytest.raises(DataError, match=message):
            get_task("eigenworms").dataset()


def test_an_archive_cut_short(home, reader):
    write(home, small()[2], packed=True)
    archive = home / "EigenWorms.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match="EigenWorms.zip: expected a complete zip"):
        get_task("eigenworms").dataset()
    assert Counter(path.name for path in home.iterdir()) == {"EigenWorms.zip": 1}


def test_without_aeon(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "aeon", None)
    monkeypatch.delitem(sys.modules, "aeon.datasets", raising=False)
    with pytest.raises(DataMissingError) as caught:
        get_task("eigenworms").dataset()
    message = str(caught.value)
    assert "eigenworms: expected the package aeon" in message and "pip install 'dynlab[eigenworms]'" in message
    assert "\n" not in message


def test_without_files(home, reader):
    with pytest.raises(DataMissingError, match=r"^eigenworms/EigenWorms.zip is missing"):
        get_task("eigenworms").dataset()
