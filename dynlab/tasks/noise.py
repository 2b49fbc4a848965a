"""Noise that a cell has to carry its memory through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dynlab import _check


def pad_with_noise(sequence: Tensor, steps: int, generator: np.random.Generator) -> Tensor:
    """A sequence of ``steps`` time steps: ``sequence``, then independent standard Gaussian noise.

    AntisymmetricRNN section 4 and iRNN's Noisy-MNIST and Noisy-CIFAR pad so. (UnICORNN writes of uniform numbers.)
    Noise is drawn step by step, so that a longer sequence starts as a shorter one from the same generator does.

    Arguments:
        sequence: (time, batch, f), floating. steps: T >= 1; below the sequence's own length, its first T steps.
        generator: a NumPy generator; it moves on by what is drawn.

    Returns:
        (steps, batch, f), with the dtype and device of ``sequence``.

    Raises:
        TypeError, ValueError: for another type, shape or number.
    """
    where = "pad_with_noise"
    _check.floating("sequence", sequence, where)
    _check.shaped("sequence", sequence, ("time", "batch", "feature"), where)
    _check.integer("steps", steps, where)
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"{where}: expected generator to be a numpy.random.Generator, got {type(generator).__name__}")
    if steps <= len(sequence):
        return sequence[:steps]
    precision = np.float64 if sequence.dtype == torch.float64 else np.float32
    noise = generator.standard_normal((steps - len(sequence), *sequence.shape[1:]), dtype=precision)
    return torch.cat([sequence, torch.from_numpy(noise).to(sequence)])
