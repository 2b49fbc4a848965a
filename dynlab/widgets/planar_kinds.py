"""The recurrences of the phase explorer: which cell, which of its numbers can be moved, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynlab.widgets.options import Option

Parameters = Callable[[Any, Any, Mapping[str, Any]], dict[str, Any]]
ALL = ("W11", "W12", "W21", "W22")


@dataclass(frozen=True)
class Recurrence:
    """One kind.

    Attributes:
        label: its name. equation: one step.
        cell: a class of ``dynlab.cells``. fixed: arguments of it that are not moved. options: those that are.
        parameters: (W, bias, options) -> the cell's parameters by name; those that a cell sets in float32, too.
        entries: those of W that count, by the name of the control. letter: what the paper calls W.
        linear: the matrix whose eigenvalues are shown, that of a step where tanh' = 1, in words.
        axes: names of the two state components. hidden_size: d.
    """

    label: str
    equation: str
    cell: str
    parameters: Parameters
    linear: str
    options: tuple[Option, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[str, ...] = ALL
    letter: str = "W"
    axes: tuple[str, str] = ("$h_1$", "$h_2$")
    hidden_size: int = 2

    @property
    def biases(self) -> tuple[str, ...]:
        """The biases that count, by the name of the control."""
        return ("b1", "b2")[: self.hidden_size]

    def name_of(self, entry: str) -> str:
        """What the paper calls an entry: "U12", or "w" where there is one."""
        return self.letter if len(self.entries) == 1 else self.letter + entry[1:]


def set_low(equation: str, write: Callable[[str, str], str]) -> str:
    """An equation with its subscripts, x_{...} and x_i, written by ``write(letter, subscript)``."""
    return re.sub(r"(\w)_(?:\{([^}]*)\}|(\w))", lambda found: write(found[1], found[2] or found[3]), equation)


_EPSILON = Option("epsilon", 0.1, "log", 1e-3, 2.0, unit="integration time per step")
_GAMMA = Option("gamma", 0.0, "linear", 0.0, 4.0, unit="diffusion, per integration time")

KINDS: dict[str, Recurrence] = {
    "elman": Recurrence(
        "vanilla RNN",
        "h_t = tanh(W h_{t-1} + b)",
        "Elman",
        lambda W, b, o: {"module.weight_hh": W, "module.bias_ih": b, "module.bias_hh": (0.0, 0.0)},
        "W",
        fixed={"backend": "native"},  # torch's own loop over time; the step by step loop takes 20 times as long
    ),
    "feedback": Recurrence(
        "RNN with feedback",
        "h_t = h_{t-1} + ε tanh((W - γ I) h_{t-1} + b)",
        "AntisymmetricRNN",
        lambda W, b, o: {"weight_free": W, "bias": b},
        "W - γ I",
        (_EPSILON, _GAMMA),
        {"structured": False},
    ),
    "antisymmetric": Recurrence(
        "AntisymmetricRNN",
        "h_t = h_{t-1} + ε tanh((W - Wᵀ - γ I) h_{t-1} + b)",
        "AntisymmetricRNN",
        lambda W, b, o: {"weight_packed": (W[0][1] - W[1][0],), "bias": b},
        "W - Wᵀ - γ I",
        (_EPSILON, _GAMMA),
        entries=("W12", "W21"),  # the diagonal of W cancels
    ),
    "fastrnn": Recurrence(
        "FastRNN",
        "h_t = σ(β) h_{t-1} + σ(α) tanh(W h_{t-1} + b)",
        "FastRNN",
        lambda W, b, o: {
            "module.weight_hh": W,
            "module.bias_ih": b,
            "module.alpha": (o["alpha"],),
            "module.beta": (o["beta"],),
        },  # fmt: skip
        "W",
        (Option("alpha", -3.0, "linear", -8.0, 8.0), Option("beta", 3.0, "linear", -8.0, 8.0)),
    ),
    "irnn": Recurrence(
        "iRNN",
        "g_k = g_{k-1} + η [tanh(U (g_{k-1} + h_{t-1}) + b) - α (g_{k-1} + h_{t-1})],  h_t = g_K",
        "IncrementalRNN",
        lambda W, b, o: {"weight_full": W, "bias": b, "eta": (o["eta"],) * o["K"]},
        "U - α I",
        (
            Option("K", 5, "integer", 1, 20, unit="inner steps"),
            Option("eta", 0.01, "log", 1e-3, 2.0, unit="inner integration time"),
            Option("alpha", 1.0, "linear", 0.0, 2.0, unit="leak"),
            Option("start", "previous", "choice", choices=("previous", "zero"), unit="g_0: h_{t-1} or 0"),
        ),
        {"nonlinearity": "tanh"},
        letter="U",
    ),
    "unicornn": Recurrence(
        "UnICORNN, one unit",
        "z_t = z_{t-1} - h [tanh(w y_{t-1} + b) + α y_{t-1}],  y_t = y_{t-1} + h z_t,  h = dt / 2",
        "UnICORNN",
        # c = 0: the effective time-step dt sigmoid(c) is dt / 2.
        lambda W, b, o: {"weight_hh": (W[0][0],), "bias": (b[0],), "c": (0.0,)},
        "[[0, 1], [-(w + α), 0]]",
        (
            Option("dt", 0.126, "log", 1e-2, 4.0, unit="nominal time-step"),
            Option("alpha", 13.0, "linear", 0.0, 30.0, unit="restoring force"),
        ),
        entries=("W11",),
        letter="w",
        axes=("$y$", "$z$"),
        hidden_size=1,
    ),
}
