"""What is listed and not run: complete, whole, consistent in itself, and its commands are dynlab's."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from typing import Any

import pytest

from dynlab import cli_train
from dynlab.cli import main
from dynlab.figures import load, names
from dynlab.figures.listed import Listed, listed
from dynlab.tasks import get_task
from dynlab.training import Settings, all_presets
from dynlab.training.network import build_network

ITEMS = {(one.paper, one.number): one for one in listed()}
EXPECTED = {
    "AntisymmetricRNN": ["Table 1", "Table 2"],
    "iRNN": ["Fig. 4", "Fig. 5 (T = 400)", *(f"Table {n}" for n in range(1, 12))],
    "UnICORNN": ["Fig. 3", "Fig. 4", "Fig. 6", *(f"Table {n}" for n in (1, 2, 3, 4, 5, 6, 8))],
}
IN_THE_PAPERS = {"AntisymmetricRNN": (5, 2), "iRNN": (9, 11), "UnICORNN": (7, 8)}
"""How many figures and tables each has."""


def column(item: Listed, name: str) -> list[str]:
    return [row[name] for row in item.published]


def test_every_item_is_listed_once():
    assert Counter((one.paper, one.number) for one in listed()) == Counter(
        (paper, number) for paper, numbers in EXPECTED.items() for number in numbers
    )


@pytest.mark.parametrize("paper", EXPECTED)
def test_with_the_scripts_a_paper_is_complete(paper: str):
    words = {"fig": "Fig.", "table": "Table"}
    found = {" ".join(number.split()[:2]) for number in EXPECTED[paper]}
    for name in names():
        key, _, rest = name.partition("_")
        if key == paper.lower().removesuffix("rnn") or key == paper.lower():
            kind = re.match(r"[a-z]+?(?=s?\d)", rest)
            if kind is None:  # ours, which no paper has
                assert not re.match(r"Fig|Table", load(name).ITEM.number), (
                    f"{name}: expected fig or table and its number"
                )
                continue
            found |= {f"{words[kind[0]]} {number}" for number in re.findall(r"\d+", rest)}
    figures, tables = IN_THE_PAPERS[paper]
    assert found == {f"Fig. {n + 1}" for n in range(figures)} | {f"Table {n + 1}" for n in range(tables)}


@pytest.mark.parametrize("item", listed(), ids=lambda one: f"{one.paper} {one.number}")
def test_rows_are_whole(item: Listed):
    for text in (item.title, item.protocol, item.missing):
        assert text and text == text.strip() and "\n" not in text
    assert all(list(row) == item.columns for row in item.published)
    assert all(isinstance(value, str) for row in item.published for value in row.values())
    assert len({tuple(row.values()) for row in item.published}) == len(item.published)
    for row in item.published:
        assert next(iter(row.values())), "expected a name in the first column"
        # What the copies of the papers have in place of a cell that could not be read.
        assert not any(re.search(r"[\^_\\]", value) for value in row.values())
    if item.number.startswith("Table"):
        assert len(item.published) >= 3


# ---- commands --------------------------------------------------------------------------------------------------------


def commands(item: Listed) -> list[list[str]]:
    return [shlex.split(part) for part in item.command.split("&&")] if item.command else []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that ``dynlab train`` would have trained with."""
    seen: list[Settings] = []

    def keep(settings: Settings, *rest: Any, **options: Any) -> None:
        seen.append(settings)

    monkeypatch.setattr(cli_train, "_run", keep)
    return seen


@pytest.mark.parametrize(
    "words", [words for one in listed() for words in commands(one)], ids=lambda words: " ".join(words[1:])
)
def test_commands_are_dynlabs(words: list[str], asked: list[Settings], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    if words[1:2] == ["train"] and "--presets" not in words:
        (settings,) = asked
        assert settings.preset in all_presets()
        network = build_network(settings, get_task(settings.task))
        assert network.layers[-1].hidden_size == settings.hidden_size
    else:
        assert not asked and words in (["dynlab", "tasks"], ["dynlab", "train", "--presets"])


def test_items_without_a_command_say_that_there_is_no_task():
    without = [one for one in listed() if not one.command]
    assert [one.number for one in without if "no task" not in one.missing] == []
    assert {(one.paper, one.number) for one in without} == {
        ("iRNN", "Table 6"), ("iRNN", "Table 8"), ("iRNN", "Table 10"), ("UnICORNN", "Table 4"), ("UnICORNN", "Table 5")
    }  # fmt: skip


def test_commands_of_one_item_write_to_folders_of_their_own():
    for one in listed():
        trainings = commands(one)
        folders = [words[words.index("--out") + 1] for words in trainings if "--out" in words]
        assert len(trainings) == 1 or len(set(folders)) == len(trainings)


# ---- values: what the papers print twice, and what presets were copied from ----------------------------------------


@pytest.mark.parametrize("short, full", [("Table 1", "Table 7"), ("Table 3", "Table 9")])
def test_irnns_short_tables_are_parts_of_the_full_ones(short: str, full: str):
    part, whole = ITEMS["iRNN", short], ITEMS["iRNN", full]
    rows = [{name: row[name] for name in part.columns} for row in whole.published]
    assert part.published
    for row in part.published:
        assert row in rows


def test_irnns_relu_rows_are_those_of_the_full_table():
    full = ITEMS["iRNN", "Table 9"]
    shared = ["Data set", "Algorithm", "Accuracy (%)", "Model Size (KB)", "Train Time (hr)", "#Params"]
    rows = [[row[name] for name in shared] for row in full.published]
    relu = [row for row in ITEMS["iRNN", "Table 11"].published if row["Activation"] == "ReLU"]
    assert len(relu) == 3
    for row in relu:
        assert [row[name] for name in shared] in rows


def test_counts_of_rows():
    counts = {number: len(ITEMS["iRNN", number].published) for number in ("Table 7", "Table 8", "Table 9", "Table 10")}
    assert counts == {"Table 7": 16, "Table 8": 13, "Table 9": 13 + 12 + 13 + 13, "Table 10": 8}
    assert Counter(column(ITEMS["iRNN", "Table 9"], "Data set")) == {
        "HAR-2": 13, "DSA-19": 12, "Google-12": 13, "Google-30": 13
    }  # fmt: skip


def test_hyperparameters_are_those_of_the_presets():
    rows = {row["Experiment"]: row for row in ITEMS["UnICORNN", "Table 6"].published}
    presets = {
        "noise padded CIFAR-10": "unicornn-cifar10",
        "psMNIST (#units = 128)": "unicornn-mnist_permuted-128",
        "psMNIST (#units = 256)": "unicornn-mnist_permuted-256",
        "EigenWorms": "unicornn-eigenworms",
    }
    for name, preset in presets.items():
        values, row = all_presets()[preset].values, rows[name]
        options = dict(part.split("=") for part in values["cell"].partition(":")[2].split(","))
        assert [float(row[key]) for key in ("learning rate", "dropout", "batch size", "dt", "alpha")] == [
            values["lr"], values["dropout"], values["batch"], float(options["dt"]), float(options["alpha"])
        ]  # fmt: skip


@pytest.mark.parametrize(
    "preset, where, name, key",
    [
        ("unicornn-mnist_permuted-128", ("UnICORNN", "Table 1"), "UnICORNN (L=3)", "Test acc."),
        ("unicornn-mnist_permuted-256", ("UnICORNN", "Table 1"), "UnICORNN (L=3)", "Test acc."),
        ("unicornn-cifar10", ("UnICORNN", "Table 2"), "UnICORNN (L=3)", "Test acc."),
        ("unicornn-eigenworms", ("UnICORNN", "Table 3"), "UnICORNN (L=2)", "Test acc."),
        ("irnn-mnist_pixel", ("iRNN", "Table 1"), "iRNN (K=1)", "Accuracy (%)"),
        ("irnn-mnist_permuted", ("iRNN", "Table 1"), "iRNN (K=1)", "Accuracy (%)"),
        ("irnn-mnist", ("iRNN", "Table 2"), "iRNN (K=1)", "Accuracy (%)"),
        ("irnn-cifar10", ("iRNN", "Table 2"), "iRNN (K=1)", "Accuracy (%)"),
        ("irnn-har2-K1", ("iRNN", "Table 3"), "iRNN (K=1)", "Accuracy (%)"),
        ("irnn-har2-K5", ("iRNN", "Table 3"), "iRNN (K=5)", "Accuracy (%)"),
        ("antisymmetric-mnist_pixel", ("AntisymmetricRNN", "Table 1"), "AntisymmetricRNN", "MNIST (%)"),
        ("antisymmetric-mnist_permuted-gated", ("AntisymmetricRNN", "Table 1"),
         "AntisymmetricRNN with gating", "pMNIST (%)"),
        ("antisymmetric-cifar10_pixel", ("AntisymmetricRNN", "Table 2"), "AntisymmetricRNN", "Pixel-by-pixel (%)"),
        ("antisymmetric-cifar10-gated", ("AntisymmetricRNN", "Table 2"),
         "AntisymmetricRNN with gating", "Noise-padded (%)"),
    ],
)  # fmt: skip
def test_published_accuracies_are_those_of_the_presets(preset: str, where: tuple[str, str], name: str, key: str):
    found = re.search(r"published accuracy (\d+\.\d+)", all_presets()[preset].summary)
    assert found is not None
    values = [
        float(re.match(r"[\d.]+", row[key])[0])  # type: ignore[index]
        for row in ITEMS[where].published
        if name in row.values()
    ]
    assert float(found[1]) in values
