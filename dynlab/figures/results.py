"""What a run leaves in its folder: for each figure, under its scale, the images, the dataset and its origin."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from dynlab.figures.base import SCALES
from dynlab.figures.cache import read
from dynlab.store import save_dataset


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is moved to ``path`` at the end, so that what is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class Origin:
    """Where a dataset comes from.

    Attributes:
        scale, seed: what was computed. code: the digest of the code.
        commit: at which that code stands. hardware: machines that pieces were computed on. seconds: of computing,
            summed over the pieces. finished: when.
    """

    scale: str
    seed: int
    code: str
    commit: str
    hardware: tuple[str, ...]
    seconds: float
    finished: str


@dataclass(frozen=True)
class Places:
    """The files of a figure at a scale."""

    out: Path
    name: str
    scale: str

    def file(self, suffix: str) -> Path:
        """``<out>/<scale>/<name><suffix>``."""
        return self.out / self.scale / f"{self.name}{suffix}"

    @property
    def dataset(self) -> Path:
        return self.file(".zarr")

    @property
    def png(self) -> Path:
        return self.file(".png")

    def save(self, dataset: xr.Dataset, figure: Any, origin: Origin) -> None:
        """Write everything, ``origin`` last: a figure without it counts as not made."""
        self._origin.unlink(missing_ok=True)
        save_dataset(dataset, self.dataset)
        for suffix, options in ((".pdf", {"metadata": {"CreationDate": None}}), (".png", {"dpi": 200})):
            with whole(self.file(suffix)) as partial:
                figure.savefig(partial, **options)
        with whole(self._origin) as partial:
            partial.write_text(json.dumps(asdict(origin), indent=1) + "\n", encoding="utf-8")
        self._reason.unlink(missing_ok=True)

    def save_reason(self, reason: str, details: str = "") -> None:
        """Say why there is no figure, or no new one."""
        with whole(self._reason) as partial:
            partial.write_text(f"{reason}\n{details}".rstrip() + "\n", encoding="utf-8")

    def origin(self) -> Origin | None:
        """Where the dataset comes from; None if there is no finished figure."""
        if not self._origin.is_file():
            return None
        content = json.loads(self._origin.read_text(encoding="utf-8"))
        return Origin(**{**content, "hardware": tuple(content["hardware"])})

    def reason(self) -> str:
        """Why the last run at this scale made no figure; "" if it did, or if there was none."""
        return self._reason.read_text(encoding="utf-8").splitlines()[0] if self._reason.is_file() else ""

    def read(self) -> xr.Dataset:
        """The dataset, in memory.

        Raises:
            OSError: if it is damaged.
        """
        try:
            return read(self.dataset)
        except Exception as error:  # of Zarr, of a codec, of the file system: not by us, who write all or nothing
            raise OSError(f"figures: {self.dataset} is damaged ({error}); run {self.name} again") from error

    @property
    def _origin(self) -> Path:
        return self.file(".json")

    @property
    def _reason(self) -> Path:
        return self.file(".not-run.txt")


def largest(out: Path, name: str, scales: Iterable[str] = SCALES) -> Places | None:
    """The figure at the largest of ``scales``, which go upwards, at which it has been made."""
    places = [Places(out, name, scale) for scale in scales]
    return next((one for one in reversed(places) if one.origin() is not None), None)
