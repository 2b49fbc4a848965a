"""Graded products against mpmath at 60 digits."""

import math

import mpmath
import numpy as np
import pytest
import torch

from dynlab.adapt import as_cell
from dynlab.cells import registry
from dynlab.jacobian.graded import GradedProduct, graded_sweep
from dynlab.network import Network
from dynlab.trace import rollout
from tests.jacobian.high_precision import log_singular, rand, to_mp

pytestmark = pytest.mark.usefixtures("form")


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(60):
        yield


def linear_cell(matrices):
    """State times a matrix that the input chooses: any product of matrices as a rollout."""

    def step(x, state):
        weight = torch.einsum("bf,fij->bij", x, matrices)
        return torch.einsum("bij,bj->bi", weight, state)

    return as_cell(step, input_size=len(matrices), state_size=matrices.shape[-1])


def product_trace(matrices, steps, seed=2):
    which = torch.randint(0, len(matrices), (steps, 1), generator=torch.Generator().manual_seed(seed))
    inputs = torch.nn.functional.one_hot(which, len(matrices)).double()
    trace = rollout(linear_cell(matrices), inputs, torch.zeros(1, matrices.shape[-1], dtype=torch.float64))
    return trace, [matrices[index] for index in which[:, 0].tolist()]


def graded_matrices(size=4, spread=1.0):
    scales = torch.linspace(spread, -spread, size, dtype=torch.float64).exp()
    return torch.stack([torch.eye(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64)]) * scales[
        :, None
    ] + 0.1 * rand(2, size, size, seed=6)


def mp_product(steps, dps):
    with mpmath.workdps(dps):
        product = mpmath.eye(steps[0].shape[0])
        for step in steps:
            product = to_mp(step) * product
        return product


@pytest.mark.parametrize(("steps", "spread"), [(6, 1.0), (90, 1.0), (300, 1.3), (40, 6.0)])
def test_product_singular_values_against_mpmath(steps, spread):
    trace, matrices = product_trace(graded_matrices(spread=spread), steps)
    ((time, product),) = graded_sweep(trace, 4, full=True)
    assert time == steps
    found = product.log_singular_values()[0].numpy()
    if steps > 6:
        assert found[0] - found[-1] > 100
    dps = 100 + int(2 * (found[0] - found[-1]) / math.log(10))
    expected = log_singular(mp_product(matrices, dps), dps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_graded_product_reconstructs_the_product():
    trace, matrices = product_trace(graded_matrices(spread=0.2), 12)
    times = (1, 5, 12)
    found = dict(graded_sweep(trace, 4, full=True, times=times))
    assert tuple(found) == times
    for time, product in found.items():
        expected = torch.linalg.multi_dot([*reversed(matrices[:time]), torch.eye(4, dtype=torch.float64)])
        rebuilt = product.basis[0] @ torch.diag(product.log_scale[0].exp()) @ product.right[0]
        torch.testing.assert_close(rebuilt, expected, rtol=1e-11, atol=1e-12)
        eye = torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(product.basis[0].mT @ product.basis[0], eye, rtol=1e-12, atol=1e-13)
        rows = torch.linalg.vector_norm(product.right[0], dim=-1)
        torch.testing.assert_close(rows, torch.ones(4, dtype=torch.float64))
        log_det = torch.linalg.slogdet(expected).logabsdet
        torch.testing.assert_close(product.log_growth.sum(), log_det, rtol=1e-11, atol=1e-11)
        assert product.counted == time


def test_product_with_a_kernel():
    matrices = graded_matrices()
    matrices[0, -1] = 0
    trace, _ = product_trace(matrices, 40)
    ((_, product),) = graded_sweep(trace, 4, full=True)
    found = product.log_singular_values()[0]
    assert not found.isnan().any()
    assert float(found[-1]) == -math.inf
    assert bool(found[:3].isfinite().all())


def test_singular_values_need_a_full_sweep():
    trace, _ = product_trace(graded_matrices(), 5)
    ((_, product),) = graded_sweep(trace, 2)
    assert product.basis.shape == (1, 4, 2)
    with pytest.raises(ValueError, match="expected a sweep with full=True"):
        product.log_singular_values()
    assert isinstance(product, GradedProduct)


def dense_products(trace):
    product = torch.eye(trace.cell.state_size, dtype=torch.float64).expand(trace.batch_size, -1, -1)
    yield 0, product
    for t, step in trace.linearizations():
        product = step.jacobian.to_dense() @ product
        yield t, product


def build(name):
    torch.manual_seed(5)
    if name == "layers":
        cell = Network([registry["unicornn"](3, 2), registry["lstm"](2, 2)])
    else:
        cell = registry[name](3, 3)
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


@pytest.mark.parametrize("name", ["unicornn", "indrnn", "elman", "lstm", "cornn", "layers"])
def test_cells_against_dense_products(name):
    cell = build(name)
    trace = rollout(cell, rand(8, 2, 3, seed=8))
    if name == "indrnn":
        trace = rollout(cell, rand(8, 2, 3, seed=8).abs(), torch.ones(2, 3, dtype=torch.float64))
    expected = dict(dense_products(trace))
    log_dets = [torch.linalg.slogdet(step.jacobian.to_dense()).logabsdet for _, step in trace.linearizations()]
    found = dict(graded_sweep(trace, cell.state_size, full=True, times=(1, 4)))
    assert tuple(found) == (1, 4, 8)
    for time, product in found.items():
        values = product.log_singular_values().exp()
        torch.testing.assert_close(values, torch.linalg.svdvals(expected[time]), rtol=1e-8, atol=1e-11)
        log_det = torch.stack(log_dets[:time]).sum(0)
        torch.testing.assert_close(product.log_growth.sum(-1), log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["unicornn", "elman"])
def test_growth_after_a_transient(name):
    cell = build(name)
    trace = rollout(cell, rand(30, 2, 3, seed=8))
    ((_, after),) = graded_sweep(trace, cell.state_size, transient=10)
    ((_, whole),) = graded_sweep(trace, cell.state_size)
    head = rollout(cell, trace.inputs[:10])
    ((_, before),) = graded_sweep(head, cell.state_size)
    assert (after.counted, whole.counted, before.counted) == (20, 30, 10)
    total = before.log_growth.sum(-1) + after.log_growth.sum(-1)
    torch.testing.assert_close(total, whole.log_growth.sum(-1), rtol=1e-9, atol=1e-9)
    if name == "elman":
        # Column by column, since nothing but the counting differs.
        torch.testing.assert_close(before.log_growth + after.log_growth, whole.log_growth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["unicornn", "elman"])
@pytest.mark.parametrize("transient", [0, 5])
def test_tick_counts_every_step(name, transient):
    ticks = []
    cell = build(name)
    list(graded_sweep(rollout(cell, rand(150, 1, 3)), 2, times=(70,), transient=transient, tick=ticks.append))
    assert sum(ticks) == 150


def test_same_columns_by_seed():
    trace = rollout(build("lstm"), rand(20, 1, 3))
    first, again, other = (list(graded_sweep(trace, 2, seed=seed))[0][1].log_growth for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
