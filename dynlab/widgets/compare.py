"""The EVGP comparison: several cells on the same inputs, linked views, and a cursor in time that they share."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from dynlab.compare import as_tree
from dynlab.plots.style import style
from dynlab.widgets import own as own_cells
from dynlab.widgets import propositions
from dynlab.widgets.cell_list import CellList
from dynlab.widgets.cell_row import swatch
from dynlab.widgets.closing import close_with_children
from dynlab.widgets.common import CommonControls
from dynlab.widgets.comparison import PAPERS, SLOW, Comparison
from dynlab.widgets.laboratory import Laboratory, Measured
from dynlab.widgets.numbers import numbers, table
from dynlab.widgets.presets import starts
from dynlab.widgets.runner import Runner, Tick
from dynlab.widgets.status import Status
from dynlab.widgets.take_home import TakeHome
from dynlab.widgets.views.base import Scene, View, occurrences
from dynlab.widgets.views.grid import VIEWS, ViewGrid
from dynlab.widgets.views.panel import composed
from dynlab.widgets.views.theory import TheoryView

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

OPEN = ("gradient", "eigenvalues", "phase", "exponents")
"""The views at the start."""
_ALWAYS = ("GradientNorm",)  # the verdict's


def _takes_long(view: type[View]) -> bool:
    return view is TheoryView or not set(SLOW).isdisjoint(view.probes)


@dataclass(frozen=True)
class _Request:
    comparison: Comparison
    proposition: str = ""


@dataclass(frozen=True)
class _Answer:
    """``shown``: the views of what is quick show it already, as they will stay."""

    measured: tuple[Measured, ...]
    finding: xr.Dataset | None = None
    shown: bool = False


class Compare(ipywidgets.VBox):
    """Compare how gradients travel through cells, and take the view home as a figure, as data and as code.

    Arguments:
        cells: specifications, such as "irnn:K=5,eta=0.02", and names of ``own``; the three papers' cells and those
            of ``own`` unless given.
        own: cells of your own by name: a cell or module at hand, the path of a checkpoint, or a class or function
            called with (input_size, hidden_size), whose keyword arguments get controls.
        ranges: (low, high) of such keyword arguments, where a range around the default does not serve.
        code: by name, the expression that makes a cell of ``own`` in the script; its name unless given.
        comparison: where to begin, in place of ``cells``; further fields of ``Comparison`` may be given by name.
        views: names of ``VIEWS`` that are open. folder: where files are saved.
        threaded: False computes at once, for tests and scripts.

    Attributes:
        comparison: what is compared; may be set. time: the cursor, 0 .. T; may be set. views: open views; may be set.
        measured: the cells' datasets that are shown. pinned: those of the ghost curves.
    """

    comparison = traitlets.Instance(Comparison)
    time = traitlets.Int(0)
    views = traitlets.Tuple()
    _runner: Runner[_Request, _Answer] = None  # type: ignore[assignment]  # until the arguments are taken

    def __init__(
        self,
        cells: Sequence[str] | None = None,
        *,
        own: Mapping[str, own_cells.Given] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        code: Mapping[str, str] | None = None,
        comparison: Comparison | None = None,
        views: Sequence[str] = OPEN,
        folder: str | os.PathLike[str] = ".",
        threaded: bool = True,
        **fields: Any,
    ) -> None:
        taken = own_cells.take(own or {}, ranges, code or {})
        if comparison is None:
            comparison = Comparison(cells=tuple(cells if cells is not None else (*PAPERS, *taken.cells)))
            comparison = replace(comparison, features=taken.features)
        self._own, self._first = taken, replace(comparison, **fields)
        self._laboratory = Laboratory(taken.cells)
        self._still = False
        self._lock = threading.RLock()
        self.measured: tuple[Measured, ...] = ()
        self.pinned: tuple[Measured, ...] = ()
        self._finding: xr.Dataset | None = None
        self._runner = Runner(self._compute, self, threaded=threaded)
        super().__init__(comparison=self._first, views=tuple(views), time=self._first.steps)
        self._build(folder)
        self.observe(self._compared, "comparison")
        self.observe(self._viewed, "views")
        self.observe(self._moved, "time")
        self._viewed(None)
        if taken.problems:
            self.status.say("; ".join(taken.problems))

    # ---- what it consists of -----------------------------------------------------------------------------------

    def _build(self, folder: str | os.PathLike[str]) -> None:
        self.status = Status(self._runner.cancel)
        self.presets = starts()
        self.preset = ipywidgets.Dropdown(
            options=["", *self.presets], description="preset", tooltip="settings of the papers' figures and tables",
            style={"description_width": "6.5em"}, layout={"width": "auto"},
        )  # fmt: skip
        self.preset.add_class("dynlab-preset")
        self.preset.observe(self._chose_preset, "value")
        self.says = ipywidgets.HTML(layout={"margin": "0 0 4px 8px"})
        self.common = CommonControls(self.comparison, self._asked)
        self.cells = CellList(self._own.options, tuple(self._own.cells), self._asked_for_cells)
        self.cursor = ipywidgets.IntSlider(
            self.time, 0, self.comparison.steps, description="time t",
            tooltip="the cursor of all views; click in a picture",
            style={"description_width": "4em"}, layout={"width": "auto"},
        )  # fmt: skip
        self.cursor.add_class("dynlab-time")
        self.cursor.observe(self._slid, "value")
        self.grid = ViewGrid(self._asked_for_views, self._set_time)
        self.proposition = ipywidgets.Dropdown(
            options=[""], description="proposition", tooltip="evaluated on this cell and these inputs",
            layout={"width": "auto", "display": "none"},
        )  # fmt: skip
        self.proposition.add_class("dynlab-proposition")
        self.proposition.observe(lambda _: self._submit(), "value")
        self.numbers = ipywidgets.HTML(layout={"overflow": "auto"})
        self.numbers.add_class("dynlab-numbers-table")
        self.take_home = TakeHome(
            "comparison", self.status, figure=self.figure, dataset=self.dataset, code=self.code, folder=folder
        )
        actions = ipywidgets.HBox(
            [
                self._button("reset", "undo", "Reset", "back to where it began", self.reset),
                self._button("pin", "map-pin", "Pin", "keep today's curves as ghosts to compare against", self.pin),
                self._button("unpin", "times", "Unpin", "take the ghosts away", self.unpin),
            ]
        )
        left = ipywidgets.VBox(
            [self.preset, self.says, self.common, self.cells, actions],
            layout={"flex": "0 0 310px", "width": "310px", "min_width": "0"},
        )
        right = ipywidgets.VBox(
            [
                ipywidgets.HBox([*self.grid.toggles.values()], layout={"flex_flow": "row wrap"}),
                self.status,
                self.cursor,
                self.proposition,
                self.grid,
                self.numbers,
                self.take_home,
            ],
            layout={"flex": "1 1 400px", "min_width": "0"},
        )
        self.children = (
            ipywidgets.HBox(
                [left, right], layout={"flex_flow": "row wrap", "grid_gap": "8px", "align_items": "flex-start"}
            ),
        )
        self.add_class("dynlab-compare")
        self.cells.show(self.comparison.cells)

    def _button(self, name: str, icon: str, text: str, tooltip: str, act: Callable[[], None]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout={"width": "auto"})
        button.add_class(f"dynlab-{name}")

        def press(_: Any) -> None:
            with self.status.explaining():
                act()

        button.on_click(press)
        return button

    # ---- what people do ----------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to where it began."""
        self.preset.value, self.says.value = "", ""
        self.comparison = self._first

    def pin(self) -> None:
        """Keep what is measured now as ghosts in the views."""
        self.pinned = self.measured
        self._draw()

    def unpin(self) -> None:
        """Take the ghosts away."""
        self.pinned = ()
        self._draw()

    def _chose_preset(self, change: Any) -> None:
        start = self.presets.get(change["new"])
        if start is not None:
            self.says.value = f'<div style="line-height:1.3;white-space:normal">{start.says}</div>'
            self.comparison = start.comparison

    def _asked(self) -> None:
        """A common control was changed."""
        with self.status.explaining():
            self.comparison = self.common.read(self.comparison)

    def _asked_for_cells(self, specs: tuple[str, ...]) -> None:
        self.comparison = replace(self.comparison, cells=specs)

    def _asked_for_views(self, names: tuple[str, ...]) -> None:
        self.views = names

    def _compared(self, change: Any) -> None:
        """The comparison is another one: the controls follow, and it is measured."""
        with self._lock:
            self._still = True
            try:
                self.cells.show(self.comparison.cells)
                self.common.show(self.comparison)
                steps, end = self.comparison.steps, self.time == change["old"].steps
                if steps != self.cursor.max:
                    self.cursor.max = steps
                    self.time = steps if end else min(self.time, steps)
                options = ["", *propositions.applicable(self.comparison, self._own.cells)]
                if tuple(options) != self.proposition.options:
                    chosen = self.proposition.value
                    self.proposition.options = options
                    self.proposition.value = chosen if chosen in options else ""
            finally:
                self._still = False
        self._submit()

    def _viewed(self, change: Any) -> None:
        """Other views are open."""
        unknown = [name for name in self.views if name not in VIEWS]
        if unknown:
            self.views = tuple(name for name in self.views if name in VIEWS)
            self.status.say(f"expected views among {', '.join(VIEWS)}; got {', '.join(unknown)}")
            return
        with self._lock:
            self.grid.have(self.views)
            self.proposition.layout.display = None if TheoryView.name in self.views else "none"
            self.proposition.options = ["", *propositions.applicable(self.comparison, self._own.cells)]
        self._draw()
        self._submit()

    def _set_time(self, time: int) -> None:
        self.time = min(max(time, 0), self.comparison.steps)

    def _slid(self, change: Any) -> None:
        self.time = change["new"]

    def _moved(self, change: Any) -> None:
        self.cursor.value = self.time
        self._draw(lambda view: view.timed)

    # ---- measuring ---------------------------------------------------------------------------------------------

    def wanted(self) -> Comparison:
        """The comparison with the probes that the open views need."""
        names = dict.fromkeys([*_ALWAYS, *(probe for name in self.views for probe in VIEWS[name].probes)])
        return replace(self.comparison, probes=tuple(names))

    def _submit(self) -> None:
        if self._still:
            return
        chosen = self.proposition.value if TheoryView.name in self.views else ""
        self.status.say("")
        self._runner.submit(_Request(self.wanted(), chosen or ""))

    def _compute(self, request: _Request, tick: Tick) -> _Answer:
        """Off the main thread: what is quick first, and shown, then what may take seconds."""
        comparison = request.comparison
        quick = tuple(name for name in comparison.probes if name not in SLOW)
        slow = tuple(name for name in comparison.probes if name in SLOW)
        later, settled = bool(slow or request.proposition), False
        with self._laboratory.same_traces():
            measured = tuple(self._laboratory.compute(replace(comparison, probes=quick), tick))
            if later:
                # The views of what takes long keep what they show until it is there.
                settled = not self._runner.overtaken
                self._show(_Answer(measured, self._finding), settled, lambda view: not _takes_long(view))
            if slow:
                more = self._laboratory.compute(replace(comparison, probes=slow), tick)
                measured = tuple(one.joined(other) for one, other in zip(measured, more, strict=True))
        finding = None
        if request.proposition:
            finding = propositions.evaluate(self._laboratory, comparison, request.proposition)
        return _Answer(measured, finding, settled)

    def _show(self, answer: _Answer, settled: bool, which: Callable[[type[View]], bool] = lambda view: True) -> None:
        with self._lock:
            self.measured, self._finding = answer.measured, answer.finding
            self.grid.show(self.scene(), settled, which)

    def _draw(self, which: Callable[[type[View]], bool] = lambda view: True) -> None:
        with self._lock:
            self.grid.show(self.scene(), which=which)

    def scene(self) -> Scene:
        """What the views show now."""
        return Scene(self.measured, self.pinned, self.time, self.comparison.steps, self._finding)

    # the runner's listener

    def busy(self, share: float | None) -> None:
        """As ``Listener.busy``."""
        self.status.busy(share)

    def done(self, request: _Request, answer: _Answer) -> None:
        """As ``Listener.done``."""
        settled = not self._runner.overtaken
        self._show(answer, settled, _takes_long if answer.shown else lambda view: True)
        if settled:
            specs = [one.spec for one in answer.measured]
            swatches = [swatch(spec, before) for spec, before in zip(specs, occurrences(specs), strict=True)]
            with self._lock:
                self.numbers.value = table([numbers(one) for one in answer.measured], swatches)
                self.take_home.refresh_code()
        failed = [one.label for one in answer.measured if one.dataset is None]
        if failed:
            first = next(one for one in answer.measured if one.dataset is None)
            self.status.say(f"{first.label}: {first.problem}" + (f"; and {len(failed) - 1} more" if failed[1:] else ""))

    def failed(self, request: _Request, error: Exception) -> None:
        """As ``Listener.failed``."""
        self.status.say(str(error) or type(error).__name__)

    def close(self) -> None:
        """Take the widget down, end what it computes and free its figures."""
        if self._runner is not None:  # else the arguments were refused, and there is nothing yet
            self._runner.cancel()
        for child in self.children:
            close_with_children(child)
        super().close()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until everything asked for is shown; whether that came before ``timeout`` seconds."""
        return self._runner.settle(timeout)

    # ---- taking it home ----------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """The open views as one new figure, for paper."""
        with style():
            return composed([VIEWS[name] for name in VIEWS if name in self.views], self.scene())

    def dataset(self) -> xr.DataTree:
        """The datasets that are shown, one group a cell, with the comparison as an attribute."""
        tree = as_tree({one.label: one.dataset for one in self.measured if one.dataset is not None})
        tree.attrs["comparison"] = self.wanted().to_json()
        return tree

    def code(self) -> str:
        """A script that measures exactly this."""
        chosen = self.proposition.value if TheoryView.name in self.views else ""
        return self._laboratory.code(self.wanted(), self._own.code, chosen or "")
