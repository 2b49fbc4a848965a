"""iRNN Fig. 8: |dh_T/dh_1| of RNN and iRNN while they learn HAR-2.

The paper says that "RNN suffers from serious vanishing gradient issue in training, while iRNN's backpropagated
gradients is close to 1, and the variance arises mainly our approximation of fixed points and stochastic behavior in
training networks" (A.7.7).
"""

from __future__ import annotations

import math
from typing import Any

import xarray as xr

from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

_TUNED: dict[str, Any] = {"lr": 3e-3, "clip": 1.0}
_SLOW_ETA = {"lr_of": {"eta": 1e-4}}
CELLS: dict[str, dict[str, Any]] = {
    "RNN": {"cell": "elman", **_TUNED},
    "RNN, ReLU": {"cell": "elman:nonlinearity=relu", **_TUNED},
    "iRNN": {"cell": "irnn:K=5,rank=20", **_TUNED, **_SLOW_ETA},
    "iRNN, section 4.1": {"cell": "irnn:K=5,rank=20", "lr": 1e-2},
    "iRNN, eta = 0.002": {"cell": "irnn:K=5,rank=20,eta=0.002", **_TUNED, **_SLOW_ETA},
    "iRNN, Gaussian U": {"cell": "irnn:K=5,recurrent=full", **_TUNED, **_SLOW_ETA},
}
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {
        "task": "adding:T=12", "hidden_size": 8, "batch": 4, "iterations": 4, "evaluate_every": 4, "record_every": 2,
        "validation_size": 8,
    },
    "laptop": {"task": "har2:subset=true", "hidden_size": 80, "batch": 128, "epochs": 30, "record_every": 15},
    "paper": {"task": "har2", "hidden_size": 80, "batch": 128, "epochs": 100, "record_every": 46},
}  # fmt: skip


def train_one(name: str, seed: int, **training: Any) -> xr.Dataset:
    """One training, by its name in ``CELLS``."""
    from dynlab.figures.learning import learning

    return learning(**{**training, **CELLS[name]}, seed=seed)


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """Gradient norms: run, recorded, sequence."""
    from dynlab.figures.learning import stacked

    training = SCALES[scale]
    data = stacked(run(train_one, [{"name": name, "seed": seed, **training} for name in CELLS]), list(CELLS))
    return data.assign_attrs({**training, "scale": scale, "seed": seed, "reference": "iRNN, Fig. 8"})


def draw(dataset: xr.Dataset) -> Any:
    """The norms in powers of ten, of both cells, and of iRNN with one factor changed."""
    from matplotlib.figure import Figure

    from dynlab.plots.gradient import dress_log_axis
    from dynlab.plots.learning import run_curves, run_looks
    from dynlab.plots.style import style

    looks = run_looks({name: own["cell"] for name, own in CELLS.items()})
    with style():
        figure = Figure(figsize=(3.4, 3.2), layout="constrained")
        axes = figure.subplots()
        run_curves(dataset, axes, "log_first", "recorded", looks, log10=True)
        dress_log_axis(axes)
        axes.set_ylabel(r"$\log_{10}\ \|\partial h_T / \partial h_1\|$")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=6.5)
    return figure


# ---- claims ----------------------------------------------------------------------------------------------------------


def _norm(data: xr.Dataset, name: str) -> xr.DataArray:
    """log10 |dh_T/dh_1| along the training."""
    return data.log_first.sel(run=name).mean("sequence").dropna("recorded") / math.log(10)


def _vanishes(data: xr.Dataset) -> Measured:
    found = {name: _norm(data, name) for name in ("RNN", "RNN, ReLU")}
    value = "; ".join(f"{name} (tanh)" if name == "RNN" else name for name in found)
    value = ", ".join(
        f"{name}: 10^{float(one.isel(recorded=0)):+.1f} at the start, median 10^{float(one.median()):+.1f}"
        for name, one in found.items()
    )
    return Measured(value, float(found["RNN"].median()) <= -2)


def _close_to_one(data: xr.Dataset) -> Measured:
    norm = _norm(data, "iRNN")
    inside = float((abs(norm) <= 0.5).mean())
    value = f"median 10^{float(norm.median()):+.2f}, from 10^{float(norm.min()):+.1f} to 10^{float(norm.max()):+.1f}"
    others = {name: _norm(data, name) for name in CELLS if name.startswith("iRNN,")}
    parts = [
        f"{name.removeprefix('iRNN, ')}: 10^{float(one.isel(recorded=0)):+.1f} at the start, median "
        f"10^{float(one.median()):+.1f}" + (", diverged" if bool(data.diverged.sel(run=name)) else "")
        for name, one in others.items()
    ]
    return Measured(f"{value}; {inside:.0%} within 10^0.5", inside >= 0.9, "; ".join(parts) + ".")


ITEM = Item(
    paper="iRNN",
    number="Fig. 8",
    title="Gradients of the last state with respect to the first while learning HAR-2",
    protocol="HAR-2, 80 units (Table 5), Adam, learning rate and eta 1e-2, batch 128, ReLU.",
    choices=(
        "laptop: a third of the windows (2,400 to train and validate), 30 epochs, one seed; the paper gives no number.",
        "K = 5, U = I + V H of rank 20 (4k parameters, Table 3); learning rate 3e-3 (1e-4 for eta), clipped at norm 1; "
        "section 4.1 to the letter (learning rate 1e-2, not clipped), a smaller eta and a Gaussian U as controls.",
        "Frobenius norm over sqrt(d), mean of two validation windows; RNN with tanh and, as section 4.1, with ReLU.",
    ),
    needs={"laptop": ("har2:subset=true",), "paper": ("har2",)},
    claims=(
        Claim("RNN suffers from serious vanishing gradients in training.", _vanishes, scales=("laptop", "paper"),
              tolerance="10^-2 in the median, what dynlab calls vanishing; the tanh cell decides"),
        Claim("iRNN's backpropagated gradients are close to 1.", _close_to_one, published="about 1",
              scales=("laptop", "paper"), tolerance="a factor of 3, in 90 % of the records"),
    ),
)  # fmt: skip
