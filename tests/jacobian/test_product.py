"""Log-scaled products against dense ones."""

import math

import numpy as np
import pytest
import torch

from dynlab.jacobian import product as products
from dynlab.jacobian.blocks import UnitBlocks
from dynlab.jacobian.product import BlockProduct, DenseProduct, out_of_range
from dynlab.jacobian.step import DenseJacobian

TIGHT = {"rtol": 1e-12, "atol": 1e-13}


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block_product(rows=2, times=3, batch=2, units=4):
    entries = rand(2, times, batch, rows, units)
    log_scale = rand(batch, units, seed=1)
    matrix = torch.zeros(times, batch, rows * units, 2 * units, dtype=torch.float64)
    for r in range(rows):
        for s in range(2):
            for d in range(units):
                matrix[..., r * units + d, s * units + d] = entries[s, :, :, r, d] * log_scale[:, d].exp()
    return BlockProduct(entries, log_scale), matrix


@pytest.mark.parametrize("rows", [1, 2])
def test_block_product_against_dense(rows):
    product, matrix = block_product(rows)
    norm = torch.linalg.matrix_norm(matrix)
    torch.testing.assert_close(product.log_frobenius(), norm.log(), **TIGHT)
    torch.testing.assert_close(
        product.log_frobenius(columns=slice(0, 1)), torch.linalg.matrix_norm(matrix[..., :4]).log(), **TIGHT
    )
    torch.testing.assert_close(
        product.log_frobenius(rows=slice(0, 1)), torch.linalg.matrix_norm(matrix[:, :, :4]).log(), **TIGHT
    )
    found = product.log_singular().flatten(-2).exp().sort(-1).values
    expected = torch.linalg.svdvals(matrix).sort(-1).values
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for index in range(3):
        dense, log_scale = product.at(index).to_dense()
        torch.testing.assert_close(dense * log_scale.exp()[:, None, None], matrix[index], **TIGHT)
    dense, log_scale = product.at(1).normalised().to_dense()
    torch.testing.assert_close(dense * log_scale.exp()[:, None, None], matrix[1], **TIGHT)
    blocks = product.at(1).normalised().blocks[0]
    torch.testing.assert_close(torch.linalg.vector_norm(blocks, dim=(1, 2)), torch.ones(2, 4, dtype=torch.float64))


def test_block_product_eigenvalues_against_numpy():
    product, matrix = block_product()
    values, log_scale = product.eigenvalues()
    found = np.sort(np.abs((values * log_scale.exp()).numpy()), -1)
    np.testing.assert_allclose(found, np.sort(np.abs(np.linalg.eigvals(matrix[-1].numpy())), -1), rtol=1e-9)


def test_block_product_of_scales_no_float_holds():
    entries = torch.ones(1, 1, 1, 1, 3, dtype=torch.float64)
    product = BlockProduct(entries, torch.tensor([[-20000.0, 0.0, -900.0]], dtype=torch.float64))
    assert float(product.log_frobenius()) == 0
    torch.testing.assert_close(product.log_singular()[0, 0, 0], product.log_scale[0])
    dense, log_scale = product.to_dense()
    assert float(log_scale) == 0
    assert dense[0].diagonal().tolist() == [0, 1, 0]
    up = BlockProduct(entries, torch.tensor([[20000.0, 20000.0, -900.0]], dtype=torch.float64))
    assert float(up.log_frobenius()) == pytest.approx(20000 + math.log(2) / 2, abs=1e-9)


def test_block_product_of_zeros():
    product = BlockProduct(torch.zeros(2, 1, 1, 2, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64))
    for one in (product, product.normalised()):
        assert float(one.log_frobenius()) == -math.inf
        assert bool(one.log_singular().isneginf().all())


def test_start_is_the_identity():
    jacobian = UnitBlocks(rand(2, 2, 2, 3))
    dense, log_scale = BlockProduct.start(jacobian, 2).to_dense()
    assert torch.equal(dense, torch.eye(6, dtype=torch.float64).expand(2, 6, 6))
    assert not log_scale.any()
    dense, _ = BlockProduct.start(jacobian, 1).to_dense()
    assert torch.equal(dense, torch.eye(6, dtype=torch.float64)[:3].expand(2, 3, 6))


@pytest.mark.parametrize("headroom", [1.0001, 1e60])
def test_dense_product_rescales_and_keeps_its_value(headroom, monkeypatch):
    monkeypatch.setitem(products.HEADROOM, torch.float64, headroom)
    steps = [rand(2, 4, 4, seed=seed) for seed in range(6)]
    product, expected = DenseProduct.start(torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)), None
    for step in steps:
        product = product.times(DenseJacobian(step))
        expected = step if expected is None else expected @ step
    assert bool((product.log_scale != 0).any()) == (headroom < 2)
    torch.testing.assert_close(product.matrix * product.log_scale.exp()[:, None, None], expected, **TIGHT)
    torch.testing.assert_close(product.log_frobenius(), torch.linalg.matrix_norm(expected).log(), **TIGHT)
    part = product.log_frobenius(slice(1, 3), slice(0, 2))
    torch.testing.assert_close(part, torch.linalg.matrix_norm(expected[:, 1:3, :2]).log(), **TIGHT)
    values, log_scale = product.eigenvalues()
    found = np.sort(np.abs((values * log_scale.exp()).numpy()), -1)
    np.testing.assert_allclose(found, np.sort(np.abs(np.linalg.eigvals(expected.numpy())), -1), rtol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [(torch.float32, 1e-10), (torch.float32, 1e10), (torch.float64, 1e-80), (torch.float64, 1e80)],
)
def test_dense_product_far_outside_the_float_range(dtype, factor):
    product = DenseProduct.start(torch.eye(2, dtype=dtype)[None])
    step = DenseJacobian((factor * torch.eye(2, dtype=dtype))[None])
    for _ in range(1000):
        product = product.times(step)
    expected = 1000 * math.log(factor) + math.log(2) / 2
    assert float(product.log_frobenius()) == pytest.approx(expected, rel=1e-7)


def test_dense_product_that_becomes_zero():
    product = DenseProduct.start(torch.eye(2, dtype=torch.float64)[None])
    for step in (1e-200 * torch.eye(2), torch.zeros(2, 2), torch.eye(2)):
        product = product.times(DenseJacobian(step.double()[None]))
    assert float(product.log_frobenius()) == -math.inf
    assert float(product.log_spectral(None)[0]) == -math.inf
    assert not product.eigenvalues()[0].isnan().any()


def test_out_of_range():
    headroom = products.HEADROOM[torch.float64]
    good = torch.tensor([1e-10, 1.0, 1e10], dtype=torch.float64)
    assert not out_of_range(good)
    for bad in (2 * headroom, 0.5 / headroom, 0.0, math.nan, math.inf):
        assert out_of_range(torch.tensor([1.0, bad], dtype=torch.float64))


@pytest.mark.parametrize(
    "singular", [(3.0, 1.0, 0.1), (1.0, 0.9, 0.8), (1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1e30, 1e-30, 0.0)]
)
def test_spectral_norm_against_numpy(singular):
    q, r = torch.linalg.qr(rand(3, 3)).Q, torch.linalg.qr(rand(3, 3, seed=1)).Q
    matrix = (q @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ r)[None]
    value, vector = DenseProduct.start(matrix).log_spectral(None)
    assert float(value) == pytest.approx(math.log(np.linalg.norm(matrix[0].numpy(), 2)), abs=1e-11)
    assert float(torch.linalg.vector_norm(matrix[0] @ vector[0])) == pytest.approx(singular[0], rel=1e-5)


def test_spectral_norm_from_a_guess_that_is_no_longer_the_largest():
    matrix = torch.diag(torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))[None]
    guess = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    value, _ = DenseProduct.start(matrix).log_spectral(guess)
    assert float(value) == pytest.approx(math.log(2), abs=1e-12)
    value, _ = DenseProduct.start(matrix).log_spectral(guess, slice(0, 1))
    assert float(value) == pytest.approx(0, abs=1e-12)
