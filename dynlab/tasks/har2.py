"""HAR-2: what a smartphone at the waist feels, and which of two groups of activities it was."""

from __future__ import annotations

import io
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from dynlab import _check
from dynlab.tasks.archive import read_members
from dynlab.tasks.data import DataError, locate
from dynlab.tasks.npz import read_npz
from dynlab.tasks.stored import Arrays, StoredTask, held_out

ARCHIVE = "human+activity+recognition+using+smartphones.zip"
SHA256 = "c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031"
"""The UCI repository publishes no checksum; this is the one that several public projects give for its file."""
MIRRORS = ["https://archive.ics.uci.edu/static/public/240/"]
INNER = "UCI HAR Dataset.zip"
SUBSET = "uci_har_inertial_subset.npz"
SUBSET_SHA256 = "874f8a4a3f1ca408d295fd8e1a08bbbd90149efef919ddf8ad3b7df143994572"
"""About a third of the windows, with 4 significant digits."""

STEPS = 128
CHANNELS = [f"{signal}_{axis}" for signal in ("body_acc", "body_gyro", "total_acc") for axis in "xyz"]
ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
"""Those of labels 1 .. 6."""
CLASS_0 = ("SITTING", "LAYING", "WALKING_UPSTAIRS")
"""iRNN A.4 merges these into one class and the other three into the other; which is 0 is our choice."""

_SPLITS = ("train", "test")


def binarise(activities: np.ndarray) -> np.ndarray:
    """Labels 1 .. 6 to 0 and 1."""
    return np.array([name not in CLASS_0 for name in ACTIVITIES], np.uint8)[activities.astype(np.int64) - 1]


@lru_cache(maxsize=1)
def _complete(path: Path) -> dict[str, Arrays]:
    names = [name for split in _SPLITS for name in _files(split)]
    (inner,) = read_members(path, [INNER])
    contents = iter(read_members(inner, names, f"{path}, {INNER}"))
    arrays = {}
    for split in _SPLITS:
        *signals, activities = (_numbers(next(contents), f"{path}, {name}") for name in _files(split))
        if {signal.shape for signal in signals} != {(len(activities), STEPS)} or activities.shape[1] != 1:
            raise DataError(f"{path}: expected windows of {STEPS} numbers and one label each in the {split} files")
        arrays[split] = np.stack(signals, -1), activities[:, 0]
    return arrays


def _files(split: str) -> list[str]:
    folder = f"UCI HAR Dataset/{split}"
    return [*(f"{folder}/Inertial Signals/{channel}_{split}.txt" for channel in CHANNELS), f"{folder}/y_{split}.txt"]


def _numbers(content: bytes, where: str) -> np.ndarray:
    """The table in a text file, (line, number)."""
    if not content.strip():
        raise DataError(f"{where}: expected a table of numbers, got an empty file")
    try:
        return np.loadtxt(io.BytesIO(content), dtype=np.float32, ndmin=2)
    except ValueError as error:
        raise DataError(f"{where}: expected a table of numbers, got another text ({error})") from error


@lru_cache(maxsize=1)
def _subset(path: Path) -> dict[str, Arrays]:
    shapes = {"x_train": (STEPS, 9), "y_train": (), "x_test": (STEPS, 9), "y_test": ()}
    arrays = read_npz(path, shapes, np.float32, np.uint8)
    return {split: (arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in _SPLITS}


def _read(split: str, subset: bool) -> Arrays:
    if subset:
        path = locate("", SUBSET, SUBSET_SHA256, [])
        arrays = _subset(path)
    else:
        path = locate("uci_har", ARCHIVE, SHA256, [mirror + ARCHIVE for mirror in MIRRORS])
        arrays = _complete(path)
    for _, activities in arrays.values():
        if not np.isin(activities, range(1, 7)).all():
            raise DataError(f"{path}: expected labels 1 to 6, got {activities.min():g} to {activities.max():g}")
    windows, activities = arrays[split]
    training = arrays["train"][0]
    mean, std = (np.asarray(of((0, 1), dtype=np.float64), np.float32) for of in (training.mean, training.std))
    return (windows - mean) / std, binarise(activities)


def har2(subset: bool = False, validation: float = 0.2) -> StoredTask:
    """HAR-2; with ``subset``, the third of it that a small file has, whose accuracies are not the published task's."""
    _check.choice("subset", subset, (False, True), "har2")
    train, test = ("2,400", "950") if subset else ("7,352", "2,947")
    return StoredTask(
        key="har2",
        summary="two groups of activities from a smartphone's sensors",
        input_size=len(CHANNELS),
        output_size=2,
        rows=STEPS,
        length=STEPS,
        most_steps=STEPS,
        validation=validation,
        # Neighbouring windows share half their samples: a random choice would have seen what it is asked.
        splits=f"{train} windows train, {held_out(validation, 'har2')}; {test} of other people test",
        normalisation="(x - mean) / std, of each channel over all training windows",
        source="D. Anguita, A. Ghio, L. Oneto, X. Parra and J. L. Reyes-Ortiz, A public domain dataset for human "
        "activity recognition using smartphones, ESANN 2013; UCI Machine Learning Repository",
        license="CC BY 4.0 as the UCI repository states it",
        read=partial(_read, subset=subset),
    )
