"""Where the folders beside the package are: in the checkout, or carried by the installed package."""

from __future__ import annotations

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder ``name`` (kernels, figures, notebooks): the checkout's if there is one, else ``dynlab/_name``."""
    checkout, carried = _PACKAGE.parent / name, _PACKAGE / f"_{name}"
    # Beside an installed package a folder of this name may be anyone's.
    if checkout.is_dir() and _is_dynlab(_PACKAGE.parent / "pyproject.toml"):
        return checkout
    if carried.is_dir():
        return carried
    raise FileNotFoundError(f"dynlab's {name} are missing: expected them at {carried} or {checkout}; reinstall dynlab")


def _is_dynlab(project: Path) -> bool:
    return project.is_file() and bool(
        re.search(r'^name = "dynlab"$', project.read_text(encoding="utf-8"), re.MULTILINE)
    )
