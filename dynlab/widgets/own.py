"""Cells of the user's own, as the comparison takes them. No widget is imported here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynlab.adapt import as_cell
from dynlab.cell import Cell
from dynlab.checkpoint import load_checkpoint, recurrent_part
from dynlab.widgets.options import Option, options_of_function

Given = Cell | Callable[[int, int], Any] | str | os.PathLike[str] | Any


@dataclass
class Own:
    """What became of the cells that were given.

    Attributes:
        cells: by name, cells at hand and builders. code: by name, the expression that makes it in a script.
        options: by name, of builders. features: inputs a step of the cells at hand, None where there are none.
        problems: one line for each that could not be taken.
    """

    cells: dict[str, Any] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    options: dict[str, list[Option]] = field(default_factory=dict)
    features: int | None = None
    problems: list[str] = field(default_factory=list)


def take(given: Mapping[str, Given], ranges: Mapping[str, tuple[float, float]] | None, code: Mapping[str, str]) -> Own:
    """Cells, modules that ``as_cell`` takes, classes or functions (input_size, hidden_size, ...), paths of checkpoints.

    One that cannot be taken is a line of ``problems``; the others are.
    """
    import torch

    own = Own()
    for name, one in given.items():
        try:
            if not name.isidentifier():
                raise ValueError(f"expected a name like one in Python, got {name!r}")
            cell: Any
            if isinstance(one, str | os.PathLike):
                path = os.fspath(one)
                cell = recurrent_part(load_checkpoint(path)[0])
                own.code[name] = f"dynlab.checkpoint.recurrent_part(dynlab.load_checkpoint({path!r})[0])"
            elif isinstance(one, torch.nn.Module):
                cell = as_cell(one)
            elif callable(one):
                own.options[name] = options_of_function(one, ranges)
                cell = one
            else:
                raise TypeError(f"expected a cell, a class, a function or a path, got {type(one).__name__}")
        except Exception as error:  # a user's cell may raise anything
            own.problems.append(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
            continue
        own.cells[name] = cell
        own.code.setdefault(name, code.get(name, name))
        if isinstance(cell, Cell):
            own.features = own.features or cell.input_size
    return own
