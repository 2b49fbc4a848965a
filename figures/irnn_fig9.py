"""iRNN Fig. 9: the adding problem at T = 200; (a) |dL/dh_1|, (b) |dh_T/dh_(T-1)| while learning.

The paper says of (a) that the norm comes "nearly 0" because "the MSE is close to zero", through |dL/dh_T| in
|dL/dh_1| = |dL/dh_T| |dh_T/dh_1|, and of (b) that, with Fig. 3, it "shows that the gradients are identity
everywhere for K = 10" (A.7.8). Norms do not show an identity: singular values after the training are added here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import xarray as xr

from dynlab.figures.adding import CELLS, LAPTOP, PAPER, SMOKE, last_score
from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

REFERENCE = "iRNN, K = 10"
CONTROLS: dict[str, str] = {
    "as trained": "irnn:K=10,rank=16,eta=0.001",
    "eta = 0.01": "irnn:K=10,rank=16",
    "Gaussian U": "irnn:K=10,recurrent=full,eta=0.001",
    "Gaussian U, eta = 0.01": "irnn:K=10,recurrent=full",
    "Gaussian U, eta = 0.9": "irnn:K=10,recurrent=full,eta=0.9",
    "g_0 = 0": "irnn:K=10,rank=16,eta=0.001,start=zero",
}
"""iRNN, K = 10, before training, with a factor of it changed."""
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {
        "training": {**SMOKE, "evaluate_every": 4, "record_every": 2},
        "runs": ["LSTM", "iRNN, K = 1", REFERENCE], "steps": 10, "units": 8,
    },
    "laptop": {
        "training": {**LAPTOP, "task": "adding:T=200", "iterations": 1000, "evaluate_every": 50, "record_every": 20},
        "runs": list(CELLS), "steps": 200, "units": 64,
    },
    "paper": {
        "training": {**PAPER, "task": "adding:T=200", "iterations": 1000, "evaluate_every": 50, "record_every": 10},
        "runs": list(CELLS), "steps": 200, "units": 128,
    },
}  # fmt: skip


def train_one(name: str, seed: int, **training: Any) -> xr.Dataset:
    """One training, by its name in ``CELLS``, and the end-to-end singular values after it."""
    from dynlab.figures.learning import learning

    return learning(singular_values=True, **{**training, **CELLS[name]}, seed=seed)


def before_training(name: str, steps: int, units: int, seed: int) -> xr.Dataset:
    """The last step's gradient norm, and the end-to-end singular values, of an untrained iRNN of ``CONTROLS``."""
    import dynlab
    from dynlab.cells import build_cell
    from dynlab.tasks import get_task

    inputs, _ = get_task(f"adding:T={steps}").sequences(1, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cell = build_cell(CONTROLS[name], inputs.shape[-1], units)
    data = dynlab.record(cell.double(), inputs.double(), ["GradientNorm", "SingularValues"]).isel(batch=0)
    return xr.Dataset(
        {
            "untrained_last": data.log_gradient_norm.sel(time=steps - 1, drop=True),
            "untrained_singular": ("mode", data.log_singular_value.values),
        },
        {"mode": np.arange(units)},
    )


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """The trainings (run, recorded), their singular values (run, mode), and the untrained controls."""
    from dynlab.figures.learning import stacked

    settings = SCALES[scale]
    training, names = settings["training"], settings["runs"]
    data = stacked(run(train_one, [{"name": name, "seed": seed, **training} for name in names]), names)
    size = {"steps": settings["steps"], "units": settings["units"], "seed": seed}
    pieces = run(before_training, [{"name": name, **size} for name in CONTROLS])
    before = xr.concat(pieces, "control").assign_coords(control=list(CONTROLS))
    data = data.merge(before, join="outer")
    data["untrained_last"].attrs = {"units": "nat", "long_name": "log |dh_T/dh_(T-1)| before training"}
    data["untrained_singular"].attrs = {"units": "nat", "long_name": "log singular value before training"}
    return data.assign_attrs(
        {**training, "scale": scale, "seed": seed, "T": settings["steps"], "reference": "iRNN, Fig. 9, A.7.8"}
    )


# ---- drawing ---------------------------------------------------------------------------------------------------------


def draw(dataset: xr.Dataset) -> Any:
    """The two panels of the paper, and the singular values behind "identity everywhere"."""
    from matplotlib.figure import Figure

    from dynlab.plots.learning import run_curves, run_looks
    from dynlab.plots.style import style

    looks = run_looks({name: own["cell"] for name, own in CELLS.items()})
    with style():
        figure = Figure(figsize=(7, 2.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        run_curves(dataset, left, "log_loss_first", "recorded", looks, log10=True)
        left.set_ylabel(r"$\log_{10}\ \|\partial L / \partial h_1\|$")
        shown = dataset.assign(last=np.exp(dataset.log_last))
        run_curves(shown, middle, "last", "recorded", looks)
        middle.set_ylim(0, max(1.5, 1.05 * float(shown["last"].mean("sequence").max())))
        middle.set_ylabel(r"$\|\partial h_T / \partial h_{T-1}\|$")
        for name, look in looks.items():
            if name in dataset.run.values and name.startswith("iRNN"):
                values = dataset.log_singular.sel(run=name).dropna("mode")
                right.plot(values.mode + 1, values / math.log(10), label=name, **look)
        before = dataset.untrained_singular.sel(control="Gaussian U, eta = 0.9").dropna("mode")
        right.plot(before.mode + 1, before / math.log(10), color="#56B4E9", linewidth=1.3,
                   label="untrained, Gaussian U,\nK = 10, eta = 0.9")  # fmt: skip
        right.axhline(0, color="black", linewidth=0.8, linestyle=":")
        right.set_xlabel("rank")
        right.set_ylabel(r"$\log_{10}\ \sigma(\partial h_T / \partial h_0)$")
        right.legend(fontsize=6.5, handlelength=1.5, loc="lower left")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
        for axes, letter in zip((left, middle, right), "abc", strict=True):
            axes.set_title(letter, loc="left", fontweight="bold")
    return figure


# ---- claims ----------------------------------------------------------------------------------------------------------


def _falls_with_the_loss(data: xr.Dataset) -> Measured:
    first, last = (data[name].sel(run=REFERENCE) for name in ("log_loss_first", "log_loss_last"))
    peak, late = int(first.argmax("recorded")), data.recorded > 0.9 * float(data.recorded.max())
    fall = float(first.where(late).mean() - first.isel(recorded=peak)) / math.log(10)
    of_last = float(last.where(late).mean() - last.isel(recorded=peak)) / math.log(10)
    score = last_score(data, REFERENCE)
    value = (
        f"|dL/dh_1| ends at 10^{fall:+.1f} of its largest value, |dL/dh_T| at 10^{of_last:+.1f} of its value then; "
        f"MSE {score:.3f}"
    )
    states = data.log_first.sel(run=REFERENCE).mean("sequence") / math.log(10)
    why = (
        f"dL/dh_1 is dL/dh_T times dh_T/dh_1: the other factor, 10^{fall - of_last:+.1f}, is of the states. "
        f"|dh_T/dh_1| is 10^{float(states.isel(recorded=peak)):+.1f} at update {int(data.recorded[peak]):,}, where "
        f"|dL/dh_1| is largest, and 10^{float(states.where(late).mean()):+.1f} at the end."
    )
    return Measured(value, fall <= -1 and of_last <= fall / 2, why)


def _last_step(data: xr.Dataset) -> Measured:
    found = {name: np.exp(data.log_last.sel(run=name).mean("sequence")) for name in data.run.values}
    one = found[REFERENCE]
    value = f"K = 10: {float(one.min()):.3f} to {float(one.max()):.3f}"
    others = ", ".join(
        f"{name} {float(np.exp(v)):.2f}" for name, v in zip(data.control.values, data.untrained_last, strict=True)
    )
    why = (
        "K = 10 with eta = 0.001 hardly moves in a step, K eta = 0.01, as do the small steps of the others; it is no "
        f"sign of the equilibrium, at which the Jacobian is -I. Untrained, with one factor changed: {others}."
    )
    return Measured(value, float(abs(one - 1).max()) <= 0.1, why)


def _identity(data: xr.Dataset) -> Measured:
    values = data.log_singular.sel(run=REFERENCE).dropna("mode") / math.log(10)
    inside = float((abs(values) <= math.log10(2)).mean())
    before = {
        str(name): data.untrained_singular.sel(control=name).dropna("mode") / math.log(10)
        for name in data.control.values
    }
    why = "log10 singular values before training: " + "; ".join(
        f"{name} {float(one.min()):+.1f} to {float(one.max()):+.1f}" for name, one in before.items()
    )
    value = (
        f"singular values of dh_T/dh_0 after training: 10^{float(values.min()):+.1f} to 10^{float(values.max()):+.1f}, "
        f"{inside:.0%} within a factor of 2 of 1"
    )
    return Measured(value, inside == 1.0, why + ".")


TRAINED = ("laptop", "paper")
ITEM = Item(
    paper="iRNN",
    number="Fig. 9",
    title="Adding problem, T = 200: gradients of the loss and of the last step while learning",
    protocol="As Fig. 3.",
    choices=(
        "laptop: 64 units, batches of 64, one seed.",
        "The settings of Fig. 3: presets irnn-adding-K1, -K5, -K10, gradients clipped at norm 1.",
        "L is the mean over the live batch and |dL/dh_1| the Euclidean norm over batch and units, before clipping; "
        "|dh_T/dh_(T-1)| is the Frobenius norm over sqrt(d), 1 for an orthogonal step.",
    ),
    findings=(
        "A last step of norm 1 does not tell an equilibrium: a small K eta has it too. One factor of K = 10 changed, "
        "before training: eta = 0.01 or a Gaussian U bring the norm of the last step below 1, a Gaussian U with eta = "
        "0.9 brings it to 1 by way of -I, with all singular values of the whole rollout at 1; g_0 = 0 makes "
        "every step vanish.",
    ),
    claims=(
        Claim("|dL/dh_1| becomes nearly 0 for iRNN because the error, and with it |dL/dh_T|, does.",
              _falls_with_the_loss, scales=TRAINED,
              tolerance="a tenth of its largest value, half of the decades from |dL/dh_T|"),
        Claim("|dh_T/dh_(T-1)| is 1 for iRNN, K = 10.", _last_step, published="1", scales=TRAINED,
              tolerance="0.1, a line's width on the paper's axis of 0 to 3"),
        Claim("The gradients are identity everywhere for K = 10.", _identity, scales=TRAINED,
              tolerance="all singular values of dh_T/dh_0 within a factor of 2 of 1"),
    ),
)  # fmt: skip
