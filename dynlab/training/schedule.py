"""Learning-rate schedules: a factor on the learning rate, a function of the number of updates made so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dynlab import _check
from dynlab._specs import parse_spec

Factor = Callable[[int], float]


def constant(total: int, unit: int) -> Factor:
    """1."""
    return lambda step: 1.0


def drop(total: int, unit: int, at: float = 0.5, factor: float = 0.1) -> Factor:
    """1 up to ``at``, ``factor`` from then on: UnICORNN, appendix A.

    ``at`` below 1 is a share of the training, so that a shorter training keeps the paper's proportions; else it counts
    epochs, or iterations if the training's length is given in them.
    """
    _check.number("at", at, "schedule drop", above=0)
    _check.number("factor", factor, "schedule drop", above=0)
    first = _updates(at, total, unit)
    return lambda step: 1.0 if step < first else factor


def exponential(total: int, unit: int, factor: float = 0.9, every: float = 1) -> Factor:
    """``factor`` to the number of times that ``every`` (as ``at`` of ``drop``) has passed."""
    _check.number("factor", factor, "schedule exponential", above=0)
    _check.number("every", every, "schedule exponential", above=0)
    length = max(1, _updates(every, total, unit))
    return lambda step: factor ** (step // length)


def cosine(total: int, unit: int, to: float = 0.0) -> Factor:
    """From 1 down to ``to`` along half a period of the cosine (Loshchilov & Hutter 2017, without restarts)."""
    _check.number("to", to, "schedule cosine", least=0)
    return lambda step: to + (1 - to) * (1 + math.cos(math.pi * min(step, total) / total)) / 2


SCHEDULES: dict[str, Callable[..., Factor]] = {
    "constant": constant,
    "drop": drop,
    "exponential": exponential,
    "cosine": cosine,
}


def learning_rate_factor(spec: str, total: int, unit: int = 1) -> Factor:
    """The schedule of a specification such as "drop:at=0.25,factor=0.1".

    Every schedule has the option ``warmup``: the factor grows linearly over it, from 1 / warmup at the first update;
    below 1 it is a share of the training as ``at`` of ``drop``.

    Arguments:
        total: updates in the whole training. unit: updates an epoch, or 1 where it is counted in iterations.

    Returns:
        updates made so far, 0 .. total - 1 -> factor on the learning rate of the next update.

    Raises:
        ValueError, TypeError: for an unknown schedule or option, or a value it refuses.
    """
    key, options = parse_spec(spec)
    _check.choice("schedule", key, tuple(SCHEDULES), "train")
    warmup: Any = options.pop("warmup", 0)
    _check.number("warmup", warmup, f"schedule {key}", least=0)
    try:
        factor = SCHEDULES[key](total, unit, **options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise ValueError(f"train: {spec!r}: {str(error).partition(') ')[2] or error}") from None
    length = _updates(warmup, total, unit)
    return lambda step: factor(step) * (min(1.0, (step + 1) / length) if length else 1.0)


def _updates(amount: float, total: int, unit: int) -> int:
    """A share of the training, or epochs or iterations, as a number of updates."""
    return round(amount * total if amount < 1 else amount * unit)
