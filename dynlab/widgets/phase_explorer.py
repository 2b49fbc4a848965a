"""``PhaseExplorer``: a recurrence of two state components, its numbers on sliders, its starts under the pointer.

Computing takes about 5 ms and is done where the control calls; ipywidgets and the pictures send a new position only
after the last one was shown, so that nothing queues up.
"""

from __future__ import annotations

import html
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets
import matplotlib as mpl
import numpy as np
import traitlets
from matplotlib.figure import Figure

from dynlab.plots.style import style
from dynlab.widgets import planar
from dynlab.widgets.phase_controls import Panel
from dynlab.widgets.phase_views import VIEWS, PhasePlane, View
from dynlab.widgets.picture import Picture, Touch
from dynlab.widgets.planar import Motion, PlanarModel
from dynlab.widgets.planar_kinds import set_low
from dynlab.widgets.planar_presets import OPENING, PRESETS
from dynlab.widgets.status import Status
from dynlab.widgets.take_home import TakeHome

if TYPE_CHECKING:
    import xarray as xr

WINDOWS = (0.2, 50.0)
_INCHES = (4.0, 4.0)
_TEXT: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


class PhaseExplorer(ipywidgets.VBox):
    """Two-dimensional recurrences explored by hand.

    Arguments:
        model: what to begin with; a preset unless given.
        folder: where figures and data are saved.

    Attributes:
        model: a ``PlanarModel``; set it, or call ``change``.
        preset: a name among ``dynlab.widgets.planar_presets.PRESETS``; setting it shows that setting.
        cursor: the time that is marked in all views, 0..T. window: half width of the phase plane.
        motion: what is shown, a ``Motion``. panel: the controls.
    """

    model = traitlets.Instance(PlanarModel)
    preset = traitlets.Unicode("")
    cursor = traitlets.Int(0)
    window = traitlets.Float(1.3)

    def __init__(self, model: PlanarModel | None = None, folder: str | os.PathLike[str] = ".") -> None:
        self._lock = threading.RLock()
        self._waits = False  # while several traits are set at once
        self._held: int | None = None  # the start that follows the pointer
        self._origin: tuple[PlanarModel, float] | None = None  # what Reset goes back to
        self.status = Status(lambda: None)
        self.motion: Motion = planar.compute(PlanarModel())
        self.views, self.pictures = self._make_pictures()
        self.panel = Panel(self._act, self._lock, WINDOWS)
        self.take_home = TakeHome(
            "phase_explorer", self.status, figure=self.figure, dataset=self.dataset,
            code=lambda: self.motion.model.code(), folder=folder,
        )  # fmt: skip
        self._line = ipywidgets.HTML()
        self._line.add_class("dynlab-explanation")
        grid = ipywidgets.GridBox(
            self.pictures,
            # Two and two, in JupyterLab with its file browser at 1280 pixels too.
            layout={"grid_template_columns": "repeat(auto-fit, minmax(min(100%, 260px), 1fr))", "width": "100%",
                    "max_width": "775px"},
        )  # fmt: skip
        right = ipywidgets.VBox(
            [self._line, grid, self.status, self.take_home], layout={"flex": "1 1 0", "min_width": "0"}
        )
        super().__init__([ipywidgets.HBox([self.panel, right])], model=self.motion.model)
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
            equation = set_low(model.recurrence.equation, lambda letter, low: f"${letter}_{{{low}}}$")
            made.suptitle(f"{model.recurrence.label}:  {equation}\n{model.numbers()}", fontsize=9)
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
                self.panel.chosen = self._held
            if self._held is not None:
                x, y = np.clip((touch.x, touch.y), -self.window, self.window)
                self.move_start(self._held, float(x), float(y))
            if touch.phase == "up":
                self._held = None

    # ---- controls ---------------------------------------------------------------------------------------------

    def _act(self, name: str, value: Any) -> None:
        """What a control or a button was told."""
        with self._lock, self.status.explaining():
            if name == "reset":
                self.reset()
            elif name == "fit":
                self.fit()
            elif name in ("preset", "cursor", "window"):
                setattr(self, name, value)
            elif name == "chosen":
                self._follow()
            elif name in ("x", "y"):
                index = self.panel.chosen
                x, y = self.model.starts[index]
                self.move_start(index, *((value, y) if name == "x" else (x, value)))
            elif name == "count":
                self._try(lambda: self.model.with_starts(value))
            else:
                self.change(name, value)

    def _follow(self) -> None:
        """Set every control to what the model says."""
        with self._lock:
            same = self._origin is None or self.model == self._origin[0]
            self.panel.follow(self.model, self.preset, self.cursor, self.window, not same)
        self._explain()
        self.take_home.refresh_code()

    def _explain(self) -> None:
        kind = self.model.recurrence
        equation = set_low(html.escape(kind.equation), lambda letter, low: f"{letter}<sub>{low}</sub>")
        text = f"<b>{html.escape(kind.label)}</b>&ensp;{equation}"
        if self.preset in PRESETS:
            text += f"<br>{html.escape(PRESETS[self.preset].line)}"
        hint = "Drag a star in the phase plane, or the time in the last picture."
        self._line.value = f'<div style="line-height:1.35">{text} <span style="color:#555555">{hint}</span></div>'
