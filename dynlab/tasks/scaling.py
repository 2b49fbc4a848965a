"""How pixels become inputs."""

from __future__ import annotations

from typing import Any, Literal

from dynlab import _check

Scale = Literal["standard", "unit"]


def pixel_scale(scale: Scale, mean: tuple[float, ...], std: tuple[float, ...], repeat: int = 1) -> dict[str, Any]:
    """The fields ``mean``, ``std`` and ``normalisation`` of a task on images of grey values 0 .. 255.

    Arguments:
        scale: "standard", zero mean and unit variance over the training pixels (iRNN A.4), or "unit", 0 .. 1 (what
            the code of UnICORNN's and coRNN's authors feeds).
        mean, std: of the training pixels, one a channel.
        repeat: features in a row that share a channel.

    Raises:
        ValueError: for another scale.
    """
    _check.choice("scale", scale, ("standard", "unit"), "pixel_scale")
    if scale == "unit":
        return {"mean": 0.0, "std": 255.0, "normalisation": "pixel / 255"}
    return {"mean": _spread(mean, repeat), "std": _spread(std, repeat), "normalisation": standardised(mean, std)}


def standardised(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """(pixel - mean) / std in words."""
    over = "all training pixels" + (", by channel" if len(mean) > 1 else "")
    return f"(pixel - {_numbers(mean)}) / {_numbers(std)}, the mean and standard deviation of {over}"


def _spread(values: tuple[float, ...], repeat: int) -> float | tuple[float, ...]:
    return values[0] if len(values) == 1 else tuple(value for value in values for _ in range(repeat))


def _numbers(values: tuple[float, ...]) -> str:
    text = ", ".join(f"{value:.6g}" for value in values)
    return f"({text})" if len(values) > 1 else text
