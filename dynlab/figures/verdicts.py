"""The claims of a figure, checked on its dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from dynlab.figures.base import Claim, Item, Measured
from dynlab.figures.executor import described
from dynlab.figures.pieces import alone

Verdict = Literal["reproduced", "not reproduced", "not run at this scale"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "not run at this scale")


@dataclass(frozen=True)
class Checked:
    """A claim and what came of it.

    Attributes:
        claim: the paper's. ours: our value, as shown; "" if there is none. verdict: one of ``VERDICTS``.
        why: what is said beside it.
    """

    claim: Claim
    ours: str
    verdict: Verdict
    why: str = ""


def check(item: Item, dataset: xr.Dataset | None, scale: Any, why: str = "") -> list[Checked]:
    """The verdict on every claim of ``item``.

    Arguments:
        dataset: None if there is none, then ``why`` says why not. scale: at which it was computed.
    """
    return [_check(claim, dataset, scale, why) for claim in item.claims]


def _check(claim: Claim, dataset: xr.Dataset | None, scale: Any, why: str) -> Checked:
    if dataset is None:
        return Checked(claim, "", "not run at this scale", why)
    if scale not in claim.scales:
        return Checked(claim, "", "not run at this scale", f"means something at scale {' or '.join(claim.scales)}")
    try:
        with alone():
            found = claim.check(dataset)
        if not isinstance(found, Measured):
            raise TypeError(f"expected a Measured, got {type(found).__name__}")
    except Exception as error:  # a check that cannot be made does not confirm the claim
        return Checked(claim, "", "not reproduced", f"the check could not be made: {described(error)}")
    if found.holds is None:
        return Checked(claim, found.value, "not run at this scale", found.why)
    return Checked(claim, found.value, "reproduced" if found.holds else "not reproduced", found.why)
