import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dynlab.tasks import get_task

DIGITS = get_task("digits")


def test_the_splits_are_scikit_learns_digits():
    (train, train_labels), (test, test_labels) = DIGITS.load("train"), DIGITS.load("test")
    assert train.shape == (8, 1437, 8) and test.shape == (8, 360, 8)
    source = load_digits()
    pixels = torch.cat([train, test], dim=1) * DIGITS.std + DIGITS.mean
    assert np.array_equal(pixels.transpose(0, 1).round().numpy(), source.images)
    assert np.array_equal(torch.cat([train_labels, test_labels]).numpy(), source.target)


def test_standardised_by_the_training_split():
    inputs, _ = DIGITS.load("train")
    assert inputs.double().mean().item() == pytest.approx(0, abs=1e-6)
    assert inputs.double().std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_the_last_training_samples_validate():
    train, validation, test = (DIGITS.dataset(split, steps=8) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (1150, 287, 360)
    inputs, labels = DIGITS.load("train")
    for i in (0, 286):
        sequence, label = validation[i]
        assert torch.equal(sequence, inputs[:, 1150 + i]) and label == labels[1150 + i]


def test_rows_alone():
    rows = get_task("digits_rows")
    assert rows.length == rows.most_steps == 8
    assert torch.equal(rows.load("test")[0], DIGITS.load("test")[0])
    inputs, labels = rows.sequences(5, seed=3)
    padded, same = DIGITS.sequences(5, steps=20, seed=3)
    assert torch.equal(inputs, padded[:8]) and torch.equal(labels, same)
    assert torch.equal(rows.dataset()[7][0], DIGITS.dataset()[7][0][:8])


def test_rows_then_noise():
    inputs, labels = DIGITS.sequences(360, steps=108, seed=0, split="test")
    assert inputs.shape == (108, 360, 8)
    assert np.array_equal(np.bincount(labels.numpy()), np.bincount(load_digits().target[1437:]))
    noise = inputs[8:].double()
    assert abs(noise.mean().item()) < 4 / noise.numel() ** 0.5
    assert abs(noise.var().item() - 1) < 4 * (2 / noise.numel()) ** 0.5
    # The darkest pixel of the source is 0, so no input lies below it; noise does.
    assert inputs[:8].min().item() == pytest.approx(-DIGITS.mean / DIGITS.std, rel=1e-6)
    assert noise.min().item() < -3
