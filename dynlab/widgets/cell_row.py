"""One cell of a comparison: its specification as text, and a control for each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from dynlab._specs import parse_spec
from dynlab.cells import registry
from dynlab.plots.style import variant_look
from dynlab.widgets.controls import control, is_at, spec_of
from dynlab.widgets.options import Option, options_of

Changed = Callable[[], None]


class CellRow(ipywidgets.VBox):
    """A specification that can be typed, or changed by its controls.

    Arguments:
        spec: "irnn:K=5,eta=0.02", or the name of a cell of the user's own. own: options of the user's cells by name.
        changed: called when the specification has changed. duplicated, removed: called with this row.

    Attributes:
        spec: what the row says now.
    """

    def __init__(
        self,
        spec: str,
        own: Mapping[str, Sequence[Option]],
        changed: Changed,
        duplicated: Callable[[CellRow], None],
        removed: Callable[[CellRow], None],
    ) -> None:
        self._own, self._changed, self._still = own, changed, False
        self.swatch = ipywidgets.HTML(layout={"width": "34px", "min_width": "34px"})
        self.text = ipywidgets.Text(
            spec,
            continuous_update=False,
            tooltip="the cell and its options, name=value",
            layout={"flex": "1 1 auto", "width": "auto", "min_width": "0"},
        )
        self.text.add_class("dynlab-spec")
        self.text.observe(self._typed, "value")
        buttons = []
        for name, icon, tooltip, act in (
            ("more", "sliders", "show or hide the choices among variants", lambda _: self.show_more()),
            ("duplicate", "copy", "another one, to change its hyperparameters", lambda _: duplicated(self)),
            ("remove", "trash", "take this cell out", lambda _: removed(self)),
        ):
            button = ipywidgets.Button(
                icon=icon, tooltip=tooltip, layout={"width": "32px", "min_width": "32px", "padding": "0"}
            )
            button.add_class(f"dynlab-{name}")
            button.on_click(act)
            buttons.append(button)
        self.numbers, self.choices = ipywidgets.VBox(), ipywidgets.VBox(layout={"display": "none"})
        body = ipywidgets.VBox([self.numbers, self.choices], layout={"padding": "0 0 6px 8px"})
        self.controls: dict[str, ipywidgets.ValueWidget] = {}
        super().__init__([ipywidgets.HBox([self.swatch, self.text, *buttons]), body])
        self.add_class("dynlab-cell")
        self._make_controls()

    @property
    def spec(self) -> str:
        """The specification, without spaces around it."""
        return str(self.text.value).strip()

    def show_look(self, occurrence: int) -> None:
        """Show the line by which the cell is known in all views."""
        self.swatch.value = swatch(self.spec, occurrence)

    def show_more(self) -> None:
        """Show the choices among variants, or hide them."""
        self.choices.layout.display = None if self.choices.layout.display == "none" else "none"

    def _options(self, key: str) -> Sequence[Option]:
        if key in self._own:
            return self._own[key]
        return options_of(key) if key in registry else ()

    def _make_controls(self) -> None:
        """Controls that stand at what the text says; none for a text that means nothing, the comparison says why."""
        for old in self.controls.values():
            old.close()
        self.controls = {}
        try:
            key, values = parse_spec(self.spec)
            for option in self._options(key):
                made = control(option, values.get(option.name))
                if made is not None:
                    made.observe(self._moved, "value")
                    self.controls[option.name] = made
        except (ValueError, TypeError):  # an option without meaning: what was made so far is of no use
            self.controls = {}
        chosen = (ipywidgets.Dropdown, ipywidgets.Checkbox)
        self.numbers.children = tuple(one for one in self.controls.values() if not isinstance(one, chosen))
        self.choices.children = tuple(one for one in self.controls.values() if isinstance(one, chosen))

    def _typed(self, change: Any) -> None:
        if self._still:
            return
        self._make_controls()
        self._changed()

    def _moved(self, change: Any) -> None:
        key, values = parse_spec(self.spec)
        options = self._options(key)
        said = {option.name: option.default for option in options} | values
        # A page says a slider's value anew when it is shown, in its own arithmetic: nobody has moved it.
        if all(is_at(made, said[name]) for name, made in self.controls.items()):
            return
        known = {option.name for option in options}
        # Options without a control stay as they were typed.
        typed = {name: value for name, value in values.items() if name in known and name not in self.controls}
        shown = {name: made.value for name, made in self.controls.items()}
        self._still = True
        try:
            self.text.value = spec_of(key, options, {**typed, **shown}, values)
        finally:
            self._still = False
        self._changed()


def swatch(spec: str, occurrence: int = 0) -> str:
    """A cell's line as a small drawing."""
    look = variant_look(spec, occurrence)
    dashes = {"-": "", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}
    style = look["linestyle"]
    pattern = dashes[style] if isinstance(style, str) else " ".join(str(math.ceil(1.6 * part)) for part in style[1])
    return (
        '<svg width="30" height="12" aria-hidden="true" style="vertical-align:middle">'
        f'<line x1="1" y1="6" x2="29" y2="6" stroke="{look["color"]}" stroke-width="2.5" '
        f'stroke-dasharray="{pattern}"/></svg>'
    )
