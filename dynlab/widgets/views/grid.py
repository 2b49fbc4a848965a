"""Several views beside each other, and buttons that open and close them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from dynlab.widgets.closing import close_with_children
from dynlab.widgets.views.base import Scene, View
from dynlab.widgets.views.curves import ExponentView, GradientView, SingularView, TimeStepView
from dynlab.widgets.views.eigenvalues import EigenvalueView
from dynlab.widgets.views.layers import LayerView
from dynlab.widgets.views.panel import Panel
from dynlab.widgets.views.phase import PhaseView
from dynlab.widgets.views.theory import TheoryView

VIEWS: Mapping[str, type[View]] = {
    kind.name: kind
    for kind in (
        GradientView, EigenvalueView, PhaseView, ExponentView, SingularView, TimeStepView, LayerView, TheoryView
    )
}  # fmt: skip
"""By name, in the order in which they are shown."""


class ViewGrid(ipywidgets.GridBox):
    """The open views.

    Arguments:
        on_views: called with the names of the views that are open after one was opened or closed by its button.
        on_time: called with a time that was touched in a picture.

    Attributes:
        toggles: the buttons, by the name of the view. panels: of the open views by name.
    """

    def __init__(self, on_views: Callable[[tuple[str, ...]], None], on_time: Callable[[int], None]) -> None:
        self._on_views, self._on_time, self._still = on_views, on_time, False
        self.panels: dict[str, Panel] = {}
        self.toggles = {
            name: ipywidgets.ToggleButton(
                False, description=kind.label, tooltip=f"show: {kind.title}", layout={"width": "auto"}
            )
            for name, kind in VIEWS.items()
        }
        for name, toggle in self.toggles.items():
            toggle.add_class(f"dynlab-toggle-{name}")
            toggle.observe(self._toggled, "value")
        columns = "repeat(auto-fit, minmax(min(100%, 380px), 1fr))"
        super().__init__(layout={"grid_template_columns": columns, "grid_gap": "4px 12px"})

    def have(self, names: Sequence[str]) -> None:
        """Have these views open and no others; what is open already stays."""
        self._still = True
        try:
            for name, toggle in self.toggles.items():
                toggle.value = name in names
        finally:
            self._still = False
        for name in [name for name in self.panels if name not in names]:
            close_with_children(self.panels.pop(name))
        for name in names:
            if name not in self.panels:
                self.panels[name] = Panel(VIEWS[name], self._on_time)
        self.children = tuple(self.panels[name] for name in VIEWS if name in self.panels)

    def show(self, scene: Scene, settled: bool = True, which: Callable[[type[View]], bool] = lambda view: True) -> None:
        """As ``Panel.show``, of the open views that are asked for."""
        for name, panel in list(self.panels.items()):
            if which(VIEWS[name]):
                panel.show(scene, settled)

    def _toggled(self, change: Any) -> None:
        if not self._still:
            self._on_views(tuple(name for name, toggle in self.toggles.items() if toggle.value))
