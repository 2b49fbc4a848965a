"""The main job, against float64 autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dynlab
from dynlab.compare import DEFAULT_CELLS, compare, rows, seeded_cell, split_cells
from dynlab.tasks import get_task


def ratio_by_autograd(cell: dynlab.Cell, inputs: torch.Tensor) -> float:
    """log |ds_T/ds_1|_F - log |ds_T/ds_{T-1}|_F in float64, mean over samples, by backward through the loop."""
    cell, inputs = cell.double(), inputs.double()
    batch = inputs.shape[1]
    state = cell.initial_state(batch)
    states = []
    for x in inputs:
        state = cell(x, state).detach().requires_grad_() if not states else cell(x, state)
        states.append(state)
    squares = [torch.zeros(batch, dtype=torch.float64) for _ in range(2)]
    for component in range(cell.state_size):
        ends = torch.autograd.grad(states[-1][:, component].sum(), (states[0], states[-2]), retain_graph=True)
        for square, gradient in zip(squares, ends, strict=True):
            square += gradient.square().sum(-1)
    return float((squares[0].log() - squares[1].log()).mean() / 2)


def test_verdicts_equal_those_of_float64_autograd_over_five_seeds() -> None:
    """The demo's cells and task, smaller; float64 can hold what its Elman RNN vanishes to at this T."""
    task, hidden, steps, seeds = get_task("digits"), 16, 400, range(5)
    tree = compare(DEFAULT_CELLS, task, hidden_size=hidden, steps=steps, batch_size=2, seeds=tuple(seeds))
    for row, spec in zip(rows(tree), DEFAULT_CELLS, strict=True):
        expected = []
        for seed in seeds:
            inputs, _ = task.sequences(2, steps, seed)
            expected.append(ratio_by_autograd(seeded_cell(spec, inputs.shape[-1], hidden, seed), inputs))
        measured = tree[spec]["log_gradient_ratio"].mean("batch").values
        np.testing.assert_allclose(measured, expected, rtol=2e-3, atol=2e-3)
        assert row.verdicts == tuple(dynlab.verdict(value) for value in expected)


@pytest.mark.slow
def test_the_demo_tells_three_kinds_apart() -> None:
    """At the demo's own size: what the README says of it."""
    table = {row.label: row for row in rows(compare(DEFAULT_CELLS, get_task("digits")))}
    kinds = {label: row.verdict for label, row in table.items()}
    assert kinds == {
        "unicornn": "stable",
        "irnn:K=5": "exploding",
        "antisymmetric": "stable",
        "elman": "vanishing",
        "lstm": "vanishing",
    }


def test_seeds_draw_weights_and_sequences_and_leave_the_generator() -> None:
    before = torch.get_rng_state()
    tree = compare(["gru"], get_task("digits"), hidden_size=4, steps=10, batch_size=2, seeds=(0, 1, 0 + 2))
    assert torch.equal(before, torch.get_rng_state())
    values = tree["gru"]["log_gradient_ratio"].values
    assert len(np.unique(values)) == values.size
    (row,) = rows(tree)
    assert row.ratio == pytest.approx(values.mean())
    assert row.ratio_spread == pytest.approx(values.mean(1).std(ddof=1))


def test_means_over_modes_are_taken_in_logarithms() -> None:
    """At e^-2000 the moduli are zero as floats; their mean is not."""
    weight = 0.1 * torch.eye(4)
    cell = dynlab.as_cell(lambda x, h: h @ weight + 0 * x[:, :1], input_size=8, state_size=4)
    (row,) = rows(compare([("linear", cell)], get_task("digits"), steps=1000, batch_size=2))
    assert row.modulus_mean == pytest.approx(1000 * math.log(0.1), rel=1e-6)
    assert row.exponent == pytest.approx(math.log(0.1), rel=1e-6)
    assert row.verdict == "vanishing"


def test_split_cells() -> None:
    assert split_cells("unicornn, irnn:K=5,eta=0.01,lstm,mine.py:f") == [
        "unicornn",
        "irnn:K=5,eta=0.01",
        "lstm",
        "mine.py:f",
    ]
