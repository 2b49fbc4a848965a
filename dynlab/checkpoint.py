"""Checkpoints: cells of the registry with their parameters, loaded without executing anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dynlab import _check
from dynlab.cell import Cell
from dynlab.cells import build_cell
from dynlab.network import Network, Readout

FORMAT = "dynlab-checkpoint-1"


def save_checkpoint(cell: Cell, spec: str | Sequence[str], path: str | os.PathLike[str], **extra: Any) -> Path:
    """Save a cell's parameters with what is needed to build it again.

    Arguments:
        cell: a cell, or a Network of cells whose readout, if it has one, is a ``Readout``.
        spec: its specification on the command line, for instance "irnn:K=5,eta=0.01"; of a Network, that of every
            layer, bottom first.
        extra: numbers and strings to keep with it, for instance ``task="digits"``.

    Raises:
        ValueError, TypeError: if ``spec`` does not build a cell with these parameters.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    content = {
        "format": FORMAT,
        "cell": specs[-1],
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "state_dict": cell.state_dict(),
        **extra,
    }
    if isinstance(cell, Network):
        content["network"] = _described(cell, specs)
    try:
        # Whoever saves a cell of FILE.py has run it.
        _build(content, tuple(specs)).load_state_dict(cell.state_dict())
    except RuntimeError as error:
        raise ValueError(f"save_checkpoint: {spec!r}: {' '.join(str(error).split())}") from None
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    torch.save(content, partial)
    partial.replace(path)
    return path


def load_checkpoint(path: str | os.PathLike[str], specs: Sequence[str] = ()) -> tuple[Cell, dict[str, Any]]:
    """The cell of a checkpoint, and everything else that it holds.

    Arguments:
        specs: cells of one's own, FILE.py:NAME, that may be run should the checkpoint name them. No other file is.

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
    cell = _build(content, tuple(specs))
    try:
        cell.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise ValueError(f"load_checkpoint: {path}: {' '.join(str(error).split())}") from None
    return cell, {key: value for key, value in content.items() if key not in ("format", "state_dict")}


def recurrent_part(network: Cell) -> Cell:
    """A network's only cell, or the network without its readout; another cell as it is."""
    if not isinstance(network, Network):
        return network
    if len(network.layers) == 1:
        return network.layers[0]
    network.readout = None
    return network


def initial_twin(content: dict[str, Any], specs: Sequence[str] = (), seed: int = 0) -> Cell:
    """What a checkpoint holds as initialised from ``seed``; ``content`` and ``specs`` as of ``load_checkpoint``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _drawn(content, tuple(specs))


def _described(network: Network, specs: list[str]) -> dict[str, Any]:
    """What a Network is built from, beside its cells' parameters."""
    if len(specs) != len(network.layers):
        raise ValueError(
            f"save_checkpoint: expected one specification a layer, {len(network.layers)}, got {len(specs)}"
        )
    readout = network.readout
    if readout is not None and not isinstance(readout, Readout):
        raise TypeError(f"save_checkpoint: expected a network with a dynlab.Readout, got {_check.describe(readout)}")
    return {
        "cells": specs,
        "hidden_sizes": [layer.hidden_size for layer in network.layers],
        "residual": network.residual,
        "dropout": network.dropout,
        "readout": readout and {"output_size": readout.linear.out_features, "at": readout.at},
    }


def _build(content: dict[str, Any], allowed: tuple[str, ...]) -> Cell:
    """The cell or network that a checkpoint describes, with initial parameters that nobody will see."""
    with torch.random.fork_rng(devices=[]):
        return _drawn(content, allowed)


def _drawn(content: dict[str, Any], allowed: tuple[str, ...]) -> Cell:
    """The cell or network that a checkpoint describes, with initial parameters from the global generator."""
    size, described = content["input_size"], content.get("network")
    if described is None:
        return _build_cell(content["cell"], size, content["hidden_size"], allowed)
    cells = []
    for spec, hidden_size in zip(described["cells"], described["hidden_sizes"], strict=True):
        cells.append(_build_cell(spec, size, hidden_size, allowed))
        size = cells[-1].hidden_size
    readout = Readout(size, **described["readout"]) if described["readout"] else None
    return Network(cells, readout, residual=described["residual"], dropout=described["dropout"])


def _build_cell(spec: str, input_size: int, hidden_size: int, allowed: tuple[str, ...]) -> Cell:
    if ".py:" not in spec:
        return build_cell(spec, input_size, hidden_size)
    if spec not in allowed:
        raise ValueError(
            f"load_checkpoint: it holds a cell of your own, {spec}, and a checkpoint runs no file that you have not "
            f"named: pass specs=[{spec!r}], or on the command line --cells {spec}"
        )
    from dynlab.compare import make_cell

    return make_cell(spec, input_size, hidden_size)
