import numpy as np
import pytest

from dynlab.tasks.permutation import ORDERS, permutation


@pytest.mark.parametrize("name", ORDERS)
def test_is_a_permutation(name):
    order = permutation(name)
    assert sorted(order) == list(range(784)) and np.array_equal(order, permutation(name))


def test_no_two_are_the_same():
    assert len({permutation(name).tobytes() for name in ORDERS}) == len(ORDERS)


@pytest.mark.parametrize(("name", "seed"), [("scornn", 92916), ("irnn", 42)])
def test_numpy_orders_are_those_of_the_legacy_stream(name, seed):
    """RandomState.permutation shuffles arange from its end; each place is a bounded draw by masked rejection."""
    stream = np.random.RandomState(seed)
    expected = np.arange(784)
    for i in range(783, 0, -1):
        mask = (1 << i.bit_length()) - 1
        while (j := int(stream.randint(0, 2**32, dtype=np.uint32)) & mask) > i:
            pass
        expected[i], expected[j] = expected[j], expected[i]
    assert np.array_equal(permutation(name), expected)


@pytest.mark.parametrize(("name", "seed"), [("unicornn", 5544), ("cornn", 12008)])
def test_torch_orders_are_those_of_randperm_as_it_was_in_2020(name, seed):
    """Both libraries seed MT19937 alike; randperm swaps each place with one at or after it, by remainder."""
    stream = np.random.RandomState(seed).randint(0, 2**32, size=783, dtype=np.uint32)
    expected = np.arange(784)
    for i, number in enumerate(stream.tolist()):
        j = i + number % (784 - i)
        expected[i], expected[j] = expected[j], expected[i]
    assert np.array_equal(permutation(name), expected)


def test_unknown_name():
    with pytest.raises(ValueError, match="permutation: expected permutation to be one of 'unicornn', .* got 'mine'"):
        permutation("mine")
