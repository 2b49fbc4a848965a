"""``Spectrum``: the product of step Jacobians between two times, both of which can be dragged."""

from __future__ import annotations

import html
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets
import torch
import traitlets
from torch import Tensor, nn

from dynlab.plots.style import style
from dynlab.widgets import between
from dynlab.widgets.picture import Picture, Touch
from dynlab.widgets.runner import Runner, Tick
from dynlab.widgets.spectrum_subject import Subject
from dynlab.widgets.spectrum_views import RADII, Interval, Norms, Plane, Ranks, numbers, spectrum_figure
from dynlab.widgets.status import Status
from dynlab.widgets.take_home import TakeHome

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

Request = tuple[int, int | None, int]
"""start, stop (None: T) and the sample."""
REST = 0.15
"""Seconds for which the ends must rest before singular values are computed."""

TABLE = "display:flex;flex-wrap:wrap;gap:0 2em;line-height:1.5"
ROW = "flex:0 1 17em;display:flex;justify-content:space-between"


class Spectrum(ipywidgets.VBox):
    """Norm, eigenvalues and singular values of d state_stop / d state_start.

    Norm and eigenvalues follow the hand; singular values, which take longer, come when it rests.

    Arguments:
        cell: a specification such as "lstm:forget_bias=3", a cell or Network, or any module that ``as_cell`` takes.
            A copy is kept: training on does not change what is shown.
        inputs: (time, batch, feature); without them Gaussian noise, T = 200, 4 samples.
        hidden_size, seed: of a cell that is built from a specification, and of the noise.
        dtype: to measure in; the cell's own by default. In torch.float64 more eigenvalues are resolved.
        cell_code, inputs_code: expressions that make what was given, for the script that is taken home, such as
            "dynlab.load_checkpoint('run/model.pt')[0]".
        folder: where files are saved. threaded: False computes within each change, for tests.

    Attributes:
        interval: (start, stop). sample: of the batch. radius: "auto", "linear" or "log", of the complex plane.
    """

    interval = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 1))
    sample = traitlets.Int(0)
    radius = traitlets.Enum(RADII, default_value="auto")

    def __init__(
        self,
        cell: str | nn.Module | Callable[..., Any],
        inputs: Tensor | None = None,
        *,
        hidden_size: int = 64,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        cell_code: str | None = None,
        inputs_code: str | None = None,
        folder: str | os.PathLike[str] = ".",
        threaded: bool = True,
    ) -> None:
        self.subject = Subject(cell, inputs, hidden_size, seed, dtype, cell_code, inputs_code)
        self._threaded = threaded
        self._lock = threading.RLock()
        self._trace: Any = None
        self._final: dict[int, xr.Dataset] = {}
        self._data: xr.Dataset | None = None
        self._settling = False
        self._end = 0
        self.pictures: dict[str, Picture] = {}
        self.status = Status(self._cancel)
        self.take_home = TakeHome(
            "spectrum", self.status, figure=self._figure, dataset=self._complete, code=self.code, folder=folder
        )
        self._quick = Runner(self._measure, _Listener(self.status, self._measured), threaded=threaded)
        self._slow = Runner(self._measure_singular, _Listener(self.status, self._measured_singular), threaded=threaded)
        self._grid = ipywidgets.GridBox(
            layout={"grid_template_columns": "repeat(auto-fit, minmax(min(100%, 400px), 1fr))", "flex": "1000 1 800px",
                    "min_width": "0", "overflow": "hidden"}
        )  # fmt: skip
        row = ipywidgets.HBox([self._controls(), self._grid], layout={"flex_flow": "row wrap", "width": "100%"})
        super().__init__([row, self.status, self.take_home])
        self.add_class("dynlab-spectrum")
        self.slider.observe(self._slid, "value")
        traitlets.link((self.samples, "value"), (self, "sample"))
        traitlets.link((self.radii, "value"), (self, "radius"))
        self.observe(self._moved, ["interval", "sample"])
        self.observe(self._turned, "radius")
        self._quick.submit((0, None, 0))

    def _controls(self) -> ipywidgets.VBox:
        wide: dict[str, Any] = {"layout": {"width": "auto"}, "style": {"description_width": "5.5em"}, "disabled": True}
        self.slider = ipywidgets.IntRangeSlider(
            value=(0, 1), min=0, max=1, description="start, stop", tooltip="the product's ends: time steps", **wide
        )
        self.samples = ipywidgets.Dropdown(
            options=[0], description="sample", tooltip="which sequence of the batch", **wide
        )
        self.radii = ipywidgets.Dropdown(
            options=RADII, description="radius |λ|", tooltip="radius in the complex plane: linear, or decades", **wide
        )
        for control, name in ((self.slider, "interval"), (self.samples, "sample"), (self.radii, "radius")):
            control.add_class(f"dynlab-{name}")
        self._numbers = ipywidgets.HTML()
        self._numbers.add_class("dynlab-numbers")
        title = ipywidgets.HTML(f"<b>Jacobian between two times</b>&ensp;{html.escape(self.subject.name)}")
        return ipywidgets.VBox(
            [title, self.slider, self.samples, self.radii, self._numbers],
            layout={"flex": "1 1 300px", "min_width": "0"},
        )

    # ---- computing -------------------------------------------------------------------------------------------------

    def _measure(self, request: Request, tick: Tick) -> xr.Dataset:
        tick(0.0)
        if self._trace is None:
            self._trace = self.subject.follow()
        trace, (start, stop, sample) = self._trace, request
        if sample not in self._final:
            self._final[sample] = between.gradient_norm(trace, sample)
        found = between.eigenvalues(trace, start, trace.steps if stop is None else stop, sample, tick)
        return between.joined([found, self._final[sample]], self.subject.attrs)

    def _measure_singular(self, request: Request, tick: Tick) -> xr.Dataset:
        rested = time.monotonic() + (REST if self._threaded else 0)
        while time.monotonic() < rested:
            tick(0.0)
            time.sleep(0.01)
        start, stop, sample = request
        assert stop is not None
        return between.singular_values(self._trace, start, stop, sample, tick)

    def _measured(self, request: Request, data: xr.Dataset) -> None:
        with self._lock:
            first = self._data is None
            self._data = data
            self._open(data) if first else self._show(data)
            self._slow.submit((data.attrs["start"], data.attrs["stop"], data.attrs["sample"]))

    def _measured_singular(self, request: Request, found: xr.Dataset) -> None:
        with self._lock:
            data = self._data
            if data is None or request != (data.attrs["start"], data.attrs["stop"], data.attrs["sample"]):
                return
            self._data = data = between.joined([data, found])
            self._update("ranks", lambda: self.ranks.show(data))
            self._count(data)

    def _cancel(self) -> None:
        self._quick.cancel()
        self._slow.cancel()

    # ---- showing ---------------------------------------------------------------------------------------------------

    def _open(self, data: xr.Dataset) -> None:
        """The pictures, at the first answer: it says how long the sequences are."""
        trace = self._trace
        self._settling = True
        try:
            self.slider.max, self.slider.value = trace.steps, (0, trace.steps)
            self.samples.options = list(range(trace.batch_size))
        finally:
            self._settling = False
        with style():
            axes = {name: _axes() for name in ("interval", "norms", "plane", "ranks")}
            self.interval_view, self.norms = Interval(axes["interval"], data), Norms(axes["norms"], data)
            self.plane, self.ranks = Plane(axes["plane"], self.radius), Ranks(axes["ranks"], data)
            self.plane.show(data)
            for name, view, alt in (
                ("interval", self.interval_view, "gradient of the final state against time, with start and stop"),
                ("norms", self.norms, "norms of the products from start and to stop"),
                ("plane", self.plane, "eigenvalues of the product in the complex plane"),
                ("ranks", self.ranks, "singular values and moduli of eigenvalues by rank"),
            ):
                touched = self._touched if name == "interval" else None
                self.pictures[name] = Picture(axes[name].figure, view.moving, alt, touched)
                self.pictures[name].add_class(f"dynlab-{name}-picture")
        self._grid.children = list(self.pictures.values())
        for control in (self.slider, self.samples, self.radii):
            control.disabled = False
        self._count(data)
        if trace.overflow is not None:
            text = (
                f"the state left the float range at step {trace.overflow} of {trace.requested}; this is what was before"
            )
            self.status.say(text, "note")

    def _show(self, data: xr.Dataset) -> None:
        if int(data.attrs["sample"]) != self._shown_sample:
            with self.pictures["interval"].changing():
                self.interval_view.sequence(data)
            self.pictures["interval"].draw()
        self._update("norms", lambda: self.norms.show(data))
        self._update("plane", lambda: self.plane.show(data))
        self._update("ranks", lambda: self.ranks.show(data))
        self.status.say("")
        self._count(data)

    def _update(self, name: str, change: Callable[[], bool]) -> None:
        """Change a picture's artists, and draw what has to be drawn."""
        picture = self.pictures[name]
        with picture.changing(), style():
            everything = change()
        picture.draw() if everything else picture.draw_moving()

    def _count(self, data: xr.Dataset) -> None:
        self._shown_sample = int(data.attrs["sample"])
        rows = (f"<div style='{ROW}'><span>{name}</span><span>{value}</span></div>" for name, value in numbers(data))
        self._numbers.value = f"<div style='{TABLE}'>{''.join(rows)}</div>"
        self.take_home.refresh_code()

    # ---- what the hand does ----------------------------------------------------------------------------------------

    def _slid(self, change: Any) -> None:
        self.interval = change["new"]

    def _moved(self, change: Any) -> None:
        if self._settling or self._data is None:
            return
        with self.status.explaining():
            start, stop = self.interval
            if start == stop:  # the sliders met: give way by a step
                self.interval = (start, stop + 1) if stop < self._trace.steps else (start - 1, stop)
                return
            self.slider.value = (start, stop)
            with self.pictures["interval"].changing():
                self.interval_view.place(start, stop)
            self.pictures["interval"].draw_moving()
            self._slow.cancel()
            self._quick.submit((start, stop, self.sample))

    def _turned(self, change: Any) -> None:
        with self.status.explaining(), self._lock:
            if (data := self._data) is not None:
                self.plane.radius = self.radius
                self._update("plane", lambda: self.plane.show(data))
                self.take_home.refresh_code()

    def _touched(self, touch: Touch) -> None:
        with self.status.explaining():
            ends, time = list(self.interval), round(touch.x)
            if touch.phase == "down":
                self._end = min((0, 1), key=lambda end: abs(ends[end] - touch.x))
            other = ends[1 - self._end]
            low, high = (0, other - 1) if self._end == 0 else (other + 1, self._trace.steps)
            ends[self._end] = min(max(time, low), high)
            self.interval = (ends[0], ends[1])

    # ---- taking home -----------------------------------------------------------------------------------------------

    @property
    def dataset(self) -> xr.Dataset:
        """What is shown.

        Raises:
            ValueError: before the first answer.
        """
        if self._data is None:
            raise ValueError("Spectrum: there is nothing to take home yet")
        return self._data

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until everything is computed; whether it was before ``timeout`` seconds, of each part."""
        return self._quick.settle(timeout) and self._slow.settle(timeout)

    def _complete(self) -> xr.Dataset:
        self.settle(30)
        return self.dataset

    def _figure(self) -> Figure:
        # Without waiting: figures are made while drawing is locked, and what is computed is drawn.
        return spectrum_figure(self.dataset, self.radius)

    def code(self) -> str:
        """A script that measures and draws exactly this."""
        start, stop = self.interval
        return self.subject.code(start, stop, self.sample, self.radius)


class _Listener:
    """Tells a status row what becomes of requests."""

    def __init__(self, status: Status, done: Callable[[Request, xr.Dataset], None]) -> None:
        self._status, self._done = status, done

    def busy(self, share: float | None) -> None:
        self._status.busy(share)

    def done(self, request: Request, answer: xr.Dataset) -> None:
        self._done(request, answer)

    def failed(self, request: Request, error: Exception) -> None:
        self._status.say(str(error) or type(error).__name__)


def _axes() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.0), dpi=100)
    return figure.add_axes((0.145, 0.155, 0.83, 0.75))
