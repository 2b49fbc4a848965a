"""Kernel smoothing against a double loop, principal axes against scikit-learn."""

import logging
import math
import shutil

import numpy as np
import pytest
import torch

from dynlab.probes import geometry
from dynlab.probes.geometry import kernel_smooth, principal_axes

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="KeOps compiles with g++")


def naive(points, values, queries, bandwidth):
    """The definition, one query and one point at a time."""
    averages, log_masses = [], []
    for query in queries:
        mass, total = 0.0, np.zeros(values.shape[1])
        for point, value in zip(points, values, strict=True):
            weight = math.exp(-float((((query - point) / bandwidth) ** 2).sum()) / 2)
            mass, total = mass + weight, total + weight * value
        averages.append(total / mass)
        log_masses.append(math.log(mass))
    return np.array(averages), np.array(log_masses)


def cloud(points=60, queries=9, dtype=torch.float64):
    torch.manual_seed(1)
    return (
        torch.randn(points, 2, dtype=dtype),
        torch.randn(points, 3, dtype=dtype),
        torch.randn(queries, 2, dtype=dtype),
    )


@pytest.mark.parametrize("bandwidth", [0.5, (0.3, 1.2)])
@pytest.mark.parametrize("pairs", [1, 100, 2**18])
def test_definition(bandwidth, pairs, monkeypatch):
    monkeypatch.setattr(geometry, "CHUNK_PAIRS", pairs)
    arrays = cloud()
    average, log_mass, backend = kernel_smooth(*arrays, bandwidth)
    expected = naive(*(array.numpy() for array in arrays), np.array(bandwidth))
    assert backend == "torch"
    np.testing.assert_allclose(average, expected[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(log_mass, expected[1], rtol=1e-12, atol=1e-13)


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_keops_gives_the_same_numbers(dtype, tolerance, capsys):
    points, values, queries = cloud(500, 40, dtype)
    # The plane's sizes, so that one compiled formula serves this and the probe.
    values = values[:, :2]
    queries[0] = 1e3
    by_torch = kernel_smooth(points, values, queries, 0.4, "torch")
    by_keops = kernel_smooth(points, values, queries, 0.4, "keops")
    assert by_keops[2] == "keops"
    assert bool(torch.isfinite(by_keops[0]).all())
    for one, other in zip(by_torch[:2], by_keops[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    assert capsys.readouterr().out == ""


def test_far_from_all_points_the_nearest_one_decides():
    points, values, _ = cloud()
    query = torch.tensor([[1e6, 0.0]], dtype=torch.float64)
    average, log_mass, _ = kernel_smooth(points, values, query, 0.1)
    torch.testing.assert_close(average[0], values[points[:, 0].argmax()])
    assert float(log_mass.exp()) == 0
    assert math.isfinite(float(log_mass))


@pytest.fixture
def broken_keops(monkeypatch):
    def missing():
        raise ImportError("no module named pykeops")

    monkeypatch.setattr(geometry, "_import_keops", missing)
    geometry._keops_failure.cache_clear()
    yield
    geometry._keops_failure.cache_clear()


def test_keops_that_cannot_compile(broken_keops, caplog):
    with pytest.raises(RuntimeError, match=r"no module named pykeops\. It needs .* C\+\+ compiler .* gives the same"):
        kernel_smooth(*cloud(), 0.5, "keops")
    with caplog.at_level(logging.INFO, logger="dynlab"):
        assert not geometry._available(torch.float64, "cpu")
    assert "KeOps failed: ImportError" in caplog.text


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.inf, math.nan, (1.0, 1.0, 1.0)])
def test_bad_bandwidths(bandwidth):
    with pytest.raises(ValueError, match="bandwidth"):
        kernel_smooth(*cloud(), bandwidth)


def test_bad_arrays():
    points, values, queries = cloud()
    with pytest.raises(ValueError, match=r"values of shape \(60, component\)"):
        kernel_smooth(points, values[:-1], queries, 1.0)
    with pytest.raises(ValueError, match=r"queries of shape \(query, 2\)"):
        kernel_smooth(points, values, queries[:, :1], 1.0)
    with pytest.raises(ValueError, match="dtype and device of the points"):
        kernel_smooth(points, values.float(), queries, 1.0)
    with pytest.raises(ValueError, match="at least one point"):
        kernel_smooth(points[:0], values[:0], queries, 1.0)
    with pytest.raises(ValueError, match="backend"):
        kernel_smooth(points, values, queries, 1.0, "numpy")


@pytest.mark.parametrize("rows", [3, 50, 2**16])
def test_principal_axes_are_those_of_scikit_learn(rows, monkeypatch):
    decomposition = pytest.importorskip("sklearn.decomposition")
    monkeypatch.setattr(geometry, "CHUNK_ROWS", rows)
    points = torch.randn(80, 7, dtype=torch.float64) @ torch.randn(7, 7, dtype=torch.float64) + 5
    axes, mean, share = principal_axes(points, 2)
    expected = decomposition.PCA(2, svd_solver="full").fit(points.numpy())
    np.testing.assert_allclose(mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(share, expected.explained_variance_ratio_, rtol=1e-12)
    signs = np.sign((axes.numpy() * expected.components_).sum(1, keepdims=True))
    np.testing.assert_allclose(axes, signs * expected.components_, atol=1e-12)
    assert bool((axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all())


@pytest.mark.parametrize("value", [0.0, 3.0, 1e30])
def test_principal_axes_of_one_point(value):
    axes, mean, share = principal_axes(torch.full((20, 4), value), 2)
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(mean, torch.full((4,), value, dtype=torch.float32).double())
    assert torch.isfinite(share).all()
    with pytest.raises(ValueError, match="at least 2 points and 2 axes"):
        principal_axes(torch.zeros(1, 4), 2)
