"""Input sequences to look at a cell with: silence, noise, a random walk, a sine, real digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from dynlab import _check

Kind = Literal["zeros", "noise", "random_walk", "sine", "digits"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FEATURES = 2
"""Inputs a step of the signals that can have any number; digits have 8, a row of pixels."""
PERIODS = 8.0
"""Of the sine over the sequence."""


def signal(
    kind: Kind, steps: int = 200, batch_size: int = 4, *, features: int | None = None, seed: int = 0, scale: float = 1.0
) -> Tensor:
    """Inputs (time, batch, feature), float32.

    Arguments:
        kind: "zeros"; "noise", independent standard Gaussian numbers; "random_walk", their sum, divided by the square
            root of ``steps`` so that its end has variance 1; "sine", ``PERIODS`` periods of amplitude 1 with a phase
            of its own for each sample and feature; "digits", real ones row by row, then Gaussian noise (the task
            "digits": 8 features, at least one step).
        steps: T. features: f, 2 unless given; digits have theirs. seed: of all that is drawn. scale: factor on all.

    Raises:
        ValueError, TypeError: an unknown kind, a size below 1, features for digits.
    """
    where = "signal"
    _check.choice("kind", kind, KINDS, where)
    _check.integer("steps", steps, where)
    _check.integer("batch_size", batch_size, where)
    scale = _check.number("scale", scale, where)
    if kind == "digits":
        if features not in (None, 8):
            raise ValueError(f"{where}: expected no features with digits, which have 8; got {features!r}")
        from dynlab.tasks import get_task

        return scale * get_task("digits").sequences(batch_size, steps, seed)[0]
    features = _check.integer("features", FEATURES if features is None else features, where)
    generator = torch.Generator().manual_seed(_check.integer("seed", seed, where, least=0))
    return scale * _MAKERS[kind]((steps, batch_size, features), generator)


def _noise(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _random_walk(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).cumsum(0) / math.sqrt(shape[0])


def _sine(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    time = torch.arange(shape[0]).view(-1, 1, 1) / shape[0]
    return torch.sin(2 * math.pi * (PERIODS * time + torch.rand(1, *shape[1:], generator=generator)))


_MAKERS: dict[Kind, Callable[[tuple[int, int, int], torch.Generator], Tensor]] = {
    "zeros": lambda shape, _: torch.zeros(shape),
    "noise": _noise,
    "random_walk": _random_walk,
    "sine": _sine,
}
