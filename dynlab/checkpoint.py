"""Checkpoints: a cell of the registry with its parameters, loaded without executing anything."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from dynlab.cell import Cell
from dynlab.cells import build_cell

FORMAT = "dynlab-checkpoint-1"


def save_checkpoint(cell: Cell, spec: str, path: str | os.PathLike[str], **extra: Any) -> Path:
    """Save a cell's parameters with what is needed to build it again.

    Arguments:
        spec: its specification on the command line, for instance "irnn:K=5,eta=0.01".
        extra: numbers and strings to keep with it, for instance ``task="digits"``.

    Raises:
        ValueError: if ``spec`` does not build a cell with these parameters.
    """
    try:
        build_cell(spec, cell.input_size, cell.hidden_size).load_state_dict(cell.state_dict())
    except RuntimeError as error:
        raise ValueError(f"save_checkpoint: {spec!r}: {' '.join(str(error).split())}") from None
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    content = {
        "format": FORMAT,
        "cell": spec,
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "state_dict": cell.state_dict(),
        **extra,
    }
    torch.save(content, partial)
    partial.replace(path)
    return path


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[Cell, dict[str, Any]]:
    """The cell of a checkpoint, and everything else that it holds.

    Raises:
        FileNotFoundError: no file there. ValueError: not a checkpoint of dynlab, or one of another cell.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_checkpoint: expected a checkpoint at {path}, found no file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"load_checkpoint: expected a checkpoint of dynlab at {path}, could not read it: {reason}"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"load_checkpoint: expected a {FORMAT} file at {path}, got another format")
    if missing := {"cell", "input_size", "hidden_size", "state_dict"} - set(content):
        raise ValueError(f"load_checkpoint: expected {', '.join(sorted(missing))} in {path}, found none")
    cell = build_cell(content["cell"], content["input_size"], content["hidden_size"])
    try:
        cell.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise ValueError(f"load_checkpoint: {path}: {' '.join(str(error).split())}") from None
    return cell, {key: value for key, value in content.items() if key not in ("format", "state_dict")}
