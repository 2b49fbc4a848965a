"""The map of where the bounds hold, against single evaluations and the proofs' conditions in numbers."""

import math

import numpy as np
import pytest
import torch

from dynlab.theory.unicornn_gradient import gradient_bound
from dynlab.theory.unicornn_map import bounds_map
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_state import proposition_c1
from dynlab.theory.unicornn_subject import subject

from .unicornn_oracle import by_hand, weights

DTS, ALPHAS, STEPS = (0.01, 0.3), (0.01, 1.0, 13.0), (10, 1000, 10_000)


@pytest.fixture(scope="module")
def found():
    return bounds_map(DTS, ALPHAS, STEPS)


@pytest.mark.parametrize(("dt", "alpha"), [(0.01, 0.01), (0.3, 13.0)])
def test_a_cell_of_the_map_is_the_proposition_there(found, dt, alpha):
    one = subject(None, None, where="test", seed=0, setting=Setting("own", dt, alpha, 1, 10_000, ""), hidden_size=8)
    for N in STEPS:
        tightness = proposition_c1(one.network, one.inputs[:N])["tightness"].max(("layer", "time"))
        np.testing.assert_allclose(
            found["tightness"].sel(dt=dt, alpha=alpha, steps=N, quantity=["y", "z"]), tightness, rtol=1e-9
        )
    inputs, own = one.inputs[:10], weights(one.network)
    y, _ = by_hand(one.network, inputs, own)
    largest = 0.0
    for sample in range(inputs.shape[1]):
        loss = sum((y[n][0][sample] ** 2).sum() for n in range(1, 11)) / 20
        gradients = torch.autograd.grad(loss, list(own[0].values()), retain_graph=True)
        largest = max(largest, *(value.abs().max().item() for value in gradients))
    expected = largest / gradient_bound(one.layers, 10, 0.0).proved
    assert float(found["tightness"].sel(dt=dt, alpha=alpha, steps=10, quantity="gradient")) == pytest.approx(expected)


def test_where_the_proofs_apply(found):
    for dt in DTS:
        for alpha in ALPHAS:
            beta = max(1 + 2 * alpha, 4 * alpha**2)
            for N in STEPS:
                expected = N * math.log(1 + beta * dt) <= math.log(1 + 2 * beta * N * dt)
                proved = found["proved"].sel(dt=dt, alpha=alpha, steps=N)
                assert bool(proved.sel(quantity="y")) == bool(proved.sel(quantity="z")) == expected
                # The gradient needs both, and gamma is at least 4.
                if 4 * N * dt > 1.4 or not expected:
                    assert not bool(proved.sel(quantity="gradient"))
    assert bool(found["proved"].sel(dt=0.01, alpha=0.01, steps=10, quantity="gradient"))


def test_every_bound_is_broken_somewhere_and_nowhere_where_it_is_proved(found):
    worst = found["driven_tightness"]
    assert (worst.max(("dt", "alpha", "steps")) > 1).all()
    for name in ("tightness", "driven_tightness"):
        assert (found[name].where(found["proved"], 0) <= 1).all()
        assert not bool(found[name].isnull().any())
    # The gradient's: exponential growth against T^5 or so.
    assert float(worst.sel(quantity="gradient", dt=0.3, alpha=0.01, steps=10_000)) > 1e6


def test_table_6(found):
    assert not bool(found["setting_proved"].any())
    undefined = found["setting_alpha"] == 0
    assert found["setting"].values[undefined.values].tolist() == ["imdb", "eigenworms"]
    assert (found["setting_tightness"].sel(quantity="y").values[undefined.values] == 0).all()
    # Noise stays far below the bounds; an input in resonance breaks that of z where alpha is 0.
    assert float(found["setting_tightness"].max()) < 0.05
    broken = found["setting_driven_tightness"].sel(quantity="z") > 1
    np.testing.assert_array_equal(broken, undefined)


def test_steps_are_checked():
    with pytest.raises(ValueError, match="bounds_map"):
        bounds_map(steps=(0,))
