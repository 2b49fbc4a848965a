import numpy as np
import pytest
import torch
from scipy.integrate import odeint

from dynlab.tasks import get_task
from dynlab.tasks.lorenz96 import trajectories


def derivative(x, t, F):
    """As the equation stands in UnICORNN, (81), index by index."""
    return [(x[(j + 1) % 5] - x[(j - 2) % 5]) * x[(j - 1) % 5] - x[j] + F for j in range(5)]


@pytest.mark.parametrize(("F", "points", "tolerance"), [(0.9, 2025, 2e-7), (8.0, 1001, 2e-6)])
def test_against_another_integrator(F, points, tolerance):
    """LSODA, one trajectory at a time. States are float32: up to 1.4 at F = 0.9, up to 15 at F = 8."""
    states = trajectories(F, points, 5, "train").numpy()
    assert states.shape == (128, points, 5)
    start = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(0,))).uniform(F - 0.5, F + 0.5, (128, 5))
    times = np.linspace(0, 0.01 * (points - 1), points)
    for i in (0, 77, 127):
        exact = odeint(derivative, start[i], times, (F,), rtol=1e-12, atol=1e-12)
        assert np.abs(states[i] - exact).max() < tolerance


def test_targets_are_the_states_ahead():
    for spec, lag in (("lorenz96", 25), ("lorenz96:lag=3", 3)):
        inputs, targets = get_task(spec).sequences(4, steps=60, seed=2)
        assert inputs.shape == targets.shape == (60, 4, 5)
        assert torch.equal(inputs[lag:], targets[:-lag])


def test_published_discretisation():
    task = get_task("lorenz96:F=8")
    assert (task.F, task.lag, task.length, task.input_size, task.output_size) == (8.0, 25, 2000, 5, 5)
    for split in ("train", "validation", "test"):
        dataset = get_task("lorenz96").dataset(split)
        assert len(dataset) == 128 and dataset[0][0].shape == (2000, 5)
    start = torch.stack([get_task("lorenz96").dataset(split, steps=1)[i][0][0] for split in ("train", "test")
                         for i in range(128)])  # fmt: skip
    assert start.min() >= 0.4 and start.max() <= 1.4
    # Uniform on [F - 1/2, F + 1/2]: four standard errors of the mean.
    assert abs(start.mean() - 0.9) < 4 * (1 / 12 / start.numel()) ** 0.5


def test_nrmse_and_baseline():
    task = get_task("lorenz96")
    assert task.metric == "NRMSE" and task.read_at == "every"
    states = trajectories(0.9, 2025, 0, "test").double().numpy()
    error = np.sqrt(((states[:, 25:] - states[:, :-25]) ** 2).mean() / (states[:, 25:] ** 2).mean())
    assert task.baseline == pytest.approx(error, rel=1e-5)
    assert 0.04 < task.baseline < 0.06
    _, targets = task.sequences(2, steps=10)
    assert task.score(torch.zeros_like(targets), targets) == 1
    assert task.score(1.1 * targets, targets) == pytest.approx(0.1, rel=1e-5)


def test_calm_and_chaotic():
    """Two starts 1e-6 apart stay together at F = 0.9 and part by a factor of more than 100 at F = 8."""
    growth = {}
    for F in (0.9, 8.0):
        start = np.random.default_rng(0).uniform(F - 0.5, F + 0.5, 5)
        near, far = (
            odeint(derivative, x0, [0, 20], (F,), rtol=1e-11, atol=1e-11, mxstep=10_000)[-1]
            for x0 in (start, start + 1e-6)
        )
        growth[F] = np.linalg.norm(far - near) / (1e-6 * 5**0.5)
    assert growth[0.9] < 3 and growth[8.0] > 100


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("lorenz96:F=wind", TypeError, "lorenz96: expected F to be a number, got 'wind'"),
        ("lorenz96:F=1e999", ValueError, "lorenz96: expected a finite F"),
        ("lorenz96:lag=0", ValueError, "lorenz96: expected lag >= 1, got 0"),
    ],
)
def test_bad_options(spec, error, message):
    with pytest.raises(error, match=message):
        get_task(spec)
