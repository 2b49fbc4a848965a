"""The list of propositions."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import torch
from rich.console import Console

import dynlab
from dynlab.cells import registry
from dynlab.cli_theory_tables import detail
from dynlab.figures.propositions import Proposed
from dynlab.theory import PROPOSITIONS, evaluate_all, find_proposition

NOTE = 240  # characters
VERDICTS = {"holds", "fails", "not applicable"}
ASKED = [
    "antisymmetric-1", "antisymmetric-2", "antisymmetric-gamma", "antisymmetric-gated", "irnn-1", "irnn-2",
    "irnn-theorem-1", "irnn-theorem-2", "irnn-corollary-1", "irnn-map", "unicornn-C.1", "unicornn-3.1", "unicornn-3.2",
    "unicornn-C.4", "unicornn-volume", "unicornn-energy-drift", "antisymmetric-parameters", "irnn-parameters",
    "unicornn-parameters",
]  # fmt: skip


def test_what_the_papers_say_is_there_paper_by_paper():
    assert set(ASKED) <= set(PROPOSITIONS)
    papers = [key.partition("-")[0] for key in PROPOSITIONS if not key.endswith("-parameters")]
    assert list(dict.fromkeys(papers)) == ["antisymmetric", "irnn", "unicornn"]
    assert papers == sorted(papers, key=["antisymmetric", "irnn", "unicornn"].index)
    assert list(PROPOSITIONS)[-3:] == ASKED[-3:]


def test_no_module_is_left_out_and_no_key_is_there_twice():
    from importlib import import_module
    from pathlib import Path

    names = [path.stem for path in Path(dynlab.theory.__file__).parent.glob("[!_]*.py")]
    rows = [one for name in names for one in getattr(import_module(f"dynlab.theory.{name}"), "PROPOSITIONS", ())]
    assert sorted(one.key for one in rows) == sorted(PROPOSITIONS)
    assert all(find_proposition(one.key) is one for one in rows)


@pytest.mark.parametrize("key", PROPOSITIONS)
def test_a_row_is_complete_and_refuses_a_cell_of_another_kind(key):
    one = PROPOSITIONS[key]
    assert one.key == key and one.statement and one.reference and set(one.cells) <= set(registry)
    with pytest.raises(TypeError, match="expected"):
        one.evaluate(dynlab.build_cell("lstm", 2, 3))
    assert len(one.statement.splitlines()) == 1


def test_an_unknown_one():
    with pytest.raises(ValueError, match=r"expected a proposition among antisymmetric-1, .*; got 'irnn-3'"):
        find_proposition("irnn-3")


def test_the_package_brings_nothing_heavy_until_it_is_asked():
    code = (
        "import sys, dynlab.theory\n"
        "heavy = {'xarray', 'scipy', 'matplotlib', 'lightning', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "dynlab.theory.PROPOSITIONS\n"
        "print(sorted(heavy & set(sys.modules) - {'xarray'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("antisymmetric-gated", {}),
        ("irnn-2", {}),
        ("irnn-norm", {}),
        ("irnn-parameters", {}),
        ("unicornn-C.1-resonance", {}),
        ("unicornn-3.1-gaps", {"factors": (1, 10)}),
        ("unicornn-chaos", {"steps": 200}),
        ("unicornn-driving", {"periods": 2}),
    ],
)
def test_the_seed_and_nothing_else_draws(key, options):
    found = []
    for other in (1, 2):
        torch.manual_seed(other)
        state = torch.random.get_rng_state()
        found.append(PROPOSITIONS[key].evaluate(seed=4, **options))
        assert torch.equal(torch.random.get_rng_state(), state)
    assert found[0].identical(found[1])


@pytest.mark.slow
def test_all_of_them_are_evaluated_saved_and_read_again(tmp_path):
    state = torch.random.get_rng_state()
    for found in evaluate_all():
        key = found.attrs["proposition"]
        assert torch.equal(torch.random.get_rng_state(), state), key
        assert found.attrs["verdict"] in VERDICTS, key
        note = found.attrs["note"]
        assert note.strip() and "nan" not in note and len(note) <= NOTE, (key, note)
        out = io.StringIO()
        Console(file=out, width=100).print(*detail(found))
        assert key in out.getvalue() and max(map(len, out.getvalue().splitlines())) <= 100, key
        dynlab.save_dataset(found, tmp_path / f"{key}.zarr")
        again = dynlab.open_dataset(tmp_path / f"{key}.zarr").load()
        for name in ("bound", "measured", "satisfied", "hypothesis_holds"):
            assert again[name].equals(found[name]), (key, name)
        assert Proposed.of(again) == Proposed.of(found)
    assert {path.stem for path in tmp_path.iterdir()} == set(PROPOSITIONS)
