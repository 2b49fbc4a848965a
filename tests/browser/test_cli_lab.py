"""What ``dynlab lab`` serves, opened by the address that it prints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.browser.lab import RUN, START, screenshot, scrollbars, settled_picture
from tests.test_cli_lab import kernels, started


def test_the_page_shows_the_comparison_and_its_kernel_ends_with_it(page: Any, tmp_path: Path) -> None:
    with started(["--dashboard"], tmp_path) as (_, address):
        page.goto(address, timeout=RUN * 1000)
        page.locator(".dynlab-compare .dynlab-picture img").first.wait_for(timeout=START * 1000)
        assert settled_picture(page, ".dynlab-compare .dynlab-picture", quiet=3).startswith(b"\x89PNG")
        assert page.title() == "dynlab"
        screenshot(page, "dashboard")
        assert scrollbars(page, "body") == []
        assert len(kernels(tmp_path)) == 1
        page.goto("about:blank")
        give_up = time.monotonic() + 30
        while kernels(tmp_path):
            assert time.monotonic() < give_up, "the kernel of a page that was left is still there"
            time.sleep(0.2)


def test_the_laboratory_opens_on_the_comparison(page: Any, tmp_path: Path) -> None:
    with started(["--out", "work"], tmp_path) as (_, address):
        page.goto(address, timeout=START * 1000)
        page.locator(".lm-mod-current .lm-TabBar-tabLabel", has_text="06_comparison_lab.ipynb").wait_for(
            timeout=START * 1000
        )
        assert "/login" not in page.url
