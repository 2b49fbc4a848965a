"""The recurrences as a user would write them in PyTorch when every microsecond of the loop counts.

Fair to the loop: the input terms are unbound once (indexing x[t] makes the backward pass quadratic), the outputs
stacked once, what depends on parameters alone is made once, products and sums share an operator where there is one.
Faster than dynlab's reference backend, which goes through ``Cell.advance`` at every step.

Index conventions: t time, b batch, d unit. Input terms (t, b, d), or (t, b, 2 d) with a gate -> outputs (t, b, d).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dynlab.backend import Backend
from dynlab.cell import Cell, Keep, derive_once
from dynlab.cells import AntisymmetricRNN, IncrementalRNN, UnICORNN


def parameters_of(cell: Cell) -> dict[str, Tensor]:
    """The parameters of the recurrence: those that stand in the input terms are left out."""
    return {name: value for name, value in cell.named_parameters() if not name.startswith(("weight_ih", "bias"))}


def scan(cell: Cell, x: Tensor, state: Tensor, keep: Keep, backend: Backend) -> Tensor:
    """What ``cell.scan`` does once it has its input terms."""
    with derive_once():
        kept = cell._run(x, state, keep, backend)
    return kept.last if kept.sequence is None else kept.sequence


def loop(cell: Cell, x: Tensor, state: Tensor) -> Tensor:
    """The hidden state after each input, by the loop written for this cell."""
    for kind, run in ((UnICORNN, unicornn), (IncrementalRNN, incremental), (AntisymmetricRNN, antisymmetric)):
        if isinstance(cell, kind):
            return run(cell, x, state)
    raise TypeError(f"benchmarks: expected a cell with a loop of its own, got {type(cell).__name__}")


def unicornn(cell: Any, x: Tensor, state: Tensor) -> Tensor:
    y, z = state.chunk(2, dim=-1)
    # Expanded, so that their gradients are summed over the batch once and not at every step.
    w, h = cell.weight_hh.expand_as(y), cell.effective_time_step().expand_as(y)
    outputs = []
    for term in x.unbind(0):
        force = torch.addcmul(term, w, y).tanh().add(y, alpha=cell.alpha)
        z = torch.addcmul(z, h, force, value=-1)
        y = torch.addcmul(y, h, z)
        outputs.append(y)
    return torch.stack(outputs)


def antisymmetric(cell: Any, x: Tensor, state: Tensor) -> Tensor:
    matrix, outputs = cell.recurrent_matrix().T, []
    if not cell.gated:
        for term in x.unbind(0):
            state = torch.add(state, torch.addmm(term, state, matrix).tanh(), alpha=cell.epsilon)
            outputs.append(state)
        return torch.stack(outputs)
    for term, gate in zip(*(part.unbind(0) for part in x.chunk(2, dim=-1)), strict=True):
        recurrent = state @ matrix
        change = torch.tanh(recurrent + term) * torch.sigmoid(recurrent + gate)
        state = torch.add(state, change, alpha=cell.epsilon)
        outputs.append(state)
    return torch.stack(outputs)


def incremental(cell: Any, x: Tensor, state: Tensor) -> Tensor:
    """With tanh, from h_{m-1}, with its plus sign."""
    full, etas, outputs = cell.recurrent == "full", cell.eta.unbind(), []
    first, second = (cell.weight_full.T, None) if full else (cell.weight_h.T, cell.weight_v.T)
    for term in x.unbind(0):
        inner = state
        for eta in etas:
            total = inner + state
            # U total + term, of U = I + V H with the identity as a sum.
            pre = torch.addmm(term, total, first) if full else torch.addmm(term + total, total @ first, second)
            inner = inner + eta * pre.tanh().sub(total, alpha=cell.alpha)
        state = inner
        outputs.append(state)
    return torch.stack(outputs)
