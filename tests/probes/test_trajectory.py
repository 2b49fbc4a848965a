"""Trajectory: which states it keeps, and its arguments."""

import pytest
import torch

from dynlab.cells.unicornn import UnICORNN
from dynlab.probes.trajectory import Trajectory
from dynlab.trace import rollout


@pytest.fixture
def trace():
    return rollout(UnICORNN(2, 4), torch.randn(7, 3, 2))


def test_all_of_it(trace):
    (found,) = Trajectory().observe(trace).variables()
    assert found.dims == ("time", "batch", "unit")
    assert torch.equal(found.values, trace.states[..., :4])
    assert not found.coords
    (found,) = Trajectory(of="state").observe(trace).variables()
    assert torch.equal(found.values, trace.states)


def test_some_of_it(trace):
    (found,) = Trajectory(of="state", units=(6, 1), every=3).observe(trace).variables()
    assert torch.equal(found.values, trace.states[[0, 3, 6]][..., [6, 1]])
    assert found.coords["time"].tolist() == [0, 3, 6]
    assert found.coords["unit"].tolist() == [6, 1]
    (found,) = Trajectory(units=slice(1, None, 2)).observe(trace).variables()
    assert found.coords["unit"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"of": "output"}, ValueError, "expected of"),
        ({"every": 0}, ValueError, "every >= 1"),
        ({"units": 3}, TypeError, "sequence of indices"),
        ({"units": "01"}, TypeError, "sequence of indices"),
        ({"units": ()}, ValueError, "one or more different"),
        ({"units": (1, 1)}, ValueError, "one or more different"),
        ({"units": (-1,)}, ValueError, "each of units >= 0"),
        ({"units": (1.0,)}, TypeError, "integer"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Trajectory(**arguments)


@pytest.mark.parametrize("units", [(4,), slice(4, None)])
def test_units_that_are_not_there(trace, units):
    with pytest.raises(ValueError, match="among the 4 hidden components of UnICORNN"):
        Trajectory(units=units).observe(trace)
