"""``TrainingMonitor``: what a ``Recorder`` records, while it does, and afterwards."""

from __future__ import annotations

import html
import json
import os
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets
from matplotlib.figure import Figure

from dynlab import _check
from dynlab.plots.style import style
from dynlab.recorder import Recorder
from dynlab.widgets import recorded_parts as parts
from dynlab.widgets import replay
from dynlab.widgets.monitor_figure import Chosen, monitor_figure, views_of
from dynlab.widgets.monitor_views import AgainstStep, nearest
from dynlab.widgets.picture import Picture, Touch
from dynlab.widgets.status import Status
from dynlab.widgets.take_home import TakeHome

if TYPE_CHECKING:
    import xarray as xr

EVERY, AT_MOST = 1.0, 4.0
"""Seconds between looks at the store: twice as long as drawing took, so that a training is not kept from its work."""


class TrainingMonitor(ipywidgets.VBox):
    """Loss, gradients over (training step, t), spectra, time-steps and weights of a recording, live or replayed.

    A slider, or a press into a view against the training step, chooses the record that all views show. A recording
    that is being written, by another cell, thread or process, is followed until the widget is closed.

    Arguments:
        recording: the path of a recording, which need not exist yet, or a ``Recorder``.
        folder: where files are saved. threaded: False looks only when ``look`` is called, for tests.

    Attributes:
        step: training step of the record that is shown. follow: whether the newest one is shown as it comes.
        gradient: what the heat map shows, a name of ``parts.gradients``. eigenvalues, ranked, weights: variables.
    """

    step = traitlets.Int(0)
    follow = traitlets.Bool(True)
    gradient = traitlets.Unicode(None, allow_none=True)
    eigenvalues = traitlets.Unicode(None, allow_none=True)
    ranked = traitlets.Unicode(None, allow_none=True)
    weights = traitlets.Unicode(None, allow_none=True)

    def __init__(
        self,
        recording: str | os.PathLike[str] | Recorder,
        *,
        folder: str | os.PathLike[str] = ".",
        threaded: bool = True,
    ) -> None:
        if not isinstance(recording, str | os.PathLike | Recorder):
            raise TypeError(
                f"TrainingMonitor: expected the path of a recording or a Recorder, got {_check.describe(recording)}"
            )
        path = recording.store.path if isinstance(recording, Recorder) else Path(recording)
        self.replay = replay.Replay(path)
        self._lock = threading.RLock()
        self._settling = False
        self._closed = threading.Event()
        self.views: dict[str, Any] = {}
        self.pictures: dict[str, Picture] = {}
        self.status = Status(lambda: None)
        self.take_home = TakeHome(
            "training", self.status, figure=self._figure, dataset=lambda: self.dataset, code=self.code, folder=folder
        )
        self._grid = ipywidgets.GridBox(
            layout={"grid_template_columns": "repeat(auto-fit, minmax(min(100%, 400px), 1fr))", "flex": "1000 1 800px",
                    "min_width": "0", "overflow": "hidden"}
        )  # fmt: skip
        row = ipywidgets.HBox([self._controls(path), self._grid], layout={"flex_flow": "row wrap", "width": "100%"})
        super().__init__([row, self.status, self.take_home])
        self.add_class("dynlab-training-monitor")
        traitlets.link((self, "follow"), (self.following, "value"))
        self.slider.observe(self._slid, "value")
        self.observe(self._went, ["step", "follow"])
        self.observe(self._chose, list(self._choices))
        self.look()
        if threaded:
            watched = weakref.ref(self)
            threading.Thread(target=_watch, args=(watched, self._closed), name="dynlab-monitor", daemon=True).start()

    def _controls(self, path: Path) -> ipywidgets.VBox:
        wide: dict[str, Any] = {"layout": {"width": "auto"}, "style": {"description_width": "5.5em"}}
        self.slider = ipywidgets.SelectionSlider(
            options=[0], description="step", disabled=True, tooltip="training step of the record that is shown", **wide
        )
        self.following = ipywidgets.Checkbox(
            description="follow: show the newest record", value=True, indent=False, layout={"width": "auto"},
            tooltip="while the recording grows, show its newest record",
        )  # fmt: skip
        self.slider.add_class("dynlab-step")
        self.following.add_class("dynlab-follow")
        self._choices = {}
        for name, label, tooltip in (
            ("gradient", "gradient", "whose norm the heat map shows"),
            ("eigenvalues", "eigenvalues", "which of those that were recorded"),
            ("ranked", "by rank", "singular values, moduli of eigenvalues or exponents"),
            ("weights", "weights", "what of each parameter is shown"),
        ):
            self._choices[name] = ipywidgets.Dropdown(description=label, tooltip=tooltip, **wide)
            self._choices[name].layout.display = "none"
            self._choices[name].add_class(f"dynlab-{name}")
            self._choices[name].observe(partial(self._picked, name), "value")
        self._about = ipywidgets.HTML(layout={"width": "auto"})
        self._about.add_class("dynlab-about")
        title = ipywidgets.HTML(
            f"<b>Training</b>&ensp;<span style='overflow-wrap:anywhere'>{html.escape(str(path))}</span>"
        )
        return ipywidgets.VBox(
            [title, self.slider, self.following, *self._choices.values(), self._about],
            layout={"flex": "1 1 300px", "min_width": "0"},
        )

    # ---- the recording ---------------------------------------------------------------------------------------------

    @property
    def dataset(self) -> xr.Dataset:
        """What has been read.

        Raises:
            ValueError: before the first record.
        """
        if self.replay.dataset is None:
            raise ValueError("TrainingMonitor: there is no record yet")
        return self.replay.dataset

    def look(self) -> bool:
        """Read what is new in the store and show it; whether there was anything."""
        with self._lock:
            try:
                changed = self.replay.poll()
                if changed:
                    self._grow()
            except Exception as error:  # shown, and looked at again a second later
                self.status.say(str(error) or type(error).__name__)
                return False
            self._say()
            return changed

    def _say(self) -> None:
        data = self.replay.dataset
        if data is None:
            there = "it has no record yet" if self.replay.exists else "there is nothing yet"
            self.status.say(f"waiting for a recording at {self.replay.path}: {there}", "note")
        elif not self.replay.exists:
            self.status.say(f"the recording at {self.replay.path} is gone; what was read is shown", "note")
        elif self.status.text.startswith(("waiting", "the recording at", "cannot read", "expected a recording")):
            self.status.say("")

    def close(self) -> None:
        """Stop following, and take the widget away."""
        # It is also called for a widget whose arguments were refused.
        if (closed := self.__dict__.get("_closed")) is not None:
            closed.set()
        super().close()

    # ---- showing ---------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Show a recording that has changed."""
        data = self.replay.dataset
        if data is None:
            return
        steps = data["step"].values.tolist()
        opening = not self.views
        if opening:
            self._offer(data)
            self._open(data)
        else:
            for name, view in self.views.items():
                with self.pictures[name].changing(), style():
                    view.grow(data)
        step = steps[-1] if self.follow else steps[nearest_number(steps, self.step)]
        self._settling = True
        try:
            # Together, so that the handle does not jump to the start and back. A slider that updates continuously would
            # also send back, late, the place that it had before its options changed: as if a hand had moved it there.
            with self.slider.hold_sync():
                self.slider.continuous_update = False
                self.slider.options = steps
                self.slider.value = step
            self.slider.continuous_update = True
            self.step = step
        finally:
            self._settling = False
        self.slider.disabled = False
        self._about.value = f"{len(steps)} records, steps {steps[0]} to {steps[-1]}"
        if not opening or step != steps[-1]:
            self._show(everything=True)

    def _offer(self, data: xr.Dataset) -> None:
        """The choices that this recording leaves."""
        offers: dict[str, list[tuple[str, str]]] = {"gradient": [(name, name) for name in parts.gradients(data)]}
        for name, names in (
            ("eigenvalues", parts.EIGENVALUES), ("ranked", parts.RANKED), ("weights", parts.WEIGHTS)
        ):  # fmt: skip
            offers[name] = list(parts.present(data, names).items())
        self._settling = True
        try:
            for name, offered in offers.items():
                if offered:
                    values = [value for _, value in offered]
                    self._choices[name].options = offered
                    if getattr(self, name) not in values:
                        setattr(self, name, values[0])
                    self._choices[name].value = getattr(self, name)
                self._choices[name].layout.display = None if len(offered) > 1 else "none"
        finally:
            self._settling = False

    def _open(self, data: xr.Dataset) -> None:
        for name, (view, make) in views_of(data, self._chosen()).items():
            self._make(name, view, make)
        self._grid.children = list(self.pictures.values())

    def _make(self, name: str, view: type[Any], make: Callable[[Any], Any]) -> None:
        with style():
            figure = Figure(figsize=(4.8, 3.0), dpi=100)
            ax = figure.add_axes(view.shape)
            self.views[name] = made = make(ax)
            touched = self._touched if isinstance(made, AgainstStep) else None
            picture = Picture(figure, made.moving, ALT[name], touched)
        picture.add_class(f"dynlab-{name}-picture")
        self.pictures[name] = picture

    def _chosen(self) -> Chosen:
        return Chosen(self.gradient, self.eigenvalues, self.ranked, self.weights)

    def _show(self, everything: bool = False) -> None:
        """Show the chosen record in all views."""
        index = self.dataset["step"].values.tolist().index(self.step)
        for name, view in self.views.items():
            picture = self.pictures[name]
            with picture.changing():
                view.at(index)
            picture.draw() if everything else picture.draw_moving()
        self.take_home.refresh_code()

    # ---- what the hand does ----------------------------------------------------------------------------------------

    def _slid(self, change: Any) -> None:
        # With the lock first: what another thread settles is over then, and a hand's move is not taken for it.
        with self.status.explaining(), self._lock:
            if not self._settling:
                self._leave()
                self.step = change["new"]

    def _touched(self, touch: Touch) -> None:
        with self.status.explaining(), self._lock:
            self._leave()
            data = self.dataset
            self.step = int(data["step"][nearest(data, touch.x)])

    def _leave(self) -> None:
        """Who chooses a record wants to stay there."""
        self.follow = False

    def _went(self, change: Any) -> None:
        with self.status.explaining(), self._lock:
            if self._settling or self.replay.dataset is None:
                return
            steps = self.dataset["step"].values.tolist()
            if change["name"] == "follow":
                if self.follow:
                    self.step = steps[-1]
                return
            if self.step not in steps:
                self.step = steps[nearest_number(steps, self.step)]
                return
            self._settling = True
            try:
                self.slider.value = self.step
            finally:
                self._settling = False
            if self.step != steps[-1]:
                self.follow = False
            self._show()

    def _picked(self, name: str, change: Any) -> None:
        with self.status.explaining(), self._lock:
            if not self._settling:
                setattr(self, name, change["new"])

    def _chose(self, change: Any) -> None:
        with self.status.explaining(), self._lock:
            if self._settling or self.replay.dataset is None:
                return
            wanted = views_of(self.dataset, self._chosen())
            self._offer(self.dataset)
            for name in VIEWS[change["name"]]:
                old = self.pictures[name]
                self._make(name, *wanted[name])
                self._grid.children = list(self.pictures.values())
                old.close()
            self._show(everything=True)

    # ---- taking home -----------------------------------------------------------------------------------------------

    def _asked(self) -> dict[str, str]:
        names = {name: getattr(self, name) for name in self._choices}
        return {name: value for name, value in names.items() if value is not None}

    def _figure(self) -> Figure:
        return monitor_figure(self.dataset, self.step, **self._asked())

    def code(self) -> str:
        """A script that opens the recording and draws the same."""
        asked = "".join(f",\n    {name}={json.dumps(value)}" for name, value in self._asked().items())
        return "\n".join(
            [
                "import dynlab",
                "from dynlab.widgets.monitor_figure import monitor_figure",
                "",
                f"data = dynlab.open_recording({json.dumps(str(self.replay.path))})",
                f"figure = monitor_figure(\n    data,\n    step={self.step}{asked},\n)",
                'figure.savefig("training.pdf")',
                "",
            ]
        )


ALT = {
    "loss": "loss against the training step",
    "heat-map": "gradient norm over training step and time",
    "profile": "gradient norm against time at the chosen record",
    "eigenvalues": "eigenvalues in the complex plane at the chosen record",
    "ranks": "singular values, moduli or exponents by rank at the chosen record",
    "time-steps": "effective time-steps against the training step",
    "weights": "norms of parameters against the training step",
}
VIEWS = {
    "gradient": ("heat-map", "profile"), "eigenvalues": ("eigenvalues",), "ranked": ("ranks",), "weights": ("weights",)
}  # fmt: skip
"""The views that a choice changes."""


def nearest_number(numbers: list[int], wanted: int) -> int:
    """Index of the number nearest to the one that is wanted."""
    return min(range(len(numbers)), key=lambda index: abs(numbers[index] - wanted))


def _watch(monitor: weakref.ref[TrainingMonitor], closed: threading.Event) -> None:
    """Look at the store until the monitor is closed or gone."""
    pause = EVERY
    while not closed.wait(pause):
        watched = monitor()
        if watched is None:
            return
        begin = time.monotonic()
        watched.look()
        pause = min(max(EVERY, 2 * (time.monotonic() - begin)), AT_MOST)
        del watched
