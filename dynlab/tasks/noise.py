"""Noise that a cell has to carry its memory through."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dynlab import _check

Noise = Literal["gaussian", "uniform", "shared"]
NOISES: tuple[Noise, ...] = ("gaussian", "uniform", "shared")


def pad_with_noise(sequence: Tensor, steps: int, generator: np.random.Generator, kind: Noise = "gaussian") -> Tensor:
    """A sequence of ``steps`` time steps: ``sequence``, then noise.

    AntisymmetricRNN section 4 and iRNN's Noisy-MNIST and Noisy-CIFAR (A.4) pad with independent standard Gaussian
    numbers. UnICORNN section 4 writes of uniform ones; what its authors' code does is "shared": one standard Gaussian
    draw for all sequences, which a network can learn by heart.
    Noise is drawn step by step, so that a longer sequence starts as a shorter one from the same generator does.

    Arguments:
        sequence: (time, batch, f), floating. steps: T >= 1; below the sequence's own length, its first T steps.
        generator: a NumPy generator; it moves on by what is drawn.
        kind: "gaussian", "uniform" in [0, 1), or "shared", Gaussian and the same for the whole batch.

    Returns:
        (steps, batch, f), with the dtype and device of ``sequence``.

    Raises:
        TypeError, ValueError: for another type, shape or number.
    """
    where = "pad_with_noise"
    _check.floating("sequence", sequence, where)
    _check.shaped("sequence", sequence, ("time", "batch", "feature"), where)
    _check.integer("steps", steps, where)
    _check.choice("kind", kind, NOISES, where)
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"{where}: expected generator to be a numpy.random.Generator, got {type(generator).__name__}")
    if steps <= len(sequence):
        return sequence[:steps]
    precision = np.float64 if sequence.dtype == torch.float64 else np.float32
    batch, features = sequence.shape[1:]
    shape = (steps - len(sequence), 1 if kind == "shared" else batch, features)
    draw = generator.random if kind == "uniform" else generator.standard_normal
    noise = torch.from_numpy(draw(shape, dtype=precision)).to(sequence)
    return torch.cat([sequence, noise.expand(-1, batch, -1)])
