"""``dynlab figures``: what it prints, what it writes, and how it says that something is wrong."""

import contextlib
import re
import sys
import time
import types
from pathlib import Path

import pytest

from dynlab.cli import main
from dynlab.figures.cache import read
from dynlab.figures.discover import names
from tests.figures.test_report import theory as theory  # noqa: PLC0414

BROKEN = "1 / 0\n"
LISTED = """
[[item]]
paper = "iRNN"
number = "Table 10"
title = "A table"
protocol = "Somehow."
command = ""
missing = "Hours."
"""


@pytest.fixture(autouse=True)
def folders(scripts, tmp_path, monkeypatch):
    """What is written goes to the folder of the test, wherever the command thinks that it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))


def refused(here, *arguments):
    """The one line on standard error of a command that is refused."""
    out, err = here(*arguments, expect=2)
    (line,) = err.splitlines()
    assert out == "" and line.startswith("dynlab: figures")
    return line


def test_list(here, scripts):
    (scripts / "toy_broken.py").write_text(BROKEN)
    (scripts / "listed.toml").write_text(LISTED)
    out, err = here("list")
    assert err == ""
    (walk,) = [line for line in out.splitlines() if "toy_walk" in line]
    assert all(text in walk for text in ("Fig. 1", "A walk & its <spectrum>", "smoke, laptop"))
    (table,) = [line for line in out.splitlines() if "Table 10" in line]
    assert "A table" in table and "not run" in table
    order = [
        out.index(text) for text in ("iRNN", "toy_walk", "Table 10", "cannot be loaded", "toy_broken", "ZeroDivision")
    ]
    assert order == sorted(order) and "UnICORNN" not in out


def test_run_and_report(here, tmp_path):
    out, err = here("run", "toy_walk", "--scale", "smoke", "--seed", "5")
    assert out == "report: figures-out/report/index.html\n"
    *pieces, end = err.splitlines()
    for number, line in enumerate(pieces):
        assert re.fullmatch(rf"toy_walk: {number + 1} of 4, [0-9.]+ s, walk\(seed={number + 5}, steps=5\)", line)
    assert len(pieces) == 4
    assert end == "toy_walk: figures-out/smoke/toy_walk.png"
    assert "--seed 5" in (tmp_path / "figures-out/report/report.md").read_text()
    assert (tmp_path / "cache/figures/pieces/toy_walk").is_dir()
    before = (tmp_path / "log").read_text()

    (tmp_path / "figures-out/report/report.md").unlink()
    assert here("report") == ("report: figures-out/report/index.html\n", "")
    assert here("report", "--scale", "smoke") == ("report: figures-out/report/index.html\n", "")
    assert (tmp_path / "figures-out/report/report.md").is_file()
    assert here("run", "toy_walk", "--scale", "smoke", "--seed", "5")[1].splitlines() == [end]  # kept as a whole
    assert (tmp_path / "log").read_text() == before


def test_out_and_cache(here, tmp_path):
    here("run", "toy_walk", "--scale", "smoke", "--out", tmp_path / "a/b", "--cache", tmp_path / "kept")
    assert (tmp_path / "a/b/smoke/toy_walk.pdf").is_file() and (tmp_path / "kept/pieces").is_dir()
    assert not (tmp_path / "cache").exists() and not (tmp_path / "figures-out").exists()
    found = read(tmp_path / "a/b/smoke/toy_walk.zarr")
    assert found.sizes == {"seed": 4, "time": 5, "unit": 2, "mode": 200} and found.attrs == {
        "scale": "smoke",
        "seed": 0,
    }


def test_all_goes_on_after_a_failure_and_names_it(here, scripts, theory, tmp_path):
    _, calls, fail = theory
    (scripts / "toy_broken.py").write_text(BROKEN)
    (scripts / "toy_other.py").write_text(
        (scripts / "toy_walk.py").read_text().replace('"smoke": {', '"paper": {}, "smoke": {')
    )
    fail("p-3")
    out, err = here("run", "--all", "--scale", "laptop", expect=1)
    assert out == "report: figures-out/report/index.html\n"
    assert err.splitlines()[-1] == "dynlab: failed: toy_broken, propositions"
    assert "failed: propositions: proposition p-3: RuntimeError: no limit" in err and re.search(
        "propositions: 1 of 3, .* s, proposition p-1\n", err
    )
    (failed,) = [line for line in err.splitlines() if line.startswith("failed: toy_broken")]
    assert "ZeroDivisionError" in failed and failed.endswith("(traceback: figures-out/laptop/toy_broken.not-run.txt)")
    assert {path.name for path in (tmp_path / "figures-out/laptop").glob("*.png")} == {"toy_other.png", "toy_walk.png"}
    assert "Prop. 1" in (tmp_path / "figures-out/report/report.md").read_text()

    (scripts / "toy_broken.py").unlink()
    (scripts / "toy_other.py").unlink()
    out, err = here("run", "--all", "--scale", "paper", expect=1)
    assert err.splitlines()[-2:] == ["dynlab: skipped: toy_walk", "dynlab: failed: propositions"]
    assert "skipped: toy_walk has no scale 'paper', expected one of smoke, laptop" in err


def test_theory_that_cannot_be_imported_fails_alone(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "dynlab.theory", types.SimpleNamespace())
    out, err = here("run", "--all", "--scale", "smoke", expect=1)
    assert err.splitlines()[-1] == "dynlab: failed: propositions" and "toy_walk: figures-out/smoke/toy_walk.png" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["toy_wlak"], "expected the name of a figure, got 'toy_wlak'; did you mean toy_walk"),
        (["toy_walk", "--scale", "huge"], "--scale"),
        (["toy_walk", "--scale", "paper"], "toy_walk has no scale 'paper', expected one of smoke, laptop"),
        (["toy_walk", "--seed", "-1"], "--seed"),
        (["toy_walk", "--workers", "0"], "--workers"),
        (["toy_walk", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "expected --workers or --scheduler"),
        ([], "expected NAME... or --all, got neither"),
        (["toy_walk", "--all"], "expected NAME... or --all, got both"),
        (["toy_broken"], "toy_broken.py cannot be loaded: ZeroDivisionError"),
        (["toy_walk", "--out", "file"], "expected --out to be a folder that can be written to at file"),
        (["toy_walk", "--cache", "file/x"], "expected --cache to be a folder that can be written to at"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments, says, here, scripts, tmp_path):
    (scripts / "toy_broken.py").write_text(BROKEN)
    (tmp_path / "file").touch()
    assert says in refused(here, "run", *arguments)
    assert not (tmp_path / "log").exists()


def test_a_read_only_folder(here, tmp_path, monkeypatch):
    """As the system says it; the user of the tests may be one who can write anywhere."""

    def touch(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.touch", touch)
    says = "expected --out to be a folder that can be written to at out, got: Permission denied"
    assert says in refused(here, "run", "toy_walk", "--out", "out")
    assert says in refused(here, "report", "--out", "out")


def test_missing_data_says_what_where_and_how(here, scripts, tmp_path, monkeypatch):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path / "data"))
    path = scripts / "toy_walk.py"
    path.write_text(path.read_text().replace("choices=(", 'needs={"smoke": ("har2:subset=true",)},\n    choices=('))
    line = refused(here, "run", "toy_walk", "--scale", "smoke")
    assert "toy_walk at scale smoke needs the data of task har2:subset=true" in line
    assert str(tmp_path / "data") in line and "DYNLAB_DATA_DIR" in line
    assert not (tmp_path / "log").exists()


def test_report_of_nothing(here):
    assert "expected a folder of figures at nowhere, found none; 'dynlab figures run --all' makes it" in refused(
        here, "report", "--out", "nowhere"
    )
    assert "--scale" in refused(here, "report", "--scale", "huge")


def test_a_scheduler_that_is_not_there(here):
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1"):
        begin = time.monotonic()
        line = refused(here, "run", "toy_walk", "--scale", "smoke", "--scheduler", address)
        assert f"expected a Dask scheduler at {address}, got none" in line and "dask scheduler" in line
        assert time.monotonic() - begin < 30


def test_ctrl_c_says_how_to_go_on(scripts, monkeypatch, capsys):
    path = scripts / "toy_walk.py"
    path.write_text(
        path.read_text().replace("    torch.manual_seed(seed)", "    if seed == 2:\n        raise KeyboardInterrupt")
    )
    monkeypatch.setattr(sys, "argv", ["dynlab", "figures", "run", "toy_walk", "--scale", "smoke"])
    with pytest.raises(SystemExit) as ended:
        main()
    err = capsys.readouterr().err.splitlines()
    assert ended.value.code == 130
    assert err[-2:] == [
        "dynlab: what is finished is kept; to go on: dynlab figures run toy_walk --scale smoke",
        "dynlab: interrupted",
    ]


def test_without_a_checkout(here, monkeypatch, tmp_path):
    """An installed package carries the scripts; where they are missing, that is said."""
    from dynlab import _folders

    monkeypatch.delenv("DYNLAB_FIGURES_DIR")
    package = tmp_path / "site-packages/dynlab"
    package.mkdir(parents=True)
    monkeypatch.setattr(_folders, "_PACKAGE", package)
    line = refused(here, "list")
    assert "expected them at" in line and "or set DYNLAB_FIGURES_DIR to a folder of scripts" in line
    (tmp_path / "scripts").rename(package / "_figures")
    assert "toy_walk" in here("list")[0]


def test_progress_on_a_terminal(scripts, tmp_path, here, monkeypatch):
    """Bars, and a line a figure; no line a piece."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    _, err = here("run", "toy_walk", "--scale", "smoke")
    assert "toy_walk: figures-out/smoke/toy_walk.png" in err and "walk(seed=" not in err


def test_the_commands_of_the_readme(here, monkeypatch):
    """They are parsed, and name figures that there are."""
    root = Path(__file__).parents[2]
    commands = re.findall(
        r"^    \.venv/bin/dynlab (figures .*?)(?:  +#.*)?$", (root / "README.md").read_text(), re.MULTILINE
    )
    assert {line.split()[1] for line in commands} == {"list", "run", "report"}
    made, real = [], [name for name in names(root / "figures")]
    monkeypatch.delenv("DYNLAB_FIGURES_DIR")
    monkeypatch.setattr(
        "dynlab.figures.runner.make_all", lambda jobs, *rest: made.append([job.name for job in jobs]) or []
    )
    monkeypatch.setattr("dynlab.cli_figures._propositions", lambda *given: [])
    monkeypatch.setattr("dynlab.cli_figures._executor", lambda *given: contextlib.nullcontext())
    monkeypatch.setattr("dynlab.cli_figures._refuse_obstacles", lambda *given: None)
    monkeypatch.setattr("dynlab.cli_figures._write_report", lambda *given: None)
    for line in commands:
        here(*line.split()[1:])
    assert real in made and all(set(one) <= set(real) for one in made)
