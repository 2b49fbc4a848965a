"""The numbers under the views, one row a cell. No widget is imported here."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynlab.verdicts import verdict
from dynlab.widgets.laboratory import Measured


@dataclass(frozen=True)
class Numbers:
    """A row.

    Attributes:
        label: of the cell. parameters: their number. ratio: log10 |d s_T / d s_1| over |d s_T / d s_(T-1)|, mean over
            samples. verdict: see ``dynlab.verdict``. exponent: the largest, nat a step. modulus: log10 of the mean
            |eigenvalue| from 0 to T. None where it was not measured.
        problem: why a cell has no numbers, or what happened on the way.
    """

    label: str
    parameters: int | None = None
    ratio: float | None = None
    verdict: str = ""
    exponent: float | None = None
    modulus: float | None = None
    problem: str = ""


def numbers(one: Measured) -> Numbers:
    """The row of a measured cell."""
    data = one.dataset
    if data is None:
        return Numbers(one.label, problem=one.problem)
    overflow = int(data.attrs["overflow_step"])
    ratio = _mean(data["log_gradient_ratio"].values) if "log_gradient_ratio" in data else None
    return Numbers(
        one.label,
        int(data.attrs["parameters"]),
        None if ratio is None else ratio / math.log(10),
        verdict(math.inf if ratio is None else ratio, overflow) if overflow or ratio is not None else "",
        _mean(data["lyapunov_exponent"].values.max(-1)) if "lyapunov_exponent" in data else None,
        _mean(data["log_end_to_end_modulus_mean"].values / math.log(10))
        if "log_end_to_end_modulus_mean" in data
        else None,
        one.problem,
    )


_HEADS = (
    ("cell", "as in the views"),
    ("parameters", "how many"),
    ("log10 ratio", "log10 of |d s_T / d s_1| over |d s_T / d s_(T-1)|, mean over samples"),
    ("verdict", "vanishing below a ratio of 1/100, exploding above 100"),
    ("exponent (nat/step)", "largest Lyapunov exponent over the sequence"),
    ("log10 |&lambda;|", "of the mean modulus of the eigenvalues of d s_T / d s_0"),
)
_CELL = 'style="padding:1px 10px 1px 0;text-align:left;white-space:normal;vertical-align:top"'
_LABEL = 'style="padding:1px 10px 1px 0;white-space:normal;overflow-wrap:anywhere;min-width:8em;vertical-align:top"'


def table(rows: Sequence[Numbers], swatches: Sequence[str]) -> str:
    """As HTML; ``swatches`` are what the cells' lines look like."""
    head = "<th></th>" + "".join(f'<th {_CELL} title="{note}">{name}</th>' for name, note in _HEADS)
    body = "".join(_row(row, swatch) for row, swatch in zip(rows, swatches, strict=True))
    return (
        f'<table class="dynlab-numbers" style="border-collapse:collapse;line-height:1.4"><tr>{head}</tr>{body}</table>'
    )


def _row(row: Numbers, swatch: str) -> str:
    cells = [
        html.escape(row.label).replace(",", ",<wbr>").replace(":", ":<wbr>"),
        "" if row.parameters is None else f"{row.parameters:,}",
        "" if row.ratio is None else f"{row.ratio:+.2f}",
        row.verdict,
        "" if row.exponent is None else f"{row.exponent:+.3g}",
        "" if row.modulus is None else f"{row.modulus:+.2f}",
    ]
    if row.problem:
        text = f'<span style="color:#B34700">&#9888; {html.escape(row.problem)}</span>'
        if row.parameters is None:
            return f'<tr><td>{swatch}</td><td {_LABEL}>{cells[0]}</td><td colspan="5">{text}</td></tr>'
        cells[0] += f"<br>{text}"
    label, *others = cells
    rest = "".join(f"<td {_CELL}>{cell}</td>" for cell in others)
    return f'<tr><td style="vertical-align:top">{swatch}</td><td {_LABEL}>{label}</td>{rest}</tr>'


def _mean(values: np.ndarray) -> float | None:
    """None where a sample has none."""
    return None if np.isnan(values).any() or not values.size else float(values.mean())
