"""The order of the batches."""

from __future__ import annotations

import pytest

from dynlab.tasks import get_task
from dynlab.training import Settings, TaskData
from dynlab.training.data import Order


def test_every_epoch_has_every_sample_once_in_another_order() -> None:
    order = Order(size=10, batch=4, total=9, seed=3)
    assert order.per_epoch == 3
    batches = list(order)
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    epochs = [sum(batches[left : left + 3], []) for left in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(Order(10, 4, 9, seed=3)) == batches != list(Order(10, 4, 9, seed=4))


@pytest.mark.parametrize("first", [0, 1, 4, 8])
def test_it_starts_anywhere(first: int) -> None:
    order = Order(10, 4, 9, seed=3)
    order.first = first
    assert list(order) == list(Order(10, 4, 9, seed=3))[first:]
    assert len(order) == 9


def test_devices_share_a_batch() -> None:
    whole = list(Order(10, 4, 6, seed=0))
    parts = [list(Order(10, 4, 6, seed=0, rank=rank, world=2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


def test_no_device_goes_without_a_sample() -> None:
    assert Order(9, 4, 1, 0, world=2).per_epoch == 2
    assert Order(9, 4, 1, 0).per_epoch == 3


def test_drawn_samples_are_fresh() -> None:
    data = TaskData(get_task("adding:T=8"), Settings(task="adding:T=8", cell="gru", iterations=7, batch=3))
    assert data.fresh and len(data.train) == 21
    assert sum(data.order(), []) == list(range(21))


def test_drawn_samples_come_again_where_their_number_is_given() -> None:
    settings = Settings(task="adding:T=8", cell="gru", iterations=7, batch=3, train_size=5)
    data = TaskData(get_task("adding:T=8"), settings)
    assert not data.fresh and data.per_epoch == 2
    assert {index for batch in data.order() for index in batch} == set(range(5))


def test_epochs_of_a_stored_task() -> None:
    settings = Settings(task="digits_rows", cell="gru", epochs=2, batch=100)
    data = TaskData(get_task("digits_rows"), settings)
    assert (len(data.train), data.per_epoch, data.total, data.evaluate_every) == (1150, 12, 24, 12)
    assert len(data.split("validation")) == 287
    assert len(data.split("test")) == 360
    inputs, labels = next(iter(data.test_dataloader()))
    assert inputs.shape == (8, 128, 8) and labels.shape == (128,)
