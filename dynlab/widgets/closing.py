"""Closing a widget with all that is in it: ipywidgets closes the outermost one only."""

from __future__ import annotations

import ipywidgets


def close_with_children(widget: ipywidgets.Widget) -> None:
    """Close a widget and, if it is a box, its children, theirs too."""
    for child in getattr(widget, "children", ()):
        close_with_children(child)
    widget.close()
