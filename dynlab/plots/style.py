"""The look of every figure: one colour a cell, safe for colour-blind readers, text that stays text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Okabe & Ito (2008), the yellow darkened so that thin lines show on white.
_PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "sky": "#56B4E9",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "grey": "#555555",
    "olive": "#A39A00",
}
# In black and white, and where two cells share a colour, the dashes tell.
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
_LOOKS = {
    "unicornn": ("blue", 0),
    "irnn": ("vermillion", 1),
    "antisymmetric": ("green", 2),
    "elman": ("purple", 3),
    "lstm": ("orange", 4),
    "gru": ("sky", 0),
    "sirnn": ("vermillion", 3),
    "gated_antisymmetric": ("olive", 0),
    "antisymmetric_ablation": ("grey", 1),
    "ctrnn": ("grey", 0),
    "fastrnn": ("orange", 0),
    "fastgrnn": ("orange", 2),
    "cornn": ("blue", 1),
    "exprnn": ("green", 0),
    "indrnn": ("purple", 0),
    "lipschitz": ("sky", 1),
    "ugrnn": ("olive", 2),
}

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "savefig.dpi": 200,
}


@contextmanager
def style() -> Iterator[None]:
    """The project's style, for the figures made within."""
    import matplotlib as mpl

    with mpl.rc_context(RC):
        yield


_SHADES = (0.0, -0.45, 0.45, -0.7, 0.65)
"""For variants of one cell: how far its colour goes towards black (below 0) or white."""


def variant_look(spec: str, occurrence: int = 0) -> dict[str, Any]:
    """As ``cell_look``, where points too must tell variants of a cell apart: they differ in shade as well as dashes."""
    from matplotlib.colors import to_hex, to_rgb

    look = cell_look(spec, occurrence)
    shade = _SHADES[occurrence % len(_SHADES)]
    target = 1.0 if shade > 0 else 0.0
    red, green, blue = (part + abs(shade) * (target - part) for part in to_rgb(look["color"]))
    return {**look, "color": to_hex((red, green, blue)).upper()}


def cell_look(spec: str, occurrence: int = 0) -> dict[str, Any]:
    """Colour and line style of a cell, the same in every figure.

    Arguments:
        spec: its specification; a cell of your own has a colour by its name.
        occurrence: how many variants of the same cell the figure has already, told apart by their dashes.
    """
    key = spec.partition(":")[0].partition(" ")[0]
    names = list(_PALETTE)
    colour, dashes = _LOOKS.get(key, (names[sum(map(ord, key)) % len(names)], 0))
    return {"color": _PALETTE[colour], "linestyle": _DASHES[(dashes + occurrence) % len(_DASHES)]}
