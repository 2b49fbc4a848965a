import math

import pytest
import torch

from dynlab.tasks import get_task


@pytest.mark.parametrize("T", [1, 2, 30])
def test_layout(T):
    task = get_task(f"copying:T={T}")
    inputs, targets = task.sequences(40, seed=4)
    assert inputs.shape == (T + 20, 40, 10) and targets.shape == (T + 20, 40) and targets.dtype == torch.int64
    assert (inputs.sum(-1) == 1).all() and ((inputs == 0) | (inputs == 1)).all(), "one-hot"
    categories = inputs.argmax(-1)
    symbols = categories[:10]
    assert symbols.max() == 7 and symbols.min() == 0
    assert (categories[10 : T + 9] == 8).all() and (categories[T + 9] == 9).all() and (categories[T + 10 :] == 8).all()
    assert (targets[: T + 10] == 8).all() and torch.equal(targets[T + 10 :], symbols)


def test_steps_are_all_of_them():
    categories = get_task("copying").sequences(1, steps=21)[0].argmax(-1)[:, 0]
    assert categories.tolist()[10:] == [9] + 10 * [8]


def test_the_baseline_is_what_the_memoryless_strategy_scores():
    for T, published in ((200, 0.09), (500, 0.04)):
        task = get_task(f"copying:T={T}")
        assert task.baseline == pytest.approx(10 * math.log(8) / (T + 20), rel=1e-15)
        assert task.baseline == pytest.approx(published, abs=0.005), "iRNN Fig. 4"
        _, targets = task.sequences(2)
        # Certain of the blank until the delimiter, then even among the eight symbols.
        logits = torch.full((T + 20, 2, 9), -1e4)
        logits[: T + 10, :, 8] = 0
        logits[T + 10 :, :, :8] = 0
        assert task.score(logits, targets) == pytest.approx(task.baseline, rel=1e-6)
        assert task.loss(logits, targets).item() == pytest.approx(task.baseline, rel=1e-6)


def test_symbols_are_uniform():
    _, targets = get_task("copying:T=1").sequences(2000)
    counts = targets[-10:].flatten().bincount(minlength=9)
    assert counts[8] == 0
    # Chi-squared with 7 degrees of freedom: above 27.9 once in 4,000 draws.
    expected = 20_000 / 8
    assert ((counts[:8] - expected) ** 2 / expected).sum() < 27.9


def test_bad_length():
    with pytest.raises(ValueError, match="copying: expected T >= 1, got 0"):
        get_task("copying:T=0")
