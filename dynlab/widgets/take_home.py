"""Taking a view home: as a figure, as data, as code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import ipywidgets
import traitlets

from dynlab.store import save_dataset
from dynlab.widgets.picture import DRAWING, FORMATS
from dynlab.widgets.status import Status

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


class CopyButton(anywidget.AnyWidget):
    """Puts ``text`` on the clipboard."""

    _esm = Path(__file__).with_name("copy.js").read_text(encoding="utf-8")
    text = traitlets.Unicode("").tag(sync=True)


class TakeHome(ipywidgets.VBox):
    """Buttons that save what is shown.

    Arguments:
        name: of the files. status: where to say what was saved, or why not.
        figure: makes the figure. dataset: the data in it. code: a script that makes the data again.
        folder: where to save; can be changed in the widget.
    """

    def __init__(
        self,
        name: str,
        status: Status,
        *,
        figure: Callable[[], Figure],
        dataset: Callable[[], xr.Dataset | xr.DataTree],
        code: Callable[[], str],
        folder: str | os.PathLike[str] = ".",
    ) -> None:
        self._name, self._status, self._figure, self._dataset, self._code = name, status, figure, dataset, code
        narrow = {"width": "auto", "max_width": "100%"}
        self.folder = ipywidgets.Text(
            os.fspath(folder), description="folder", continuous_update=False, layout={"width": "18em"},
            style={"description_width": "3.5em"}, tooltip="where files are saved",
        )  # fmt: skip
        self.format = ipywidgets.Dropdown(
            options=FORMATS, description="as", layout={"width": "7em"}, style={"description_width": "1.5em"}
        )
        self.folder.add_class("dynlab-folder")
        self.format.add_class("dynlab-format")
        buttons = {
            "save-figure": ("Save figure", "save", "one file with all views that are open", self.save_figure),
            "save-data": ("Save data", "database", "the datasets behind the views, as Zarr", self.save_data),
            "show-code": ("Code", "code", "a script that measures exactly this", self.toggle_code),
        }
        self.buttons = {}
        for key, (label, icon, tooltip, act) in buttons.items():
            button = ipywidgets.Button(description=label, icon=icon, tooltip=tooltip, layout=narrow)
            button.add_class(f"dynlab-{key}")
            button.on_click(lambda _, act=act: self._guarded(act))
            self.buttons[key] = button
        self.code = ipywidgets.Textarea(
            rows=16, disabled=False, layout={"width": "auto"}, tooltip="a script that measures exactly this"
        )
        self.code.add_class("dynlab-code")
        copy = CopyButton()
        traitlets.dlink((self.code, "value"), (copy, "text"))
        self._shown_code = ipywidgets.VBox([copy, self.code])
        self._shown_code.layout.display = "none"
        row = ipywidgets.HBox(
            [self.buttons["save-figure"], self.format, self.buttons["save-data"],
             self.buttons["show-code"], self.folder],
            layout={"flex_flow": "row wrap", "align_items": "center"},
        )  # fmt: skip
        super().__init__([row, self._shown_code])

    def _guarded(self, act: Callable[[], object]) -> None:
        with self._status.explaining():
            act()

    def save_figure(self) -> Path:
        """Save the figure in the chosen format; an older file of this name is replaced.

        Raises:
            OSError: if the folder cannot be written.
        """
        path = self._path(f".{self.format.value}")
        with DRAWING:
            self._figure().savefig(path)
        self._status.say(f"saved {path}", "note")
        return path

    def save_data(self) -> Path:
        """Save the data as Zarr, to be read with ``dynlab.open_dataset``; older data of this name is replaced.

        Raises:
            OSError: if the folder cannot be written.
        """
        path = save_dataset(self._dataset(), self._path(".zarr"))
        self._status.say(f"saved {path}; dynlab.open_dataset reads it", "note")
        return path

    def toggle_code(self) -> None:
        """Show the script, or hide it."""
        layout = self._shown_code.layout
        if layout.display == "none":
            self.code.value = self._code()
            layout.display = None
        else:
            layout.display = "none"

    def refresh_code(self) -> None:
        """Where the script is shown, show the present one."""
        if self._shown_code.layout.display != "none":
            self.code.value = self._code()

    def _path(self, suffix: str) -> Path:
        folder = Path(self.folder.value.strip() or ".").expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot save in {folder}: {error.strerror or error}") from None
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"cannot save in {folder}: expected a folder that can be written")
        return folder / f"{self._name}{suffix}"
