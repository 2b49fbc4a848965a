"""What a loss or gradient that is not finite came from: the first step, and the layer or parameter."""

from __future__ import annotations

import torch
from torch import Tensor

from dynlab.network import Network


class NonFiniteError(ValueError):
    """A loss or gradient is NaN or infinite. The parameters are those before the update, and finite."""


def check_loss(loss: Tensor, network: Network, inputs: Tensor, step: int) -> None:
    """Raise where ``loss`` is not finite, and say where the forward pass left the float range.

    Raises:
        NonFiniteError: naming the step, and the layer and time step.
    """
    value = float(loss.detach())
    if torch.isfinite(loss.detach()):
        return
    raise NonFiniteError(f"train: step {step}: expected a finite loss, got {value}; {_overflow(network, inputs)}")


@torch.no_grad()
def _overflow(network: Network, inputs: Tensor) -> str:
    states = network.scan(inputs)
    good = torch.isfinite(states)
    if bool(good.all()):
        return f"the states are finite (largest {float(states.abs().max()):.2g}), the readout or the loss is not"
    times = [(int((~good[..., where]).any(-1).any(-1).int().argmax()), index)
             for index, where in enumerate(network.layer_slices) if not bool(good[..., where].all())]  # fmt: skip
    time, layer = min(times)
    name, largest = max(((n, float(p.detach().abs().max())) for n, p in network.named_parameters()), key=lambda x: x[1])
    return (
        f"the state of layer {layer} ({type(network.layers[layer]).__name__}) left the range of {states.dtype} at time "
        f"step {time} of {len(inputs)}; all parameters are finite, the largest is {largest:.3g} in {name}"
    )


def check_gradients(network: Network, loss: float, step: int) -> None:
    """Raise where a gradient is not finite.

    Raises:
        NonFiniteError: naming the step and the first such parameter.
    """
    named = [(name, parameter.grad) for name, parameter in network.named_parameters() if parameter.grad is not None]
    # One number to look at: it is not finite where any entry is not (or where they add up beyond the range).
    total = torch.stack([gradient.detach().sum() for _, gradient in named]).sum() if named else torch.zeros(())
    if torch.isfinite(total):
        return
    bad = [(name, gradient) for name, gradient in named if not bool(torch.isfinite(gradient).all())]
    if not bad:
        return
    name, gradient = bad[0]
    value = float(gradient[~torch.isfinite(gradient)][0])
    others = f", and of {len(bad) - 1} more parameters" if len(bad) > 1 else ""
    raise NonFiniteError(
        f"train: step {step}: expected finite gradients, got {value} in that of {name}{others}; the loss was {loss:g}. "
        "A smaller lr, or clip, may help"
    )
