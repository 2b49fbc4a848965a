from collections import Counter

import numpy as np
import pytest
import torch

from dynlab.tasks import Task, get_task, tasks


def read(split):
    """Sample i holds 10 i plus the position, its label is i mod 3; 6 samples train, 10 test."""
    count = 6 if split == "train" else 10
    images = 10 * np.arange(count, dtype=np.uint8)[:, None, None] + np.arange(6, dtype=np.uint8).reshape(3, 2)
    return images, (np.arange(count) % 3).astype(np.uint8)


TASK = Task(
    key="toy",
    summary="",
    input_size=2,
    rows=3,
    length=12,
    num_classes=3,
    mean=5.0,
    std=2.0,
    source="",
    license="",
    read=read,
)


def test_load_is_time_first_and_standardised():
    inputs, labels = TASK.load("train")
    assert inputs.shape == (3, 6, 2) and inputs.dtype == torch.float32
    assert labels.tolist() == [0, 1, 2, 0, 1, 2] and labels.dtype == torch.int64
    # Sample 4, row 2, column 1 holds 40 + 2 * 2 + 1.
    assert inputs[2, 4, 1] == (45 - 5) / 2
    assert TASK.load("test")[0].shape == (3, 10, 2)


def test_sequences_hold_different_samples_with_their_labels():
    inputs, labels = TASK.sequences(6, steps=20, seed=1)
    assert inputs.shape == (20, 6, 2) and inputs.dtype == torch.float32 and labels.dtype == torch.int64
    sample = ((inputs[0, :, 0] * 2 + 5) / 10).round().int().tolist()
    assert Counter(sample) == Counter(range(6))
    assert [i % 3 for i in sample] == labels.tolist()
    assert sample != sorted(sample), "drawn at random"
    assert torch.equal(inputs[:3], TASK.load("train")[0][:, sample])


def test_default_length_and_baseline():
    assert TASK.sequences(2)[0].shape == (12, 2, 2)
    assert TASK.baseline == 1 / 3
    assert TASK.normalisation.startswith("(pixel - 5) / 2")


def test_the_seed_decides():
    (first, labels), (again, same), (other, _) = (TASK.sequences(4, 30, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first, again) and torch.equal(labels, same)
    assert not torch.equal(first[3:], other[3:])
    assert not torch.equal(first[3:], TASK.sequences(4, 30, seed=5, split="test")[0][3:])


def test_more_steps_extend_and_fewer_cut():
    long, short, cut = (TASK.sequences(4, steps, seed=2)[0] for steps in (40, 9, 2))
    assert torch.equal(long[:9], short) and torch.equal(long[:2], cut)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "toy.sequences: expected count >= 1, got 0"),
        ({"count": 7}, ValueError, "expected count <= 6, the size of the train split, got 7"),
        ({"count": 2.0}, TypeError, "expected count to be an integer"),
        ({"count": 1, "steps": 0}, ValueError, "expected steps >= 1, got 0"),
        ({"count": 1, "seed": -1}, ValueError, "expected seed >= 0, got -1"),
        ({"count": 1, "split": "valid"}, ValueError, "expected split to be one of 'train', 'test', got 'valid'"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        TASK.sequences(**arguments)


def test_load_of_an_unknown_split():
    with pytest.raises(ValueError, match=r"toy.load: expected split to be one of .* got 'all'"):
        TASK.load("all")


def test_registry():
    assert list(tasks) == ["digits", "mnist"]
    for key, task in tasks.items():
        assert get_task(key) is task and task.key == key
        assert task.summary and task.source and task.license and task.metric == "accuracy"
        assert (task.num_classes, task.baseline, task.length) == (10, 0.1, 1000)
    with pytest.raises(ValueError, match="expected a task among digits, mnist; got 'imagenet'"):
        get_task("imagenet")
