"""How far a computation is, a button that ends it, and one line for what went wrong."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import ipywidgets

Tone = Literal["problem", "note"]
# Okabe & Ito's vermillion, and a grey; a sign before the text says the same to those who see no colours.
_LOOK = {"problem": ("#B34700", "&#9888; "), "note": ("#555555", "")}


class Status(ipywidgets.HBox):
    """One row under a widget's controls.

    Arguments:
        on_cancel: called when the cancel button is pressed.

    Attributes:
        text: the line that is shown, "" for none. share: of the work that is done, None when there is none.
    """

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        self.text = ""
        self.share: float | None = None
        self._progress = ipywidgets.FloatProgress(
            0.0,
            min=0.0,
            max=1.0,
            description="computing",
            layout={"width": "17em"},
            style={"description_width": "6.5em"},
        )
        self._cancel = ipywidgets.Button(
            description="Cancel",
            icon="stop",
            tooltip="end the computation; what is shown stays",
            layout={"width": "7em"},
        )
        self._cancel.add_class("dynlab-cancel")
        self._cancel.on_click(lambda _: on_cancel())
        self._line = ipywidgets.HTML(layout={"flex": "1 1 20em", "min_width": "0", "width": "auto"})
        self._line.add_class("dynlab-status")
        super().__init__(
            [self._progress, self._cancel, self._line], layout={"flex_flow": "row wrap", "min_height": "2.4em"}
        )
        self.busy(None)

    def busy(self, share: float | None) -> None:
        """Show how far it is; None: nothing is being computed."""
        self.share = share
        shown = "hidden" if share is None else "visible"
        self._progress.layout.visibility = self._cancel.layout.visibility = shown
        if share is not None:
            self._progress.value = share

    def say(self, text: str, tone: Tone = "problem") -> None:
        """Show one line; "" takes it away."""
        self.text = " ".join(text.split())
        colour, sign = _LOOK[tone]
        self._line.value = (
            f'<span role="status" style="color:{colour};line-height:1.3">{sign}{html.escape(self.text)}</span>'
            if self.text
            else ""
        )

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """An error of the block becomes the line: what a control does must never end in silence."""
        try:
            yield
        except Exception as error:
            self.say(str(error) or type(error).__name__)
