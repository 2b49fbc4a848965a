"""The look of every figure: one colour a cell, safe for colour-blind readers, text that stays text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
_COLOURS = {
    "unicornn": "blue",
    "irnn": "vermillion",
    "sirnn": "vermillion",
    "antisymmetric": "green",
    "gated_antisymmetric": "olive",
    "antisymmetric_ablation": "grey",
    "elman": "purple",
    "lstm": "orange",
    "gru": "sky",
}
# In black and white, and where two cells share a colour, the dashes tell.
_DASHES = {
    "unicornn": "-",
    "irnn": "--",
    "antisymmetric": "-.",
    "elman": ":",
    "lstm": (0, (5, 1, 1, 1, 1, 1)),
}

RC = {
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


def cell_colour(spec: str) -> str:
    """The colour of a cell, the same in every figure; of a cell of your own, one by its name."""
    key = spec.partition(":")[0].partition(" ")[0]
    names = list(_PALETTE)
    return _PALETTE[_COLOURS.get(key, names[sum(map(ord, key)) % len(names)])]


def cell_dashes(spec: str) -> object:
    """The line style of a cell."""
    return _DASHES.get(spec.partition(":")[0].partition(" ")[0], "-")
