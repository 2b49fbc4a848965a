"""iRNN Fig. 2: phase-space trajectories of RNN, FastRNN and iRNN (K = 5) in two dimensions, tanh, random-walk input.

The paper says that RNN and FastRNN "exhibit complex trajectories, while iRNN trajectory is smooth, projecting initial
point (black circle) onto the equilibrium surface (blue) and moving within it (green)" (section 3.2).

Two things are measured: how often a trajectory runs through its own extent (path length over diameter), and how far
from equilibrium a state is, |phi(U s + W x + b) - alpha s| with s what the cell multiplies by U: h for FastRNN and RNN,
g_K + h_{m-1} for iRNN. As a control, one factor at a time is changed: the time-step above all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import xarray as xr

from dynlab.cell import Cell
from dynlab.cells import build_cell
from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 200, "draws": 3},
    "laptop": {"steps": 1000, "draws": 40},
    "paper": {"steps": 1000, "draws": 1},
}
VARIANCE = 10.0
WALKS = {"step": "each increment has variance 10", "end": "the walk's end has variance 10"}
STEPS_OF_ETA = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LEAKS = (0.01, 0.03, 0.1, 0.3, 1.0)

BASE = {"K": 5, "eta": 0.01, "start": "previous", "walk": "step", "u": 1.0}
AUTHORS, OUTSIDE = "FastRNN", "FastRNN outside the cube"
# sigmoid(-3), sigmoid(3) are the initial weights in FastRNN's code; sigmoid(3) twice lets it out of the cube.
FIXED = {
    "RNN": {"cell": "elman"},
    AUTHORS: {"cell": "fastrnn", "alpha": -3.0, "beta": 3.0},
    OUTSIDE: {"cell": "fastrnn", "alpha": 3.0, "beta": 3.0},
    "iRNN": {"cell": "irnn"},
}
SHOWN = tuple(FIXED)


def _variants() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = dict(FIXED)
    for eta in STEPS_OF_ETA:
        if eta != BASE["eta"]:
            found[f"iRNN, eta = {eta:g}"] = {"cell": "irnn", "eta": eta}
    for leak in LEAKS[:-1]:  # a leak of 1 is the RNN
        found[f"FastRNN, leak {leak:g}"] = {"cell": "fastrnn", "alpha": _logit(leak), "beta": _logit(1 - leak)}
    for name in ("RNN", AUTHORS, "iRNN"):
        found[f"{name}, variance 10 at the end"] = {**FIXED[name], "walk": "end"}
        found[f"{name}, small U"] = {**FIXED[name], "u": 0.1}
    found["iRNN, g_0 = 0"] = {"cell": "irnn", "start": "zero"}
    found["iRNN, g_0 = 0, eta = 0.3"] = {"cell": "irnn", "start": "zero", "eta": 0.3}
    return found


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _leak(cell: str, K: int, eta: float, start: str, alpha: float = 0.0, beta: float = 0.0, **_: Any) -> float:
    """1 minus the step Jacobian where phi' = 0, the share of the state that is given up at each input."""
    if cell == "elman":
        return 1.0
    if cell == "fastrnn":
        return 1 - 1 / (1 + math.exp(-beta))
    kept = (1 - eta) ** K
    return 1 - (2 * kept - 1 if start == "previous" else kept - 1)


def _build(options: dict[str, Any], U: np.ndarray, W: np.ndarray, b: np.ndarray) -> Cell:
    kind = options["cell"]
    if kind == "irnn":
        spec = f"irnn:K={options['K']},eta={options['eta']},start={options['start']},recurrent=full,nonlinearity=tanh"
    elif kind == "fastrnn":
        spec = f"fastrnn:alpha={options['alpha']},beta={options['beta']}"
    else:
        spec = "elman"
    cell = build_cell(spec, 1, 2).double()
    values = {"weight_full": U, "weight_hh": U, "weight_ih": W, "bias": b, "bias_ih": b, "bias_hh": 0 * b}
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            own = name.rpartition(".")[2]
            if own in values:
                parameter.copy_(torch.from_numpy(values[own]))
    return cell


def _measures(points: np.ndarray) -> tuple[float, float]:
    """Path length over the diagonal of the box around it, and the mean cosine between successive displacements."""
    moves = np.diff(points, axis=0)
    length = np.linalg.norm(moves, axis=1)
    extent = np.linalg.norm(np.ptp(points, axis=0))
    # tanh saturates: below rounding a displacement has no direction.
    seen = (length[1:] > 1e-12) & (length[:-1] > 1e-12)
    cosine = (moves[1:] * moves[:-1]).sum(1)[seen] / (length[1:] * length[:-1])[seen]
    return float(length.sum() / extent), float(cosine.mean()) if seen.any() else float("nan")


def trajectories(seed: int, steps: int) -> xr.Dataset:
    """All variants with one draw of U, W, b, the initial point and the walk."""
    random = np.random.default_rng(seed)
    U, W, b, start = (
        random.normal(size=(2, 2)),
        random.normal(size=(2, 1)),
        random.normal(size=2),
        random.normal(size=2),
    )
    increments = random.normal(size=steps) * math.sqrt(VARIANCE)
    rows, paths, residuals = [], [], []
    for name, own in _variants().items():
        options = {**BASE, **own}
        walk = increments / (math.sqrt(steps) if options["walk"] == "end" else 1)
        x = np.cumsum(walk)[:, None]
        used = options["u"] * U
        cell = _build(options, used, W, b)
        with torch.no_grad():
            scanned = cell.scan(torch.from_numpy(x)[:, None], torch.from_numpy(start)[None])
        states = scanned[:, 0].numpy()
        inside = states[1:] + states[:-1] if options["cell"] == "irnn" else states[1:]
        # At the initial point the input has not acted yet: the surface of the first input counts.
        first = 2 * start if options["cell"] == "irnn" else start
        inside, seen = np.vstack([first, inside]), np.vstack([x[:1], x])
        residual = np.linalg.norm(np.tanh(inside @ used.T + seen @ W.T + b) - inside, axis=1)
        rows.append([*_measures(states), residual[0], float(np.median(residual[steps // 2 :]))])
        if name in SHOWN:
            paths.append(states)
            residuals.append(residual)
    path_length, turning, before, after = np.array(rows).T
    return xr.Dataset(
        {
            "path_length": ("variant", path_length),
            "turning": ("variant", turning),
            "residual_start": ("variant", before),
            "residual_settled": ("variant", after),
            "trajectory": (("shown", "time", "axis"), np.array(paths)),
            "residual": (("shown", "time"), np.array(residuals)),
        },
        {"variant": list(_variants()), "shown": list(SHOWN), "time": np.arange(steps + 1), "axis": [1, 2]},
    )


MEANINGS = {
    "path_length": ("1", "path length over the diagonal of the box around the trajectory"),
    "turning": ("1", "mean cosine between successive displacements, 1 for a straight line"),
    "residual_start": ("1", "distance from equilibrium, |phi(U s + W x + b) - s|, of the initial point"),
    "residual_settled": ("1", "the same, median over the second half of the walk"),
    "trajectory": ("1", "hidden state"),
    "residual": ("1", "distance from equilibrium, |phi(U s + W x + b) - s|"),
    "leak": ("1", "share of the state given up at each input: 1 - step Jacobian where phi' = 0"),
}


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """Trajectories and measures of every variant: draw (of U, W, b, initial point, walk), variant, time."""
    settings = SCALES[scale]
    pieces = [{"seed": 1000 * seed + draw, "steps": settings["steps"]} for draw in range(settings["draws"])]
    data = xr.concat(run(trajectories, pieces), "draw", join="exact", data_vars="all")
    data["leak"] = ("variant", [_leak(**{**BASE, **own}) for own in _variants().values()])
    data["draw"] = np.arange(settings["draws"])
    for name, (units, meaning) in MEANINGS.items():
        data[name].attrs.update(units=units, long_name=meaning)
    return data.assign_attrs(
        scale=scale,
        seed=seed,
        reference="iRNN, Fig. 2",
        K=5,
        eta=0.01,
        nonlinearity="tanh",
        start="g_0 = h_(m-1)",
        walk=WALKS["step"],
        initial="U, W, b and the initial point standard normal",
    )


# ---- drawing ---------------------------------------------------------------------------------------------------------

PANELS = {"RNN": "elman", AUTHORS: "fastrnn", OUTSIDE: "fastrnn", "iRNN": "irnn"}
TITLES = {
    AUTHORS: r"FastRNN, $\alpha=0.05,\ \beta=0.95$",
    OUTSIDE: r"FastRNN, $\alpha=\beta=0.95$",
    "iRNN": "iRNN, $K=5$",
}


def draw(dataset: xr.Dataset) -> Any:
    """The trajectories of the first draw, how near to equilibrium they are, and path lengths against the leak."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import cell_look, style

    with style():
        figure = Figure(figsize=(7, 4.3), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.15))
        for axes, name in zip(top.subplots(1, 4), SHOWN, strict=True):
            _phase(axes, dataset.trajectory.sel(shown=name).isel(draw=0).values, name)
        left, right = bottom.subplots(1, 2, width_ratios=(1, 1.25))
        for name in ("RNN", AUTHORS, "iRNN"):
            values = dataset.residual.sel(shown=name).isel(draw=0)
            values = np.maximum(values.isel(time=slice(0, 101)), 1e-6)
            left.plot(values.time, values, label=name, **{**cell_look(PANELS[name]), "linewidth": 1.0})
        left.set_yscale("log")
        left.set_xlabel("time step m")
        left.set_ylabel("distance from equilibrium")
        left.legend(loc="lower right", bbox_to_anchor=(1, 0.06), fontsize=7)
        _complexity(right, dataset)
    return figure


def _phase(axes: Any, points: np.ndarray, name: str) -> None:
    from dynlab.plots.style import cell_look

    if name == "iRNN":
        settled = _settled(points)
        axes.plot(*points[: settled + 1].T, color="#0072B2", linewidth=0.8)
        axes.plot(*points[settled:].T, color="#009E73", linewidth=0.8)
    else:
        axes.plot(*points.T, color=cell_look(PANELS[name])["color"], linewidth=0.4)
    axes.plot(*points[0], "o", color="black", markersize=4)
    axes.set_title(TITLES.get(name, name), fontsize=8)
    axes.set_xlabel("$h_1$", labelpad=1)
    axes.set_ylabel("$h_2$", labelpad=1)
    axes.tick_params(labelsize=7)


def _settled(points: np.ndarray) -> int:
    """The step at which the initial point has been forgotten: one that has lost 95 % at a leak of 0.1 a step."""
    return min(30, len(points) - 1)


def _complexity(axes: Any, dataset: xr.Dataset) -> None:
    from dynlab.plots.style import cell_look

    swept = {
        "fastrnn": [*(f"FastRNN, leak {leak:g}" for leak in LEAKS[:-1]), AUTHORS, "RNN"],
        "irnn": ["iRNN", *(f"iRNN, eta = {eta:g}" for eta in STEPS_OF_ETA if eta != BASE["eta"])],
    }
    labels = {"fastrnn": r"FastRNN, $\alpha=1-\beta$ (RNN at 1)", "irnn": r"iRNN, $K=5$, $\eta$ from 0.003 to 1"}
    for cell, names in swept.items():
        chosen = dataset.sel(variant=names).sortby("leak")
        look = cell_look(cell)
        mean, spread = (getattr(np.log(chosen.path_length), of)("draw") for of in ("mean", "std"))
        axes.plot(chosen.leak, np.exp(mean), marker="o", markersize=3, label=labels[cell], **look)
        axes.fill_between(
            chosen.leak, np.exp(mean - spread), np.exp(mean + spread), color=look["color"], alpha=0.2, linewidth=0
        )
    for name, mark in (("RNN", "s"), (AUTHORS, "D"), ("iRNN", "*")):
        one = dataset.sel(variant=name)
        axes.plot(one.leak, np.exp(np.log(one.path_length).mean()), mark, color="black", markersize=5, zorder=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("leak a step (marks: the trajectories above)")
    axes.set_ylabel("path length / diameter")
    axes.legend(
        loc="upper left", fontsize=7, title=f"mean and std, n = {dataset.sizes['draw']} draws", title_fontsize=7
    )


# ---- claims ----------------------------------------------------------------------------------------------------------


def _more_complex(data: xr.Dataset, other: str) -> tuple[float, float, float]:
    """Median path lengths of iRNN and of the other, and the share of draws in which iRNN's is the shorter one."""
    own, theirs = (data.path_length.sel(variant=name) for name in ("iRNN", other))
    return float(own.median()), float(theirs.median()), float((own < theirs).mean())


def _smoother_than(other: str) -> Any:
    def check(data: xr.Dataset) -> Measured:
        own, theirs, share = _more_complex(data, other)
        value = f"{theirs:.1f} diameters for {other}, {own:.1f} for iRNN; iRNN the smoother in {share:.0%} of draws"
        holds = theirs >= 2 * own and share >= 0.9
        if other != AUTHORS:
            return Measured(value, holds)
        outside = _more_complex(data, OUTSIDE)
        same = float(data.path_length.sel(variant="FastRNN, leak 0.1").median())
        why = (
            f"Smoothness goes with the leak a step, not with the equilibrium: FastRNN with iRNN's leak of 0.1 travels "
            f"{same:.1f} diameters, the one whose weights let it out of the cube {outside[1]:.1f}."
        )
        return Measured(value, holds, why)

    return check


def _on_the_surface(data: xr.Dataset) -> Measured:
    one = data.sel(variant="iRNN")
    before, after = float(one.residual_start.median()), float(one.residual_settled.median())
    share = float((one.residual_settled <= 0.1 * one.residual_start).mean())
    rnn = float(data.residual_settled.sel(variant="RNN").median())
    fast = float(data.residual_settled.sel(variant=AUTHORS).median())
    slow = float(data.residual_settled.sel(variant="iRNN, variance 10 at the end").median())
    value = f"distance {before:.2f} at the start, {after:.1e} in the second half; below a tenth in {share:.0%} of draws"
    why = (
        f"FastRNN, with h in place of g + h, ends at {fast:.1e} and RNN at {rnn:.1e} from the same surface; where the "
        f"whole walk has variance 10, so that tanh does not saturate, iRNN ends at {slow:.1e}."
    )
    return Measured(value, share >= 0.9, why)


def _with_the_leak(data: xr.Dataset) -> Measured:
    """Not the paper's: the control that explains the other claims."""
    small, large = (float(data.path_length.sel(variant=f"iRNN, eta = {eta:g}").median()) for eta in (0.003, 1.0))
    turning = float(data.turning.sel(variant="iRNN, eta = 1").median())
    value = (
        f"{small:.1f} diameters at eta = 0.003, {large:.0f} at eta = 1, its successive moves at cosine {turning:.2f}"
    )
    why = "Theorem 1's d h_m / d h_(m-1) = -I makes h alternate: the nearer to equilibrium, the more jagged h is."
    return Measured(value, small < 5 and large < 5, why)


ITEM = Item(
    paper="iRNN",
    number="Fig. 2",
    title="Phase space of RNN, FastRNN and iRNN in two dimensions",
    protocol="tanh, 2 hidden units, one-dimensional random walk of variance 10 for 1000 steps; U, W, b random; K = 5.",
    choices=(
        "U, W, b and the initial point are standard normal and the same for all cells; the paper gives no variance.",
        "Variance 10 is that of each increment; as a control, that of the whole walk.",
        "eta = 0.01 (section 4.1), g_0 = h_(m-1) (Fig. 1).",
        "FastRNN has the initial weights of its authors' code, sigmoid(-3) and sigmoid(3), which keep it in the cube; "
        "the caption says that it need not be, so a second one has sigmoid(3) twice.",
        "Smooth means: path length over diameter at most half of the other's.",
    ),
    findings=(
        "Path lengths go with the share of the state that is given up at an input, the leak, whatever the cell (last "
        "panel): the RNN gives up all of it, FastRNN with its authors' weights 5 %, iRNN with K = 5 and eta = 0.01 10 "
        "%. One factor changed: FastRNN with iRNN's leak travels about as far as iRNN. With its authors' "
        "weights FastRNN is "
        "as smooth as iRNN, which is why the second claim fails.",
        "Nearer to equilibrium the trajectory is less smooth, not smoother: eta alone changed from 0.01 to 1 puts "
        "every g_K on the equilibrium, and there h_m = h_eq - h_(m-1) alternates, Theorem 1's Jacobian of -I.",
    ),
    claims=(
        Claim(
            "RNN exhibits a complex trajectory, iRNN's is smooth.",
            _smoother_than("RNN"),
            tolerance="median path length at most half of the other's, shorter in 90 % of the draws",
        ),
        Claim(
            "FastRNN exhibits a complex trajectory, iRNN's is smooth.",
            _smoother_than(AUTHORS),
            tolerance="median path length at most half of the other's, shorter in 90 % of the draws",
            scales=("laptop", "paper"),
        ),
        Claim(
            "iRNN projects the initial point onto the equilibrium surface and moves within it.",
            _on_the_surface,
            tolerance="residual in the second half at most a tenth of the initial one, in 90 % of the draws",
            scales=("laptop", "paper"),
        ),
        Claim(
            "iRNN's trajectory is smooth because it moves on the equilibrium surface (so it is for every eta).",
            _with_the_leak,
            tolerance="under 5 diameters; 1000 steps of the RNN make many times that",
            scales=("laptop", "paper"),
        ),
    ),
)
