import math

import pytest
import torch

from dynlab.tasks import get_task

ADDING, COPYING, DIGITS, LORENZ = map(get_task, ("adding:T=10", "copying:T=1", "digits:T=10", "lorenz96"))


def answers(task, batch=3, steps=21):
    """Random outputs and fitting targets of a task."""
    generator = torch.Generator().manual_seed(1)
    leading = (batch,) if task.read_at == "last" else (steps, batch)
    outputs = torch.randn(*leading, task.output_size, generator=generator)
    if task.target == "class":
        return outputs, torch.randint(task.output_size, leading, generator=generator)
    return outputs, torch.randn(*leading, task.output_size, generator=generator)


@pytest.mark.parametrize("task", [ADDING, COPYING, DIGITS, LORENZ], ids=lambda task: task.key)
def test_what_a_batch_holds(task):
    inputs, targets = task.sequences(2)
    assert inputs.shape == (task.length, 2, task.input_size) and inputs.dtype == torch.float32
    leading = (2,) if task.read_at == "last" else (task.length, 2)
    values = (task.output_size,) if task.target == "value" else ()
    assert targets.shape == (*leading, *values)
    assert targets.dtype == (torch.float32 if task.target == "value" else torch.int64)
    again = task.sequences(2)
    assert torch.equal(again[0], inputs) and torch.equal(again[1], targets)


@pytest.mark.parametrize("task", [ADDING, COPYING, LORENZ], ids=lambda task: task.key)
def test_sequences_are_the_first_items(task):
    inputs, targets = task.sequences(3, seed=2, split="test")
    dataset = task.dataset("test", seed=2)
    for i in range(3):
        sequence, target = dataset[i]
        assert torch.equal(inputs[:, i], sequence)
        assert torch.equal(targets[i] if task.read_at == "last" else targets[:, i], target)


def test_loss_is_the_mean_over_batch_and_steps():
    outputs, targets = answers(COPYING)
    by_hand = -sum(outputs[t, b].log_softmax(-1)[targets[t, b]] for t in range(21) for b in range(3)) / 63
    assert COPYING.loss(outputs, targets).item() == pytest.approx(by_hand.item(), rel=1e-5)
    outputs, targets = answers(LORENZ)
    assert LORENZ.loss(outputs, targets).item() == pytest.approx((outputs - targets).pow(2).mean().item(), rel=1e-6)
    outputs.requires_grad_()
    LORENZ.loss(outputs, targets).backward()
    torch.testing.assert_close(outputs.grad, 2 * (outputs.detach() - targets) / targets.numel())


@pytest.mark.parametrize("task", [ADDING, COPYING, DIGITS, LORENZ], ids=lambda task: task.key)
def test_parts_of_batches_add_up(task):
    outputs, targets = answers(task, batch=7)
    axis = 0 if task.read_at == "last" else 1
    pieces = zip(outputs.split([5, 2], axis), targets.split([5, 2], axis), strict=True)
    total = sum(task.score_parts(*piece) for piece in pieces)
    assert task.score_of(total) == pytest.approx(task.score(outputs, targets), rel=1e-12)


def test_score_by_hand():
    outputs = torch.tensor([[2.0] + 9 * [0.0], 9 * [0.0] + [1.0]])
    assert DIGITS.score(outputs, torch.tensor([0, 3])) == 0.5
    assert ADDING.score(torch.tensor([[1.0], [0.5]]), torch.tensor([[1.5], [0.5]])) == 0.125
    assert LORENZ.score(torch.zeros(1, 1, 5), torch.ones(1, 1, 5)) == 1.0
    assert COPYING.score(torch.zeros(21, 1, 9), torch.zeros(21, 1, dtype=torch.int64)) == pytest.approx(math.log(9))
    assert (DIGITS.better, ADDING.better) == ("higher", "lower")


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "error", "message"),
    [
        (
            ADDING,
            torch.zeros(3, 1),
            torch.zeros(3),
            ValueError,
            r"adding:T=10.loss: expected targets of shape \(3, 1\)",
        ),
        (ADDING, torch.zeros(3), torch.zeros(3, 1), ValueError, r"expected outputs of shape \(batch, 1\)"),
        (DIGITS, torch.zeros(3, 9), torch.zeros(3).long(), ValueError, r"expected outputs of shape \(batch, 10\)"),
        (DIGITS, torch.zeros(3, 10), torch.zeros(2).long(), ValueError, r"expected targets of shape \(3\)"),
        (COPYING, torch.zeros(3, 9), torch.zeros(3).long(), ValueError, r"shape \(time, batch, 9\)"),
        (LORENZ, torch.zeros(4, 3, 5), torch.zeros(4, 1, 5), ValueError, r"expected targets of shape \(4, 3, 5\)"),
        (DIGITS, torch.zeros(3, 10), torch.zeros(3), TypeError, "expected int64 targets, got a torch.float32 tensor"),
        (DIGITS, torch.zeros(3, 10).long(), torch.zeros(3).long(), TypeError, "outputs of a floating dtype"),
    ],
)
def test_answers_that_do_not_fit(task, outputs, targets, error, message):
    with pytest.raises(error, match=message):
        task.loss(outputs, targets)


def test_a_score_is_never_of_nan():
    with pytest.raises(ValueError, match=r"digits:T=10.score: expected finite outputs, got nan at index \(0, 0\)"):
        DIGITS.score(torch.full((2, 10), torch.nan), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("task", "arguments", "error", "message"),
    [
        (ADDING, {"split": "valid"}, ValueError, "split to be one of 'train', 'validation', 'test', got 'valid'"),
        (ADDING, {"steps": 1}, ValueError, "adding:T=10.dataset: expected steps >= 2, got 1"),
        (COPYING, {"steps": 20}, ValueError, "expected steps >= 21, got 20"),
        (get_task("digits_rows"), {"steps": 9}, ValueError, "steps <= 8, the length of its sequences, got 9"),
        (ADDING, {"seed": -1}, ValueError, "expected seed >= 0, got -1"),
        (ADDING, {"size": 0}, ValueError, "expected size >= 1, got 0"),
        (
            DIGITS,
            {"size": 361, "split": "test"},
            ValueError,
            "expected size <= 360, the size of the test split, got 361",
        ),
        (LORENZ, {"size": 129}, ValueError, "expected size <= 128"),
        (ADDING, {"steps": 2.0}, TypeError, "expected steps to be an integer"),
    ],
)
def test_bad_arguments(task, arguments, error, message):
    with pytest.raises(error, match=message):
        task.dataset(**arguments)


def test_sizes():
    assert len(ADDING.dataset()) == 100_000 and len(ADDING.dataset("test")) == 10_000
    assert len(ADDING.dataset(size=10**9)) == 10**9, "none of them is made before it is asked for"
    assert len(LORENZ.dataset("validation")) == 128
