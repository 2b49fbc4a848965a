from collections import Counter

import numpy as np
import pytest
import torch

from dynlab.tasks import StoredTask


def read(split):
    """Sample i holds 10 i plus the position, its label is i mod 3; 6 samples train, 10 test."""
    count = 6 if split == "train" else 10
    images = 10 * np.arange(count, dtype=np.uint8)[:, None, None] + np.arange(6, dtype=np.uint8).reshape(3, 2)
    return images, (np.arange(count) % 3).astype(np.uint8)


def toy(**changes):
    fields = {
        "key": "toy",
        "summary": "",
        "input_size": 2,
        "output_size": 3,
        "rows": 3,
        "length": 12,
        "mean": 5.0,
        "std": 2.0,
        "noise": "gaussian",
        "validation": 1 / 3,
        "normalisation": "",
        "splits": "",
        "source": "",
        "license": "",
        "read": read,
    }
    return StoredTask(**{**fields, **changes})


TASK = toy()


def test_load_is_time_first_and_standardised():
    inputs, labels = TASK.load("train")
    assert inputs.shape == (3, 6, 2) and inputs.dtype == torch.float32, "with those that validate"
    assert labels.tolist() == [0, 1, 2, 0, 1, 2] and labels.dtype == torch.int64
    # Sample 4, row 2, column 1 holds 40 + 2 * 2 + 1.
    assert inputs[2, 4, 1] == (45 - 5) / 2
    assert TASK.load("validation")[0][0, :, 0].tolist() == [(40 - 5) / 2, (50 - 5) / 2]
    assert TASK.load("test")[0].shape == (3, 10, 2)


def test_mean_and_std_of_each_feature():
    inputs, _ = toy(mean=(1.0, 2.0), std=(2.0, 4.0)).load("test")
    assert inputs[1, 2].tolist() == [(22 - 1) / 2, (23 - 2) / 4]


def test_sequences_hold_different_samples_with_their_labels():
    inputs, labels = TASK.sequences(6, steps=20, seed=1)
    assert inputs.shape == (20, 6, 2) and inputs.dtype == torch.float32 and labels.dtype == torch.int64
    sample = ((inputs[0, :, 0] * 2 + 5) / 10).round().int().tolist()
    assert Counter(sample) == Counter(range(6)), "with those that validate"
    assert [i % 3 for i in sample] == labels.tolist()
    assert sample != sorted(sample), "drawn at random"
    assert torch.equal(inputs[:3], TASK.load("train")[0][:, sample])


def test_items_are_the_samples_in_order_and_noise():
    for split, labels in (("train", [0, 1, 2, 0]), ("validation", [1, 2]), ("test", [i % 3 for i in range(10)])):
        dataset = TASK.dataset(split, steps=9)
        assert [int(label) for _, label in dataset] == labels
        inputs = torch.stack([sequence for sequence, _ in dataset], 1)
        assert inputs.shape == (9, len(labels), 2) and torch.equal(inputs[:3], TASK.load(split)[0][:, : len(labels)])
        assert len(inputs[3:].unique()) == inputs[3:].numel()


def test_an_item_may_be_changed():
    dataset = toy(noise=None, rows=3, read=lambda split: (np.ones((1, 3, 2), np.float32), np.zeros(1)), validation=None)
    for _ in range(2):
        sequence, label = dataset.dataset()[0]
        assert sequence.eq(-2).all() and label == 0
        sequence.zero_()
        label += 1


def test_shared_noise_is_that_of_every_sample():
    task = toy(noise="shared")
    items = [task.dataset(split, steps=8)[i][0] for split in ("train", "test") for i in (0, 1)]
    items += list(task.sequences(3, steps=8)[0].unbind(1))
    assert all(torch.equal(item[3:], items[0][3:]) for item in items)
    assert not torch.equal(task.dataset(steps=8, seed=1)[0][0][3:], items[0][3:])


def test_default_length_and_baseline():
    assert TASK.sequences(2)[0].shape == (12, 2, 2)
    assert TASK.baseline == 1 / 3


def test_the_seed_decides():
    (first, labels), (again, same), (other, _) = (TASK.sequences(4, 30, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first, again) and torch.equal(labels, same)
    assert not torch.equal(first[3:], other[3:])
    assert not torch.equal(first[3:], TASK.sequences(4, 30, seed=5, split="test")[0][3:])


def test_more_steps_extend_and_fewer_cut():
    long, short, cut = (TASK.sequences(4, steps, seed=2)[0] for steps in (40, 9, 2))
    assert torch.equal(long[:9], short) and torch.equal(long[:2], cut)
    long, short, cut = (TASK.dataset(steps=steps, seed=2)[1][0] for steps in (40, 9, 2))
    assert torch.equal(long[:9], short) and torch.equal(long[:2], cut)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "toy.sequences: expected count >= 1, got 0"),
        ({"count": 7}, ValueError, "expected count <= 6, the size of the train split, got 7"),
        ({"count": 2.0}, TypeError, "expected count to be an integer"),
        ({"count": 1, "steps": 0}, ValueError, "expected steps >= 1, got 0"),
        ({"count": 1, "seed": -1}, ValueError, "expected seed >= 0, got -1"),
        ({"count": 1, "split": "valid"}, ValueError, "expected split to be one of .* got 'valid'"),
        (
            {"count": 3, "split": "validation"},
            ValueError,
            "expected count <= 2, the size of the validation split, got 3",
        ),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        TASK.sequences(**arguments)


def test_load_of_an_unknown_split():
    with pytest.raises(ValueError, match=r"toy.load: expected split to be one of .* got 'all'"):
        TASK.load("all")


def test_without_validation():
    task = toy(validation=0)
    assert len(task.dataset("train")) == 6
    with pytest.raises(ValueError, match="toy: expected samples in the validation split, got none: validation=0"):
        task.dataset("validation")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"noise": "pink"}, ValueError, "toy: expected noise to be one of 'gaussian', 'uniform', 'shared', got 'pink'"),
        ({"validation": 1}, ValueError, "toy: expected validation < 1, the share of the training samples, got 1"),
        ({"validation": -0.1}, ValueError, "expected a finite validation >= 0"),
        ({"validation": "some"}, TypeError, "expected validation to be a number, got 'some'"),
    ],
)
def test_bad_options(changes, error, message):
    with pytest.raises(error, match=message):
        toy(**changes)
