"""iRNN Fig. 7: histogram of the eigenvalues of D = phi' U - I for an iRNN trained on HAR-2.

The paper says that "the eigen values of the matrix D should be negative" for equilibria to be asymptotically stable,
and that "all the eigenvalues are negative"; the axis goes from -100 to 0 (A.7.6). Section 3.2 says of the same networks
that alpha I - phi' U "is rank-deficient".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

CELLS: dict[str, dict[str, Any]] = {
    "U = I + V H": {"cell": "irnn:K=5,rank=20"},
    "Gaussian U": {"cell": "irnn:K=5,recurrent=full"},
}
_COMMON: dict[str, Any] = {"lr": 3e-3, "lr_of": {"eta": 1e-4}, "clip": 1.0, "batch": 128}
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {
        "training": {
            **_COMMON, "task": "adding:T=12", "hidden_size": 24, "batch": 4, "iterations": 4, "evaluate_every": 4,
            "validation_size": 8, "test_size": 8,
        },
        "windows": 4, "times": 4,
    },
    "laptop": {
        "training": {**_COMMON, "task": "har2:subset=true", "hidden_size": 80, "epochs": 30},
        "windows": 200, "times": 10,
    },
    "paper": {"training": {**_COMMON, "task": "har2", "hidden_size": 80, "epochs": 100}, "windows": 7352, "times": 128},
}  # fmt: skip
ZERO = 1e-6
"""|lambda| below which an eigenvalue is 0: rounding moves the many equal ones of a singular matrix by about 1e-8."""


def eigenvalues(name: str, windows: int, times: int, seed: int, **training: Any) -> xr.Dataset:
    """Train, then take D's eigenvalues at random steps of random training windows, before and after."""
    from dynlab.figures.training import trained
    from dynlab.tasks import get_task
    from dynlab.training import Settings, build_network

    settings = {**training, **CELLS[name], "seed": seed}
    task = get_task(training["task"])
    before, result = build_network(Settings(**settings), task), trained(**settings)
    inputs, _ = task.sequences(windows, seed=seed, split="train")
    steps = np.random.default_rng(seed).integers(len(inputs), size=(times, windows))
    found = [_at(network.layers[0], inputs, torch.from_numpy(steps)) for network in (before, result.network)]
    values, active = (np.stack(column) for column in zip(*found, strict=True))
    return xr.Dataset(
        {"eigenvalue": (("trained", "point", "mode"), values), "active": (("trained", "point"), active),
         "accuracy": ((), float(result.validation))},
        {"trained": [0, 1]},
    )  # fmt: skip


@torch.no_grad()
def _at(cell: Any, inputs: torch.Tensor, steps: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (point, mode) of D at g_K, and how many units are active, (point,)."""
    cell, inputs = cell.double(), inputs.double()
    states = cell.scan(inputs)
    column = torch.arange(inputs.shape[1]).expand_as(steps)
    x, h = inputs[steps, column].flatten(0, 1), states[steps, column].flatten(0, 1)
    term = cell.terms(x)
    g = cell.inner_states(term, h)[-1]
    slope = torch.func.vmap(torch.func.jacrev(cell.residual, argnums=1), chunk_size=256)
    D = slope(term, g, h)
    active = (torch.linalg.vector_norm(D + torch.eye(len(g[0])), dim=-1) > 0).sum(-1)
    return torch.linalg.eigvals(D).numpy(), active.numpy()


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """Eigenvalues: kind (of U), trained (before 0, after 1), point, mode."""
    settings = SCALES[scale]
    training, size = settings["training"], {name: settings[name] for name in ("windows", "times")}
    pieces = run(eigenvalues, [{"name": name, "seed": seed, **size, **training} for name in CELLS])
    data = xr.concat(pieces, "kind").assign_coords(kind=list(CELLS))
    data["eigenvalue"].attrs = {"units": "1", "long_name": "eigenvalue of phi' U - I at g_K"}
    data["active"].attrs = {"units": "1", "long_name": "units with phi' = 1"}
    data["accuracy"].attrs = {"units": "1", "long_name": "validation score"}
    return data.assign_attrs({**training, "scale": scale, "seed": seed, "K": 5, "reference": "iRNN, Fig. 7"})


def draw(dataset: xr.Dataset) -> Any:
    """Histograms of the real parts: (a) after the training, as the paper's figure; (b) before it."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import style

    colours = dict(zip(CELLS, ("#D55E00", "#56B4E9"), strict=True))
    real = dataset.eigenvalue.real
    with style():
        figure = Figure(figsize=(3.4, 3.6), layout="constrained")
        bins = np.linspace(float(real.min()), float(real.max()) + 1e-3, 61)
        panels = figure.subplots(2, 1, sharex=True, sharey=True)
        for ax, trained, title in zip(panels, (1, 0), ("(a) after training", "(b) before training"), strict=True):
            for kind, colour in colours.items():
                values = real.sel(kind=kind, trained=trained).values.ravel()
                ax.hist(
                    values, bins, color=colour, alpha=0.55, label=kind, weights=np.full(len(values), 100 / len(values))
                )
            ax.axvline(0, color="black", linewidth=0.8)
            ax.set(yscale="log", ylabel="share [%]", title=title)
        panels[0].legend(fontsize=7)
        panels[1].set_xlabel(r"Re $\lambda(\nabla\varphi\, U - I)$")
    return figure


# ---- claims ----------------------------------------------------------------------------------------------------------


def _negative(kind: str) -> Any:
    def check(data: xr.Dataset) -> Measured:
        one = data.sel(kind=kind)
        real = one.eigenvalue.real
        share = {
            t: (float((real.sel(trained=t) > ZERO).mean()), float((abs(real.sel(trained=t)) <= ZERO).mean()))
            for t in (0, 1)
        }
        after = real.sel(trained=1)
        value = (
            f"{float(after.min()):.2f} to {float(after.max()):+.3f}: {share[1][0]:.1%} positive, {share[1][1]:.1%} "
            f"zero (before training {share[0][0]:.1%} and {share[0][1]:.1%})"
        )
        before = real.sel(trained=0)
        why = (
            f"Before training {float(before.min()):.2f} to {float(before.max()):+.3f}: training takes U beyond "
            "||U|| < alpha, which nothing keeps it within."
        )
        if kind == "U = I + V H":
            active = float(one.active.sel(trained=1).mean())
            why = (
                f"{active:.0f} of {data.sizes['mode']} units are active on average; on these D is V H, of rank 20 at "
                "most, so the others of its eigenvalues there are 0, as section 3.2 says: Theorem 1's condition fails."
            )
        return Measured(value, share[1] == (0.0, 0.0), why)

    return check


def _range(data: xr.Dataset) -> Measured:
    least = float(data.eigenvalue.real.sel(trained=1, kind="U = I + V H").min())
    why = (
        "-100 asks for an eigenvalue of phi' U of -99; the paper does not say for which of its networks the figure is."
    )
    return Measured(f"{least:.1f}", -200 <= least <= -50, why)


ITEM = Item(
    paper="iRNN",
    number="Fig. 7",
    title="Eigenvalues of phi' U - I of an iRNN trained on HAR-2",
    protocol="All points of HAR-2 (7,352 windows of 128 steps, 80 units), ReLU, alpha = 1.",
    choices=(
        "laptop: a third of the windows, 30 epochs, and 2,000 random points of it.",
        "K = 5, U = I + V H of rank 20 (4k parameters, Table 3), and as a control a Gaussian U (section 3.1); learning "
        "rate 3e-3 (1e-4 for eta), clipped at norm 1.",
    ),
    needs={"laptop": ("har2:subset=true",), "paper": ("har2",)},
    claims=(
        Claim("All the eigenvalues are negative (U = I + V H, the parametrisation of the experiments).",
              _negative("U = I + V H"), tolerance="1e-6, rounding", scales=("laptop", "paper")),
        Claim("All the eigenvalues are negative (Gaussian U of small variance, section 3.1).",
              _negative("Gaussian U"), tolerance="1e-6, rounding", scales=("laptop", "paper")),
        Claim("They reach down to -100 (the figure's axis).", _range, published="-100", tolerance="a factor of 2",
              scales=("laptop", "paper")),
    ),
)  # fmt: skip
