"""Figures are made from what is kept, whole or not at all, and one that fails fails alone."""

import json

import pytest
import torch
from PIL import Image

from dynlab.figures import load
from dynlab.figures.cache import Cache
from dynlab.figures.executor import InProcess, PieceError
from dynlab.figures.pieces import Piece
from dynlab.figures.results import Places, largest, whole
from dynlab.figures.runner import Job, make_all, obstacle


@pytest.fixture
def make(scripts, tmp_path, monkeypatch):
    """Make figures with one cache and one folder; gives the outcomes. What was computed: ``computed()``."""
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    executor = InProcess(Cache(tmp_path / "kept"))

    def call(*names, scale="smoke", seed=0):
        jobs = [Job(name, scale, seed, Places(tmp_path / "out", name, scale)) for name in names]
        return make_all(jobs, executor, "abc123")

    return call


@pytest.fixture
def computed(tmp_path):
    def seeds():
        path = tmp_path / "log"
        return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []

    return seeds


def change(scripts, old, new, name="toy_walk"):
    text = (scripts / "toy_walk.py").read_text()
    assert old in text
    (scripts / f"{name}.py").write_text(text.replace(old, new))


def states(outcomes):
    return {one.name: one.state for one in outcomes}


def test_dataset_images_and_origin(make, computed, tmp_path):
    torch.manual_seed(123)  # must not matter
    assert states(make("toy_walk", seed=3)) == {"toy_walk": "made"}
    assert computed() == [3, 4, 5, 6]
    places = Places(tmp_path / "out", "toy_walk", "smoke")
    torch.manual_seed(0)  # what a run starts from
    expected = load("toy_walk").compute("smoke", seed=3)
    assert places.read()[["h", "eigenvalue"]].identical(expected[["h", "eigenvalue"]])
    assert places.file(".pdf").read_bytes().startswith(b"%PDF")
    with Image.open(places.png) as image:
        assert image.size == (680, 400)  # 3.4 in x 2 in at 200 dots an inch
    origin = places.origin()
    assert (origin.scale, origin.seed, origin.commit) == ("smoke", 3, "abc123")
    assert f"torch {torch.__version__}" in origin.hardware[0] and len(origin.hardware) == 1
    pieces = [json.loads(path.read_text()) for path in (tmp_path / "kept/pieces").glob("*/*/origin.json")]
    walks = [one["seconds"] for one in pieces if "walk(" in one["piece"]]
    assert len(walks) == 4 and origin.seconds == pytest.approx(sum(walks))
    assert {path.suffix for path in (tmp_path / "out/smoke").iterdir()} == {".pdf", ".png", ".zarr", ".json"}


def test_drawing_and_claims_anew_compute_nothing(make, computed, scripts, tmp_path):
    make("toy_walk")
    png = tmp_path / "out/smoke/toy_walk.png"
    before = png.read_bytes()
    change(scripts, "dataset.h[..., 0]", "-dataset.h[..., 1]")
    change(scripts, "It goes far", "It does not go far")
    make("toy_walk")
    assert len(computed()) == 4 and png.read_bytes() != before
    change(scripts, "range(seed, seed +", "range(seed + 2, seed + 2 +")  # compute, but none of its pieces
    make("toy_walk")
    assert computed() == [0, 1, 2, 3, 4, 5]
    change(scripts, "standard_normal((200, 200))", "standard_normal((9, 9))")
    make("toy_walk")
    assert computed()[6:] == [2, 3, 4, 5]


def test_the_same_whatever_it_is_made_with(make, tmp_path):
    """The numbers of compute's own generator do not depend on which pieces were there already, or on other figures."""
    make("toy_walk")
    first = Places(tmp_path / "out", "toy_walk", "smoke").read()
    (tmp_path / "kept/pieces/toy_walk").rename(tmp_path / "away")
    torch.rand(7)
    make("toy_walk")
    assert Places(tmp_path / "out", "toy_walk", "smoke").read().identical(first)


def test_one_that_fails_fails_alone(make, computed, scripts, tmp_path, monkeypatch):
    change(scripts, "figure = Figure(", "raise RuntimeError('no\\nink')\n    figure = Figure(", "toy_ink")
    change(scripts, "    return figure", "    return figure.axes", "toy_axes")
    (scripts / "toy_broken.py").write_text("1 / 0")
    monkeypatch.setenv("TOY_FAILS", "2")
    failing = make("toy_walk", "toy_broken")
    monkeypatch.delenv("TOY_FAILS")
    assert states(failing) == {"toy_walk": "failed", "toy_broken": "failed"}
    assert failing[0].why == "toy_walk: walk(seed=2, steps=5): RuntimeError: this seed fails"
    assert computed() == [0, 1, 2, 3]  # the pieces after it, too
    places = Places(tmp_path / "out", "toy_walk", "smoke")
    assert places.origin() is None and places.reason() == failing[0].why
    assert "Traceback (most recent call last)" in places.file(".not-run.txt").read_text()

    outcomes = make("toy_ink", "toy_axes", "toy_broken", "toy_walk")
    assert states(outcomes) == {"toy_ink": "failed", "toy_axes": "failed", "toy_broken": "failed", "toy_walk": "made"}
    assert outcomes[0].why == "toy_ink at scale smoke: RuntimeError: no ink"
    assert outcomes[1].why.endswith("TypeError: expected draw to give a matplotlib Figure, got list")
    assert "cannot be loaded: ZeroDivisionError" in outcomes[2].why
    assert computed()[4:].count(2) == 3  # in the two new scripts, and the one that had failed
    assert places.reason() == "" and places.origin() is not None


def test_compute_must_give_a_dataset(make, scripts):
    change(scripts, "return data.assign(", "return data.h.assign_attrs() if data else data.assign(")
    (outcome,) = make("toy_walk")
    assert outcome.why.endswith("TypeError: expected compute to give an xarray.Dataset, got DataArray")


def test_a_figure_half_written_counts_as_not_made(make, tmp_path, scripts):
    make("toy_walk")
    change(
        scripts, "    return figure", "    figure.savefig = lambda path, **_: (path.touch(), 1 / 0)\n    return figure"
    )
    assert states(make("toy_walk")) == {"toy_walk": "failed"}
    places = Places(tmp_path / "out", "toy_walk", "smoke")
    assert places.origin() is None and largest(tmp_path / "out", "toy_walk") is None
    assert not list((tmp_path / "out/smoke").glob("*partial*")) and not list((tmp_path / "out/smoke").glob(".*"))


def test_whole_files(tmp_path):
    path = tmp_path / "new/file.txt"
    with whole(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError), whole(path) as partial:
        partial.write_text("tw")
        raise RuntimeError
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


def test_obstacles(scripts, tmp_path, make, monkeypatch):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path / "data"))
    executor = InProcess(Cache(tmp_path / "kept"))

    def of(scale):
        return obstacle(Job("toy_walk", scale, 0, Places(tmp_path / "out", "toy_walk", scale)), executor)

    assert of("smoke") == ""
    assert of("paper") == "toy_walk has no scale 'paper', expected one of smoke, laptop"
    make("toy_walk")
    change(
        scripts, "choices=(", 'needs={"smoke": ("har2:subset=true",), "laptop": ("har2:subset=true",)},\n    choices=('
    )
    assert of("smoke") == ""  # it is kept
    says = of("laptop")
    assert says.startswith("toy_walk at scale laptop needs the data of task har2:subset=true: ")
    assert "\n" not in says and str(tmp_path / "data") in says
    (outcome,) = make("toy_walk", scale="laptop")
    assert (outcome.state, outcome.why) == ("skipped", says)
    assert Places(tmp_path / "out", "toy_walk", "laptop").reason() == says


def test_the_first_error_comes_after_the_other_pieces(scripts, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_FAILS", "0")
    cache = Cache(tmp_path / "kept")
    pieces = [Piece.of(load("toy_walk").walk, {"seed": seed, "steps": 3}) for seed in range(3)]
    told = []
    with pytest.raises(PieceError, match=r"toy_walk: walk\(seed=0, steps=3\): RuntimeError: this seed fails") as caught:
        InProcess(cache).run(pieces, lambda piece, kept: told.append(piece))
    assert "in walk" in caught.value.details
    assert told == pieces[1:] and [piece in cache for piece in pieces] == [False, True, True]


def test_ctrl_c_keeps_what_is_finished(make, computed, scripts, tmp_path):
    change(
        scripts,
        'if seed == int(os.environ.get("TOY_FAILS", "-1")):',
        "if seed == 2:\n        raise KeyboardInterrupt\n    if seed < 0:",
    )
    with pytest.raises(KeyboardInterrupt):
        make("toy_walk")
    cache = Cache(tmp_path / "kept")
    kept = [Piece.of(load("toy_walk").walk, {"seed": seed, "steps": 5}) in cache for seed in range(4)]
    assert kept == [True, True, False, False]
    assert Places(tmp_path / "out", "toy_walk", "smoke").origin() is None


def test_scales_in_order(make, tmp_path):
    make("toy_walk", scale="laptop")
    make("toy_walk", scale="smoke")
    assert largest(tmp_path / "out", "toy_walk").scale == "laptop"
    assert largest(tmp_path / "out", "toy_walk", ("smoke",)).scale == "smoke"
    assert largest(tmp_path / "out", "toy_other") is None
