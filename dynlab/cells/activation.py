"""Activation functions and their derivatives, accurate in the tails.

Autodiff takes tanh' = 1 - tanh^2, which is exactly zero in float32 from |a| = 9 on although the true value,
4 exp(-2 |a|), is an ordinary number. Products of Jacobians multiply these numbers, so they are taken from the
pre-activation instead.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dynlab import _check


def tanh_derivative(a: Tensor) -> Tensor:
    """sech^2(a) = 4 sigmoid(2 a) sigmoid(-2 a)."""
    tail = torch.sigmoid(-2 * a.abs())
    return 4 * (tail - tail * tail)


def sigmoid_derivative(a: Tensor) -> Tensor:
    """sigmoid(a) sigmoid(-a)."""
    return torch.sigmoid(a) * torch.sigmoid(-a)


def relu_derivative(a: Tensor) -> Tensor:
    """1 where a > 0, else 0 (as torch has it, 0 at 0)."""
    return (a > 0).to(a.dtype)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (torch.tanh, tanh_derivative),
    "relu": (torch.relu, relu_derivative),
    "sigmoid": (torch.sigmoid, sigmoid_derivative),
}


def activation(name: str, where: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The activation of this name and its derivative, both functions of the pre-activation."""
    _check.choice("nonlinearity", name, tuple(ACTIVATIONS), where)
    return ACTIVATIONS[name]
