"""iRNN Fig. 1: one transition from g_0 = h_(m-1) to h_m = g_K, unfolded into K recursions.

The paper's picture has a block for each k that adds eta times psi(x_m, g_(k-1), h_(m-1)) = phi(U (g + h) + W x + b) -
alpha (g + h) to g_(k-1), its own x_m and h_(m-1) fed into all of them. Here the same blocks are drawn, and beside them
what they do: the g_k of a few transitions in two dimensions, and the equilibria, SciPy's roots, that they go to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS, INPUTS = 2, 2
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"transitions": 2, "K": 5, "longest": 100, "eta": 0.3},
    "laptop": {"transitions": 3, "K": 5, "longest": 100, "eta": 0.3},
    "paper": {"transitions": 3, "K": 5, "longest": 100, "eta": 0.3},
}
NORM = 0.5
"""|U|, below alpha = 1 as Proposition 1 asks."""


def unfold(transitions: int, K: int, longest: int, eta: float, seed: int) -> xr.Dataset:
    """The inner states of a few transitions, written out; the cell's own; and the equilibria.

    Arguments:
        K: recursions a transition. longest: of a control with as many recursions from the same h_(m-1).
    """
    from scipy.optimize import fsolve

    from dynlab.cells import build_cell

    random = np.random.default_rng(seed)
    U, W, b = random.normal(size=(UNITS, UNITS)), random.normal(size=(UNITS, INPUTS)), np.zeros(UNITS)
    U *= NORM / np.linalg.norm(U, 2)
    inputs, h = 1.5 * random.normal(size=(transitions, INPUTS)), random.normal(size=UNITS)

    def psi(x: np.ndarray, g: np.ndarray, h: np.ndarray) -> np.ndarray:
        return np.tanh(U @ (g + h) + W @ x + b) - (g + h)

    paths, control, roots, starts = [], [], [], [h]
    for x in inputs:
        path = [h]
        for _ in range(longest):
            path.append(path[-1] + eta * psi(x, path[-1], h))
        control.append(path)
        paths.append(path[: K + 1])
        root, info, _, _ = fsolve(lambda g, x=x, h=h: psi(x, g, h), path[-1], xtol=1e-14, full_output=True)
        roots.append(root if np.linalg.norm(info["fvec"]) < 1e-12 else np.full(UNITS, np.nan))
        h = path[K]
        starts.append(h)
    spec = f"irnn:K={K},eta={eta},recurrent=full,nonlinearity=tanh,start=previous"
    cell = build_cell(spec, INPUTS, UNITS).double()
    with torch.no_grad():
        for parameter, value in ((cell.weight_full, U), (cell.weight_ih, W), (cell.bias, b), (cell.eta, eta)):
            parameter.copy_(torch.as_tensor(value, dtype=torch.float64))
        scanned = cell.scan(torch.from_numpy(inputs)[:, None], torch.from_numpy(starts[0])[None])[:, 0].numpy()
    return xr.Dataset(
        {
            "inner": (("transition", "k", "unit"), np.array(paths), {"units": "1", "long_name": "g_k"}),
            "longer": (("transition", "j", "unit"), np.array(control), {"units": "1", "long_name": "g_k, k beyond K"}),
            "root": (("transition", "unit"), np.array(roots), {"units": "1", "long_name": "SciPy's root of psi"}),
            "state": (("time", "unit"), scanned, {"units": "1", "long_name": "h_m of dynlab's cell"}),
        },
        {"transition": 1 + np.arange(transitions), "k": np.arange(K + 1), "j": np.arange(longest + 1)},
        {"norm_U": float(np.linalg.norm(U, 2)), "K": K, "eta": eta},
    )


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """The transitions that are drawn."""
    (data,) = run(unfold, [{**SCALES[scale], "seed": seed}])
    return data.assign_attrs(scale=scale, seed=seed, nonlinearity="tanh", alpha=1.0, reference="iRNN, Fig. 1, Eq. (5)")


# ---- drawing ---------------------------------------------------------------------------------------------------------


def draw(dataset: xr.Dataset) -> Figure:
    """The unfolded transition, and the plane in which it happens."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import style

    with style():
        figure = Figure(figsize=(7.0, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.75, 1))
        _blocks(left)
        _plane(right, dataset)
    return figure


def _arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0, **look: Any) -> None:
    from matplotlib.patches import FancyArrowPatch

    look = {"color": "#333333", "linewidth": 0.9, **look}
    ax.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=7, shrinkA=0, shrinkB=0,
                        connectionstyle=f"arc3,rad={bend}", **look)
    )  # fmt: skip


def _blocks(ax: Any) -> None:
    """Blocks for k = 1, 2 and K; g along the middle, h_(m-1) from above, x_m from below."""
    from matplotlib.patches import FancyBboxPatch

    from dynlab.plots.style import cell_look

    colour, blue = cell_look("irnn")["color"], "#0072B2"
    ax.set(xlim=(-1.0, 9.5), ylim=(-1.75, 1.75))
    ax.axis("off")
    centres, previous = (1.6, 4.1, 7.6), 0.25
    names = (("$g_0$", "1"), ("$g_1$", "2"), ("$g_{K-1}$", "K"))
    ax.text(-0.35, 0, "$h_{m-1}$", ha="center", va="center", fontsize=9)
    for index, (centre, (inner, k)) in enumerate(zip(centres, names, strict=True)):
        ax.add_patch(
            FancyBboxPatch((centre - 0.75, -0.42), 1.5, 0.84, boxstyle="round,pad=0.02", facecolor="#FBE9E0",
                           edgecolor=colour, linewidth=1.1)
        )  # fmt: skip
        ax.text(centre, 0, rf"$+\,\eta^{{{k}}}_m\,\psi$", ha="center", va="center", fontsize=9)
        if index == 2:
            ax.text(5.45, 0, r"$\cdots$", ha="center", va="center", fontsize=11)
            previous = 5.75
        _arrow(ax, (previous, 0), (centre - 0.79, 0))
        ax.text((previous + centre - 0.8) / 2, 0.17, inner, ha="center", va="bottom", fontsize=8)
        previous = centre + 0.79
        _arrow(ax, (centre, 1.05), (centre, 0.46), color=blue)
        _arrow(ax, (centre, -1.05), (centre, -0.46), color="#009E73")
    _arrow(ax, (centres[1] + 0.79, 0), (5.15, 0))
    _arrow(ax, (previous, 0), (8.95, 0))
    ax.text(8.67, 0.17, "$g_K$", ha="center", va="bottom", fontsize=8)
    ax.text(9.0, 0, "$h_m$", ha="left", va="center", fontsize=9)
    # h_(m-1) and x_m go to every block along a rail.
    ax.plot((-0.35, -0.35, centres[-1]), (0.25, 1.05, 1.05), color=blue, linewidth=0.9)
    ax.plot((-0.35, centres[-1]), (-1.05, -1.05), color="#009E73", linewidth=0.9)
    ax.text(-0.4, -1.05, "$x_m$", ha="right", va="center", fontsize=9)
    ax.text(4.3, 1.32, "$h_{m-1}$ to every recursion", ha="center", va="center", fontsize=7.5, color=blue)
    ax.text(4.3, -1.5, r"$\psi(x, g, h) = \varphi(U(g + h) + W x + b) - \alpha\,(g + h)$", ha="center", va="center",
            fontsize=8.5)  # fmt: skip


def _plane(ax: Any, dataset: xr.Dataset) -> None:
    from dynlab.plots.phase_plane import PATH_COLOURS

    for index, colour in zip(range(dataset.sizes["transition"]), PATH_COLOURS, strict=False):
        path, root = dataset["inner"].isel(transition=index).values, dataset["root"].isel(transition=index).values
        ax.plot(*path.T, "o-", color=colour, markersize=2.8, linewidth=1.0, label=f"transition {index + 1}")
        ax.plot(*np.stack([path[-1], root]).T, color=colour, linewidth=0.8, linestyle=":")
        ax.plot(*root, "x", color=colour, markersize=6, markeredgewidth=1.4)
    ax.plot(*dataset["state"].isel(time=0).values, "o", color="black", markersize=5, zorder=5, label="$h_0$")
    ax.plot([], [], "x", color="#555555", markersize=6, markeredgewidth=1.4, label="equilibrium")
    ax.set_title(rf"$g_0 \ldots g_{{{dataset.attrs['K']}}}$, $\eta = {dataset.attrs['eta']:g}$", fontsize=8)
    ax.set_xlabel("$g_1$", labelpad=1)
    ax.set_ylabel("$g_2$", labelpad=1)
    ax.tick_params(labelsize=7)
    ax.margins(0.1)
    ax.legend(fontsize=6.5, loc="best", handlelength=1.5, labelspacing=0.3)


# ---- claims ----------------------------------------------------------------------------------------------------------


def _ends_in_state(data: xr.Dataset) -> Measured:
    """g_0 = h_(m-1), g_K = h_m of the cell, for every transition."""
    inner, states = data["inner"].values, data["state"].values
    off = max(float(np.abs(inner[:, 0] - states[:-1]).max()), float(np.abs(inner[:, -1] - states[1:]).max()))
    return Measured(f"blocks written out and dynlab's cell differ by at most {off:.0e}", off <= 1e-12)


def _goes_to_the_root(data: xr.Dataset) -> Measured:
    distance = np.linalg.norm(data["longer"].values - data["root"].values[:, None], axis=-1)
    if not np.isfinite(distance).all():
        return Measured("SciPy found no root", False)
    seen = distance > 1e-12
    ratio = np.where(seen[:, 1:], distance[:, 1:] / np.where(seen[:, :-1], distance[:, :-1], 1), 0)
    drawn, left = distance[:, data.attrs["K"]] / distance[:, 0], distance[:, -1] / distance[:, 0]
    limit = 1 - data.attrs["eta"] * (1 - data.attrs["norm_U"])
    value = (
        f"{drawn.min():.2f} to {drawn.max():.2f} of the distance is left after the K = {data.attrs['K']} drawn, at "
        f"most {left.max():.0e} after {data.sizes['j'] - 1}; a recursion leaves at most {ratio.max():.3f}"
    )
    return Measured(value, bool(left.max() <= 1e-6) and bool(ratio.max() <= limit + 1e-3))


ITEM = Item(
    paper="iRNN",
    number="Fig. 1",
    title="One transition of iRNN, unfolded into K recursions (schematic)",
    protocol="A schematic; Eq. (5) with g_0 = h_(m-1).",
    claims=(
        Claim("The K recursions lead from g_0 = h_(m-1) to h_m = g_K (Eq. 5, as the blocks say it).", _ends_in_state,
              tolerance="1e-12, rounding"),
        Claim("The recursions go to the equilibrium, each nearer than the last (Propositions 1, 2).", _goes_to_the_root,
              tolerance="distance from SciPy's root down to 1e-6 in 100 recursions, every one by 1 - eta (1 - |U|) at "
              "least; 0.001 for rounding at the smallest distances"),
    ),
    choices=(
        "The plane beside the blocks is ours: two units, tanh, |U| = 0.5, eta = 0.3, W, h_0 and inputs normal.",
    ),
)  # fmt: skip
