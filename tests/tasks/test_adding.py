import pytest
import torch

from dynlab.tasks import get_task


@pytest.mark.parametrize("steps", [2, 3, 10, 201])
def test_the_target_is_the_sum_at_the_marks(steps):
    inputs, targets = get_task(f"adding:T={steps}").sequences(64, seed=1)
    numbers, marks = inputs.unbind(-1)
    assert inputs.shape == (steps, 64, 2) and targets.shape == (64, 1)
    assert ((marks == 0) | (marks == 1)).all()
    half = steps // 2
    assert (marks[:half].sum(0) == 1).all() and (marks[half:].sum(0) == 1).all()
    assert torch.equal((numbers * marks).sum(0), targets[:, 0])
    assert numbers.min() >= 0 and numbers.max() < 1


def test_marks_and_numbers_are_uniform():
    inputs, targets = get_task("adding:T=6").sequences(6000)
    # Four standard errors of a share of 1/3, of a mean and of a variance of uniform numbers.
    shares = inputs[..., 1].mean(1)
    assert (shares - 1 / 3).abs().max() < 4 * (2 / 9 / 6000) ** 0.5
    numbers = inputs[..., 0]
    assert abs(numbers.mean() - 1 / 2) < 4 * (1 / 12 / numbers.numel()) ** 0.5
    assert abs(numbers.var() - 1 / 12) < 4 * (1 / 180 / numbers.numel()) ** 0.5
    marked = targets[:, 0]
    assert abs(marked.mean() - 1) < 4 * (1 / 6 / 6000) ** 0.5


def test_the_baseline_is_what_the_constant_answer_scores():
    task = get_task("adding")
    _, targets = task.sequences(4000, steps=2)
    assert round(task.baseline, 3) == 0.167, "iRNN section 4 and A.4"
    # The squared deviation of the sum has mean 1/6 and fourth moment 1/15: variance 1/15 - 1/36.
    error = ((1 / 15 - 1 / 36) / 4000) ** 0.5
    assert task.score(torch.ones_like(targets), targets) == pytest.approx(task.baseline, abs=4 * error)
    assert task.score(targets, targets) == 0


@pytest.mark.parametrize(("T", "error"), [(1, ValueError), (2.5, TypeError), ("long", TypeError)])
def test_bad_length(T, error):
    with pytest.raises(error, match=r"adding: expected T"):
        get_task(f"adding:T={T}")
