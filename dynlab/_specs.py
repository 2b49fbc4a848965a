"""Specifications such as ``irnn:K=5,eta=0.01``: a key of a registry, and options."""

from __future__ import annotations

import ast
from typing import Any


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """The key and the options of a specification; values are Python literals, true, false, or else text.

    Raises:
        ValueError: for options that are not name=value.
    """
    key, _, text = spec.strip().partition(":")
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"{spec!r}: expected options as name=value, got {item!r}")
        try:
            options[name] = ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
        except (ValueError, SyntaxError):
            options[name] = value
    return key, options
