"""Which controls a cell's hyperparameters get: kind and range, from its signature. No widget is imported here."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dynlab.cells import registry
from dynlab.cells.activation import ACTIVATIONS
from dynlab.cells.fastrnn import FAST_ACTIVATIONS

Kind = Literal["linear", "log", "log or zero", "integer", "choice", "flag", "fixed"]


@dataclass(frozen=True)
class Option:
    """A hyperparameter and how it is chosen.

    Attributes:
        name: of the constructor's argument. default: its value where nothing is chosen.
        kind: "linear", "log" (low > 0), "log or zero" (0 or a value from low on), "integer", "choice", "flag", or
            "fixed": no control, the default is kept.
        low, high: the range of a number. choices: of a choice. unit: in words, "" for a pure number.
    """

    name: str
    default: Any
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class _Range:
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    unit: str = ""


_TIME = "integration time per step"
# By the name of the option; where two cells mean different things by a letter, by "key.name".
_RANGES: dict[str, _Range] = {
    "dt": _Range("log", 1e-3, 1.0, unit=_TIME),
    "epsilon": _Range("log", 1e-3, 1.0, unit=_TIME),
    "eta": _Range("log", 1e-4, 1.0, unit="inner integration time"),
    "tau": _Range("log", 0.05, 20.0, unit="integration time"),
    "gamma": _Range("log or zero", 1e-4, 1.0),
    "alpha": _Range("linear", 0.0, 2.0),
    "beta": _Range("linear", 0.0, 1.0),
    "K": _Range("integer", 1, 20),
    "rank": _Range("integer", 1, 64),
    "sigma_w": _Range("linear", 0.0, 4.0),
    "std": _Range("linear", 0.0, 4.0),
    "forget_bias": _Range("linear", -3.0, 6.0),
    "zeta": _Range("linear", -8.0, 8.0),
    "nu": _Range("linear", -8.0, 8.0),
    "sign": _Range("choice", choices=(1, -1)),
    "start": _Range("choice", choices=("previous", "zero")),
    "recurrent": _Range("choice", choices=("identity_plus_low_rank", "full")),
    "nonlinearity": _Range("choice", choices=tuple(ACTIVATIONS)),
    "unicornn.alpha": _Range("linear", 0.0, 60.0),
    "fastrnn.alpha": _Range("linear", -8.0, 8.0),
    "fastrnn.beta": _Range("linear", -8.0, 8.0),
    "fastrnn.nonlinearity": _Range("choice", choices=tuple(FAST_ACTIVATIONS)),
    "elman.nonlinearity": _Range("choice", choices=("tanh", "relu")),
    "cornn.gamma": _Range("linear", 0.0, 100.0),
    "cornn.epsilon": _Range("linear", 0.0, 20.0),
    # What does not change gradients, or is another row of the registry.
    "memory": _Range("fixed"),
    "train_time_step": _Range("fixed"),
    "gated": _Range("fixed"),
    "structured": _Range("fixed"),
    "eta_steps": _Range("fixed"),
    "sirnn.K": _Range("fixed"),
}
SPAN = 100.0
"""A number of a user's cell, without a range of its own, goes from a hundredth of its default to a hundred times."""


def options_of(key: str) -> list[Option]:
    """The options of a registered cell, in the order of its signature.

    Raises:
        ValueError: if there is no such cell.
    """
    if key not in registry:
        raise ValueError(f"expected a cell among {', '.join(registry)}; got {key!r}")
    return [_option(key, name, default) for name, default in registry[key].options.items()]


def options_of_function(
    build: Callable[..., Any], ranges: Mapping[str, tuple[float, float]] | None = None
) -> list[Option]:
    """The options of a user's cell: the keyword arguments of what is called with (input_size, hidden_size).

    Arguments:
        build: a class or function. ranges: (low, high) by name, where the range from the default does not serve.

    Raises:
        TypeError: if it cannot be called with two sizes and nothing else.
    """
    # Of a class its own arguments: cells take ``backend`` too, whatever their ``__init__`` says.
    signature = inspect.signature(build.__init__ if isinstance(build, type) else build)  # type: ignore[misc]
    parameters = list(signature.parameters.values())
    parameters = parameters[1:] if parameters and parameters[0].name == "self" else parameters
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    named = [one for one in parameters[2:] if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if len(positional) < 2 or any(one.default is one.empty for one in named):
        name = getattr(build, "__name__", str(build))
        raise TypeError(
            f"{name}: expected a class or function (input_size, hidden_size, option=default, ...), got "
            f"{name}{signature}"
        )
    found = []
    for one in named:
        option = _option("", one.name, one.default)
        if ranges and one.name in ranges:
            low, high = ranges[one.name]
            kind: Kind = (
                "integer" if option.kind == "integer" else "log" if low > 0 and high / low >= SPAN else "linear"
            )
            option = Option(one.name, one.default, kind, low, high)
        found.append(option)
    return found


def _option(key: str, name: str, default: Any) -> Option:
    known = _RANGES.get(f"{key}.{name}") or _RANGES.get(name)
    if known is not None and _fits(known, default):
        return Option(name, default, known.kind, known.low, known.high, known.choices, known.unit)
    if isinstance(default, bool):
        return Option(name, default, "flag")
    if isinstance(default, int):
        return Option(name, default, "integer", min(1, default), max(4 * abs(default), 10))
    if isinstance(default, float) and math.isfinite(default):
        if default > 0:
            return Option(name, default, "log", default / SPAN, default * SPAN)
        return Option(name, default, "linear", 2 * default - 1, 1 - 2 * default)
    return Option(name, default, "fixed")


def _fits(known: _Range, default: Any) -> bool:
    """Whether a default of this name lies in the range: a user's ``alpha`` may be something else."""
    if known.kind == "fixed":
        return True
    if known.kind == "choice":
        return default in known.choices
    if isinstance(default, bool) or not isinstance(default, int | float):
        return False
    whole = known.kind != "integer" or isinstance(default, int)
    return whole and (known.low <= default <= known.high or (known.kind == "log or zero" and default == 0))
