"""voila as ``dynlab lab --dashboard`` runs it."""

from __future__ import annotations

import html
import threading
import webbrowser
from pathlib import Path

from voila.app import Voila


class Page(Voila):
    """voila 0.5 prints the address with its token, but opens the browser without it, which shows a login form."""

    def launch_browser(self) -> None:
        # In a file, for a command line can be read by every user of the machine; the folder by its owner only.
        file = Path(self.root_dir) / "open.html"
        address = html.escape(self.display_url)
        file.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
        threading.Thread(target=webbrowser.open, args=(file.as_uri(),), daemon=True).start()
