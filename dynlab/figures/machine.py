"""Where a result was computed, and by which code."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

import dynlab
from dynlab import _folders

_COMPUTES = ("dynlab", "kernels", "figures", "pyproject.toml", ":!figures/report", ":!figures/*.md")


def hardware() -> str:
    """The processor, its cores and torch: "AMD EPYC 7B13, 2 cores, torch 2.13.0+cpu"."""
    import torch

    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    devices = [torch.cuda.get_device_name(0)] if torch.cuda.is_available() else []
    return ", ".join([model, f"{os.cpu_count()} cores", *devices, f"torch {torch.__version__}"])


def commit() -> str:
    """The commit of the checkout, with "-dirty" where what computes has been changed since; else dynlab's version."""
    root = Path(dynlab.__file__).resolve().parents[1]
    if not _folders._is_dynlab(root / "pyproject.toml"):
        return f"dynlab {dynlab.__version__}"
    try:
        name = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *_COMPUTES)
    except (OSError, subprocess.SubprocessError):  # no git, or an unpacked archive
        return f"dynlab {dynlab.__version__}"
    return f"{name}-dirty" if changed else name


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
