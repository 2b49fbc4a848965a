"""AntisymmetricRNN Fig. 2: moduli against a product of autograd's Jacobians, claims that can fail, and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import load
from dynlab.tasks import get_task
from dynlab.training import Settings, build_network

figure = load("antisymmetric_fig2")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


@pytest.mark.parametrize("model", ["gamma = 1", "LSTM"])
def test_moduli_before_training_by_autograd(data: xr.Dataset, model: str):
    cell = "lstm" if model == "LSTM" else "antisymmetric:epsilon=0.01,gamma=1"
    task = get_task("digits:T=10")
    network = build_network(Settings(task="digits:T=10", cell=cell, hidden_size=4, iterations=2, seed=1), task)
    inputs, _ = task.sequences(2, seed=1, split="test")
    cell = network.cells[0].double()
    for sample in range(2):
        state, product = torch.zeros(cell.state_size).double(), np.eye(cell.state_size)
        for x in inputs[:, sample].double():
            step = torch.func.jacrev(lambda h, x=x: cell(x[None], h[None])[0])(state)
            product, state = step.detach().numpy() @ product, cell(x[None], state[None])[0].detach()
        moduli = np.abs(np.linalg.eigvals(product))
        one = data.sel(model=model, steps=10).isel(sample=sample)
        assert float(one["initial_log_modulus_mean"]) == pytest.approx(math.log(moduli.mean()), rel=1e-6)
        # The smallest of the LSTM's are rounding.
        assert float(one["initial_log_modulus_std"]) == pytest.approx(math.log(moduli.std()), rel=1e-4)


def told(moduli: dict[float, list[float]], lstm: list[float], std: float = 0.01) -> xr.Dataset:
    values = np.log(np.array([*moduli.values(), lstm]))[..., None] * np.ones(2)
    return xr.Dataset(
        {
            "log_modulus_mean": (("model", "steps", "sample"), values),
            "log_modulus_std": (("model", "steps", "sample"), np.full_like(values, math.log(std))),
            "initial_log_modulus_mean": (("model", "steps", "sample"), values),
            "initial_log_modulus_std": (("model", "steps", "sample"), np.full_like(values, math.log(std))),
            "accuracy": (("model", "steps"), np.full(values.shape[:2], 0.3)),
        },
        {
            "model": [*(f"gamma = {gamma:g}" for gamma in moduli), "LSTM"],
            "gamma": ("model", [*moduli, float("nan")]),
            "steps": [100, 400],
        },
        {"epsilon": 0.01},
    )


GOOD = {0.0: [1.01, 1.002], 0.01: [0.99, 0.96], 1.0: [0.5, 0.1]}
FADING = [1e-3, 1e-12]


def test_claims_hold_where_it_is_so():
    assert [claim.check(told(GOOD, FADING)).holds for claim in figure.ITEM.claims] == [True] * 3


def test_claims_fail_where_it_is_not():
    near, slow, lstm = (claim.check for claim in figure.ITEM.claims)
    assert near(told({**GOOD, 0.0: [1.01, 1.4]}, FADING)).holds is False
    assert slow(told({**GOOD, 0.01: [1.05, 1.01]}, FADING)).holds is False
    assert slow(told({**GOOD, 1.0: [0.5, 0.6]}, FADING)).holds is False
    assert lstm(told(GOOD, [0.9, 0.8])).holds is False
    assert lstm(told(GOOD, [1e-12, 1e-3])).holds is False
    # Vanished, but not below the others.
    assert lstm(told({**GOOD, 1.0: [1e-4, 1e-13]}, FADING)).holds is False


def test_mean_and_std_pool_modes_and_samples():
    moduli = np.array([[0.5, 1.0, 1.5], [1.0, 2.0, 6.0]])
    data = xr.Dataset(
        {
            "log_modulus_mean": (("model", "steps", "sample"), np.log(moduli.mean(1))[None, None]),
            "log_modulus_std": (("model", "steps", "sample"), np.log(moduli.std(1))[None, None]),
        }
    )
    mean, std = figure.mean_and_std(data)
    assert mean.item() == pytest.approx(moduli.mean()) and std.item() == pytest.approx(moduli.std())
    assert figure.log_mean(data).item() == pytest.approx(math.log(moduli.mean()))


def test_a_mean_below_float_range_keeps_its_logarithm():
    data = told(GOOD, FADING)
    tiny = data.assign(log_modulus_mean=data["log_modulus_mean"] - 2000)
    assert float(figure.log_mean(tiny)[0, 0]) == pytest.approx(math.log(1.01) - 2000)


def test_drawn_are_means_and_decades(data: xr.Dataset):
    left, right = figure.draw(data).axes
    mean, _ = figure.mean_and_std(data)
    for index, container in enumerate(left.containers):
        np.testing.assert_allclose(container.lines[0].get_ydata(), mean[index])
    decades = figure.log_mean(data) / math.log(10)
    np.testing.assert_allclose(right.lines[0].get_ydata(), decades[0])
    assert left.get_xlabel() == "number of time steps T" and len(left.containers) == 3
