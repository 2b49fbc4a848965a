"""Every notebook runs in JupyterLab as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import NOTEBOOKS, Server, open_notebook, run_all, screenshot, scrollbars


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook(page: Any, lab: Server, path: Path) -> None:
    open_notebook(page, lab, lab.copy(path))
    assert run_all(page) == []
    screenshot(page, path.stem, whole=True)
    assert scrollbars(page) == []
