"""Figures and tables that are listed and not run: published values, protocol, command, and what is missing."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dynlab.figures.discover import scripts_folder

FILE = "listed.toml"


@dataclass(frozen=True)
class Listed:
    """A figure or table that is not run here, an ``[[item]]`` of ``figures/listed.toml``.

    Attributes:
        paper, number, title, protocol: as of a ``dynlab.figures.Item``.
        command: what would run it. missing: what it takes that is not at hand: data, hours, a device.
        published: rows of the published table, each a table of column and value.
    """

    paper: str
    number: str
    title: str
    protocol: str
    command: str
    missing: str
    published: tuple[Mapping[str, Any], ...] = ()

    @property
    def columns(self) -> list[str]:
        """Of ``published``, in the order in which they come."""
        return list(dict.fromkeys(name for row in self.published for name in row))


def listed(folder: Path | None = None) -> list[Listed]:
    """The items of ``listed.toml``; none where there is no such file.

    Raises:
        ValueError: if it is not TOML, or an item lacks a key or has one too many.
    """
    path = (folder or scripts_folder()) / FILE
    if not path.is_file():
        return []
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"figures: {path}: {error}") from None
    return [_item(row, f"{path}, item {index}") for index, row in enumerate(content.get("item", []), 1)]


def _item(row: Mapping[str, Any], where: str) -> Listed:
    known = {field.name for field in fields(Listed)}
    texts = known - {"published"}
    wrong = sorted(texts - {name for name in texts if isinstance(row.get(name), str)}) + sorted(set(row) - known)
    published = row.get("published", [])
    if wrong or not isinstance(published, list) or not all(isinstance(one, dict) for one in published):
        raise ValueError(
            f"figures: {where}: expected the texts {', '.join(sorted(texts))} and published, a list of tables; "
            f"wrong or missing: {', '.join(wrong) or 'published'}"
        )
    return Listed(**{**row, "published": tuple(published)})
