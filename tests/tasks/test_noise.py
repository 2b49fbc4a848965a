import numpy as np
import pytest
import torch

from dynlab.tasks import pad_with_noise


def generator():
    return np.random.default_rng(3)


def test_the_sequence_stays_and_noise_follows():
    sequence = torch.arange(24.0).view(4, 2, 3)
    padded = pad_with_noise(sequence, 9, generator())
    assert padded.shape == (9, 2, 3)
    assert torch.equal(padded[:4], sequence)
    expected = np.random.default_rng(3).standard_normal((5, 2, 3), dtype=np.float32)
    assert np.array_equal(padded[4:].numpy(), expected)


def test_noise_is_standard_gaussian_and_independent():
    noise = pad_with_noise(torch.empty(0, 50, 4, dtype=torch.float64), 1000, generator()).flatten(1).numpy()
    draws = noise.size
    # Four standard errors each: of a mean, a variance (2), a fourth moment (96), a correlation.
    assert abs(noise.mean()) < 4 / draws**0.5
    assert abs(noise.var() - 1) < 4 * (2 / draws) ** 0.5
    assert abs((noise**4).mean() - 3) < 4 * (96 / draws) ** 0.5
    neighbours = (noise[1:] * noise[:-1]).mean(), (noise[:, 1:] * noise[:, :-1]).mean()
    assert max(map(abs, neighbours)) < 4 / (draws - noise.shape[1]) ** 0.5 * 1.01


def test_uniform_noise():
    noise = pad_with_noise(torch.empty(0, 50, 4, dtype=torch.float64), 500, generator(), "uniform").numpy()
    assert noise.min() >= 0 and noise.max() < 1
    assert abs(noise.mean() - 1 / 2) < 4 * (1 / 12 / noise.size) ** 0.5
    assert abs(noise.var() - 1 / 12) < 4 * (1 / 180 / noise.size) ** 0.5


def test_shared_noise_is_one_gaussian_draw_for_the_batch():
    padded = pad_with_noise(torch.zeros(1, 3, 4), 6, generator(), "shared")
    expected = np.random.default_rng(3).standard_normal((5, 1, 4), dtype=np.float32)
    assert np.array_equal(padded[1:].numpy(), np.repeat(expected, 3, axis=1))


def test_a_longer_sequence_starts_as_a_shorter_one():
    sequence = torch.zeros(2, 3, 5)
    long, short = (pad_with_noise(sequence, steps, generator()) for steps in (200, 7))
    assert torch.equal(long[:7], short)


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_cut_to_fewer_steps(steps):
    sequence = torch.randn(4, 2, 3)
    assert torch.equal(pad_with_noise(sequence, steps, generator()), sequence[:steps])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    assert pad_with_noise(torch.zeros(1, 1, 1, dtype=dtype), 4, generator()).dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((1, 1, 1)), 3, generator()), TypeError, "expected sequence to be a torch.Tensor, got ndarray"),
        ((torch.zeros(1, 1, 1, dtype=torch.int64), 3, generator()), TypeError, "floating dtype"),
        ((torch.zeros(4, 2), 3, generator()), ValueError, r"shape \(time, batch, feature\).*\(4, 2\)"),
        ((torch.zeros(1, 1, 1), 0, generator()), ValueError, "expected steps >= 1, got 0"),
        ((torch.zeros(1, 1, 1), 2.0, generator()), TypeError, "steps to be an integer"),
        ((torch.zeros(1, 1, 1), 3, generator(), "pink"), ValueError, "kind to be one of 'gaussian', .* got 'pink'"),
        ((torch.zeros(1, 1, 1), 3, torch.Generator()), TypeError, "numpy.random.Generator, got Generator"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        pad_with_noise(*arguments)
