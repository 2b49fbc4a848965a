"""Matrix products of the sweeps, on the faster of the two libraries that torch carries for the CPU.

torch sends float32 products to MKL. On processors that MKL does not favour, oneDNN, which torch also carries and
its compiler uses, is twice as fast at the sweeps' sizes; on the others the two are alike
(``benchmarks/jacobians.py`` prints both rates).
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

# Below this many multiplications a call costs more than it saves.
WORTHWHILE = 2**18


@cache
def _onednn_linear() -> Callable[[Tensor, Tensor], Tensor] | None:
    """``x, weight -> x @ weight.T`` in oneDNN, or None where torch has no such operator or another answer."""
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        operator = torch.ops.mkldnn._linear_pointwise

        def linear(x: Tensor, weight: Tensor) -> Tensor:
            return operator(x, weight, None, "none", [], "")

        # The operator is torch's own and undocumented: it is used if it does what it did.
        x, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
        right = torch.equal(linear(x, weight), x @ weight.T)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return linear if right else None


def add_product(out: Tensor, rows: Tensor, weight: Tensor) -> None:
    """``out += rows @ weight`` in place: out (r, m), rows (r, k), weight (k, m); outside of autograd."""
    large = rows.shape[0] * weight.numel() >= WORTHWHILE
    if large and rows.dtype == torch.float32 and rows.device.type == "cpu" and (linear := _onednn_linear()):
        out.add_(linear(rows, weight.T))
    else:
        out.addmm_(rows, weight)


@cache
def _on_intel() -> bool:
    """Whether this processor is one that MKL favours."""
    names = [platform.processor()]
    with suppress(OSError):
        names.append(Path("/proc/cpuinfo").read_text())
    return any("GenuineIntel" in name for name in names)


def batches_well(like: Tensor) -> bool:
    """Whether a batch of products is as quick as one large product; elsewhere only ``add_product`` has oneDNN's."""
    return like.device.type == "cpu" and (like.dtype == torch.float64 or _on_intel())
