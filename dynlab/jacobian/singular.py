"""Singular values of exp(D) V, V well-conditioned: each to full relative accuracy, however far they lie apart.

Where a double can hold their span LAPACK's preconditioned Jacobi method finds them (``dgejsv``; Drmac & Veselic 2008).
Longer spans are cut into such pieces by QR steps, each of which makes rows of different scales more orthogonal. What
resists, and what lies on a GPU, goes through one-sided Jacobi rotations of rows that have a scale each.

Index conventions: b batch, k rows, n columns, p pairs of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

# LAPACK's ordinary method, whose error is relative to the largest value, is enough within this span; nats.
NARROW = 8.0
# The doubles reach over 1416 nats; dgejsv is exact over these, with room for its intermediate results.
WHOLE = 1000.0
# QR steps on the way to pieces, at most; and before rotations, which then need a third of the sweeps.
STEPS = 40
STEPS_BEFORE = 8


def log_singular_values_of_rows(right: Tensor, log_scale: Tensor) -> Tensor:
    """log of the singular values of exp(D) V, descending, (b, k), float64.

    Arguments:
        right: V (b, k, n), float64, its rows of norm one. log_scale: D (b, k); rows of a zero scale come out as -inf.
            Of a sample with other numbers that are not finite all values are NaN.
    """
    span = log_scale.amax(-1) - log_scale.amin(-1)
    if bool((span < NARROW).all()):
        top = log_scale.amax(-1, keepdim=True)
        values = torch.linalg.svdvals((log_scale - top).exp().unsqueeze(-1) * right)
        return values.log() + top
    if right.device.type != "cpu" or right.shape[1] > right.shape[2]:
        return _by_rotations(right, log_scale)
    return torch.stack([_of_one(rows, scale) for rows, scale in zip(right, log_scale, strict=True)])


def _of_one(right: Tensor, log_scale: Tensor) -> Tensor:
    """Of one sample: V (k, n), D (k)."""
    alive = ~log_scale.isneginf()
    if not bool(torch.isfinite(right[alive]).all() & torch.isfinite(log_scale[alive]).all()):
        return torch.full_like(log_scale, math.nan)
    pieces = _pieces(right[alive], log_scale[alive])
    if pieces is None:
        return _by_rotations(right[None], log_scale[None])[0]
    found = log_scale.new_full(log_scale.shape, -math.inf)
    values = torch.cat([_by_lapack(*piece) for piece in pieces]) if pieces else found[:0]
    found[: len(values)] = values
    return found.sort(descending=True).values


def _pieces(right: Tensor, log_scale: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """Groups of rows, each within the span of a double and orthogonal to the others; None if there are none such."""
    if not len(log_scale):
        return []
    for step in range(STEPS + 1):
        if step:
            right, log_scale = (part[0] for part in _qr_step(right[None], log_scale[None]))
            alive = ~log_scale.isneginf()
            right, log_scale = right[alive], log_scale[alive]
        cuts = _cuts(right, log_scale) if step else []
        if (groups := _groups(log_scale, cuts)) is not None:
            return [(right[start:stop], log_scale[start:stop]) for start, stop in groups]
    return None


def _cuts(right: Tensor, log_scale: Tensor) -> list[int]:
    """Before which rows all earlier ones are orthogonal to all later ones; rows as a QR step left them."""
    coupling = (right @ right.mT).abs().triu(1)
    loose = coupling <= torch.finfo(right.dtype).eps
    # Entry s: every (i, j) with i < s <= j, row i and row j orthogonal.
    earlier = loose.long().cumprod(0).flip(1).cumprod(1).flip(1)
    count = len(log_scale)
    return [s for s in range(1, count) if bool(earlier[s - 1, s])]


def _groups(log_scale: Tensor, cuts: list[int]) -> list[tuple[int, int]] | None:
    """Ranges of rows between cuts, as long as the span allows; None if there are too few cuts."""
    scales, groups, start = log_scale.tolist(), [], 0
    while start < len(scales):
        low = high = scales[start]
        stop = None
        for end in range(start + 1, len(scales) + 1):
            low, high = min(low, scales[end - 1]), max(high, scales[end - 1])
            if high - low > WHOLE:
                break
            if end == len(scales) or end in cuts:
                stop = end
        if stop is None:
            return None
        groups.append((start, stop))
        start = stop
    return groups


def _by_lapack(right: Tensor, log_scale: Tensor) -> Tensor:
    """One-sided Jacobi in LAPACK, whose columns are our rows: (k, n), (k) to (k)."""
    from scipy.linalg.lapack import dgejsv

    middle = (log_scale.amax() + log_scale.amin()) / 2
    columns = ((log_scale - middle).exp().unsqueeze(-1) * right).mT.numpy()
    # joba 0: well-conditioned columns times their scales. jobu, jobv 3: values only. jobr 0: small ones are not zero.
    values, _, _, work, _, info = dgejsv(columns, joba=0, jobu=3, jobv=3, jobr=0, jobt=0, jobp=0)
    if info:
        return _by_rotations(right[None], log_scale[None])[0]
    return torch.from_numpy(values).log() + math.log(work[0] / work[1]) + middle


def _qr_step(right: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Other rows with the same singular values, largest first: V^T = Q R, then R exp(D), the transpose of exp(D) R^T.

    Its row i begins with D_i and holds what is smaller, so rows of different scales are closer to orthogonal.
    """
    log_scale, order = log_scale.sort(-1, descending=True)
    upper = torch.linalg.qr(right.gather(1, order.unsqueeze(-1).expand_as(right)).mT, mode="r").R
    held = torch.where(log_scale.isneginf(), 0, log_scale)
    weights = (log_scale.unsqueeze(-2) - held.unsqueeze(-1)).clamp_max(0).exp()
    rows = upper * weights
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / torch.where(norm > 0, norm, 1), log_scale + norm.squeeze(-1).log()


# ---- rotations -------------------------------------------------------------------------------------------------


def _by_rotations(right: Tensor, log_scale: Tensor) -> Tensor:
    """One-sided Jacobi on rows with a scale of its own each (Demmel & Veselic 1992), all samples at once."""
    count = right.shape[1]
    if count <= right.shape[2]:
        for _ in range(STEPS_BEFORE):
            right, log_scale = _qr_step(right, log_scale)
    if count % 2:
        # A row of its own, exactly zero, makes the number of rows even.
        right = torch.cat([right, torch.zeros_like(right[:, :1])], 1)
        log_scale = torch.cat([log_scale, torch.full_like(log_scale[:, :1], -math.inf)], 1)
    right, log_scale = right.clone(), log_scale.clone()
    tolerance = 4 * right.shape[-1] ** 0.5 * torch.finfo(right.dtype).eps
    for _ in range(60):
        worst = 0.0
        for first, second in _round_robin(right.shape[1], right.device):
            worst = max(worst, _rotate(right, log_scale, first, second))
        if worst < tolerance:
            break
    return log_scale.sort(-1, descending=True).values[:, :count]


def _round_robin(count: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Every pair of ``count`` (even) rows once, in count - 1 rounds of disjoint pairs."""
    ring = torch.arange(count, device=device)
    for shift in range(count - 1):
        turned = torch.cat([ring[:1], torch.roll(ring[1:], shift)])
        yield turned[: count // 2], turned[count // 2 :].flip(0)


def _rotate(right: Tensor, log_scale: Tensor, first: Tensor, second: Tensor) -> float:
    """Make each pair of rows orthogonal, in place; returns the largest cosine met."""
    a, b = right[:, first], right[:, second]
    la, lb = log_scale[:, first], log_scale[:, second]
    swap = lb > la
    a, b = torch.where(swap[..., None], b, a), torch.where(swap[..., None], a, b)
    la, lb = torch.maximum(la, lb), torch.minimum(la, lb)
    cosine = (a * b).sum(-1)
    ratio = (lb - la).exp().nan_to_num(0)
    gap = 1 - ratio.square()
    # tan(theta) / ratio of the rotation that zeroes the inner product; finite as ratio -> 0.
    root = gap + (gap.square() + 4 * (ratio * cosine).square()).sqrt()
    lean = 2 * cosine / torch.where(root > 0, root, 1)
    tangent = lean * ratio
    scale = (1 + tangent.square()).rsqrt()[..., None]
    a, b = scale * (a + (tangent * ratio)[..., None] * b), scale * (b - lean[..., None] * a)
    # Back to where they came from: were the larger always put first, the round robin would miss pairs.
    a, b = torch.where(swap[..., None], b, a), torch.where(swap[..., None], a, b)
    la, lb = torch.where(swap, lb, la), torch.where(swap, la, lb)
    for rows, logs, index in ((a, la, first), (b, lb, second)):
        norm = torch.linalg.vector_norm(rows, dim=-1)
        right[:, index] = rows / torch.where(norm > 0, norm, 1)[..., None]
        log_scale[:, index] = logs + norm.log()
    return float((cosine.abs() * (torch.minimum(la, lb) > -math.inf)).max())
