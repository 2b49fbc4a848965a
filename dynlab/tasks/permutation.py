"""The pixel orders of permuted sequential MNIST. Papers differ in them, and in what they say of them."""

from __future__ import annotations

import numpy as np
import torch

from dynlab import _check

PIXELS = 784
ORDERS = ("unicornn", "cornn", "scornn", "irnn")


def permutation(name: str) -> np.ndarray:
    """The pixel that is fed at each step, (784,), as a paper's authors draw it.

    - "unicornn": torch.randperm after torch.manual_seed(5544), as UnICORNN's public code has it.
    - "cornn": the same with seed 12008, as coRNN's public code has it.
    - "scornn": numpy.random.RandomState(92916).permutation, as in the code of scoRNN (Helfrich et al. 2018), and in
      expRNN's. UnICORNN's text says that this is the one it uses, too.
    - "irnn": seed 42 (iRNN A.4), which names no generator: numpy.random.RandomState(42).permutation is our choice.

    Raises:
        ValueError: for another name.
    """
    _check.choice("permutation", name, ORDERS, "permutation")
    if name in ("scornn", "irnn"):
        return np.random.RandomState(92916 if name == "scornn" else 42).permutation(PIXELS)
    generator = torch.Generator().manual_seed(5544 if name == "unicornn" else 12008)
    return torch.randperm(PIXELS, generator=generator).numpy()
