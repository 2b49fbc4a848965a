"""Jacobians of a step that gives none, by ``torch.func``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dynlab.jacobian.drive import DenseDrive, Linearization
from dynlab.jacobian.step import DenseJacobian

Step = Callable[[Tensor, Tensor], Tensor]


def linearize_by_autodiff(step: Step, terms: Tensor, states: Tensor, weight: Tensor | None = None) -> Linearization:
    """Linearise ``step`` at every leading index.

    Arguments:
        step: (batch, p), (batch, n) -> (batch, n); samples must not influence one another.
        terms: (..., p), what the step needs of the input. states: (..., n).
        weight: d term / d input, (p, f); None where the term is the input.

    Returns:
        A dense linearisation, matrices (..., n, n) and (..., n, p). Steps that ``torch.vmap`` cannot
        transform (data-dependent Python) are differentiated one output at a time.
    """
    leading = states.shape[:-1]
    x, s = (tensor.detach().reshape(leading.numel(), tensor.shape[-1]) for tensor in (terms, states))

    def single(x_: Tensor, s_: Tensor) -> Tensor:
        return step(x_[None], s_[None])[0]

    try:
        with torch.no_grad():
            by_x, by_s = torch.func.vmap(torch.func.jacrev(single, argnums=(0, 1)))(x, s)
    except (RuntimeError, NotImplementedError):
        # One at a time: such a step may branch on the values that it gets.
        each = [_rows_by_backward(step, *pair) for pair in zip(x.split(1), s.split(1), strict=True)]
        by_x, by_s = (torch.cat(parts) for parts in zip(*each, strict=True))
    return Linearization(
        DenseJacobian(by_s.reshape(*leading, *by_s.shape[1:])),
        DenseDrive(by_x.reshape(*leading, *by_x.shape[1:]), weight),
    )


def _rows_by_backward(step: Step, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x, s = x.clone().requires_grad_(), s.clone().requires_grad_()
        new = step(x, s)
        rows = [
            torch.autograd.grad(component.sum(), (x, s), retain_graph=True, allow_unused=True, materialize_grads=True)
            for component in new.unbind(-1)
        ]
    by_x, by_s = zip(*rows, strict=True)
    return torch.stack(by_x, 1).detach(), torch.stack(by_s, 1).detach()
