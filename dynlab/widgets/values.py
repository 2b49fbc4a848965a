"""What a widget shows, a frozen dataclass, read back from JSON. No widget is imported here."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import fields
from typing import Any, TypeVar

Value = TypeVar("Value")


def from_json(cls: type[Value], text: str, where: str, tuples: Collection[str] = ()) -> Value:
    """An object of the dataclass ``cls`` from what its ``to_json`` wrote.

    Arguments:
        where: for errors. tuples: fields that are tuples, which JSON has as lists.

    Raises:
        ValueError: for another text.
    """
    try:
        content: Any = json.loads(text)
        known = sorted(one.name for one in fields(cls))  # type: ignore[arg-type]
        if not isinstance(content, dict) or not set(content) <= set(known):
            raise ValueError(f"expected an object with names among {', '.join(known)}")
        return cls(**{name: tuple(value) if name in tuples else value for name, value in content.items()})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: expected what to_json wrote, got {text[:60]!r}: {error}") from None
