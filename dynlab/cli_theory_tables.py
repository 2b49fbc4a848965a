"""The tables of ``dynlab theory``, for a terminal of 100 columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from dynlab.theory.base import axis_of

if TYPE_CHECKING:
    import xarray as xr

    from dynlab.theory import Proposition

_COLOURS = {"holds": "green", "fails": "red", "not applicable": "yellow"}
_ROWS = 14
"""Shown of a long axis."""
_LABEL = 28
"""Columns that a label has at least, where texts stand below it."""
_NO_UNITS = ("", "1", "text", "bool")


def listed(propositions: Iterable[Proposition]) -> Table:
    """What there is."""
    table = _table()
    table.add_column("proposition", no_wrap=True)
    table.add_column("what it says", ratio=3)
    table.add_column("source", ratio=2)
    for one in propositions:
        table.add_row(one.key, escape(one.statement), escape(one.reference))
    table.caption = "'dynlab theory NAME' evaluates one, 'dynlab theory --all' all of them"
    return table


def summary(findings: Iterable[xr.Dataset]) -> Table:
    """A row for each: what it says, its hypotheses with their two sides, the ranges of bound and measured, verdict."""
    table = _table(show_lines=True)
    table.add_column("proposition", ratio=30, overflow="fold")
    table.add_column("hypotheses (left vs right)", ratio=26, overflow="fold")
    table.add_column("bound", width=12)
    table.add_column("measured", width=11)
    table.add_column("verdict", width=14)
    for found in findings:
        attrs = found.attrs
        bound, measured = (text.replace(" to ", "\nto ") for text in _ranges(found["bound"], found["measured"]))
        about = f"[bold]{escape(attrs['proposition'])}[/]\n{escape(attrs['statement'])}\n"
        table.add_row(
            about + f"[dim]{escape(attrs['reference'])}[/]",
            escape("\n".join(_hypotheses(found)) or "none"),
            escape(f"{attrs['relation']} {bound}"),
            escape(measured),
            _verdict(found, "\n"),
        )
    return table


def detail(found: xr.Dataset) -> Iterator[RenderableType]:
    """One finding: what it says, its hypotheses, and its variables along each of its dims."""
    attrs = found.attrs
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    bound, measured = _ranges(found["bound"], found["measured"])
    meaning = {name: found[name].attrs.get("long_name", name) for name in ("bound", "measured")}
    rows = [("statement", attrs["statement"])]
    rows += [("" if index else "hypotheses", line) for index, line in enumerate(_hypotheses(found))]
    rows.append(("bound", f"{attrs['relation']} {bound}: {meaning['bound']}"))
    rows.append(("measured", f"{measured}: {meaning['measured']}"))
    facts.add_row("[default bold]" + escape(attrs["proposition"]) + "[/]", escape(attrs["reference"]))
    for label, text in rows:
        facts.add_row(label, escape(text))
    facts.add_row("verdict", _verdict(found, " "))
    for name in ("cell", "hyperparameters", "setting", "T", "seed", "note", "left_out"):
        if attrs.get(name) not in (None, ""):
            facts.add_row(_NAMES.get(name, name), escape(_words(name, attrs[name])))
    axis = axis_of(found)
    own = {"bound", "measured", "satisfied", *(f"hypothesis_{part}" for part in ("holds", "value", "limit"))}
    extras = [str(name) for name in found.data_vars if name not in own]
    for name in extras:
        if len(found[name].dims) != 1 and found[name].dtype.kind in "bif":
            dims = ", ".join(map(str, found[name].dims))
            meaning_of = found[name].attrs.get("long_name", name)
            facts.add_row("also", escape(f"{name} ({dims}) {_ranges(found[name])[0]}: {meaning_of}"))
    yield facts
    for dim in dict.fromkeys([*([axis] if axis else []), *(str(dim) for name in extras for dim in found[name].dims)]):
        columns = [name for name in extras if found[name].dims == (dim,)]
        if columns or dim == axis:
            yield _along(found, dim, columns, dim == axis)


_NAMES = {"hyperparameters": "options", "left_out": "left out"}


def _table(**options: Any) -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), **options)


def _hypotheses(found: xr.Dataset) -> Iterator[str]:
    columns = (found[f"hypothesis{part}"].values for part in ("", "_holds", "_value", "_limit"))
    for name, holds, value, limit in zip(*columns, strict=True):
        left, right = _distinct([[value], [limit]])
        sides = "" if np.isnan(value) else f" ({left[0]} vs {right[0]})"
        yield f"{'✓' if holds else '✗'} {name}{sides}"


def _verdict(found: xr.Dataset, between: str) -> str:
    verdict, satisfied = found.attrs["verdict"], found["satisfied"]
    broken, size = int((~satisfied).sum()), satisfied.size
    places = "" if size == 1 else f" in {broken} of {size}"
    if verdict == "not applicable":
        more = f"{between}({f'and broken{places}' if broken else 'bound kept all the same'})"
    else:
        more = f"{between}{places.strip()}" if broken and places else ""
    return f"[{_COLOURS[verdict]}]{verdict}[/]{more}"


def _distinct(groups: list[list[float]]) -> list[list[str]]:
    """Numbers as text, with as many digits, 4 to 8, as it takes to tell different ones apart."""
    different = {number for group in groups for number in group}
    digits = next((n for n in (4, 5, 6, 8) if len({_plain(one, n) for one in different}) == len(different)), 8)
    return [[_plain(number, digits) for number in group] for group in groups]


def _plain(value: Any, digits: int = 4) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if type(value) is int else str(value)
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e7 else f"{value:.{digits}g}"


def _ranges(*arrays: xr.DataArray, units: bool = True) -> list[str]:
    """The range of each."""
    ends = []
    for array in arrays:
        numbers = np.asarray(array.values, dtype=float)
        numbers = numbers[~np.isnan(numbers)]
        ends.append([float(numbers.min()), float(numbers.max())] if numbers.size else [])
    texts = [" to ".join(dict.fromkeys(pair)) or "undefined" for pair in _distinct(ends)]
    return [text + (_unit(array) if units else "") for text, array in zip(texts, arrays, strict=True)]


def _unit(array: xr.DataArray) -> str:
    unit = str(array.attrs.get("units", "1"))
    return "" if unit in _NO_UNITS else f" {unit}"


def _words(name: str, value: Any) -> str:
    if name != "hyperparameters":
        return str(value)
    try:
        options = json.loads(value)
    except (TypeError, ValueError):
        return str(value)
    return ", ".join(f"{key}={option}" for key, option in options.items()) if isinstance(options, dict) else str(value)


def _along(found: xr.Dataset, dim: str, columns: list[str], compared: bool) -> Table:
    """A row for each place along ``dim``, of a long axis some of them; what never changes is left out."""
    named = dim in found.coords and found[dim].dtype.kind in "OUT"
    text = [name for name in columns if found[name].dtype.kind in "OUT"]
    beside = [name for name in columns if name not in text and len(set(found[name].values.tolist())) > 1]
    table = _table()
    table.add_column(dim, overflow="fold", min_width=_LABEL if text else None)
    for name in (*(("bound", "measured", "satisfied") if compared else ()), *beside):
        unit = _unit(found[name]) if name in ("bound", "measured") else ""
        table.add_column(name.removeprefix(f"{dim}_").replace("_", "\n") + unit.replace(" ", "\n", 1))
    size = found.sizes[dim]
    places = range(size) if named else np.unique(np.linspace(0, size - 1, min(size, _ROWS)).round().astype(int))
    for place in places:
        here = found.isel({dim: int(place)})
        label = escape(_plain(here[dim].item() if dim in here.coords else int(place)))
        if below := ", ".join(here[name].item() for name in text if here[name].item()):
            label += f"\n[dim]{escape(below)}[/]"
        cells = []
        if compared:
            satisfied = here["satisfied"]
            cells = _ranges(here["bound"], here["measured"], units=False)
            cells.append(
                ("no", "yes")[int(satisfied.values.item())] if satisfied.size == 1 else f"{float(satisfied.mean()):.0%}"
            )
        table.add_row(label, *map(escape, [*cells, *(_plain(here[name].item()) for name in beside)]))
    return table
