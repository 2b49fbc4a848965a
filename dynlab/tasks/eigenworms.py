"""EigenWorms: how a worm moves, over 17,984 steps, and which of five strains it is of."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dynlab.tasks.archive import read_members
from dynlab.tasks.data import DataError, DataMissingError, local, locate
from dynlab.tasks.stored import Arrays, StoredTask

ARCHIVE = "EigenWorms.zip"
MIRRORS = ["https://www.timeseriesclassification.com/aeon-toolkit/"]
FILES = ("EigenWorms_TRAIN.ts", "EigenWorms_TEST.ts")
SERIES, CHANNELS, STEPS, CLASSES = 259, 6, 17_984, 5
"""What the content is checked against, for the archive publishes no checksum."""

SPLIT_SEED = 1234
"""UnICORNN section 4: 70 / 15 / 15 %, "the same split as Morrill et al.", without saying which worm is where. This is
the seed in the public code of its author's next paper (LEM): scikit-learn's train_test_split, 30 %, then half of it."""


def _aeon() -> Any:
    try:
        return import_module("aeon.datasets")
    except ImportError as error:
        raise DataMissingError(
            "eigenworms: expected the package aeon, which reads the UEA archive's files; install it with "
            f"pip install 'dynlab[eigenworms]' ({error})"
        ) from error


def _load() -> tuple[np.ndarray, np.ndarray]:
    """All series (sample, step, channel) and labels, those of the archive's TRAIN file first."""
    reader = _aeon()
    mine = [local("eigenworms", name) for name in FILES]
    if all(mine):
        return _parse(reader, *(path for path in mine if path))
    archive = locate("eigenworms", ARCHIVE, None, [mirror + ARCHIVE for mirror in MIRRORS])
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in FILES]
        for path, content in zip(paths, read_members(archive, FILES), strict=True):
            path.write_bytes(content)
        return _parse(reader, *paths)


def _parse(reader: Any, *paths: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        series, strains = zip(*(reader.load_from_ts_file(str(path)) for path in paths), strict=True)
        worms, names = np.concatenate(series), np.concatenate(strains)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{paths[0].parent}: expected EigenWorms in .ts files, got others ({error})") from error
    classes, labels = np.unique(names, return_inverse=True)
    found, expected = (*worms.shape, len(classes)), (SERIES, CHANNELS, STEPS, CLASSES)
    if found != expected or not np.isfinite(worms).all():
        raise DataError(
            f"{paths[0].parent}: expected {SERIES} finite series of {CHANNELS} channels, {STEPS} steps and {CLASSES} "
            f"classes in {' and '.join(FILES)}, got shape and classes {found}"
        )
    return np.ascontiguousarray(worms.transpose(0, 2, 1), np.float32), labels.astype(np.uint8)


@lru_cache(maxsize=1)
def _split() -> dict[str, Arrays]:
    from sklearn.model_selection import train_test_split

    worms, labels = _load()
    train, rest = train_test_split(np.arange(len(labels)), test_size=0.3, random_state=SPLIT_SEED)
    validation, test = train_test_split(rest, test_size=0.5, random_state=SPLIT_SEED)
    parts = {"train": train, "validation": validation, "test": test}
    return {split: (worms[part], labels[part]) for split, part in parts.items()}


def _read(split: str) -> Arrays:
    return _split()[split]


def eigenworms() -> StoredTask:
    """EigenWorms of the UEA archive, read by aeon, an optional package."""
    return StoredTask(
        key="eigenworms",
        summary="five strains of worms by their motion",
        input_size=CHANNELS,
        output_size=CLASSES,
        rows=STEPS,
        length=STEPS,
        most_steps=STEPS,
        splits="181 train, 39 validate, 39 test: all 259 at random, 70 / 15 / 15 %, seed 1234 of scikit-learn",
        normalisation="none",
        source="A. Bagnall et al., The UEA multivariate time series classification archive (2018); read with aeon",
        license="none stated; the archive asks for a citation",
        read=_read,
    )
