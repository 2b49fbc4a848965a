"""Settings of the papers for the phase explorer, with the matrices of the figure scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynlab.cells import registry
from dynlab.figures import discover, planar
from dynlab.widgets.planar import PlanarModel


@dataclass(frozen=True)
class Preset:
    """Attributes: line: what to look at. window: half width of the plane. model: made when it is asked for."""

    line: str
    window: float
    make: Callable[[], PlanarModel]

    def model(self) -> PlanarModel:
        """The setting.

        Raises:
            FileNotFoundError, ValueError: if the figure script that has its numbers cannot be had.
        """
        return self.make()


def _pairs(rows: Any) -> Any:
    return tuple(tuple(float(value) for value in row) for row in np.asarray(rows))


def _panel(name: str) -> Callable[[], PlanarModel]:
    """A panel of AntisymmetricRNN Fig. 1."""

    def make() -> PlanarModel:
        script: Any = discover.load("antisymmetric_fig1")
        # The draws that the script's ``choose`` finds from seed 0 on.
        drawn = {"a": lambda: planar.gaussian_matrix(0), "b": lambda: np.eye(2),
                 "c": lambda: script.orthogonal_matrix(0), "d": lambda: script.orthogonal_matrix(1)}  # fmt: skip
        if name in script.VANILLA:
            return PlanarModel("elman", _pairs(drawn[name]()), steps=script.STEPS)
        options = {"epsilon": script.EPSILON, "gamma": 0.0}
        return PlanarModel("feedback", _pairs(script.MATRICES[name]), options=options, steps=script.STEPS)

    return make


def _diffusion() -> PlanarModel:
    """W - W^T of panel (g), with a diffusion that meets Prop. 2: at eps = 0.1 the least is 0.2021."""
    g = _panel("g")()
    upper = ((0.0, g.W[0][1] / 2), (g.W[1][0] / 2, 0.0))
    return PlanarModel("antisymmetric", upper, options={**g.options, "gamma": 0.25}, steps=200)


def _irnn() -> PlanarModel:
    """iRNN Fig. 2, draw 0, with its walk's first value held: b stands for V x_1 + b."""
    script: Any = discover.load("irnn_fig2")
    random = np.random.default_rng(0)  # in the order of the script
    U, V, b, start = (random.normal(size=(2, 2)), random.normal(size=(2, 1)), random.normal(size=2),
                      random.normal(size=2))  # fmt: skip
    first = random.normal() * math.sqrt(script.VARIANCE)
    options = {name: script.BASE[name] for name in ("K", "eta", "start")}
    (bias,) = _pairs([b + first * V[:, 0]])
    return PlanarModel("irnn", _pairs(U), bias, options, _pairs([start]), steps=200)


def _unicornn() -> PlanarModel:
    defaults = registry["unicornn"].options
    return PlanarModel(
        "unicornn", ((1.0, 0.0), (0.0, 0.0)), options={name: defaults[name] for name in ("dt", "alpha")}, steps=100
    )


def _unicornn_coarse() -> PlanarModel:
    return PlanarModel("unicornn", ((1.0, 0.0), (0.0, 0.0)), options={"dt": 1.09, "alpha": 13.0}, steps=60)


FIG1 = "AntisymmetricRNN Fig. 1 "
OPENING = FIG1 + "(h)"

PRESETS: Mapping[str, Preset] = {
    FIG1 + "(a)": Preset(
        "A vanilla RNN with Gaussian W: every start ends at one of two fixed points, where the step Jacobian is small. "
        "Which of the two is all that is remembered.", 1.1, _panel("a")),
    FIG1 + "(b)": Preset(
        "W = I: the eigenvalues of W lie on the unit circle, but tanh shrinks: every state creeps to the origin.",
        1.1, _panel("b")),
    FIG1 + "(c)": Preset(
        "An orthogonal W, a rotation: no direction is favoured, and tanh still shrinks every state to the origin.",
        1.1, _panel("c")),
    FIG1 + "(d)": Preset(
        "An orthogonal W, a reflection: states jump to and fro on their way to the origin.", 1.1, _panel("d")),
    FIG1 + "(e)": Preset(
        "Feedback, eigenvalues 2, 2: right of the stability region. States run away, at most by ε a step.", 9.0,
        _panel("e")),
    FIG1 + "(f)": Preset(
        "Feedback, eigenvalues -2, -2: deep in the stability region. States go to the origin and are forgotten.", 1.0,
        _panel("f")),
    FIG1 + "(g)": Preset(
        "An antisymmetric matrix: the ODE turns without loss, Euler's method adds a little at each step, since "
        "|1 + ε λ| > 1. A slow outward spiral.", 1.3, _panel("g")),
    OPENING: Preset(
        "Diffusion 0.15 pulls the eigenvalues back: the distance stays about constant. |1 + ε λ| is 1.005, not quite "
        "in the region: raise γ by 0.06 and the ring dies.", 1.1, _panel("h")),
    "AntisymmetricRNN Prop. 2": Preset(
        "W - Wᵀ - γ I with γ = 0.25: |1 + ε λ| <= 1, stable, and so every state decays, slowly. Prop. 2 needs γ above "
        "0.202 at this ε; a smaller ε needs less.", 1.1, _diffusion),
    "iRNN Fig. 2": Preset(
        "iRNN with the figure's U, η and K and its walk's first input held: b is V x + b. The start moves to the "
        "equilibrium of that input; move b1 and it follows. A step keeps 0.9 of a difference, more at smaller η.",
        1.5, _irnn),
    "UnICORNN oscillator": Preset(
        "One undamped oscillator at the step and α of Table 6: closed curves, step eigenvalues on the unit circle, "
        "product 1. λ lies on the piece of the imaginary axis where the symplectic step is stable.", 2.5, _unicornn),
    "UnICORNN, step too long": Preset(
        "The same with dt = 1.09: h |λ| > 2 near y = 0, and the eigenvalues leave the unit circle; where tanh is flat "
        "only α = 13 pulls, h² α < 4, and they return. States stay bounded.", 24.0, _unicornn_coarse),
}  # fmt: skip
