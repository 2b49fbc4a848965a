"""How strongly a loss depends on each state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dynlab import _check
from dynlab.jacobian.arena import Arena
from dynlab.jacobian.product import DenseProduct
from dynlab.probes.base import Computed, Observer, Probe, Variable
from dynlab.trace import Trace


@dataclass(frozen=True)
class LossGradient(Probe):
    """d L / d state_t for a loss of the hidden sequence, through all later states (iRNN A.7.8, Fig. 9).

    Variables:
        log_loss_gradient_norm (time 0..T, batch): natural logarithm of the Euclidean norm of d L / d state_t.
        loss (): the loss.

    Arguments:
        loss: from the hidden parts h_1 .. h_T, (time, batch, d), to a scalar. A sum over samples gives each
            sample's own gradient; a mean divides it by the batch size.
    """

    loss: Callable[[Tensor], Tensor]

    provides = ("log_loss_gradient_norm", "loss")
    summary = "norm of d L / d state_t for a loss of your own"
    reference = "iRNN, A.7.8"

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise TypeError(
                f"LossGradient: expected a function of the hidden sequence, got {_check.describe(self.loss)}"
            )

    def observe(self, trace: Trace) -> Observer:
        cell = trace.cell
        with torch.enable_grad():
            hidden = cell.hidden(trace.states[1:]).detach().clone().requires_grad_()
            loss = self.loss(hidden)
            if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
                raise ValueError(
                    f"LossGradient: expected the loss to be a scalar that depends on the hidden sequence, "
                    f"got {_check.describe(loss)}"
                )
            (direct,) = torch.autograd.grad(loss.sum(), hidden)
        attrs = {"units": "nat", "long_name": "log |d L / d state_t|", "reference": self.reference}
        norms = loss_adjoint_norms(trace, direct)
        return Computed(
            [
                Variable("log_loss_gradient_norm", ("time", "batch"), norms, attrs),
                Variable("loss", (), loss.detach().reshape(()), {"units": "loss", "long_name": "the loss"}),
            ]
        )


@torch.no_grad()
def loss_adjoint_norms(trace: Trace, direct: Tensor) -> Tensor:
    """log |d L / d state_t| for t = 0 .. T, (time, batch), from the direct derivatives d L / d h_t (T, batch, d)."""
    norms = torch.empty(trace.steps + 1, trace.batch_size, dtype=torch.float64, device=direct.device)

    def injected(product: DenseProduct, t: int) -> DenseProduct:
        """Add what the loss reads of state_t itself; in the larger of the two scales."""
        own = direct.new_zeros(trace.batch_size, 1, trace.cell.state_size)
        own[:, 0, trace.cell.hidden_slice] = direct[t - 1]
        norm = torch.linalg.vector_norm(own, dim=(1, 2), keepdim=True)
        log_norm = norm.double().log()[:, 0, 0]
        shift = torch.maximum(product.log_frobenius(), log_norm)
        shift = torch.where(shift.isneginf(), 0, shift)
        carried = product.matrix * (product.log_scale - shift).exp()[:, None, None].to(direct.dtype)
        # Of norm one before it is scaled: exp(-shift) alone leaves the float range where the rest has vanished.
        added = own / torch.where(norm > 0, norm, 1) * (log_norm - shift).exp()[:, None, None].to(direct.dtype)
        return DenseProduct(carried + added, shift)

    zero = direct.new_zeros(trace.batch_size, 1, trace.cell.state_size)
    product, arena = injected(DenseProduct.start(zero), trace.steps), Arena()
    for left, right in reversed(trace.chunks()):
        steps = trace.linearize(left, right).unbind()
        for t, step in zip(range(right, left, -1), reversed(steps), strict=True):
            norms[t] = product.log_frobenius()
            product = product.times(step.jacobian, arena)
            if t > 1:
                product = injected(product, t - 1)
    norms[0] = product.log_frobenius()
    return norms
