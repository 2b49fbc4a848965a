"""Where a step of a planar recurrence contracts: its linear part, what a step makes of an eigenvalue, the region.

At a state where every tanh has slope 1 (the origin, without bias) the step Jacobian is a function R of a matrix,
``linear_part``, and so are its eigenvalues: |R(lambda)| <= 1 is the stability region. For Euler's method on
dh/dt = tanh(M h) that is |1 + eps lambda| <= 1, AntisymmetricRNN Prop. 2. Saturation only shrinks the slope.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dynlab.widgets.planar import PlanarModel

CORNERS = 240
"""Of the polygon that stands for a circle."""


def linear_part(model: PlanarModel) -> np.ndarray:
    """The matrix, (2, 2), see ``Recurrence.linear``."""
    W, options = np.array(model.W), model.options
    if model.kind == "feedback":
        return W - options["gamma"] * np.eye(2)
    if model.kind == "antisymmetric":
        return W - W.T - options["gamma"] * np.eye(2)
    if model.kind == "irnn":
        return W - options["alpha"] * np.eye(2)
    if model.kind == "unicornn":
        return np.array([[0.0, 1.0], [-(W[0, 0] + options["alpha"]), 0.0]])
    return W


def growth(model: PlanarModel, eigenvalues: np.ndarray) -> np.ndarray:
    """|R(lambda)| of each eigenvalue: by how much a step stretches its direction.

    UnICORNN's symplectic Euler step has two such numbers for the pair +- lambda, product 1; the larger is given to
    both.
    """
    options = model.options
    with np.errstate(over="ignore", invalid="ignore"):
        if model.kind == "irnn":
            origin = 2 if options["start"] == "previous" else 1
            return np.abs(origin * (1 + options["eta"] * eigenvalues) ** options["K"] - 1)
        if model.kind == "unicornn":
            half_trace = 1 + (_unicornn_step(model) * eigenvalues) ** 2 / 2
            root = np.sqrt(half_trace**2 - 1)
            return np.maximum(np.abs(half_trace + root), np.abs(half_trace - root))
        keep, step = euler(model)
        return np.abs(keep + step * eigenvalues)


def growth_name(model: PlanarModel) -> str:
    """What ``growth`` is, as a formula."""
    if model.kind == "irnn":
        return f"|{'2 ' if model.options['start'] == 'previous' else ''}(1 + η λ)^{model.options['K']} - 1|"
    return {
        "elman": "|λ|",
        "fastrnn": "|σ(β) + σ(α) λ|",
        "unicornn": "largest |µ|",
    }.get(model.kind, "|1 + ε λ|")


def euler(model: PlanarModel) -> tuple[float, float]:
    """(a, e) of the kinds whose step is a h + e tanh(M h)."""
    if model.kind == "elman":
        return 0.0, 1.0
    if model.kind == "fastrnn":
        return _sigmoid(model.options["beta"]), _sigmoid(model.options["alpha"])
    return 1.0, model.options["epsilon"]


def region(model: PlanarModel) -> np.ndarray:
    """Corners of |R(lambda)| <= 1, complex: a disc, K petals (iRNN), or a piece of the imaginary axis (UnICORNN)."""
    # Close together near the point that the discs of Euler's method share, 0: they may be huge.
    angle = np.pi * np.linspace(-1, 1, CORNERS + 1) ** 3
    if model.kind == "unicornn":
        end = 2j / _unicornn_step(model)
        return np.array([-end, end])
    if model.kind == "irnn":
        # |m z^K - 1| <= 1 for z = 1 + eta lambda: z^K in the disc around 1/m through 0, and its K roots.
        K, eta = model.options["K"], model.options["eta"]
        radius = 0.5 if model.options["start"] == "previous" else 1.0
        petal = (2 * radius * np.cos(angle / 2)) ** (1 / K) * np.exp(1j * angle / (2 * K))
        petals = np.concatenate([petal * np.exp(2j * np.pi * turn / K) for turn in range(K)])
        return (petals - 1) / eta
    keep, step = euler(model)
    return (np.exp(1j * angle) - keep) / step


def _unicornn_step(model: PlanarModel) -> float:
    return float(model.options["dt"]) / 2


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
