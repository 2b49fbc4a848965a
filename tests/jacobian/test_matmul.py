"""Which product is used where; that it is one is seen in the tests of step Jacobians."""

import platform

import pytest
import torch

from dynlab.jacobian import matmul


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [3, 300])
def test_a_product_is_added(rows, dtype):
    left, weight = torch.randn(rows, 32, dtype=dtype), torch.randn(32, 40, dtype=dtype)
    out = torch.randn(rows, 40, dtype=dtype)
    expected = out.double() + left.double() @ weight.double()
    matmul.add_product(out, left, weight)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-4 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("intel", [True, False])
def test_float32_is_batched_where_mkl_is_at_home(intel, monkeypatch):
    monkeypatch.setattr(matmul, "_on_intel", lambda: intel)
    assert matmul.batches_well(torch.zeros(1)) == intel
    assert matmul.batches_well(torch.zeros(1, dtype=torch.float64))
    assert not matmul.batches_well(torch.zeros(1, dtype=torch.float64, device="meta"))


@pytest.mark.parametrize(
    ("listed", "named", "intel"),
    [
        ("vendor_id\t: GenuineIntel", "", True),
        ("vendor_id\t: AuthenticAMD", "x86_64", False),
        (None, "Intel64 Family 6 Model 85 Stepping 4, GenuineIntel", True),
        (None, "arm", False),
    ],
)
def test_the_maker_of_the_processor(listed, named, intel, monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    if listed:
        file.write_text(listed)
    monkeypatch.setattr(matmul, "Path", lambda name: file)
    monkeypatch.setattr(platform, "processor", lambda: named)
    assert matmul._on_intel.__wrapped__() == intel
