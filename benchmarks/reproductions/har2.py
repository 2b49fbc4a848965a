"""HAR-2: iRNN Tables 3 and 9, on the subset of the data at hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.reproductions.experiment import Experiment, Outcome, Row, vary
from dynlab.training import Settings, find_preset

EPOCHS = 60
COMMON = Settings(
    task="har2:subset=true", cell="elman", hidden_size=80, epochs=EPOCHS, batch=128, clip=1.0, select="best", lr=1e-2,
)  # fmt: skip
WINDOWS, ALL_WINDOWS = 1920, 5882
"""Left to train with once a fifth is held out: of the subset, and of the complete training set's 7,352."""
CONTROLLED = "iRNN, K = 5, one factor changed at a time"
_RATES = ({"lr": 1e-2}, {"lr": 3e-3}, {"lr": 1e-3})


def _irnn(K: int, published: str) -> Row:
    preset = find_preset(f"irnn-har2-K{K}").values
    paper = replace(Settings(**preset), task=COMMON.task, epochs=EPOCHS, select="best")
    chosen = {"lr": 3e-3, "lr_of": {"eta": 1e-4}, "clip": 1.0}
    tries = ({}, chosen, {**chosen, "lr": 1e-2})
    return Row(f"iRNN, K = {K}", vary(paper, *tries), published, (1, 2))


def _controlled(title: str, **change: object) -> Row:
    """The best setting of iRNN, K = 5, with one thing changed."""
    best = replace(_irnn(5, "").search[1], epochs=None, iterations=900, evaluate_every=15)
    return Row(title, vary(best, change), "", (1, 2), group=CONTROLLED)


def _cell(title: str, published: str, *cells: str) -> Row:
    tries = [{"cell": cell, **rate} for cell, rate in zip(cells * (3 // len(cells)), _RATES, strict=True)]
    return Row(title, vary(COMMON, *tries), published, (1, 2))


def windows_section(outcomes: list[Outcome], folder: Path) -> list[str]:
    """The error of iRNN, K = 5, against the number of training windows, and where that leads."""
    best = _irnn(5, "").search[1]
    ours = [one for one in outcomes if one.test is not None]
    found = {size: [one.test for one in ours if _is_curve(one, size, best)] for size in (480, 960, WINDOWS)}
    if not all(found.values()):
        return []
    errors = {size: 100 * (1 - float(np.mean([score for score in scores if score is not None])))
              for size, scores in found.items()}  # fmt: skip
    slope, level = np.polyfit(np.log(list(errors)), np.log(list(errors.values())), 1)
    expected = math.exp(level) * ALL_WINDOWS**slope
    lines = ["## The error against the number of windows", ""]
    lines += ["| training windows | test error, mean of seeds |", "|---:|---:|"]
    lines += [f"| {size:,} | {error:.2f} % |" for size, error in errors.items()]
    return [
        *lines,
        "",
        f"iRNN, K = 5, {best.lr:g} as learning rate, 900 updates each; the first windows of the subset. A power law "
        f"through the three falls to {2**slope:.2f} of the error with every doubling. At {ALL_WINDOWS:,}, what the "
        f"complete training set has left after a fifth of it is held out, it stands at {expected:.1f} %, an accuracy "
        f"of {100 - expected:.1f} % (published 96.30 %).",
        "",
    ]


def _is_curve(one: Outcome, size: int, best: Settings) -> bool:
    settings = one.settings
    same = (settings.cell, settings.lr, settings.lr_of, settings.clip, settings.optimizer)
    wanted = (best.cell, best.lr, best.lr_of, best.clip, best.optimizer)
    return same == wanted and (settings.train_size or WINDOWS) == size


EXPERIMENT = Experiment(
    name="har2",
    title="HAR-2, human activities in two groups",
    metric="accuracy",
    better="higher",
    show=lambda score: f"{100 * score:.2f} %",
    notes=(
        "iRNN Tables 3 and 9, section 4.3.4 and appendix A.4: 80 hidden units (Table 5), ReLU, Adam, learning rate "
        "1e-2, batches of 128, each channel with mean 0 and variance 1, six activities made two. The published numbers "
        "are for all 7,352 training and 2,947 test windows. These are for a third of them, the subset at hand (2,400 "
        "and 950 windows; a part of the 2,400 is held out to validate): with 950 the standard error of an accuracy of "
        "95 % is 0.7 points.",
        f"The search: three settings a row, {EPOCHS} epochs each (the paper gives no number), the parameters of the "
        "best validation; the best setting with two more seeds; the mean over seeds is given, and their range. iRNN's "
        "three are the paper's protocol to the letter, and with the gradient clipped at norm 1 and a learning rate of "
        "1e-4 for eta, at 3e-3 and 1e-2 for the rest. The others are clipped at norm 1 and have the learning rates "
        "1e-2, 3e-3 and 1e-3.",
    ),
    rows=(
        _irnn(1, "95.32 %"),
        _irnn(5, "96.30 %"),
        _cell("FastRNN", "94.50 %", "fastrnn:nonlinearity=relu"),
        _cell("RNN", "91.31 %", "elman:nonlinearity=relu"),
        _cell("LSTM", "93.65 %", "lstm"),
        _cell("AntisymmetricRNN", "93.15 %", "antisymmetric:epsilon=0.1,gamma=0.01"),
        _controlled("960 windows, as many updates", train_size=960),
        _controlled("480 windows, as many updates", train_size=480),
        _controlled("U a full Gaussian matrix", cell="irnn:K=5,recurrent=full"),
        _controlled("eta from 0.05", cell="irnn:K=5,rank=20,eta=0.05"),
        _controlled("a tenth of the learning rate from update 540", schedule="drop:at=0.6,factor=0.1"),
        _controlled("weights decay by 1e-2", optimizer="adamw:weight_decay=0.01"),
    ),
    analyse=windows_section,
    findings=(
        "iRNN stays 3.1 (K = 1) and 2.4 points (K = 5) below the published accuracies. Of the factors that were "
        "changed one at a time only the amount of data moves K = 5 beyond its seeds' range: by 3 points a doubling, "
        "and the fall of the error over 480, 960 and 1,920 windows leads to the published accuracy at the size of "
        "the complete training set. A full Gaussian U, a larger eta, a drop of the learning rate and weight decay "
        "change it by 0 to -1.2 points. The subset says nothing of the people behind its windows, so that fewer "
        "windows and fewer people cannot be told apart; validation accuracies are above the test's for K = 1 and "
        "where data are few.",
        "On the same windows FastRNN and the RNN come to their published accuracies, and the LSTM nearly: with "
        "ReLU, which section 4.1 says all had; with tanh the same search gave 87.2 and 86.3 %. So the published "
        "lead of iRNN over FastRNN, 1.8 points, is not seen at a third of the data, where it is 0.7 points behind, "
        "about a standard error. AntisymmetricRNN (tanh, its own paper's) stays 5 points below.",
    ),
)
