import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dynlab.tasks import SPLITS, Samples, get_task
from dynlab.tasks.samples import sample_generator

SPECS = ["adding:T=7", "copying:T=2", "digits:T=12", "digits:T=12,noise=uniform", "digits_rows", "lorenz96"]


def same(item, other):
    return all(torch.equal(part, twin) for part, twin in zip(item, other, strict=True))


@pytest.mark.parametrize("spec", SPECS)
def test_items_do_not_depend_on_order_size_or_process(spec):
    task = get_task(spec)
    dataset = task.dataset("train", seed=3, size=6)
    forwards = [dataset[i] for i in range(6)]
    assert all(same(forwards[i], dataset[i]) for i in reversed(range(6)))
    assert same(task.dataset("train", seed=3)[4], forwards[4]) and same(dataset[-2], forwards[4])
    assert same(pickle.loads(pickle.dumps(dataset))[5], forwards[5]), "as a spawned worker gets it"


@pytest.mark.parametrize("spec", SPECS)
def test_splits_and_seeds_differ(spec):
    task = get_task(spec)
    items = [task.dataset(split, size=1)[0] for split in SPLITS]
    assert not any(torch.equal(items[a][0], items[b][0]) for a, b in ((0, 1), (0, 2), (1, 2)))
    if spec != "digits_rows":
        assert not torch.equal(task.dataset("train", seed=1, size=1)[0][0], items[0][0])


# What Python 3.12 and later say of every fork; the workers of a DataLoader are forked.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_give_the_same_batches():
    task = get_task("digits:T=20")
    dataset = task.dataset(size=12)
    alone, shared = (
        list(DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=task.collate)) for workers in (0, 2)
    )
    assert len(alone) == 3 and all(map(same, alone, shared))
    assert alone[0][0].shape == (20, 4, 8) and alone[0][1].shape == (4,)


def test_a_sample_has_a_stream_of_its_own():
    first = {
        sample_generator(seed, split, index).integers(2**63)
        for seed in (0, 1)
        for split in SPLITS
        for index in range(5)
    }
    assert len(first) == 2 * 3 * 5


def test_index():
    dataset = Samples(3, lambda i: (torch.tensor(i), torch.tensor(i)))
    assert len(dataset) == 3 and [int(dataset[i][0]) for i in (0, 2, -1, -3, np.int64(1))] == [0, 2, 2, 0, 1]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"expected an index below 3, got {index}"):
            dataset[index]
    with pytest.raises(TypeError):
        dataset[1.0]
