"""The adding problem of iRNN's Figs. 3, 5 and 9: the cells that are trained on it, how, and when one has solved it."""

from __future__ import annotations

import math
from typing import Any

import xarray as xr

from dynlab.figures.learning import first_at

PRESET: dict[str, Any] = {"lr_of": {"eta": 1e-4}, "schedule": "drop:at=0.6,factor=0.1"}
"""What the committed presets irnn-adding-K1, -K5 and -K10 have beside ``COMMON``, and the other cells have not."""
COMMON: dict[str, Any] = {"lr": 1e-2, "clip": 1.0}


def _fastrnn(eta: float) -> str:
    """alpha = eta, beta = 1 - eta in FastRNN's two weights, which are sigmoids; ReLU, as iRNN section 4.1 says."""
    logit = math.log(eta / (1 - eta))
    return f"fastrnn:alpha={logit:.6f},beta={-logit:.6f},nonlinearity=relu"


CELLS: dict[str, dict[str, Any]] = {
    "LSTM": {"cell": "lstm:backend=native"},
    "FastRNN, eta = 0.01": {"cell": _fastrnn(0.01)},
    "FastRNN, eta = 0.001": {"cell": _fastrnn(0.001)},
    "Antisymmetric, eps = 0.1": {"cell": "antisymmetric:epsilon=0.1,gamma=0.01"},
    "Antisymmetric, eps = 0.001": {"cell": "antisymmetric:epsilon=0.001,gamma=0.01"},
    "iRNN, K = 1": {"cell": "irnn:K=1,rank=16", **PRESET},
    "iRNN, K = 5": {"cell": "irnn:K=5,rank=16,eta=0.002", **PRESET},
    "iRNN, K = 10": {"cell": "irnn:K=10,rank=16,eta=0.001", **PRESET},
}
"""Those of Figs. 3 and 9."""

LAPTOP: dict[str, Any] = {**COMMON, "hidden_size": 64, "batch": 64, "validation_size": 500}
PAPER: dict[str, Any] = {**COMMON, "hidden_size": 128, "batch": 128}
"""iRNN section 4.1, Table 5; the clipping is ours."""
SMOKE: dict[str, Any] = {
    **COMMON, "task": "adding:T=10", "hidden_size": 16, "batch": 4, "iterations": 4, "validation_size": 8,
}  # fmt: skip

SOLVED = 0.02
"""A mean squared error that one reads as 0 on the paper's linear axis (baseline 0.167); our choice."""


def solved_at(data: xr.Dataset, name: str) -> float:
    """The first update at which a run's validation error is at most ``SOLVED``; infinite if it never is."""
    return first_at(data, name, SOLVED)


def last_score(data: xr.Dataset, name: str) -> float:
    """A run's last validation error; infinite if it diverged."""
    scores = data["score"].sel(run=name).dropna("update")
    return float("inf") if bool(data["diverged"].sel(run=name)) or not scores.size else float(scores[-1])


def said(update: float) -> str:
    """The update in words, of ``solved_at``."""
    return f"{update:,.0f}" if math.isfinite(update) else "never"
