"""The figure scripts: where they are, which there are, and loading one by its name."""

from __future__ import annotations

import difflib
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import xarray as xr

from dynlab import _folders
from dynlab.figures.base import SCALES, Item, Run

VARIABLE = "DYNLAB_FIGURES_DIR"
PREFIX = "dynlab_figure_"
_NAME = re.compile(r"[a-z][a-z0-9]*_[a-z0-9_]+")
_loading = threading.RLock()


class Script(Protocol):
    """A loaded script: a module with these."""

    __name__: str
    __file__: str
    __doc__: str | None
    __source__: bytes
    ITEM: Item
    SCALES: Mapping[str, Mapping[str, Any]]

    def compute(self, scale: str, seed: int = 0, run: Run = ...) -> xr.Dataset:
        """The dataset of the figure."""

    def draw(self, dataset: xr.Dataset) -> Any:
        """The matplotlib figure of the dataset."""


def scripts_folder() -> Path:
    """Where the scripts are: ``DYNLAB_FIGURES_DIR`` where it is set, else ``figures`` of dynlab itself.

    Raises:
        FileNotFoundError: if it is missing.
    """
    chosen = os.environ.get(VARIABLE)
    if not chosen:
        try:
            return _folders.folder("figures")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"figures: {error}, or set {VARIABLE} to a folder of scripts") from None
    folder = Path(chosen).expanduser().absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"figures: expected a folder of scripts at {folder} (the variable {VARIABLE})")
    return folder


def names(folder: Path | None = None) -> list[str]:
    """The scripts, ``<paper>_<figure>``, sorted so that fig9 comes before fig10."""
    found = (path.stem for path in (folder or scripts_folder()).glob("*.py"))
    return sorted((name for name in found if _NAME.fullmatch(name)), key=natural)


def path_of(name: str, folder: Path | None = None) -> Path:
    """The file of a script.

    Raises:
        ValueError: if there is no script of that name; it lists near ones.
    """
    known = names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
        among = f"did you mean {', '.join(near)}?" if near else "'dynlab figures list' shows them"
        raise ValueError(f"figures: expected the name of a figure, got {name!r}; {among}")
    return (folder or scripts_folder()) / f"{name}.py"


def load(name: str, folder: Path | None = None) -> Script:
    """The script of that name as a module, ``dynlab_figure_<name>``; again only if its file has changed.

    Arguments:
        name: "irnn_fig2". folder: of the scripts, where it is another than ``scripts_folder``.

    Raises:
        ValueError: if there is none of that name, or if it is not a figure script.
    """
    path = path_of(name, folder)
    source = path.read_bytes()
    with _loading:
        module = sys.modules.get(PREFIX + name)
        if module is None or (module.__file__, getattr(module, "__source__", None)) != (str(path), source):
            module = _execute(PREFIX + name, path, source)
    return cast(Script, module)


def _execute(name: str, path: Path, source: bytes) -> ModuleType:
    """Run the source. Not by an import: no compiled copies beside the scripts, which an older one could pass for."""
    module = ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
        _check(module, path)
    except BaseException as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        if not isinstance(error, Exception) or (isinstance(error, ValueError) and str(error).startswith("figures:")):
            raise
        raise ValueError(f"figures: {path} cannot be loaded: {type(error).__name__}: {error}") from error
    module.__dict__["__source__"] = source
    return module


def _check(module: ModuleType, path: Path) -> None:
    item, scales = getattr(module, "ITEM", None), getattr(module, "SCALES", None)
    wrong = []
    if not isinstance(item, Item):
        wrong.append(f"ITEM, a dynlab.figures.Item, got {type(item).__name__}")
    if not isinstance(scales, Mapping) or "smoke" not in scales or not set(scales) <= set(SCALES):
        got = ", ".join(map(str, scales)) if isinstance(scales, Mapping) else type(scales).__name__
        wrong.append(f"SCALES, settings by scale with 'smoke' and others among {', '.join(SCALES)}, got {got}")
    wrong += [f"a function {name}" for name in ("compute", "draw") if not callable(getattr(module, name, None))]
    if wrong:
        raise ValueError(f"figures: {path}: expected {'; '.join(wrong)}")


def natural(name: str) -> list[tuple[int, str]]:
    """What to sort by so that fig9 comes before fig10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
