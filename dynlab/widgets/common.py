"""The controls that all cells of a comparison share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets
import traitlets

from dynlab.widgets.comparison import Comparison
from dynlab.widgets.signals import KINDS

_STYLE = {"description_width": "6.5em"}
_LADDER = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)


def ladder(low: int, high: int) -> list[int]:
    """Whole numbers, evenly spaced on a logarithmic scale, some ten a decade."""
    found = {round(step * 10**decade) for decade in range(7) for step in _LADDER}
    return sorted(one for one in found | {low, high} if low <= one <= high)


class CommonControls(ipywidgets.VBox):
    """T, hidden size, batch, seed and inputs.

    T and the hidden size have a slider and a field for numbers that are not on it.

    Arguments:
        comparison: where they begin. changed: called when one was changed.
    """

    def __init__(self, comparison: Comparison, changed: Callable[[], None]) -> None:
        self._changed, self._still = changed, False
        make = {
            "steps": lambda: _Ladder("T", ladder(2, 10_000), "time steps of the sequence"),
            "hidden_size": lambda: _Ladder("hidden size", ladder(1, 512), "hidden units of each cell"),
            "batch_size": lambda: _number("batch", "sequences; curves are their mean, bands their standard deviation"),
            "seed": lambda: _number("seed", "of inputs and parameters"),
            "inputs": lambda: ipywidgets.Dropdown(
                options=KINDS, description="inputs", tooltip="what every cell is fed"
            ),
            "scale": lambda: ipywidgets.FloatLogSlider(
                1.0, base=10, min=-3, max=3, step=0.05, description="scale", readout_format=".4g",
                tooltip="factor on the inputs",
            ),
        }  # fmt: skip
        self.fields: dict[str, Any] = {}
        for name, build in make.items():
            field = self.fields[name] = build()
            field.add_class(f"dynlab-{name}")
            if not isinstance(field, _Ladder):
                field.style, field.layout = _STYLE, {"width": "auto"}
            field.observe(self._moved, "value")
        super().__init__([*self.fields.values()])
        self.show(comparison)

    def show(self, comparison: Comparison) -> None:
        """Stand at these values, without saying that something changed."""
        self._still = True
        try:
            for name, field in self.fields.items():
                field.value = getattr(comparison, name)
        finally:
            self._still = False

    def read(self, comparison: Comparison) -> Comparison:
        """The comparison with these values.

        Raises:
            ValueError: for one that cannot be, such as T = 0.
        """
        values = {name: field.value for name, field in self.fields.items()}
        if values["inputs"] != comparison.inputs:
            values["features"] = None  # of another kind of input
        return replace(comparison, **values)

    def _moved(self, change: Any) -> None:
        if not self._still:
            self._changed()


class _Ladder(ipywidgets.HBox):
    """A slider over some whole numbers and a field for any."""

    value = traitlets.Int(0)

    def __init__(self, description: str, values: list[int], tooltip: str) -> None:
        self._values, self._following = values, False
        self._slider = ipywidgets.SelectionSlider(
            options=values, description=description, tooltip=tooltip, readout=False, style=_STYLE,
            layout={"flex": "1 1 auto", "width": "auto", "min_width": "0"},
        )  # fmt: skip
        self._field = ipywidgets.IntText(
            values[0], tooltip=tooltip, continuous_update=False, layout={"width": "5.5em", "min_width": "5.5em"}
        )
        super().__init__([self._slider, self._field], layout={"width": "auto"})
        self.value = values[0]
        self._slider.observe(self._slid, "value")
        self._field.observe(self._typed, "value")
        self.observe(self._show, "value")

    def _slid(self, change: Any) -> None:
        if not self._following:
            self.value = change["new"]

    def _typed(self, change: Any) -> None:
        self.value = change["new"]

    def _show(self, change: Any) -> None:
        self._field.value = self.value
        self._following = True  # the slider goes to its nearest number, which is not the value
        try:
            self._slider.value = min(self._values, key=lambda one: abs(one - self.value))
        finally:
            self._following = False


def _number(description: str, tooltip: str) -> ipywidgets.IntText:
    return ipywidgets.IntText(description=description, tooltip=tooltip, continuous_update=False)
