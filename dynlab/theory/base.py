"""What it means to check a proposition: a bound beside a measured value, and the hypotheses it rests on.

Every proposition is a function that returns a dataset made by ``finding``; tables, reports and plots read that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from dynlab import _check

Relation = Literal["<=", ">=", "=="]
Verdict = Literal["holds", "fails", "not applicable"]
_SAMPLES = ("time", "transition", "batch", "draw")


@dataclass(frozen=True)
class Hypothesis:
    """A condition that the proposition asks for.

    Attributes:
        name: in the paper's symbols, "dt <= 1 / (2 d)". holds: whether it does here.
        value, limit: the two sides, where the condition compares numbers.
    """

    name: str
    holds: bool
    value: float = float("nan")
    limit: float = float("nan")


@dataclass(frozen=True)
class Proposition:
    """A row of the registry.

    Attributes:
        key: on the command line, "unicornn-3.1". statement: one line, in the paper's symbols.
        reference: paper, number, equation. cells: registry keys it is about; a cell of another kind is refused.
        evaluate: (cell or None, inputs or None, seed=..., **options) -> a dataset of ``finding``. Without a cell the
            proposition is evaluated at settings of the paper.
    """

    key: str
    statement: str
    reference: str
    cells: tuple[str, ...]
    evaluate: Callable[..., xr.Dataset]


def finding(
    *,
    key: str,
    reference: str,
    statement: str,
    relation: Relation,
    bound: xr.DataArray | float,
    measured: xr.DataArray | float,
    hypotheses: Sequence[Hypothesis],
    tolerance: float = 0.0,
    extra: Mapping[str, xr.DataArray] | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """The dataset of an evaluated proposition.

    Arguments:
        relation: how ``measured`` stands to ``bound``: "<=", ">=" or "==".
        bound, measured: what the paper says and what was found, of shapes that broadcast; with ``units``.
        tolerance: what "==" allows, absolute, and by how much the others may be missed by rounding. Say why, where you
            pass it.
        extra: further variables. attrs: further attributes (cell, hyperparameters, seed).

    Returns:
        ``bound``, ``measured``, ``satisfied`` (bool, elementwise), ``hypothesis_holds`` (hypothesis),
        ``hypothesis_value``, ``hypothesis_limit``; attributes ``proposition``, ``reference``, ``statement``,
        ``relation``, ``verdict`` and the given ones. The verdict is "holds" or "fails" by ``satisfied`` alone where
        every hypothesis holds; where one does not, it is "not applicable", and ``satisfied`` says whether the bound
        holds nevertheless.
    """
    _check.choice("relation", relation, get_args(Relation), key)
    bound, measured = (value if isinstance(value, xr.DataArray) else xr.DataArray(value) for value in (bound, measured))
    if not measured.size:  # an empty comparison would hold
        raise ValueError(f"{key}: expected something measured, got nothing")
    try:
        xr.align(bound, measured, join="exact")
    except ValueError:  # xarray would leave out, silently, what only one of them has
        raise ValueError(f"{key}: expected bound and measured with the same coordinates") from None
    if relation == "==":
        satisfied = abs(measured - bound) <= tolerance
    elif relation == "<=":
        satisfied = measured <= bound + tolerance
    else:
        satisfied = measured >= bound - tolerance
    names = [one.name for one in hypotheses]
    applicable = all(one.holds for one in hypotheses)
    verdict: Verdict = "not applicable" if not applicable else "holds" if bool(satisfied.all()) else "fails"
    columns = {
        "hypothesis_holds": np.array([one.holds for one in hypotheses], dtype=bool),
        "hypothesis_value": np.array([one.value for one in hypotheses], dtype=float),
        "hypothesis_limit": np.array([one.limit for one in hypotheses], dtype=float),
    }
    return xr.Dataset(
        {
            "bound": bound,
            "measured": measured,
            "satisfied": satisfied,
            **{name: ("hypothesis", values) for name, values in columns.items()},
            **(extra or {}),
        },
        coords={"hypothesis": np.array(names, dtype=str)},
        attrs={
            "proposition": key,
            "reference": reference,
            "statement": statement,
            "relation": relation,
            "tolerance": tolerance,
            "verdict": verdict,
            **attrs,
        },
    )


def axis_of(finding: xr.Dataset) -> str | None:
    """The dim along which a finding is best read: one of settings rather than of samples or times; None: one number."""
    dims = dict.fromkeys(map(str, (*finding["bound"].dims, *finding["measured"].dims)))
    long = [dim for dim in dims if finding.sizes[dim] > 1]
    return min(long, key=lambda dim: (dim in _SAMPLES, long.index(dim)), default=None)
