"""iRNN Fig. 7: eigenvalues against NumPy and autograd, claims that can fail, and the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.cells import build_cell
from dynlab.figures import load

figure = load("irnn_fig7")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


def test_eigenvalues_are_those_of_the_matrix_written_out():
    torch.manual_seed(0)
    cell = build_cell("irnn:K=3,rank=3,eta=0.1", 2, 7).double()
    inputs = torch.randn(9, 4, 2, dtype=torch.float64)
    steps = torch.tensor([[0, 3, 8, 5], [2, 2, 1, 7]])
    values, active = figure._at(cell, inputs, steps)
    U, W = cell.weight_hh.detach().numpy(), cell.weight_ih.detach().numpy()
    for row in range(2):
        for sequence in range(4):
            h = np.zeros(7)
            for m in range(int(steps[row, sequence]) + 1):
                g, x = h, inputs[m, sequence].numpy()
                for eta in cell.eta.detach().numpy():
                    g = g + eta * (np.maximum(U @ (g + h) + W @ x, 0) - (g + h))
                held, h = h, g
            slope = (U @ (g + held) + W @ x > 0).astype(float)
            expected = np.linalg.eigvals(slope[:, None] * U - np.eye(7))
            point = 4 * row + sequence
            found = np.sort_complex(np.round(values[point], 6))
            np.testing.assert_allclose(found, np.sort_complex(np.round(expected, 6)), atol=1e-4)
            assert active[point] == slope.sum()


def test_what_is_kept(data: xr.Dataset):
    assert data["eigenvalue"].sizes == {"kind": 2, "trained": 2, "point": 16, "mode": 24}
    # Units that are not active have -1, whatever U is.
    idle = (abs(data["eigenvalue"] + 1) < 1e-9).sum("mode")
    assert (idle >= 24 - data["active"]).all()


def told(values: list[float], gaussian: list[float]) -> xr.Dataset:
    """These real parts at two points before and after the training."""
    eigenvalue = np.broadcast_to(np.array([values, gaussian], complex)[:, None, None], (2, 2, 2, len(values)))
    return xr.Dataset(
        {
            "eigenvalue": (("kind", "trained", "point", "mode"), eigenvalue),
            "active": (("kind", "trained", "point"), np.full((2, 2, 2), 3)),
        },
        {"kind": list(figure.CELLS), "trained": [0, 1]},
    )  # fmt: skip


LOW_RANK, GAUSSIAN, RANGE = (claim.check for claim in figure.ITEM.claims)


def test_claims():
    good = told([-100.0, -1.0, -0.5], [-1.0, -0.9, -0.8])
    assert [claim.check(good).holds for claim in figure.ITEM.claims] == [True] * 3
    assert LOW_RANK(told([-100.0, -1.0, 0.1], [-1.0, -0.9, -0.8])).holds is False
    singular = LOW_RANK(told([-100.0, -1.0, 1e-9], [-1.0, -0.9, -0.8]))
    assert singular.holds is False and "33.3% zero" in singular.value
    assert GAUSSIAN(told([-100.0, -1.0, -0.5], [-1.0, 0.2, -0.8])).holds is False
    assert RANGE(told([-3.0, -1.0, -0.5], [-1.0, -0.9, -0.8])).holds is False


def test_drawn_are_shares(data: xr.Dataset):
    after, before = figure.draw(data).axes
    for axes, trained in ((after, 1), (before, 0)):
        for index, kind in enumerate(data.kind.values):
            bars = axes.patches[60 * index : 60 * index + 60]
            assert sum(bar.get_height() for bar in bars) == pytest.approx(100, rel=1e-6)
            real = data.eigenvalue.real.sel(kind=kind, trained=trained).values
            inside = [((bar.get_x() <= real) & (real < bar.get_x() + bar.get_width())).mean() for bar in bars]
            np.testing.assert_allclose([bar.get_height() for bar in bars], 100 * np.array(inside), atol=0.5)
        assert axes.get_yscale() == "log"
    assert (after.get_title(), before.get_title()) == ("(a) after training", "(b) before training")
