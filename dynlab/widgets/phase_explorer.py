"""``PhaseExplorer``: a recurrence of two state components, its numbers on sliders, its starts under the pointer.

Computing takes about 5 ms and is done where the control calls; ipywidgets and the pictures send a new position only
after the last one was shown, so that nothing queues up.
"""

from __future__ import annotations

import html
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets
import matplotlib as mpl
import numpy as np
import traitlets
from matplotlib.figure import Figure

from dynlab.plots.style import style
from dynlab.widgets import planar
from dynlab.widgets.controls import control
from dynlab.widgets.options import Option
from dynlab.widgets.phase_views import VIEWS, PhasePlane, View
from dynlab.widgets.picture import Picture, Touch
from dynlab.widgets.planar import MOST_STARTS, MOST_STEPS, Motion, PlanarModel
from dynlab.widgets.planar_kinds import KINDS
from dynlab.widgets.planar_presets import OPENING, PRESETS
from dynlab.widgets.snapping import echoes, put
from dynlab.widgets.status import Status
from dynlab.widgets.take_home import TakeHome

if TYPE_CHECKING:
    import xarray as xr

WINDOWS = (0.2, 50.0)
REACH = 4.0
"""Of sliders of W and b."""
_INCHES = (4.0, 4.0)
_TEXT: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}
_OWN = "own setting"


class PhaseExplorer(ipywidgets.VBox):
    """Two-dimensional recurrences explored by hand.

    Arguments:
        model: what to begin with; a preset unless given.
        folder: where figures and data are saved.

    Attributes:
        model: a ``PlanarModel``; set it, or call ``change``.
        preset: a name among ``dynlab.widgets.planar_presets.PRESETS``; setting it shows that setting.
        cursor: the time that is marked in all views, 0..T. window: half width of the phase plane.
        motion: what is shown, a ``Motion``.
    """

    model = traitlets.Instance(PlanarModel)
    preset = traitlets.Unicode("")
    cursor = traitlets.Int(0)
    window = traitlets.Float(1.3)

    def __init__(self, model: PlanarModel | None = None, folder: str | os.PathLike[str] = ".") -> None:
        self._lock = threading.RLock()
        self._busy = False  # while controls are set to what the model says
        self._waits = False  # while several traits are set at once
        self._held: int | None = None  # the start that follows the pointer
        self._origin: tuple[PlanarModel, float] | None = None  # what Reset goes back to
        self.status = Status(lambda: None)
        self.motion: Motion = planar.compute(PlanarModel())
        self.views, self.pictures = self._make_pictures()
        self.controls: dict[str, ipywidgets.ValueWidget] = {}
        self._said: dict[str, Any] = {}  # what the controls were set to
        self._reach: dict[str, tuple[float, float]] = {}
        self._make_controls()
        self.take_home = TakeHome(
            "phase_explorer", self.status, figure=self.figure, dataset=self.dataset,
            code=lambda: self.motion.model.code(), folder=folder,
        )  # fmt: skip
        self._line = ipywidgets.HTML()
        self._line.add_class("dynlab-explanation")
        self._side = ipywidgets.VBox(layout={"width": "300px", "flex": "0 0 300px"})
        grid = ipywidgets.GridBox(
            self.pictures,
            # Two and two, in JupyterLab with its file browser at 1280 pixels too.
            layout={"grid_template_columns": "repeat(auto-fit, minmax(min(100%, 260px), 1fr))", "width": "100%",
                    "max_width": "775px"},
        )  # fmt: skip
        right = ipywidgets.VBox(
            [self._line, grid, self.status, self.take_home], layout={"flex": "1 1 0", "min_width": "0"}
        )
        super().__init__([ipywidgets.HBox([self._side, right])], model=self.motion.model)
        self.add_class("dynlab-phase-explorer")
        self.observe(self._model_set, "model")
        self.observe(self._preset_set, "preset")
        self.observe(self._view_set, ["cursor", "window"])
        self._begin(model or self.model, 1.3)
        if model is None:
            self.preset = OPENING

    # ---- what it can be told ----------------------------------------------------------------------------------

    def change(self, name: str, value: Any) -> None:
        """Change one number of the model, see ``PlanarModel.changed``; what cannot be is said in the status line."""
        self._try(lambda: self.model.changed(name, value))

    def move_start(self, index: int, x: float, y: float) -> None:
        """Put a start, counted from 0, elsewhere."""
        starts = list(self.model.starts)
        starts[index] = (x, y)
        self._try(lambda: replace(self.model, starts=tuple(starts)))

    def reset(self) -> None:
        """Back to the preset, or to what the widget began with."""
        if self._origin is not None:
            self._begin(*self._origin)

    def fit(self) -> None:
        """A window that holds all trajectories."""
        largest = float(np.abs(self.motion.states).max())
        self.window = float(np.clip(1.15 * largest, *WINDOWS))

    def figure(self) -> Figure:
        """The four views as a new figure, the equation above them."""
        model = self.motion.model
        with style():
            made = Figure(figsize=(8.0, 8.4), layout="constrained")
            equation = _set_low(model.recurrence.equation, lambda letter, low: f"${letter}_{{{low}}}$")
            made.suptitle(f"{model.recurrence.label}:  {equation}\n{_numbers(model)}", fontsize=9)
            for view, ax in zip(VIEWS, made.subplots(2, 2).flat, strict=True):
                view(ax).show(self.motion, self.cursor, self.window)
        return made

    def dataset(self) -> xr.Dataset:
        """What is shown as a dataset, see ``planar.dataset``."""
        return planar.dataset(self.motion.model, self.window)

    # ---- the model changes ------------------------------------------------------------------------------------

    def _try(self, make: Callable[[], PlanarModel]) -> None:
        with self.status.explaining():
            try:
                self.model = make()
            finally:
                self._follow()

    def _begin(self, model: PlanarModel, window: float) -> None:
        """Show a setting to which Reset comes back."""
        with self._lock:
            self._origin = model, window
            self._waits = True
            try:
                self.model, self.window, self.cursor = model, window, 0
            finally:
                self._waits = False
            self._compute()

    def _preset_set(self, change: dict[str, Any]) -> None:
        if self.preset == "":
            self._origin = self.model, self.window
            self._follow()
            return
        with self.status.explaining():
            try:
                if self.preset not in PRESETS:
                    raise ValueError(f"expected a preset among {', '.join(PRESETS)}; got {self.preset!r}")
                found = PRESETS[self.preset]
                model = found.model()
            except Exception:
                self.preset = ""
                raise
            self._begin(model, found.window)

    @traitlets.validate("window")
    def _valid_window(self, proposal: dict[str, Any]) -> float:
        value = float(proposal["value"])
        if not WINDOWS[0] <= value <= WINDOWS[1]:
            raise traitlets.TraitError(f"expected a window from {WINDOWS[0]:g} to {WINDOWS[1]:g}, got {value!r}")
        return value

    @traitlets.validate("cursor")
    def _valid_cursor(self, proposal: dict[str, Any]) -> int:
        return min(max(int(proposal["value"]), 0), self.model.steps)

    def _model_set(self, change: dict[str, Any]) -> None:
        if not self._waits:
            self._compute()

    def _compute(self) -> None:
        with self._lock:
            try:
                motion = planar.compute(self.model, self.window)
            except Exception as error:
                self._follow()
                self.status.say(f"{error}; the pictures show the last setting that could be computed")
                return
            self.motion = motion
            self.status.say(
                f"the state left the float range at step {motion.overflow}; trajectories end before it"
                if motion.overflow
                else ""
            )
            self.cursor = min(self.cursor, motion.model.steps)
            self._follow()
            self._show()

    def _view_set(self, change: dict[str, Any]) -> None:
        if self._waits:
            return
        if change["name"] == "window":
            self._compute()
        else:
            with self._lock:
                self._follow()
                self._show()

    def _show(self) -> None:
        for view, picture in zip(self.views, self.pictures, strict=True):
            with picture.changing():
                change = view.show(self.motion, self.cursor, self.window)
            if change == "framed":
                picture.move(view.moving)
                picture.draw()
            elif change == "moved":
                picture.draw_moving()

    # ---- pictures ---------------------------------------------------------------------------------------------

    def _make_pictures(self) -> tuple[list[View], list[Picture]]:
        views: list[View] = []
        pictures: list[Picture] = []
        with style(), mpl.rc_context(_TEXT):
            for kind in VIEWS:
                figure = Figure(figsize=_INCHES, dpi=100)
                view = kind(figure.add_axes((0.17, 0.13, 0.79, 0.74)))
                view.show(self.motion, 0, 1.3)
                views.append(view)
                pictures.append(Picture(figure, view.moving, kind.alt, self._on_touch))
        for name, picture in zip(("plane", "linear", "steps", "components"), pictures, strict=True):
            picture.add_class(f"dynlab-{name}")
        return views, pictures

    def _on_touch(self, touch: Touch) -> None:
        plane, _, _, components = self.views
        if touch.axes is components.ax:
            self.cursor = int(np.clip(round(touch.x), 0, self.model.steps))
        elif touch.axes is plane.ax and isinstance(plane, PhasePlane):
            if touch.phase == "down":
                away = np.array(self.model.starts) - (touch.x, touch.y)
                self._held = int(np.linalg.norm(away, axis=1).argmin())
                self.controls["chosen"].value = self._held + 1
            if self._held is not None:
                x, y = np.clip((touch.x, touch.y), -self.window, self.window)
                self.move_start(self._held, float(x), float(y))
            if touch.phase == "up":
                self._held = None

    # ---- controls ---------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self._add("preset", ipywidgets.Dropdown(options=[_OWN, *PRESETS], tooltip="a setting of a paper"))
        kinds = [(one.label, key) for key, one in KINDS.items()]
        self._add("kind", ipywidgets.Dropdown(options=kinds, tooltip="the recurrence"), "recurrence")
        for name in ("W11", "W12", "W21", "W22", "b1", "b2"):
            meaning = "bias, or a constant input V x + b" if name[0] == "b" else "entry of the recurrent matrix"
            self._add(name, _number(name, meaning))
        for option in {one.name: one for kind in KINDS.values() for one in kind.options}.values():
            if option.name not in ("alpha",):
                self._add(option.name, control(option))
        # Three meanings with three ranges: one control each.
        for key, kind in KINDS.items():
            for option in kind.options:
                if option.name == "alpha":
                    self._add(f"{key}-alpha", control(option), "alpha")
        self._add("steps", ipywidgets.IntSlider(50, 1, MOST_STEPS, tooltip="T, number of steps"), "T (steps)")
        self._add("count", ipywidgets.IntSlider(3, 1, MOST_STARTS, tooltip="how many starts"), "starts")
        self._add("chosen", ipywidgets.IntSlider(1, 1, 3, tooltip="which start the next two sliders move"), "start no.")
        self._add("x", _number("x", "first component of the chosen start"))
        self._add("y", _number("y", "second component of the chosen start"))
        self._add("cursor", ipywidgets.IntSlider(0, 0, 50, tooltip="the time that is marked in all views"), "t (steps)")
        self._add("window", control(Option("window", 1.3, "log", *WINDOWS, unit="half width of the phase plane")))
        buttons = []
        for name, label, icon, tooltip, act in (
            ("reset", "Reset", "undo", "back to the preset", self.reset),
            ("fit", "Fit", "expand", "a window that holds all trajectories", self.fit),
        ):
            button = ipywidgets.Button(description=label, icon=icon, tooltip=tooltip, layout={"width": "auto"})
            button.add_class(f"dynlab-{name}")
            button.on_click(lambda _, act=act: self._guarded(act))
            buttons.append(button)
        self._changed = ipywidgets.HTML()
        self._changed.add_class("dynlab-changed")
        self._buttons = ipywidgets.HBox([*buttons, self._changed])

    def _add(self, name: str, made: ipywidgets.ValueWidget | None, label: str = "") -> None:
        if made is None:
            raise TypeError(f"PhaseExplorer: expected a control for {name}, got none")
        made.description = label or name
        made.style, made.layout = {"description_width": "5.5em"}, {"width": "290px"}
        made.add_class(f"dynlab-{name}")
        made.observe(lambda change, name=name: self._guarded(lambda: self._control_set(name, change["new"])), "value")
        self.controls[name] = made
        if hasattr(made, "max"):
            self._reach[name] = made.min, made.max

    def _guarded(self, act: Callable[[], object]) -> None:
        with self._lock:
            if not self._busy:
                with self.status.explaining():
                    act()

    def _control_set(self, name: str, value: Any) -> None:
        if echoes(self.controls[name], value, self._said.get(name)):
            return
        if name == "preset":
            self.preset = "" if value == _OWN else value
        elif name in ("cursor", "window"):
            setattr(self, name, value)
        elif name == "chosen":
            self._follow()
        elif name in ("x", "y"):
            index = self.controls["chosen"].value - 1
            x, y = self.model.starts[index]
            self.move_start(index, *((value, y) if name == "x" else (x, value)))
        elif name == "count":
            self._try(lambda: replace(self.model, starts=_starts(self.model.starts, value)))
        else:
            self.change(name.rpartition("-")[2], value)

    @contextmanager
    def _silent(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _follow(self) -> None:
        """Set every control to what the model says."""
        with self._lock:
            self._set_controls()
        self._explain()
        self.take_home.refresh_code()

    def _set_controls(self) -> None:
        model, kind = self.model, self.model.recurrence
        index = min(self.controls["chosen"].value, len(model.starts))
        x, y = model.starts[index - 1]
        values: dict[str, Any] = {
            "preset": self.preset or _OWN, "kind": model.kind, "steps": model.steps, "count": len(model.starts),
            "chosen": index, "x": x, "y": y, "cursor": self.cursor, "window": self.window,
        }  # fmt: skip
        biases = ("b1",) if model.kind == "unicornn" else ("b1", "b2")
        for name in (*kind.entries, *biases):
            values[name] = model.number(name)
        shown = ["preset", "kind", *kind.entries, *biases]
        for option in kind.options:
            name = f"{model.kind}-alpha" if option.name == "alpha" else option.name
            values[name] = model.options[option.name]
            shown.append(name)
        shown += ["steps", "cursor", "count", "chosen", "x", "y", "window"]
        self._said = values
        reach = {**self._reach, "cursor": (0, model.steps), "chosen": (1, len(model.starts))}
        with self._silent():
            for name, value in values.items():
                put(self.controls[name], value, reach.get(name))
            for name, axis in zip(("x", "y"), kind.axes, strict=True):
                self.controls[name].description = "start " + axis.strip("$").replace("_", "")
            for name in kind.entries:
                self.controls[name].description = kind.name_of(name)
            wanted = (*(self.controls[name] for name in shown), self._buttons)
            if self._side.children != wanted:
                self._side.children = wanted

    def _explain(self) -> None:
        kind = self.model.recurrence
        equation = _set_low(html.escape(kind.equation), lambda letter, low: f"{letter}<sub>{low}</sub>")
        text = f"<b>{html.escape(kind.label)}</b>&ensp;{equation}"
        if self.preset in PRESETS:
            text += f"<br>{html.escape(PRESETS[self.preset].line)}"
        # Not in the text above the pictures: they must not move under a pointer that drags.
        same = self._origin is None or self.model == self._origin[0]
        self._changed.value = "" if same else '<span style="color:#555555">changed since</span>'
        hint = "Drag a star in the phase plane, or the time in the last picture."
        self._line.value = f'<div style="line-height:1.35">{text} <span style="color:#555555">{hint}</span></div>'


def _number(name: str, meaning: str) -> Any:
    made: Any = control(Option(name, 0.0, "linear", -REACH, REACH, unit=meaning))
    made.step = 0.05
    return made


def _starts(starts: tuple[planar.Pair, ...], count: int) -> tuple[planar.Pair, ...]:
    """So many starts: the first ones, and further ones a turn of 137.5 degrees and a little inward from the last."""
    found = list(starts[:count])
    turn = np.pi * (3 - np.sqrt(5))
    while len(found) < count:
        x, y = 0.9 * np.array(found[-1])
        found.append((float(x * np.cos(turn) - y * np.sin(turn)), float(x * np.sin(turn) + y * np.cos(turn))))
    return tuple(found)


def _set_low(equation: str, write: Callable[[str, str], str]) -> str:
    """An equation with its subscripts, x_{...} and x_i, written by ``write(letter, subscript)``."""
    return re.sub(r"(\w)_(?:\{([^}]*)\}|(\w))", lambda found: write(found[1], found[2] or found[3]), equation)


def _numbers(model: PlanarModel) -> str:
    """The numbers of a model in a line."""
    kind = model.recurrence
    entries = ", ".join(f"{kind.name_of(name)} = {model.number(name):.4g}" for name in kind.entries)
    options = "".join(
        f", {name} = {value:.4g}" if isinstance(value, float) else f", {name} = {value}"
        for name, value in model.options.items()
    )
    return f"{entries}, b = ({model.bias[0]:.4g}, {model.bias[1]:.4g}){options}"
