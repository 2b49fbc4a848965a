"""The copying problem: ten symbols, a long blank, a signal, and then the ten symbols are to be said again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from dynlab import _check
from dynlab.tasks.base import Task
from dynlab.tasks.samples import Sample, Split, sample_generator

SYMBOLS = 8
COPIED = 10
BLANK, DELIMITER = 8, 9


@dataclass(frozen=True, kw_only=True)
class Copying(Task):
    """One-hot inputs of ten categories over T + 20 steps, and a category to name at each step.

    iRNN A.4, after Arjovsky et al. (2016): ten symbols out of a_0 .. a_7, T - 1 blanks a_8, the delimiter a_9, ten
    blanks. To be named: T + 10 blanks, then the ten symbols. The delimiter is never an answer, so there are nine
    classes (iRNN does not say; scoRNN's code has nine).
    """

    input_size: int = 10
    output_size: int = 9
    target: Literal["class", "value"] = "class"
    read_at: Literal["last", "every"] = "every"
    metric: str = "cross-entropy"
    least_steps: int = 2 * COPIED + 1

    @property
    def baseline(self) -> float:
        """10 log 8 / (T + 20) nats a step at ``length``: blanks named rightly, the ten symbols guessed (iRNN A.4)."""
        return COPIED * math.log(SYMBOLS) / self.length

    def _open(self, split: Split, steps: int, seed: int) -> tuple[None, Callable[[int], Sample]]:
        return None, partial(_sample, split, steps, seed)


def _sample(split: str, steps: int, seed: int, index: int) -> Sample:
    symbols = sample_generator(seed, split, index).integers(0, SYMBOLS, COPIED)
    categories, answers = np.full((2, steps), BLANK)
    categories[:COPIED] = symbols
    categories[-COPIED - 1] = DELIMITER
    answers[-COPIED:] = symbols
    inputs = np.zeros((steps, SYMBOLS + 2), np.float32)
    inputs[np.arange(steps), categories] = 1
    return torch.from_numpy(inputs), torch.from_numpy(answers.astype(np.int64))


def copying(T: int = 200) -> Copying:
    """The copying problem with T steps between the symbols and their copy, T + 20 in all."""
    return Copying(
        key="copying",
        summary="ten symbols to say again after T steps",
        length=_check.integer("T", T, "copying") + 2 * COPIED,
        splits="drawn, each split from a stream of its own",
        normalisation="none, inputs are one-hot",
        source="S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997); as in iRNN, A.4",
        license="generated",
    )
