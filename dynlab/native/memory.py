"""Memory for the sequences that the kernels write."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from functools import cache

from torch import Tensor

_HUGE = 2**21  # bytes of a huge page on x86-64 and, with pages of 4 KiB, on ARM
# Below this a fault for every small page costs less than the kernel's clearing of a huge one that is half used.
_WORTH_IT = 4 * _HUGE


def new_sequence(like: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty tensor in the dtype and on the device of ``like``, in huge pages where the system grants them.

    Fresh memory is given to a process page by page as it is first written, at half a microsecond a page: for a long
    sequence in pages of 4 KiB that takes longer than writing it.
    """
    made = like.new_empty(tuple(shape))
    if made.device.type == "cpu" and made.nbytes >= _WORTH_IT and (advise := _madvise()) is not None:
        # Whole huge pages, what stands beside the tensor in its first and last one too: this changes nobody's data,
        # and where a part cannot be had the rest is granted.
        begin = made.data_ptr() // _HUGE * _HUGE
        end = -(-(made.data_ptr() + made.nbytes) // _HUGE) * _HUGE
        advise(begin, end - begin, mmap.MADV_HUGEPAGE)
    return made


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """madvise of the C library, where there are huge pages to ask for."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise
