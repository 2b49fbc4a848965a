"""The controls of the phase explorer, which are shown by the kind of recurrence, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import ipywidgets

from dynlab.widgets.controls import control
from dynlab.widgets.options import Option
from dynlab.widgets.planar import MOST_STARTS, MOST_STEPS, PlanarModel
from dynlab.widgets.planar_kinds import ALL, KINDS
from dynlab.widgets.planar_presets import PRESETS
from dynlab.widgets.snapping import echoes, put

REACH = 4.0
"""Of sliders of W, b and the starts."""
OWN = "own setting"
"""What the list of presets says where there is none."""


class Panel(ipywidgets.VBox):
    """A column of controls.

    Arguments:
        act: called with (name, value) when a hand moves a control: a name that ``PlanarModel.changed`` takes,
            "preset" ("" for none), "count" and "chosen" (of starts), "x" and "y" (of the chosen start), "cursor",
            "window", or a button, "reset" or "fit".
        lock: held while controls are set, so that nobody takes that for a hand. windows: range of the window.

    Attributes:
        controls: by name; alpha, which has three meanings with three ranges, is one control each, "irnn-alpha".
        changed: says whether something was changed since the preset.
    """

    def __init__(
        self, act: Callable[[str, Any], None], lock: AbstractContextManager[Any], windows: tuple[float, float]
    ) -> None:
        self._act, self._lock = act, lock
        self._busy = False  # while controls are set to what the model says
        self._said: dict[str, Any] = {}  # what they were set to
        self._reach: dict[str, tuple[float, float]] = {}
        self.controls: dict[str, Any] = {}
        self.changed = ipywidgets.HTML()
        self.changed.add_class("dynlab-changed")
        self._make(windows)
        self._buttons = ipywidgets.HBox(
            [
                self._button("reset", "Reset", "undo", "back to the preset"),
                self._button("fit", "Fit", "expand", "a window that holds all trajectories"),
                self.changed,
            ]
        )
        super().__init__(layout={"width": "300px", "flex": "0 0 300px"})

    @property
    def chosen(self) -> int:
        """The start that x and y move, from 0."""
        return int(self.controls["chosen"].value) - 1

    @chosen.setter
    def chosen(self, index: int) -> None:
        self.controls["chosen"].value = index + 1

    def _make(self, windows: tuple[float, float]) -> None:
        self._add("preset", ipywidgets.Dropdown(options=[OWN, *PRESETS], tooltip="a setting of a paper"))
        kinds = [(one.label, key) for key, one in KINDS.items()]
        self._add("kind", ipywidgets.Dropdown(options=kinds, tooltip="the recurrence"), "recurrence")
        for name in ALL:
            self._add(name, _number(name, "entry of the recurrent matrix"))
        for name in ("b1", "b2"):
            self._add(name, _number(name, "bias, or a constant input V x + b"))
        for key, kind in KINDS.items():
            for option in kind.options:
                if _control_name(key, option.name) not in self.controls:
                    self._add(_control_name(key, option.name), control(option), option.name)
        whole = ipywidgets.IntSlider
        self._add("steps", whole(50, 1, MOST_STEPS, tooltip="T, number of steps"), "T (steps)")
        self._add("cursor", whole(0, 0, 50, tooltip="the time that is marked in all views"), "t (steps)")
        self._add("count", whole(3, 1, MOST_STARTS, tooltip="how many starts"), "starts")
        self._add("chosen", whole(1, 1, 3, tooltip="which start the next two sliders move"), "start no.")
        self._add("x", _number("x", "first component of the chosen start"))
        self._add("y", _number("y", "second component of the chosen start"))
        self._add("window", control(Option("window", 1.3, "log", *windows, unit="half width of the phase plane")))

    def _add(self, name: str, made: Any, label: str = "") -> None:
        made.description = label or name
        made.style, made.layout = {"description_width": "5.5em"}, {"width": "290px"}
        made.add_class(f"dynlab-{name}")
        made.observe(lambda change: self._moved(name, change["new"]), "value")
        self.controls[name] = made
        if hasattr(made, "max"):
            self._reach[name] = made.min, made.max

    def _button(self, name: str, label: str, icon: str, tooltip: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=label, icon=icon, tooltip=tooltip, layout={"width": "auto"})
        button.add_class(f"dynlab-{name}")
        button.on_click(lambda _: self._act(name, None))
        return button

    def _moved(self, name: str, value: Any) -> None:
        with self._lock:
            if self._busy or echoes(self.controls[name], value, self._said.get(name)):
                return
            self._act(name.rpartition("-")[2], "" if name == "preset" and value == OWN else value)

    def follow(self, model: PlanarModel, preset: str, cursor: int, window: float, changed: bool) -> None:
        """Show the controls of this kind, at these values."""
        kind = model.recurrence
        index = min(self.chosen, len(model.starts) - 1)
        x, y = model.starts[index]
        weights = (*kind.entries, *kind.biases)
        options = {_control_name(model.kind, name): value for name, value in model.options.items()}
        self._said = {
            "preset": preset or OWN, "kind": model.kind, **{name: model.number(name) for name in weights}, **options,
            "steps": model.steps, "cursor": cursor, "count": len(model.starts), "chosen": index + 1, "x": x, "y": y,
            "window": window,
        }  # fmt: skip
        reach = {**self._reach, "cursor": (0, model.steps), "chosen": (1, len(model.starts))}
        before, self._busy = self._busy, True
        try:
            for name, value in self._said.items():
                put(self.controls[name], value, reach.get(name))
            for name in kind.entries:
                self.controls[name].description = kind.name_of(name)
            for name, axis in zip(("x", "y"), kind.axes, strict=True):
                self.controls[name].description = "start " + axis.strip("$").replace("_", "")
            # Beside the pictures, not above: they must not move under a pointer that drags.
            self.changed.value = '<span style="color:#555555">changed since</span>' if changed else ""
            wanted: tuple[ipywidgets.Widget, ...] = (*(self.controls[name] for name in self._said), self._buttons)
            if tuple(self.children) != wanted:  # type: ignore[has-type]
                self.children = wanted
        finally:
            self._busy = before


def _control_name(kind: str, option: str) -> str:
    return f"{kind}-alpha" if option == "alpha" else option


def _number(name: str, meaning: str) -> Any:
    made: Any = control(Option(name, 0.0, "linear", -REACH, REACH, unit=meaning))
    made.step = 0.05
    return made
