"""HAR-2: iRNN Tables 3 and 9, on the subset of the data at hand."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.reproductions.experiment import Experiment, Row, vary
from dynlab.training import Settings, find_preset

EPOCHS = 60
COMMON = Settings(
    task="har2", cell="elman", hidden_size=80, epochs=EPOCHS, batch=128, clip=1.0, select="best", lr=1e-2,
)  # fmt: skip
_RATES = ({"lr": 1e-2}, {"lr": 3e-3}, {"lr": 1e-3})


def _irnn(K: int, published: str) -> Row:
    paper = replace(Settings(**find_preset(f"irnn-har2-K{K}").values), epochs=EPOCHS, select="best")
    chosen = {"lr": 3e-3, "lr_of": {"eta": 1e-4}, "clip": 1.0}
    tries = ({}, chosen, {**chosen, "lr": 1e-2})
    return Row(f"iRNN, K = {K}", vary(paper, *tries), published, (1, 2))


def _cell(title: str, published: str, *cells: str) -> Row:
    tries = [{"cell": cell, **rate} for cell, rate in zip(cells * (3 // len(cells)), _RATES, strict=True)]
    return Row(title, vary(COMMON, *tries), published, (1, 2))


EXPERIMENT = Experiment(
    name="har2",
    title="HAR-2, human activities in two groups",
    metric="accuracy",
    better="higher",
    show=lambda score: f"{100 * score:.2f} %",
    notes=(),
    rows=(
        _irnn(1, "95.32 %"),
        _irnn(5, "96.30 %"),
        _cell("FastRNN", "94.50 %", "fastrnn"),
        _cell("RNN", "91.31 %", "elman"),
        _cell("LSTM", "93.65 %", "lstm"),
        _cell("AntisymmetricRNN", "93.15 %", "antisymmetric:epsilon=0.1,gamma=0.01"),
    ),
)
