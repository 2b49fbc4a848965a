"""Geometry of point clouds: their principal plane, and kernel smoothing of values carried by points.

Index conventions: m point, q query, a axis of the space the points live in, c component of the values.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from dynlab import _check

Backend = Literal["auto", "keops", "torch"]

# Distances held at once by the torch backend, and queries among them; 1 MiB of float64 stays near the caches.
CHUNK_PAIRS = 2**17
CHUNK_QUERIES = 64
# Rows of a point cloud taken at once by ``principal_axes``.
CHUNK_ROWS = 2**16
# On the CPU chunked torch is 1.1 to 4 times as fast as KeOps at every size measured (625 queries, 1e3 to 1e6
# points), so "auto" takes KeOps on CUDA only, and from a size that repays the seconds its first compilation takes.
# That size is a guess: it was not measured on a GPU.
KEOPS_PAIRS = 10**9

_LOG = logging.getLogger("dynlab")


def kernel_smooth(
    points: Tensor,
    values: Tensor,
    queries: Tensor,
    bandwidth: float | Sequence[float] | Tensor,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor, str]:
    """Nadaraya-Watson average of ``values`` with the Gaussian kernel K(r) = exp(-|r / bandwidth|^2 / 2).

    Computed relative to the nearest point of each query, so that it never divides zero by zero: far from all
    points the average tends to the nearest point's value.

    Arguments:
        points: (m, a). values: (m, c), carried by the points. queries: (q, a), where they are wanted. All of one
            floating dtype and device.
        bandwidth: standard deviation of the kernel, one number or one an axis, > 0.
        backend: "torch", in chunks; "keops", pykeops, compiled at the first use; "auto" chooses by device and
            size. They agree to rounding.

    Returns:
        sum_m K(q - p_m) v_m / sum_m K(q - p_m), (q, c); log sum_m K(q - p_m), natural, (q,); the backend used.

    Raises:
        TypeError, ValueError: for arguments of another shape, dtype or device, no points, or a bandwidth not > 0.
        RuntimeError: with backend="keops" where KeOps is not installed or cannot compile.
    """
    where = "kernel_smooth"
    _check.choice("backend", backend, ("auto", "keops", "torch"), where)
    _check.floating("points", points, where)
    _check.shaped("points", points, ("point", "axis"), where)
    if points.shape[0] == 0 or points.shape[1] == 0:
        raise ValueError(f"{where}: expected at least one point and one axis, got {_check.describe(points)}")
    _check.floating("values", values, where)
    _check.shaped("values", values, (points.shape[0], "component"), where)
    _check.matching("values", values, points, "the points", where)
    _check.floating("queries", queries, where)
    _check.shaped("queries", queries, ("query", points.shape[1]), where)
    _check.matching("queries", queries, points, "the points", where)
    scale = _bandwidths(bandwidth, points)
    points, queries = points / scale, queries / scale
    if backend == "auto":
        large = points.is_cuda and points.shape[0] * queries.shape[0] >= KEOPS_PAIRS
        backend = "keops" if large and _available(points.dtype, str(points.device)) else "torch"
    elif backend == "keops":
        _require(points.dtype, str(points.device))
    smooth = _smooth_keops if backend == "keops" else _smooth_torch
    average, log_mass = smooth(points, values, queries)
    return average, log_mass, backend


def principal_axes(cloud: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal component analysis, by QR in chunks, so that no float64 copy of the cloud is made.

    Arguments:
        cloud: (m, a), at least ``count`` points and axes. count: leading axes wanted.

    Returns:
        The axes (count, a), orthonormal, each with its largest loading positive; the mean (a,); each axis's share of
        the variance (count,), 0 where the points do not vary. All float64.
    """
    if min(cloud.shape) < count:
        raise ValueError(
            f"principal_axes: expected at least {count} points and {count} axes, got {_check.describe(cloud)}"
        )
    mean = cloud.mean(0, dtype=torch.float64)
    triangle = mean.new_zeros(0, cloud.shape[1])
    for rows in cloud.split(CHUNK_ROWS):
        triangle = torch.linalg.qr(torch.cat([triangle, rows.double() - mean]), mode="r").R
    _, size, axes = torch.linalg.svd(triangle, full_matrices=False)
    axes = axes[:count]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    # Relative to the largest first: squares of very large or small singular values leave the float range.
    share = (size / size[0].clamp_min(torch.finfo(size.dtype).tiny)).square()
    return axes, mean, share[:count] / share.sum().clamp_min(1)


def _bandwidths(bandwidth: float | Sequence[float] | Tensor, points: Tensor) -> Tensor:
    scale = torch.as_tensor(bandwidth, dtype=points.dtype, device=points.device)
    if scale.dim() > 1 or (scale.dim() == 1 and scale.shape[0] != points.shape[1]):
        raise ValueError(
            f"kernel_smooth: expected one bandwidth or one for each of the {points.shape[1]} axes, got {bandwidth!r}"
        )
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise ValueError(f"kernel_smooth: expected a finite bandwidth > 0, got {bandwidth!r}")
    return scale


def _smooth_torch(points: Tensor, values: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """In blocks of queries by points; each sum is kept relative to the nearest point seen so far."""
    rows = min(queries.shape[0], CHUNK_QUERIES)
    columns = max(1, CHUNK_PAIRS // max(1, rows))
    averages, log_masses = [], []
    for part in queries.split(max(1, rows)):
        nearest = points.new_full((part.shape[0], 1), -torch.inf)
        mass = torch.zeros_like(nearest)
        total = points.new_zeros(part.shape[0], values.shape[1])
        for some, carried in zip(points.split(columns), values.split(columns), strict=True):
            logits = points.new_zeros(part.shape[0], some.shape[0])
            for of_query, of_point in zip(part.unbind(1), some.unbind(1), strict=True):
                logits.sub_((of_query[:, None] - of_point).square_(), alpha=0.5)
            before, nearest = nearest, torch.maximum(nearest, logits.amax(1, keepdim=True))
            shrink = (before - nearest).exp_()
            weights = logits.sub_(nearest).exp_()
            mass = mass * shrink + weights.sum(1, keepdim=True)
            total = total * shrink + weights @ carried
        averages.append(total / mass)
        log_masses.append((mass.log() + nearest).squeeze(1))
    return torch.cat(averages), torch.cat(log_masses)


def _smooth_keops(points: Tensor, values: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    lazy = _import_keops().LazyTensor
    logits = -((lazy(queries[:, None, :].contiguous()) - lazy(points[None].contiguous())) ** 2).sum(-1) / 2
    average = logits.sumsoftmaxweight(lazy(values[None].contiguous()), axis=1)
    return average, logits.logsumexp(axis=1).squeeze(-1)


@cache
def _import_keops() -> ModuleType:
    # Read by KeOps when it is imported: it prints otherwise. A user's own setting stays.
    os.environ.setdefault("KEOPS_VERBOSE", "0")
    os.environ.setdefault("PYKEOPS_VERBOSE", "0")
    import pykeops.torch

    return pykeops.torch


@cache
def _keops_failure(dtype: torch.dtype, device: str) -> Exception | None:
    """What stops KeOps, found by compiling the two formulas of ``_smooth_keops`` once; None where it works."""
    try:
        probe = torch.zeros(2, 2, dtype=dtype, device=device)
        _smooth_keops(probe, probe, probe)
    # Import errors, compiler errors, missing caches: whatever KeOps raises, torch gives the same numbers.
    except Exception as failure:  # noqa: BLE001
        return failure
    return None


def _available(dtype: torch.dtype, device: str) -> bool:
    failure = _keops_failure(dtype, device)
    if failure is not None:
        _LOG.info("kernel smoothing in torch, since KeOps failed: %s: %s", type(failure).__name__, failure)
    return failure is None


def _require(dtype: torch.dtype, device: str) -> None:
    failure = _keops_failure(dtype, device)
    if failure is not None:
        raise RuntimeError(
            f'kernel_smooth: expected backend="keops" to import and compile, got {type(failure).__name__}: {failure}. '
            "It needs the package pykeops, a C++ compiler (g++ or clang++) on the PATH and a writable cache folder; "
            'backend="torch" gives the same numbers'
        ) from failure
