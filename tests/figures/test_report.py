"""The report says what is in the folder of a run, the claims that fail and what was not made among it."""

import html.parser
import re
import sys
import types

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from dynlab.figures.cache import Cache
from dynlab.figures.executor import InProcess, PieceError
from dynlab.figures.propositions import save_propositions, saved_propositions
from dynlab.figures.report import _compact, _seeds, write_report
from dynlab.figures.results import Places
from dynlab.figures.runner import Job, make_all
from dynlab.theory.base import Hypothesis, Proposition, finding

LISTED = """
[[item]]
paper = "iRNN"
number = "Table 10"
title = "A | table"
protocol = "As *they* say."
command = ""
missing = "Hours."
published = [{ Method = "LSTM", "Accuracy (%)" = "97.3" }, { Method = "iRNN", "Accuracy (%)" = "98.1" }]

[[item]]
paper = "iRNN"
number = "Fig. 2"
title = "Another figure"
protocol = "Somehow."
command = "dynlab train --presets"
missing = "Data."
"""


class Page(html.parser.HTMLParser):
    """Rows of the tables, images, links and texts; every tag must be closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.images, self.links, self.ids, self.open = [], [], [], [], []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(given["src"])
        if tag == "a":
            self.links.append(given["href"])
        if "id" in given:
            self.ids.append(given["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] = " ".join((self.rows[-1][-1] + " " + data).split())


@pytest.fixture
def run(scripts, tmp_path):
    """A folder with toy_walk made at a scale, and items that are listed."""
    (scripts / "listed.toml").write_text(LISTED)

    def call(scale="smoke"):
        out = tmp_path / "out"
        job = Job("toy_walk", scale, 0, Places(out, "toy_walk", scale))
        make_all([job], InProcess(Cache(tmp_path / "kept")), "abc123-dirty")
        return out

    return call


def pages(out, scale=None):
    path = write_report(out, scale)
    assert path == out / "report/index.html"
    return Page(path.read_text()), (path.parent / "report.md").read_text()


def verdicts(page):
    """Ours and the verdict of each claim."""
    claims = page.rows[page.rows.index(["claim", "published", "ours", "verdict"]) + 1 :][:4]
    return {claim[0].split(" Tolerance")[0]: (claim[1], claim[2], claim[3].lstrip("✓✗– ")) for claim in claims}


EXPECTED = {
    "It starts at zero": ("", "0", "reproduced"),
    "It returns": ("", "once too few steps", "not run at this scale"),
    "It fills the plane": ("", "means something at scale laptop", "not run at this scale"),
}


def test_claims_values_and_verdicts(run):
    out = run()
    page, markdown = pages(out)
    found = verdicts(page)
    largest = float(abs(Places(out, "toy_walk", "smoke").read().h).max())
    far = found.pop("It goes far")
    assert far == ("a million", f"{largest:.1f} | at most it is short", "not reproduced")
    assert found == EXPECTED
    assert (
        "Of the 4 claims checked here, 1 is reproduced, 1 is not reproduced, 2 are not run at this scale."
        in " ".join(page.text.split())
    )
    (row,) = [line for line in markdown.splitlines() if line.startswith("| It goes far")]
    assert row == (
        f"| It goes far (tolerance: none: arithmetic) | a million | {largest:.1f} \\| at most | ✗ not reproduced | "
        "it is `short` |"
    )
    # A check that raises does not confirm the claim.
    found = verdicts(pages(run("laptop"))[0])
    assert found["It fills the plane"] == (
        "",
        "the check could not be made: ZeroDivisionError: division by zero",
        "not reproduced",
    )


def test_where_it_comes_from(run):
    out = run()
    page, markdown = pages(out)
    origin = Places(out, "toy_walk", "smoke").origin()
    for text in (" ".join(page.text.split()), " ".join(markdown.split())):
        for part in ("0 to 3", origin.hardware[0], "abc123-dirty", origin.finished, "Independent steps."):
            assert part in text
        for part in ("It is a walk.", "Two dimensions.", "dynlab figures run toy_walk --scale smoke"):
            assert part in text
    assert page.images == ["images/toy_walk.png"] and "![iRNN Fig. 1](images/toy_walk.png)" in markdown
    assert (out / "report/images/toy_walk.png").read_bytes() == (out / "smoke/toy_walk.png").read_bytes()
    assert {link for link in page.links if link.startswith("#")} <= {f"#{name}" for name in page.ids}


def test_what_is_listed_only(run):
    page, markdown = pages(run())
    at = page.rows.index(["Method", "Accuracy (%)"])
    assert page.rows[at + 1 : at + 3] == [["LSTM", "97.3"], ["iRNN", "98.1"]]
    assert "| LSTM | 97.3 |" in markdown and "| iRNN | Table 10 | A \\| table | not run | | | |" in markdown
    assert "As \\*they\\* say." in markdown and "As *they* say." in page.text
    # In the order of the paper: figures before tables.
    numbers = re.findall(r"^### iRNN (\w+\.? \d+)", markdown, re.MULTILINE)
    assert numbers == ["Fig. 1", "Fig. 2", "Table 10"]
    assert page.text.count("command") == 2  # one of the two listed has none


def test_tables_are_whole_and_text_stays_text(run, scripts):
    path = scripts / "toy_walk.py"
    path.write_text(path.read_text().replace('"Independent steps."', '"a < b & c > d, `x|y < z`, 2*3*4"'))
    page, markdown = pages(run())
    assert "A walk & its <spectrum>" in page.text and "a < b & c > d, x|y < z, 2*3*4" in page.text
    assert "A walk & its \\<spectrum>" in markdown and "a \\< b & c > d, `x|y < z`, 2\\*3\\*4" in markdown
    width = None
    for line in markdown.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert cells is None or width in (None, cells), line
        width = cells


def test_not_made_and_made_earlier(run, scripts, tmp_path, monkeypatch):
    (scripts / "toy_broken.py").write_text("1 / 0\n")
    page, markdown = pages(tmp_path / "nothing")
    assert page.images == [] and ["not made", "·", "·", "4"] in [row[2:] for row in page.rows]
    assert {one[2] for one in verdicts(page).values()} == {"not run at this scale"}
    assert "toy_broken.py cannot be loaded: ZeroDivisionError" in page.text
    assert "toy_broken.py cannot be loaded: ZeroDivisionError" in markdown

    out = run()
    assert "code has changed" not in pages(out)[0].text
    path = scripts / "toy_walk.py"
    path.write_text(path.read_text().replace("cumsum(0)", "cumsum(1)"))
    monkeypatch.setenv("TOY_FAILS", "1")
    run()
    for text in pages(out):
        text = getattr(text, "text", text)
        assert "Not made anew: toy_walk: walk(seed=1, steps=5): RuntimeError: this seed fails" in text
        assert "The code has changed since this was computed" in text
    monkeypatch.delenv("TOY_FAILS")
    run()
    assert not any("Not made" in text or "has changed" in text for text in (pages(out)[1], pages(out)[0].text))


def test_of_each_the_largest_scale_or_the_one_asked_for(run):
    run("laptop")
    out = run("smoke")
    assert "--scale laptop" in pages(out)[1] and "--scale smoke" in pages(out, "smoke")[1]
    page, _ = pages(out, "paper")
    assert page.images == [] and not list((out / "report/images").iterdir())


def test_a_damaged_dataset_is_said(run, scripts):
    out = run()
    (out / "smoke/toy_walk.zarr/zarr.json").write_text("{")
    page, _ = pages(out)
    assert "toy_walk.zarr is damaged" in page.text and "run toy_walk again" in page.text and page.images == []


def test_nothing_is_left_beside_the_report(run):
    out = run()
    pages(out)
    assert {path.name for path in (out / "report").rglob("*")} == {
        "index.html",
        "report.md",
        "images",
        "toy_walk.png",
    }


def test_a_large_image_is_cut_down(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(noise).save(path)
    before = path.stat().st_size
    _compact(path)
    with Image.open(path) as image:
        assert image.size == (500, 500) and len(image.getcolors()) <= 256
        assert np.abs(np.asarray(image.convert("RGB"), dtype=float) - noise).mean() < 40
    assert path.stat().st_size < before / 2


@pytest.mark.parametrize(
    ("seeds", "text"), [([0, 1, 2, 3], "0 to 3"), ([4], "4"), ([1, 2], "1, 2"), ([1, 3, 5], "1, 3, 5"), (None, "7")]
)
def test_seeds_in_words(seeds, text):
    data = xr.Dataset() if seeds is None else xr.Dataset(coords={"seed": seeds})
    assert _seeds(data, 7) == text


# ---- propositions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def theory(monkeypatch):
    """Three propositions in place of dynlab's; the seeds with which they were evaluated."""
    calls = []

    def evaluate(bound, measured, hypotheses, fails=False):
        def call(cell=None, inputs=None, *, seed):
            calls.append(seed)
            if fails:
                raise RuntimeError("no limit")
            return finding(
                key="p", reference="Prop. 1 | 2", statement="x < `y`", relation="<=", bound=bound, measured=measured,
                hypotheses=hypotheses, cell="a cell", note="of | old",
            )  # fmt: skip

        return call

    values = xr.DataArray([1.0, 2.5], dims="t", attrs={"units": "nat"})
    holds, not_so = Hypothesis("dt <= 1", True), Hypothesis("alpha > 0", False)
    propositions = {
        "p-1": evaluate(values + 1, values, [holds]),
        "p-2": evaluate(values[::-1].copy(data=[1.0, 1.0]), values, [holds]),
        "p-3": evaluate(1.0, 3.0, [holds, not_so]),
    }
    registry = {key: Proposition(key, "", "", (), call) for key, call in propositions.items()}
    monkeypatch.setitem(sys.modules, "dynlab.theory", types.SimpleNamespace(PROPOSITIONS=registry))

    def fail(key):
        registry[key] = Proposition(key, "", "", (), evaluate(0, 0, [], fails=True))

    return registry, calls, fail


def test_propositions_are_evaluated_once_and_shown(run, theory, tmp_path):
    _, calls, _ = theory
    out, executor = run(), InProcess(Cache(tmp_path / "kept"))
    assert saved_propositions(out) == ([], [])
    save_propositions(out, executor)
    assert calls == [0, 0, 0]
    rows, missing = saved_propositions(out)
    assert [row.verdict for row in rows] == ["holds", "fails", "not applicable"] and missing == []
    assert (rows[0].bound, rows[0].measured, rows[1].bound) == ("2 to 3.5 nat", "1 to 2.5 nat", "1 nat")
    assert [row.share for row in rows] == ["", "satisfied by 1 of 2 values", ""]
    assert rows[2].hypotheses == (("dt <= 1", True), ("alpha > 0", False))
    page, markdown = pages(out)
    shown = page.rows[page.rows.index(["proposition", "hypotheses", "bound", "measured", "verdict"]) + 1 :]
    assert [row[-1] for row in shown] == ["holds", "fails", "not applicable"]
    assert shown[2] == ["Prop. 1 | 2 p, a cell x < y", "✓ dt <= 1 ✗ alpha > 0", "<= 1", "3 of | old", "not applicable"]
    assert "1 hold, 1 fail, 1 are not applicable." in " ".join(page.text.split())
    assert (
        "| Prop. 1 \\| 2, a cell | x \\< `y` | ✓ dt \\<= 1; ✗ alpha > 0 | \\<= 1 | 3 | not applicable | of \\| old |"
        in markdown
    )

    save_propositions(tmp_path / "elsewhere", executor)
    assert len(calls) == 3 and saved_propositions(tmp_path / "elsewhere")[0] == rows


def test_a_proposition_that_cannot_be_evaluated(run, theory, tmp_path):
    _, calls, fail = theory
    fail("p-2")
    out = run()
    with pytest.raises(PieceError, match="proposition p-2: RuntimeError: no limit"):
        save_propositions(out, InProcess(Cache(tmp_path / "kept")))
    rows, missing = saved_propositions(out)
    assert [row.verdict for row in rows] == ["holds", "not applicable"] and missing == ["p-2"]
    for text in pages(out):
        assert "Not evaluated, because of an error: p-2" in getattr(text, "text", text)
    for key in ("p-1", "p-3"):
        fail(key)
    with pytest.raises(PieceError):
        save_propositions(out, InProcess(Cache(tmp_path / "other")))
    assert saved_propositions(out) == ([], ["p-1", "p-2", "p-3"])
    assert "Not evaluated, because of an error: p-1, p-2, p-3" in pages(out)[0].text
