"""The cells of a comparison: a row each, and a way to add, duplicate and remove them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from dynlab.cells import registry
from dynlab.widgets.cell_row import CellRow
from dynlab.widgets.closing import close_with_children
from dynlab.widgets.options import Option
from dynlab.widgets.views.base import occurrences

_ADD = "add a cell"


class CellList(ipywidgets.VBox):
    """Rows of specifications.

    Arguments:
        own: the options of the user's cells by name; none for cells at hand. names: of all of the user's cells.
        changed: called with all specifications when one has changed, or there are more or fewer of them.

    Attributes:
        rows: the rows. add: the list to add from.
    """

    def __init__(
        self,
        own: Mapping[str, Sequence[Option]],
        names: Sequence[str],
        changed: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._own, self._changed = own, changed
        self.rows: tuple[CellRow, ...] = ()
        self._box = ipywidgets.VBox()
        self.add = ipywidgets.Dropdown(
            options=[_ADD, *dict.fromkeys([*names, *registry])], tooltip=_ADD, layout={"width": "auto"}
        )
        self.add.add_class("dynlab-add")
        self.add.observe(self._added, "value")
        super().__init__([self._box, self.add])

    @property
    def specs(self) -> tuple[str, ...]:
        """What the rows say."""
        return tuple(row.spec for row in self.rows)

    def show(self, specs: Sequence[str]) -> None:
        """Rows for these, without saying that something changed; those that say the same already are kept."""
        left = list(self.rows)
        rows = []
        for spec in specs:
            kept = next((row for row in left if row.spec == spec), None)
            if kept is not None:
                left.remove(kept)
            rows.append(kept or CellRow(spec, self._own, self._say, self.duplicate, self.remove))
        for row in left:
            close_with_children(row)
        self.rows = self._box.children = tuple(rows)
        for row, occurrence in zip(self.rows, occurrences(self.specs), strict=True):
            row.show_look(occurrence)

    def duplicate(self, row: CellRow) -> None:
        """Another one after this."""
        where = self.rows.index(row) + 1
        self._changed((*self.specs[:where], row.spec, *self.specs[where:]))

    def remove(self, row: CellRow) -> None:
        """Take it out."""
        where = self.rows.index(row)
        self._changed((*self.specs[:where], *self.specs[where + 1 :]))

    def _added(self, change: Any) -> None:
        if change["new"] != _ADD:
            self._changed((*self.specs, change["new"]))
            self.add.value = _ADD

    def _say(self) -> None:
        self._changed(self.specs)
