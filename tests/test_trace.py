"""Rollouts: what they keep, how they are linearised in chunks, and where they end."""

import pytest
import torch

import dynlab.trace
from dynlab import as_cell, registry, rollout
from dynlab.jacobian.blocks import BlockDiagonal
from dynlab.jacobian.step import DenseJacobian
from dynlab.trace import StateOverflow


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trace_of(name="gru", steps=7):
    torch.manual_seed(0)
    cell = registry[name](3, 4).double()
    return rollout(cell, rand(steps, 2, 3), rand(2, cell.state_size, seed=1))


def test_states_are_those_of_the_loop():
    trace = trace_of()
    assert (trace.steps, trace.batch_size, trace.requested, trace.overflow) == (7, 2, 7, None)
    assert not trace.overflow_by_sample.any()
    state = trace.states[0]
    for t in range(7):
        state = trace.cell(trace.inputs[t], state)
        torch.testing.assert_close(trace.states[t + 1], state, rtol=1e-13, atol=1e-14)
    assert not trace.states.requires_grad


@pytest.mark.parametrize("name", ["gru", "unicornn", "irnn"])
def test_linearize_has_the_transitions_in_order(name):
    trace = trace_of(name)
    chunk = trace.linearize(2, 5).jacobian.to_dense()
    for index in range(3):
        expected = trace.cell.step_jacobian(trace.inputs[2 + index], trace.states[2 + index]).to_dense()
        torch.testing.assert_close(chunk[index], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("length", [1, 2, 3, 100])
def test_chunks_cover_the_range(length, monkeypatch):
    trace = trace_of()
    monkeypatch.setattr(dynlab.trace, "CHUNK_BYTES", length * trace.linearize(0, 1).nbytes())
    assert trace.chunk == min(length, 7)
    for start, stop in ((0, None), (2, 6), (3, 4)):
        pieces = trace.chunks(start, stop)
        covered = [t for left, right in pieces for t in range(left, right)]
        assert covered == list(range(start, 7 if stop is None else stop))
        assert all(right - left <= length for left, right in pieces)
    assert all(right - left == 1 for left, right in trace.chunks(limit=1))
    steps = dict(trace.linearizations(1, 6))
    assert list(steps) == [2, 3, 4, 5, 6]
    for t, step in steps.items():
        expected = trace.linearize(t - 1, t).jacobian.to_dense()[0]
        torch.testing.assert_close(step.jacobian.to_dense(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["gru", "lstm", "irnn", "unicornn"])
def test_small_jacobians_are_formed_for_many_rows(name, monkeypatch):
    trace = trace_of(name)
    size, blocks = trace.cell.state_size, name == "unicornn"
    for t, step in trace.linearizations(1, 6, width=size):
        structured = trace.linearize(t - 1, t).unbind()[0]
        assert isinstance(step.jacobian, BlockDiagonal if blocks else DenseJacobian)
        torch.testing.assert_close(step.jacobian.to_dense(), structured.jacobian.to_dense(), rtol=1e-13, atol=1e-14)
        torch.testing.assert_close(step.drive.to_dense(), structured.drive.to_dense(), rtol=1e-13, atol=1e-14)
    for few in (0, 1):
        assert not any(isinstance(step.jacobian, DenseJacobian) for step in trace.transitions(0, 7, few))
    monkeypatch.setattr(dynlab.trace, "FORMED_BYTES", 2 * size**2 * 8 - 1)
    assert not any(isinstance(step.jacobian, DenseJacobian) for step in trace_of(name).transitions(0, 7, size))


def test_formed_steps_stay_where_there_is_room(monkeypatch):
    trace = trace_of()
    first = trace.transitions(0, 5, 4)
    again = trace.transitions(2, 5, 4)
    assert all(one is other for one, other in zip(first[2:], again, strict=True))
    assert [step.jacobian.matrix.shape for step in trace.transitions(3, 7, 4)] == [(2, 4, 4)] * 4
    monkeypatch.setattr(dynlab.trace, "KEPT_BYTES", 7 * 2 * 4 * 4 * 8 - 1)
    trace = trace_of()
    first, again = trace.transitions(0, 5, 4), trace.transitions(0, 5, 4)
    assert not any(one is other for one, other in zip(first, again, strict=True))


def test_a_chunk_is_bounded_in_bytes():
    torch.manual_seed(0)
    cell = as_cell(lambda x, s: torch.tanh(s) + x, input_size=60, state_size=60)
    trace = rollout(cell, torch.randn(400, 4, 60))
    size = trace.linearize(0, 1).nbytes()
    assert size == 2 * 4 * 60 * 60 * 4  # d state / d state and d state / d x, four samples
    assert trace.chunk == dynlab.trace.CHUNK_BYTES // size < 400


def tripling(dtype=torch.float32, state=None, steps=200):
    cell = as_cell(lambda x, s: 3 * s + x, input_size=1, state_size=1, name="tripling")
    state = torch.ones(2, 1, dtype=dtype) if state is None else state
    return rollout(cell, torch.zeros(steps, len(state), 1, dtype=dtype), state)


def test_overflow_ends_the_trace_one_step_before():
    # 3^80 < max float32 < 3^81.
    assert 3.0**80 < torch.finfo(torch.float32).max < 3.0**81
    trace = tripling()
    assert (trace.overflow, trace.steps, trace.requested) == (81, 80, 200)
    assert trace.states.shape == (81, 2, 1)
    assert trace.inputs.shape == (80, 2, 1)
    assert bool(torch.isfinite(trace.states).all())
    assert tripling(steps=80).overflow is None


def test_overflow_of_each_sample():
    trace = tripling(state=torch.tensor([[0.0], [1.0], [9.0]]))
    assert trace.overflow == 79
    assert trace.overflow_by_sample.tolist() == [0, 81, 79]


def test_overflow_at_the_first_step():
    with pytest.raises(StateOverflow, match="left the range of torch.float32 at the first step"):
        tripling(state=torch.tensor([[1.0], [2e38]]))
    assert issubclass(StateOverflow, ValueError)


def test_a_state_that_becomes_nan_counts_as_having_left():
    cell = as_cell(lambda x, s: torch.where(x > 0, torch.nan, s), input_size=1, state_size=1)
    inputs = torch.zeros(9, 1, 1)
    inputs[4] = 1
    trace = rollout(cell, inputs)
    assert (trace.overflow, trace.steps) == (5, 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_initial_state_must_be_finite(bad):
    with pytest.raises(ValueError, match="expected a finite initial state, got NaN or infinity"):
        tripling(state=torch.tensor([[1.0], [bad]]))


def test_batch_first_inputs_are_turned():
    cell = registry["gru"](3, 4)
    inputs = torch.randn(7, 2, 3)
    expected = rollout(cell, inputs)
    cell.batch_first = True
    found = rollout(cell, inputs.transpose(0, 1))
    assert torch.equal(found.states, expected.states)
    assert torch.equal(found.inputs, inputs)
