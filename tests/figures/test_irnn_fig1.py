"""iRNN Fig. 1: the drawn equilibria against an iteration of their own, claims that can fail, the picture."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load

figure = load("irnn_fig1")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


def test_equilibria_are_the_fixed_points_of_tanh(data: xr.Dataset):
    random = np.random.default_rng(1)
    U, W = random.normal(size=(2, 2)), random.normal(size=(2, 2))
    U *= 0.5 / np.linalg.norm(U, 2)
    inputs = 1.5 * random.normal(size=(2, 2))
    for index, x in enumerate(inputs):
        held = data["inner"].isel(transition=index, k=0).values
        s = np.zeros(2)
        for _ in range(200):  # a contraction by |U| = 0.5
            s = np.tanh(U @ s + W @ x)
        np.testing.assert_allclose(data["root"].isel(transition=index), s - held, atol=1e-10)


def test_transitions_follow_each_other(data: xr.Dataset):
    np.testing.assert_allclose(data["inner"].isel(transition=1, k=0), data["inner"].isel(transition=0, k=-1))
    assert [claim.check(data).holds for claim in figure.ITEM.claims] == [True, True]


def test_another_state_is_noticed(data: xr.Dataset):
    ends, goes = (claim.check for claim in figure.ITEM.claims)
    assert ends(data.assign(state=data["state"] * 1.001)).holds is False
    assert goes(data.assign(root=data["root"] + 0.1)).holds is False
    assert goes(data.assign(root=data["root"] * np.nan)).holds is False
    slow = data.assign(longer=data["root"] + 0 * data["longer"] + 0.99 ** data["j"])
    slow["longer"] = slow["longer"].transpose("transition", "j", "unit")
    assert goes(slow).holds is False


def test_drawn_are_the_inner_states_and_roots(data: xr.Dataset):
    blocks, plane = figure.draw(data).axes
    texts = [text.get_text() for text in blocks.texts]
    assert {"$h_{m-1}$", "$x_m$", "$h_m$", "$g_0$", "$g_K$"} <= set(texts)
    lines = {line.get_label(): line for line in plane.lines}
    np.testing.assert_allclose(lines["transition 2"].get_xydata(), data["inner"].isel(transition=1))
    crosses = [line.get_xydata()[0] for line in plane.lines if line.get_marker() == "x" and len(line.get_xydata())]
    np.testing.assert_allclose(crosses, data["root"])
