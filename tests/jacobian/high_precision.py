"""Reference numbers from mpmath."""

import math

import mpmath
import torch


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def to_mp(matrix):
    return mpmath.matrix(matrix.tolist())


def log_singular(matrix, extra=0):
    """log of the singular values of an mpmath matrix, descending, with digits for their span."""
    with mpmath.workdps(60 + extra):
        values = mpmath.svd_r(matrix, compute_uv=False)
        return [float(mpmath.log(value)) if value > 0 else -math.inf for value in sorted(values, reverse=True)]
