"""Small figure scripts in a folder of their own, and the command that makes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dynlab.cli import main
from dynlab.figures.discover import VARIABLE

WALK = '''"""A random walk (Pearson 1905, Fig. 1): it goes far, and it starts at zero."""

import os
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from dynlab.figures import Claim, Item, Measured, one_by_one, workspace

SCALES = {
    "smoke": {"steps": 5, "seeds": 4},
    "laptop": {"steps": 6, "seeds": 4},
}


def walk(seed, steps):
    """A walk, and the spectrum of a matrix, which NumPy's threads would round differently."""
    folder = workspace()
    begin = len(list(folder.iterdir()))
    for step in range(begin, steps):
        (folder / f"{step}").write_text(str(os.getpid()))
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
    if log := os.environ.get("TOY_LOG"):
        with open(log, "a") as file:
            file.write(f"{seed} {begin}\\n")
    if seed == int(os.environ.get("TOY_FAILS", "-1")):
        raise RuntimeError("this seed\\nfails")
    torch.manual_seed(seed)
    states = torch.randn(steps, 2).cumsum(0).numpy()
    matrix = np.random.default_rng(seed).standard_normal((200, 200))
    return xr.Dataset(
        {"h": (("time", "unit"), states, {"units": "1"}), "eigenvalue": ("mode", np.linalg.eigvals(matrix))},
        {"name": ("unit", ["x", "yy"])},
    )


def compute(scale, seed=0, run=one_by_one):
    settings = SCALES[scale]
    seeds = range(seed, seed + settings["seeds"])
    walks = run(walk, [{"seed": one, "steps": settings["steps"]} for one in seeds])
    data = xr.concat(walks, xr.DataArray(list(seeds), dims="seed", name="seed"))
    return data.assign(offset=((), torch.rand(()).item())).assign_attrs(scale=scale, seed=seed)


def draw(dataset):
    figure = Figure(figsize=(3.4, 2))
    figure.subplots().plot(dataset.h[..., 0].T)
    return figure


def far(dataset):
    return Measured(f"{float(abs(dataset.h).max()):.1f} | at most", bool(abs(dataset.h).max() > 1e6), "it is `short`")


ITEM = Item(
    paper="iRNN",
    number="Fig. 1",
    title="A walk & its <spectrum>",
    protocol="Independent steps.",
    claims=(
        Claim("It goes far", far, published="a million", tolerance="none: arithmetic"),
        Claim("It starts at zero", lambda data: Measured("0", True)),
        Claim("It returns", lambda data: Measured("once", None, "too few steps")),
        Claim("It fills the plane", lambda data: 1 / 0, scales=("laptop",)),
    ),
    choices=("Two dimensions.",),
    findings=("It is a walk.",),
)
'''


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts with one in it, toy_walk, in place of dynlab's own."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "toy_walk.py").write_text(WALK)
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "cache"))
    return folder


Here = Callable[..., tuple[str, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """``dynlab figures`` in this process: called with its arguments it gives what is on both outputs."""

    def call(*arguments: object, expect: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["dynlab", "figures", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == expect, out + err
        return out, err

    return call


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error::RuntimeWarning", "-m", "dynlab.cli", "figures", *map(str, arguments)]


def figures(*arguments: object, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """``dynlab figures`` in a process of its own."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The same, running."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        # A background job of a shell, as CI may be, hands on that Ctrl-C is to be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def killed(*arguments: object, when: Callable[[], bool], by: int = signal.SIGKILL, **environment: str) -> int:
    """Start ``dynlab figures`` and send it a signal as soon as ``when`` says so; returns its exit code."""
    with started(*arguments, **environment) as run:
        try:
            until(when)
            assert run.poll() is None
            run.send_signal(by)
            run.communicate(timeout=60)
        finally:
            run.kill()
    return run.returncode


def until(when: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until ``when`` says so."""
    end = time.monotonic() + seconds
    while not when():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
