"""Lorenz-96: UnICORNN Table 7 (appendix D)."""

from __future__ import annotations

from benchmarks.reproductions.experiment import Experiment, Row, vary
from dynlab.training import Settings

EPOCHS = 150  # of 4 updates


def _common(force: str) -> Settings:
    return Settings(
        task=f"lorenz96:F={force}", cell="lstm", hidden_size=44, epochs=EPOCHS, batch=32, lr=1e-2, select="best",
        evaluate_every=10, schedule="drop:at=0.5,factor=0.1",
    )  # fmt: skip


def _rows(force: str, unicornn: str, cornn: str, lstm: str) -> tuple[Row, ...]:
    group, common = f"F = {force}", _common(force)
    oscillators = {"hidden_size": 90, "layers": 2}
    coupled = {"hidden_size": 64}
    return (
        Row(
            "UnICORNN, 2 layers of 90",
            vary(
                common,
                {**oscillators, "cell": "unicornn:dt=0.05,alpha=1", "lr": 1e-2},
                {**oscillators, "cell": "unicornn:dt=0.2,alpha=1", "lr": 1e-2},
                {**oscillators, "cell": "unicornn:dt=0.5,alpha=0.5", "lr": 1e-2},
            ),
            unicornn,
            (1, 2),
            group,
        ),
        Row(
            "coRNN, 64 units",
            vary(
                common,
                {**coupled, "cell": "cornn:dt=0.05,gamma=1,epsilon=1"},
                {**coupled, "cell": "cornn:dt=0.1,gamma=1,epsilon=6"},
                {**coupled, "cell": "cornn:dt=0.5,gamma=1,epsilon=1"},
            ),
            cornn,
            (),
            group,
        ),
        Row("LSTM, 44 units", vary(common, {"lr": 1e-2}, {"lr": 3e-2}, {"lr": 3e-3}), lstm, (), group),
    )


EXPERIMENT = Experiment(
    name="lorenz96",
    title="Lorenz-96, 25 steps ahead",
    metric="NRMSE",
    better="lower",
    notes=(),
    rows=(*_rows("0.9", "0.022", "0.020", "0.020"), *_rows("8", "0.31", "0.098", "0.068")),
)
