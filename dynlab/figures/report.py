"""The report of a run: every item's image, and its claims with the published values beside ours; HTML and Markdown."""

from __future__ import annotations

import html
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from dynlab.figures.base import SCALES, Item
from dynlab.figures.digests import code_of
from dynlab.figures.discover import Script, load, names, natural
from dynlab.figures.listed import Listed, listed
from dynlab.figures.propositions import Proposed, saved_propositions
from dynlab.figures.results import Origin, Places, largest, whole
from dynlab.figures.verdicts import VERDICTS, Checked, check

FOLDER, IMAGES = "report", "images"
LARGE_IMAGE = 400_000
"""Bytes, from which on an image of the report is cut down to a palette; forty such make a report of 16 MB."""
PAPERS = ("AntisymmetricRNN", "iRNN", "UnICORNN")
_MARKS = {"reproduced": "✓", "not reproduced": "✗", "not run at this scale": "–"}


@dataclass(frozen=True)
class Entry:
    """A figure of the report.

    Attributes:
        name, item: of the script. checked: its claims. origin: None if it has not been made.
        seeds: "0 to 15", as the dataset has them. image: beside the report, "" if there is none.
        reason: why it has not been made, or not anew. stale: whether the code has changed since.
    """

    name: str
    item: Item
    checked: tuple[Checked, ...]
    command: str
    origin: Origin | None = None
    seeds: str = ""
    image: str = ""
    reason: str = ""
    stale: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Claims by verdict."""
        found = Counter(one.verdict for one in self.checked)
        return {verdict: found[verdict] for verdict in VERDICTS}


@dataclass(frozen=True)
class Content:
    """What both templates are given."""

    papers: dict[str, list[Entry | Listed]]
    broken: list[str]
    theory: list[Proposed]
    unevaluated: list[str]

    @property
    def entries(self) -> list[Entry]:
        return [one for group in self.papers.values() for one in group if isinstance(one, Entry)]

    @property
    def totals(self) -> dict[str, int]:
        """Claims by verdict, of all figures."""
        return {verdict: sum(entry.counts[verdict] for entry in self.entries) for verdict in VERDICTS}


def write_report(out: Path, scale: Any = None) -> Path:
    """Write ``<out>/report/index.html``, ``report.md`` and ``images/``; returns the HTML file.

    Arguments:
        out: folder of a run. scale: of this scale only; else of each figure the largest that has been made.

    Raises:
        OSError: if it cannot be written.
    """
    import jinja2

    folder = out / FOLDER
    content = _collect(out, folder / IMAGES, scale)
    loader = jinja2.PackageLoader("dynlab.figures", "templates")
    for target, template in (("index.html", "report.html.jinja"), ("report.md", "report.md.jinja")):
        environment = jinja2.Environment(
            loader=loader,
            autoescape=target.endswith(".html"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(inline=_inline, text=_text, cell=_cell, duration=_duration)
        environment.tests["figure"] = lambda one: isinstance(one, Entry)
        text = environment.get_template(template).render(content=content, marks=_MARKS, verdicts=VERDICTS)
        with whole(folder / target) as partial:
            partial.write_text(text, encoding="utf-8")
    return folder / "index.html"


def _collect(out: Path, images: Path, scale: Any) -> Content:
    images.mkdir(parents=True, exist_ok=True)
    entries, broken = [], []
    for name in names():
        try:
            entries.append(_entry(out, images, name, load(name), scale))
        except (ValueError, OSError) as error:  # a script that cannot be loaded, a dataset that is damaged
            broken.append(" ".join(str(error).split()))
    kept = {entry.image for entry in entries}
    for path in images.glob("*.png"):
        if f"{IMAGES}/{path.name}" not in kept:
            path.unlink()
    everything: list[Entry | Listed] = [*entries, *listed()]
    papers: dict[str, list[Entry | Listed]] = {paper: [] for paper in PAPERS}
    for one in sorted(everything, key=_number):
        papers.setdefault(one.item.paper if isinstance(one, Entry) else one.paper, []).append(one)
    return Content({paper: group for paper, group in papers.items() if group}, broken, *saved_propositions(out))


def _entry(out: Path, images: Path, name: str, script: Script, scale: Any) -> Entry:
    places = largest(out, name, SCALES if scale is None else (scale,))
    reasons = [Places(out, name, one).reason() for one in (SCALES if scale is None else (scale,))]
    reason = next((one for one in reversed(reasons) if one), "")
    item = script.ITEM
    if places is None or (origin := places.origin()) is None:
        wanted = scale or "laptop"
        checked = check(item, None, wanted, reason or "not made")
        return Entry(name, item, tuple(checked), _command(name, wanted, 0), reason=reason)
    dataset = places.read()
    with whole(images / f"{name}.png") as image:
        shutil.copyfile(places.png, image)
        _compact(image)
    return Entry(
        name,
        item,
        tuple(check(item, dataset, origin.scale)),
        _command(name, origin.scale, origin.seed),
        origin,
        _seeds(dataset, origin.seed),
        f"{IMAGES}/{name}.png",
        reason,
        origin.code != code_of(script.__source__, "compute"),
    )


def _command(name: str, scale: str, seed: int) -> str:
    return f"dynlab figures run {name} --scale {scale}" + (f" --seed {seed}" if seed else "")


def _seeds(dataset: xr.Dataset, seed: int) -> str:
    if "seed" not in dataset.coords:
        return str(seed)
    values = [int(value) for value in dataset["seed"].values.ravel()]
    together = values == list(range(values[0], values[0] + len(values))) and len(values) > 2
    return f"{values[0]} to {values[-1]}" if together else ", ".join(map(str, values))


def _compact(path: Path) -> None:
    """Cut a large image down to 256 colours, for a report that can be kept with the code."""
    if path.stat().st_size <= LARGE_IMAGE:
        return
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _number(one: Entry | Listed) -> Any:
    """Figures before tables, each by their numbers."""
    number = (one.item if isinstance(one, Entry) else one).number
    return natural(number)


# ---- filters of the templates ----------------------------------------------------------------------------------------


def _inline(text: str) -> str:
    """Plain text with `code` in it, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def _text(text: Any) -> str:
    """Plain text with `code` in it, as Markdown on one line: no tags, no emphasis."""
    parts = " ".join(str(text).split()).split("`")
    return "`".join(part if index % 2 else re.sub(r"([<*\\])", r"\\\1", part) for index, part in enumerate(parts))


def _cell(text: Any) -> str:
    """The same for a cell of a Markdown table."""
    return _text(text).replace("|", "\\|")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
