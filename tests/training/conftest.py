"""What the tests of training share: a run of a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynlab.training import Machine, Settings


@pytest.fixture
def machine() -> Machine:
    return Machine(accelerator="cpu", progress=False, tensorboard=False)


@pytest.fixture
def tiny() -> Any:
    """Settings of a small training; arguments replace what they name."""

    def make(**options: Any) -> Settings:
        given = {
            "task": "adding:T=8", "cell": "elman", "hidden_size": 6, "batch": 4, "iterations": 12, "lr": 1e-2,
            "evaluate_every": 4, "validation_size": 8, "test_size": 8, "log_every": 1,
        }  # fmt: skip
        if "epochs" in options:
            del given["iterations"]
        return Settings(**{**given, **options})

    return make


def rows(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(newline="") as file:
        return list(csv.DictReader(file))
