"""Step Jacobians and drives with structure against dense matrices, autodiff and NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dynlab.jacobian.arena import Arena
from dynlab.jacobian.autodiff import linearize_by_autodiff
from dynlab.jacobian.blocks import ShearBlocks, UnitBlocks, block_determinant, block_eigenvalues, block_log_singular
from dynlab.jacobian.drive import DenseDrive, GainDrive, Linearization, PolynomialDrive, detached
from dynlab.jacobian.step import (
    DenseJacobian,
    DiagonalPlusDense,
    LowRankPlusIdentity,
    PolynomialJacobian,
    times_weight,
    weight_times,
)

TIGHT = {"rtol": 1e-12, "atol": 1e-13}


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_of_blocks(blocks):
    """The matrix (..., s * d, s * d) that blocks (..., s, s, d) stand for, entry by entry."""
    *lead, s, _, d = blocks.shape
    out = torch.zeros(*lead, s * d, s * d, dtype=blocks.dtype)
    for i in range(s):
        for j in range(s):
            for unit in range(d):
                out[..., i * d + unit, j * d + unit] = blocks[..., i, j, unit]
    return out


def diagonal_plus_dense(lead, channels, gates, units, reads, diagonal="blocks", seed=0):
    gains = rand(*lead, channels, gates, units, seed=seed)
    own = rand(*lead, channels, channels, units, seed=seed + 1) if diagonal == "blocks" else diagonal
    weight = rand(gates * units, reads, seed=seed + 2)
    matrix = torch.zeros(*lead, channels * units, channels * units, dtype=torch.float64)
    for i in range(channels):
        for unit in range(units):
            for gate in range(gates):
                matrix[..., i * units + unit, :reads] += gains[..., i, gate, unit, None] * weight[gate * units + unit]
    eye = torch.eye(channels * units, dtype=torch.float64)
    matrix = matrix + (dense_of_blocks(own) if diagonal == "blocks" else diagonal * eye)
    return DiagonalPlusDense(own, gains, weight), matrix


def low_rank(lead, units, identity, diagonal, seed=0):
    weight = LowRankPlusIdentity(rand(units, 2, seed=seed), rand(2, units, seed=seed + 1), identity)
    gains = rand(*lead, 1, 1, units, seed=seed + 2)
    own = rand(*lead, 1, 1, units, seed=seed + 3) if diagonal is None else diagonal
    dense_weight = identity * torch.eye(units, dtype=torch.float64) + weight.left @ weight.right
    direct = torch.diag_embed(own[..., 0, 0, :]) if diagonal is None else own * torch.eye(units, dtype=torch.float64)
    return DiagonalPlusDense(own, gains, weight), direct + gains[..., 0, 0, :, None] * dense_weight


def polynomial(lead, scale=0.7, offset=-0.3):
    pairs = [diagonal_plus_dense(lead, 1, 1, 4, 4, seed=10 * k) for k in range(3)]
    first, second, third = (matrix for _, matrix in pairs)
    expected = scale * third @ second @ first + offset * torch.eye(4, dtype=torch.float64)
    return PolynomialJacobian(tuple(factor for factor, _ in pairs), scale, offset), expected


def structures(lead):
    entries = rand(*lead, 2, 2, 3, seed=5)
    single = rand(*lead, 1, 1, 4, seed=6)
    drift, kick = rand(3, seed=7).exp(), rand(*lead, 3, seed=8)
    zero, one = torch.zeros_like(kick), torch.ones_like(kick)
    wide = drift.expand_as(kick)
    a_kick = torch.stack([one, zero, -kick, one], -2).unflatten(-2, (2, 2))
    a_drift = torch.stack([one, wide, zero, one], -2).unflatten(-2, (2, 2))
    matrix = rand(*lead, 4, 4, seed=9)
    return {
        "dense": (DenseJacobian(matrix), matrix),
        "blocks": (UnitBlocks(entries), dense_of_blocks(entries)),
        "one channel": (UnitBlocks(single), dense_of_blocks(single)),
        "shears": (ShearBlocks(drift, kick), dense_of_blocks(a_drift) @ dense_of_blocks(a_kick)),
        "gates": diagonal_plus_dense(lead, 2, 3, 3, 6),
        "reads the hidden part": diagonal_plus_dense(lead, 2, 4, 3, 3),
        "number on the diagonal": diagonal_plus_dense(lead, 1, 2, 4, 4, diagonal=0.3),
        "zero diagonal": diagonal_plus_dense(lead, 1, 1, 4, 4, diagonal=0.0),
        "low rank": low_rank(lead, 4, 1.0, None),
        "low rank and a number": low_rank(lead, 4, 0.6, -0.4),
        "polynomial": polynomial(lead),
        "constant polynomial": (
            PolynomialJacobian(polynomial(lead)[0].factors, 0.0, 0.9),
            (0.9 * torch.eye(4, dtype=torch.float64)).expand(*lead, 4, 4),
        ),
    }


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("kind", list(structures((2,))))
@pytest.mark.parametrize("lead", [(2,), (3, 2)])
def test_structure_is_the_matrix(kind, lead):
    jacobian, matrix = structures(lead)[kind]
    n = matrix.shape[-1]
    assert jacobian.size == n
    assert tuple(jacobian.batch_shape) == lead
    torch.testing.assert_close(jacobian.to_dense(), matrix, **TIGHT)
    rows, columns = rand(*lead, 5, n, seed=20), rand(*lead, n, 5, seed=21)
    before = rows.clone()
    arena = Arena()
    for _ in range(3):
        found = jacobian.left(rows, arena)
        torch.testing.assert_close(found, before @ matrix, **TIGHT)
        assert torch.equal(rows, before)
        arena.give(found)
    torch.testing.assert_close(jacobian.left(rows), before @ matrix, **TIGHT)
    torch.testing.assert_close(jacobian.right(columns), matrix @ columns, **TIGHT)
    assert jacobian.nbytes() > 0
    found = np.sort_complex(jacobian.eigenvalues().numpy().round(9).reshape(-1, n))
    expected = np.sort_complex(np.linalg.eigvals(matrix.numpy()).round(9).reshape(-1, n))
    # Sorting may swap values that rounding parts, so compare what does not depend on the order as well.
    np.testing.assert_allclose(found.sum(-1), expected.sum(-1), atol=1e-7)
    np.testing.assert_allclose(np.prod(found, -1), np.prod(expected, -1), atol=1e-6)


@pytest.mark.parametrize("kind", list(structures((2,))))
def test_unbind_takes_the_first_axis_apart(kind):
    jacobian, matrix = structures((3, 2))[kind]
    steps = jacobian.unbind()
    assert len(steps) == 3
    for step, one in zip(steps, matrix, strict=True):
        assert type(step) is type(jacobian)
        torch.testing.assert_close(step.to_dense(), one, **TIGHT)


@pytest.mark.usefixtures("form")
def test_left_of_rows_that_are_not_contiguous():
    for jacobian, matrix in structures((2,)).values():
        rows = rand(2, matrix.shape[-1], 5, seed=3).mT
        torch.testing.assert_close(jacobian.left(rows), rows @ matrix, **TIGHT)


@pytest.mark.parametrize("identity", [1.0, 0.0, -0.5])
def test_low_rank_plus_identity_against_dense(identity):
    weight = LowRankPlusIdentity(rand(6, 2), rand(2, 6, seed=1), identity)
    dense = weight.left @ weight.right + identity * torch.eye(6, dtype=torch.float64)
    assert weight.shape == (6, 6)
    torch.testing.assert_close(weight.to_dense(), dense, **TIGHT)
    rows, columns = rand(3, 4, 6, seed=2), rand(3, 6, 4, seed=3)
    torch.testing.assert_close(times_weight(rows, weight), rows @ dense, **TIGHT)
    torch.testing.assert_close(weight_times(weight, columns), dense @ columns, **TIGHT)
    torch.testing.assert_close(times_weight(rows, dense), rows @ dense, **TIGHT)


# ---- 2x2 blocks -----------------------------------------------------------------------------------------------

SPECIAL = {
    "real pair": [[2.0, 1.0], [3.0, -1.0]],
    "complex pair": [[1.0, -2.0], [2.0, 1.0]],
    "equal": [[3.0, 0.0], [0.0, 3.0]],
    "Jordan block": [[3.0, 1.0], [0.0, 3.0]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "nilpotent": [[0.0, 1.0], [0.0, 0.0]],
    "singular": [[1.0, 2.0], [2.0, 4.0]],
    "opposite": [[0.0, 1.0], [1.0, 0.0]],
    "rotation": [[0.0, -1.0], [1.0, 0.0]],
    "negative trace": [[-5.0, 1.0], [2.0, -0.1]],
    "graded": [[1e8, 1.0], [1.0, 1e-4]],
}


def as_blocks(matrix):
    return torch.tensor(matrix, dtype=torch.float64)[None, :, :, None]


@pytest.mark.parametrize("kind", list(SPECIAL))
def test_special_blocks_against_numpy(kind):
    blocks = as_blocks(SPECIAL[kind])
    matrix = blocks[0, :, :, 0].numpy()
    found = np.sort_complex(block_eigenvalues(blocks)[0].numpy())
    expected = np.sort_complex(np.linalg.eigvals(matrix).astype(complex))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    assert float(block_determinant(blocks)) == pytest.approx(float(np.linalg.det(matrix)), abs=1e-9)
    singular = block_log_singular(blocks)[0, :, 0].exp().numpy()
    np.testing.assert_allclose(singular, np.linalg.svd(matrix, compute_uv=False), rtol=1e-10, atol=1e-15)
    assert not torch.isnan(block_log_singular(blocks)).any()


def test_small_eigenvalue_of_a_graded_block_keeps_its_digits():
    # Exactly 1e8 and 1e-8 by construction: an upper triangular block; (trace - root) / 2 would lose them all.
    blocks = as_blocks([[1e8, 3.0], [0.0, 1e-8]])
    small = float(block_eigenvalues(blocks)[0].abs().min())
    assert small == pytest.approx(1e-8, rel=1e-12)


def test_small_singular_value_from_a_known_determinant():
    blocks = as_blocks([[1e12, 1e12], [1e12, 1e12]])
    found = block_log_singular(blocks, torch.zeros(1, 1, dtype=torch.float64))[0, :, 0]
    assert float(found.sum()) == pytest.approx(0, abs=1e-12)
    assert float(found[0]) == pytest.approx(np.log(2e12), rel=1e-14)


entries = st.floats(-8, 8, allow_subnormal=False).map(lambda x: 0.0 if abs(x) < 1e-3 else x)


@given(hnp.arrays(np.float64, (3, 2, 2, 4), elements=entries))
@settings(max_examples=60, deadline=None)
def test_blocks_against_numpy(array):
    blocks = torch.from_numpy(array)
    matrices = array.transpose(0, 3, 1, 2)
    values = block_eigenvalues(blocks).unflatten(-1, (2, 4)).transpose(-1, -2).numpy()
    # An eigenvalue is a root of the characteristic polynomial; a double one is only known to sqrt(eps).
    trace, det = matrices[..., 0, 0] + matrices[..., 1, 1], np.linalg.det(matrices)
    np.testing.assert_allclose(values.sum(-1), trace, atol=1e-12)
    np.testing.assert_allclose(values.prod(-1), det, atol=1e-11)
    expected = np.sort(np.abs(np.linalg.eigvals(matrices)), -1)
    np.testing.assert_allclose(np.sort(np.abs(values), -1), expected, rtol=1e-6, atol=2e-6)
    singular = block_log_singular(blocks).exp().transpose(-1, -2).numpy()
    np.testing.assert_allclose(singular, np.linalg.svd(matrices, compute_uv=False), rtol=1e-7, atol=1e-7)


@given(hnp.arrays(np.float64, (3, 1, 1, 4), elements=entries))
@settings(max_examples=30, deadline=None)
def test_blocks_of_one(array):
    blocks = torch.from_numpy(array)
    np.testing.assert_array_equal(block_eigenvalues(blocks).numpy(), array[:, 0, 0] + 0j)
    np.testing.assert_allclose(block_log_singular(blocks).exp().numpy(), np.abs(array[:, 0]), rtol=1e-14)
    np.testing.assert_array_equal(block_determinant(blocks).numpy(), array[:, 0, 0])


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
def test_singular_value_of_one_row_or_column(shape):
    blocks = rand(3, *shape, 4)
    torch.testing.assert_close(block_log_singular(blocks)[:, 0].exp(), blocks.square().sum((1, 2)).sqrt(), **TIGHT)


def test_log_determinant_and_norm_bound():
    blocks = UnitBlocks(rand(3, 2, 2, 2, 4))
    matrices = blocks.blocks.movedim(-1, -3)
    torch.testing.assert_close(blocks.log_determinant(), torch.linalg.det(matrices).abs().log(), **TIGHT)
    singular = torch.linalg.svdvals(matrices)
    bound = max(float(singular.max().log()), -float(singular.min().log()))
    assert float(blocks.log_norm_bound()) == pytest.approx(bound, rel=1e-10)


# ---- drives ---------------------------------------------------------------------------------------------------


def drives(lead):
    weight = rand(6, 3, seed=30)
    matrix = rand(*lead, 4, 6, seed=31)
    gains = rand(*lead, 2, 2, 3, seed=32)
    by_gains = torch.zeros(*lead, 6, 6, dtype=torch.float64)
    for i in range(2):
        for gate in range(2):
            for unit in range(3):
                by_gains[..., i * 3 + unit, gate * 3 + unit] = gains[..., i, gate, unit]
    pairs = [diagonal_plus_dense(lead, 1, 1, 4, 4, seed=10 * k) for k in range(3)]
    slopes = tuple(rand(*lead, 4, seed=40 + k) for k in range(3))
    (_, _), (_, second), (_, third) = pairs
    s1, s2, s3 = (torch.diag_embed(slope) for slope in slopes)
    total = s3 + third @ s2 + third @ second @ s1
    factors = tuple(factor for factor, _ in pairs)
    narrow = rand(4, 3, seed=50)
    return {
        "dense": (DenseDrive(matrix, weight), matrix, weight),
        "the input itself": (DenseDrive(matrix), matrix, None),
        "gains": (GainDrive(gains, weight), by_gains, weight),
        "polynomial": (PolynomialDrive(factors, slopes, narrow), total, narrow),
        "one inner step": (PolynomialDrive(factors[:1], slopes[:1], narrow), s1, narrow),
    }


@pytest.mark.parametrize("kind", list(drives((2,))))
@pytest.mark.parametrize("lead", [(2,), (3, 2)])
def test_drive_is_the_matrix(kind, lead):
    drive, by_term, weight = drives(lead)[kind]
    whole = by_term if weight is None else by_term @ weight
    rows = rand(*lead, 5, by_term.shape[-2], seed=60)
    columns = rand(*lead, by_term.shape[-1], 5, seed=61)
    before = rows.clone()
    torch.testing.assert_close(drive.term_to_dense(), by_term, **TIGHT)
    torch.testing.assert_close(drive.to_dense(), whole, **TIGHT)
    torch.testing.assert_close(drive.left(rows), before @ whole, **TIGHT)
    torch.testing.assert_close(drive.left_term(rows), before @ by_term, **TIGHT)
    torch.testing.assert_close(drive.right_term(columns), by_term @ columns, **TIGHT)
    assert torch.equal(rows, before)
    if len(lead) == 2:
        for step, one in zip(drive.unbind(), whole, strict=True):
            torch.testing.assert_close(step.to_dense(), one, **TIGHT)


def test_linearization_unbinds_both_and_detaches():
    matrix = rand(3, 2, 4, 4).requires_grad_()
    drive = rand(3, 2, 4, 2, seed=1).requires_grad_()
    both = Linearization(DenseJacobian(matrix), DenseDrive(drive))
    plain = detached(both)
    assert not plain.jacobian.matrix.requires_grad
    assert not plain.drive.matrix.requires_grad
    steps = plain.unbind()
    assert len(steps) == 3
    assert torch.equal(steps[2].jacobian.to_dense(), matrix[2])
    assert torch.equal(steps[2].drive.to_dense(), drive[2])


# ---- autodiff -------------------------------------------------------------------------------------------------


def affine(weight):
    return lambda x, s: torch.sin(s @ weight.T) + x.sum(-1, keepdim=True) ** 2


@pytest.mark.parametrize("lead", [(5,), (3, 2)])
def test_autodiff_of_a_known_derivative(lead):
    weight = rand(4, 4)
    x, s = rand(*lead, 3, seed=1), rand(*lead, 4, seed=2)
    found = linearize_by_autodiff(affine(weight), x, s)
    torch.testing.assert_close(found.jacobian.to_dense(), (s @ weight.T).cos()[..., None] * weight, **TIGHT)
    by_x = (2 * x.sum(-1))[..., None, None].expand(*lead, 4, 3)
    torch.testing.assert_close(found.drive.to_dense(), by_x, **TIGHT)


def test_autodiff_through_a_weight():
    weight = rand(4, 2, seed=3)
    found = linearize_by_autodiff(lambda term, s: torch.tanh(s + term), rand(5, 4, seed=1), rand(5, 4, seed=2), weight)
    slope = 1 - torch.tanh(rand(5, 4, seed=1) + rand(5, 4, seed=2)) ** 2
    torch.testing.assert_close(found.drive.to_dense(), slope[..., None] * weight, **TIGHT)


def test_autodiff_of_an_autonomous_map():
    s = rand(3, 2, 4)
    found = linearize_by_autodiff(lambda x, s: s**3, torch.empty(3, 2, 0, dtype=torch.float64), s)
    torch.testing.assert_close(found.jacobian.to_dense(), torch.diag_embed(3 * s**2), **TIGHT)
    assert found.drive.to_dense().shape == (3, 2, 4, 0)


def test_autodiff_of_a_step_with_a_branch_in_python():
    # vmap cannot transform ``if`` on data. A whole batch goes one way here, as clamping code does.
    def step(x, s):
        if bool((s.abs() > 2).any()):
            s = s.clamp(-2, 2)
        return torch.sin(s) + x

    x, s = rand(4, 2, 3, seed=1), 2 * rand(4, 2, 3, seed=2)
    assert bool((s.abs() > 2).any())
    found = linearize_by_autodiff(step, x, s)
    expected = torch.diag_embed(torch.where(s.abs() > 2, 0, s.cos()))
    torch.testing.assert_close(found.jacobian.to_dense(), expected, **TIGHT)
    torch.testing.assert_close(found.drive.to_dense(), torch.eye(3, dtype=torch.float64).expand(4, 2, 3, 3), **TIGHT)


def test_autodiff_branches_for_each_state_on_its_own():
    # The tent map, run with one sample: each time step must take its own branch.
    def tent(x, s):
        return 2 * s if bool(s[0, 0] < 0.5) else 2 - 2 * s

    s = torch.tensor([0.1, 0.7, 0.4, 0.9], dtype=torch.float64).reshape(4, 1, 1)
    found = linearize_by_autodiff(tent, torch.empty(4, 1, 0, dtype=torch.float64), s)
    assert found.jacobian.to_dense().flatten().tolist() == [2, -2, 2, -2]


def test_autodiff_of_a_step_that_ignores_its_input():
    found = linearize_by_autodiff(lambda x, s: 2 * s if bool(s.sum() > -99) else s, rand(3, 2), rand(3, 4))
    torch.testing.assert_close(found.jacobian.to_dense(), (2 * torch.eye(4, dtype=torch.float64)).expand(3, 4, 4))
    assert torch.equal(found.drive.to_dense(), torch.zeros(3, 4, 2, dtype=torch.float64))
