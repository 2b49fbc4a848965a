"""Memory of long sequences, and what the kernels leave behind in the process."""

from __future__ import annotations

import ctypes
import mmap

import pytest
import torch

from dynlab import cells
from dynlab.native import library, memory

LARGE = memory._WORTH_IT // 4  # numbers in float32


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """The calls of madvise, all of which are refused."""
    calls: list[tuple[int, int, int]] = []

    def refuse(begin: int, size: int, advice: int) -> int:
        calls.append((begin, size, advice))
        return -1

    monkeypatch.setattr(memory, "_madvise", lambda: refuse)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 14, raising=False)
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_pages_are_asked_for_where_they_pay(dtype: torch.dtype, advised: list[tuple[int, int, int]]) -> None:
    like = torch.zeros(1, dtype=dtype)
    small = memory.new_sequence(like, (3, 2, 5))
    assert small.shape == (3, 2, 5) and small.dtype == dtype and not advised
    large = memory.new_sequence(like, (LARGE, 1, 1))
    large.fill_(1)
    assert large.sum() == LARGE
    ((begin, size, advice),) = advised
    assert begin <= large.data_ptr() and begin + size >= large.data_ptr() + large.nbytes
    assert begin % memory._HUGE == size % memory._HUGE == 0 and advice == 14


def test_systems_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    memory._madvise.cache_clear()
    try:
        assert memory.new_sequence(torch.zeros(1), (LARGE,)).shape == (LARGE,)
    finally:
        memory._madvise.cache_clear()


def test_a_sequence_in_huge_pages_is_that_of_the_reference() -> None:
    torch.manual_seed(0)
    cell = cells.UnICORNN(3, 64)
    inputs = torch.randn(LARGE // 64 // 8 + 7, 8, 3)
    with torch.no_grad():
        cell.backend = "native"
        native = cell.scan(inputs, keep="hidden")
        cell.backend = "reference"
        torch.testing.assert_close(native, cell.scan(inputs, keep="hidden"), rtol=1e-3, atol=1e-4)


def test_the_threads_of_the_blas_are_as_they_were() -> None:
    own = getattr(library._torch_library(), "MKL_Set_Num_Threads_Local", None)
    if own is None:
        pytest.skip("torch's BLAS is not MKL")
    before = own(3)
    try:
        cell = cells.AntisymmetricRNN(3, 16, backend="native")
        cell.scan(torch.randn(20, 8, 3)).sum().backward()
        assert ctypes.c_int(own(3)).value == 3
    finally:
        own(before)
