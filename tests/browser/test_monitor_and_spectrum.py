"""The training monitor follows a training in another cell; the spectrum's ends follow keys and the mouse."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import numpy as np
from PIL import Image

from tests.browser.lab import (
    Server,
    changed_picture,
    open_notebook,
    picture_bytes,
    press,
    run_all,
    screenshot,
    scrollbars,
)

SPECTRUM = """
from dynlab.widgets.spectrum import Spectrum

widget = Spectrum("lstm", hidden_size=16)
widget
"""
MONITOR = """
import threading
import time

import torch

import dynlab
from dynlab.widgets.training_monitor import TrainingMonitor

ended = threading.Event()


def train():
    torch.manual_seed(0)
    model = dynlab.Network([dynlab.cells.UnICORNN(2, 8)], dynlab.Readout(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    probes = ["GradientNorm", "EndToEndSpectrum", "SingularValues"]
    with dynlab.Recorder("monitor-run.zarr", model, torch.randn(20, 2, 2), probes, every=10) as recorder:
        while not ended.wait(0.02):
            inputs = torch.randn(20, 8, 2)
            with recorder.watching():
                loss = (model.read(inputs) - inputs[0, :, :1]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            recorder.step(loss)
            optimizer.step()


monitor = TrainingMonitor("monitor-run.zarr")
monitor
"""


def text(page: Any, selector: str) -> str:
    return page.locator(selector).first.inner_text()


def wait_for(page: Any, selector: str, pattern: str, seconds: float = 60) -> str:
    """The text of an element, once it has the pattern."""
    end = time.monotonic() + seconds
    while not re.search(pattern, found := text(page, selector)):
        assert time.monotonic() < end, f"{selector} says {found!r}, not {pattern!r}"
        page.wait_for_timeout(100)
    return found


def in_sight(page: Any, selector: str) -> dict[str, float]:
    """Where an element is in the window, scrolled there: the mouse reaches nothing outside of it."""
    page.locator(selector).scroll_into_view_if_needed()
    return page.locator(selector).bounding_box()


def blue(png: bytes) -> np.ndarray:
    """Columns of a picture in which the ends' colour stands from top to bottom."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return np.flatnonzero((np.abs(pixels - (0, 114, 178)).sum(-1) < 40).sum(0) > 0.5 * len(pixels))


def test_spectrum(page: Any, lab: Server) -> None:
    open_notebook(page, lab, lab.write("spectrum", SPECTRUM))
    assert run_all(page) == []
    interval, norms, ranks = (f".dynlab-{name}-picture img" for name in ("interval", "norms", "ranks"))
    page.locator(ranks).wait_for(timeout=120_000)
    wait_for(page, ".dynlab-numbers", "smallest σ")
    assert scrollbars(page) == []
    screenshot(page, "spectrum")

    before, places = picture_bytes(page, norms), blue(picture_bytes(page, interval))
    press(page, ".dynlab-interval .noUi-handle", "ArrowRight", times=30)
    changed_picture(page, norms, before)
    wait_for(page, ".dynlab-interval .widget-readout", r"30 . 200")
    wait_for(page, ".dynlab-numbers", "smallest σ")
    assert blue(picture_bytes(page, interval))[0] > places[0] + 40, "the end stands where the slider says"

    before, box = picture_bytes(page, norms), in_sight(page, interval)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.96 * box["width"], middle)
    page.mouse.down()
    for share in (0.9, 0.8, 0.7, 0.6):
        page.mouse.move(box["x"] + share * box["width"], middle)
        page.wait_for_timeout(60)
    page.mouse.up()
    changed_picture(page, norms, before)
    # The axes lie from 0.145 to 0.975 of the width.
    stop = round((0.6 - 0.145) / 0.83 * 200)
    readout = wait_for(page, ".dynlab-interval .widget-readout", rf"30 . ({stop - 1}|{stop}|{stop + 1})$")
    wait_for(page, ".dynlab-numbers", "smallest σ")
    page.locator(".dynlab-show-code").click()
    wanted = f"between(cell, inputs, 30, {readout.split()[-1]}, sample=0"
    page.wait_for_function("text => document.querySelector('.dynlab-code textarea').value.includes(text)", arg=wanted)
    screenshot(page, "spectrum-dragged")


def test_monitor_follows_a_training(page: Any, lab: Server) -> None:
    cells = [MONITOR, "threading.Thread(target=train, daemon=True).start()"]
    open_notebook(page, lab, lab.write("monitor", *cells))
    assert run_all(page) == []
    loss, heat_map = ".dynlab-loss-picture img", ".dynlab-heat-map-picture img"
    page.locator(heat_map).wait_for(timeout=120_000)
    records = int(wait_for(page, ".dynlab-about", r"^\d+ records").split()[0])
    changed_picture(page, loss, picture_bytes(page, loss))
    assert int(text(page, ".dynlab-about").split()[0]) > records, "it grows by itself"
    wait_for(page, ".dynlab-about", r"^\d\d+ records")
    assert text(page, ".dynlab-status") == ""
    assert scrollbars(page) == []
    screenshot(page, "monitor-live")
    assert page.locator(".dynlab-follow input").is_checked(), "no hand has moved the slider"
    assert int(text(page, ".dynlab-step .widget-readout")) >= 90

    # Whoever moves the slider stays at this record, also when there are newer ones.
    press(page, ".dynlab-step .noUi-handle", "ArrowLeft", times=3)
    page.wait_for_function("!document.querySelector('.dynlab-follow input').checked")
    page.wait_for_timeout(1000)
    chosen = text(page, ".dynlab-step .widget-readout")
    records = int(text(page, ".dynlab-about").split()[0])
    wait_for(page, ".dynlab-about", rf"^(?!{records} )\d+ records")
    assert text(page, ".dynlab-step .widget-readout") == chosen

    before, box = picture_bytes(page, heat_map), in_sight(page, loss)
    page.mouse.click(box["x"] + 0.16 * box["width"], box["y"] + box["height"] / 2)
    changed_picture(page, heat_map, before)
    wait_for(page, ".dynlab-step .widget-readout", r"^(0|10|20|30)$")
    screenshot(page, "monitor-replayed", whole=True)
