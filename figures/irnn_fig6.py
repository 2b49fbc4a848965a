"""iRNN Fig. 6: the inner steps converge linearly to the equilibrium that SciPy finds, from g_0 = 0.

The paper says that the approximate solutions "tend to converge with linear rate" to the fixed points "computed using
FSOLVE from scipy", with learnable parameters "initialized suitably and then fixed" (A.7.5). Rates are set beside two
theoretical ones: Proposition 2's bound 1 - alpha eta + eta |U|, and that of A = I + eta (phi' U - alpha I) at the root,
which is what a small distance is multiplied by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.optimize import fsolve
from torch import Tensor

from dynlab.cells import build_cell
from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"hidden_size": 8, "times": 3, "seeds": 1, "decades": 4.0},
    "laptop": {"hidden_size": 32, "times": 5, "seeds": 3, "decades": 10.0},
    "paper": {"hidden_size": 128, "times": 5, "seeds": 3, "decades": 10.0},
}
INPUTS, ALPHA = 2, 1.0
BASE: dict[str, Any] = {"eta": 0.1, "norm": 0.5, "phi": "relu", "start": "zero"}
# One factor of the base changed at a time.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "eta = 0.01": {"eta": 0.01},
    "eta = 0.5": {"eta": 0.5},
    "|U| = 0.1": {"norm": 0.1},
    "|U| = 0.9": {"norm": 0.9},
    "tanh": {"phi": "tanh"},
    "g_0 = h_(m-1)": {"start": "previous"},
    "U = I + V H": {"norm": None},
}
FOUND = 1e-12
"""A root's residual over 1 + |g*|, at most."""
ROUNDING = 1e-13
"""Distances below this many times 1 + |g*| are rounding in float64."""


def inner_steps(name: str, seed: int, hidden_size: int, times: int, decades: float) -> xr.Dataset:
    """The distance of g_k from the equilibrium along one rollout on standard normal inputs.

    Arguments:
        name: of ``VARIANTS``. times: transitions. decades: by which the bound has to fall, which sets K.
    """
    own = {**BASE, **VARIANTS[name]}
    eta, norm = own["eta"], own["norm"]
    K = int(np.ceil(decades * np.log(10) / (eta * (1 - (norm or BASE["norm"])))))
    kind = "full" if norm is not None else "identity_plus_low_rank"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        spec = f"irnn:K={K},eta={eta},recurrent={kind},nonlinearity={own['phi']},start={own['start']}"
        cell = build_cell(spec, INPUTS, hidden_size).double()
        x = torch.randn(times, 1, INPUTS, dtype=torch.float64)
        with torch.no_grad():
            cell.weight_ih.copy_(torch.randn(hidden_size, INPUTS))
            if norm is not None:
                gaussian = torch.randn(hidden_size, hidden_size)
                cell.weight_full.copy_(norm * gaussian / torch.linalg.matrix_norm(gaussian, 2))
    with torch.no_grad():
        states, terms = cell.scan(x)[:, 0], cell.terms(x[:, 0])
        rows = [_one(cell, terms[m], states[m], eta) for m in range(times)]
        norm_U = float(torch.linalg.matrix_norm(cell.weight_hh, 2))
    distance, residual, predicted, found, radius, size = (np.array(column) for column in zip(*rows, strict=True))
    return xr.Dataset(
        {
            "distance": (("transition", "k"), distance),
            "residual": (("transition", "k"), residual),
            "predicted": (("transition", "k"), predicted),
            "found": ("transition", found),
            "spectral_radius": ("transition", radius),
            "root_size": ("transition", size),
            "norm_U": ((), norm_U),
            "eta": ((), eta),
        },
        {"transition": np.arange(1, times + 1), "k": np.arange(K + 1)},
    )


def _one(
    cell: Any, term: Tensor, state: Tensor, eta: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool, float, float]:
    """Distances, residuals and predictions of g_0 .. g_K, whether there is a root, its spectral radius and size."""
    inner = torch.stack(cell.inner_states(term, state))
    root, info, flag, _ = fsolve(
        lambda g: cell.residual(term, torch.from_numpy(g), state).numpy(),
        inner[-1].numpy(),
        fprime=lambda g: _slope(cell, term, state, torch.from_numpy(g)).numpy(),
        xtol=1e-15,
        full_output=True,
    )
    found = bool(np.linalg.norm(info["fvec"]) <= FOUND * (1 + np.linalg.norm(root)))
    root = root if found else inner[-1].numpy()
    size = float(np.linalg.norm(root))
    distance = np.linalg.norm(inner.numpy() - root, axis=-1) if found else np.full(len(inner), np.inf)
    residual = torch.linalg.vector_norm(cell.residual(term, inner, state), dim=-1).numpy()
    A = (torch.eye(len(root), dtype=inner.dtype) + eta * _slope(cell, term, state, torch.from_numpy(root))).numpy()
    predicted = np.full(len(inner), np.nan)
    if found:
        half = _above_rounding(distance, size) // 2
        away = inner[half].numpy() - root
        for k in range(half, len(inner)):
            predicted[k] = np.linalg.norm(away)
            away = A @ away
    return distance, residual, predicted, found, float(np.abs(np.linalg.eigvals(A)).max()), size


def _above_rounding(distance: np.ndarray, size: float) -> int:
    """How many of the distances (k,) come before the first that is rounding, or infinite."""
    above = np.isfinite(distance) & (distance > ROUNDING * (1 + size))
    return int(above.cumprod().sum())


def _slope(cell: Any, term: Tensor, state: Tensor, g: Tensor) -> Tensor:
    """phi' U - alpha I at g."""
    return torch.func.jacrev(lambda one: cell.residual(term, one, state))(g)


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """Distances of all variants: seed, variant, transition, k (NaN beyond a variant's own K)."""
    settings = dict(SCALES[scale])
    seeds = [seed + index for index in range(settings.pop("seeds"))]
    pieces = run(inner_steps, [{"name": name, "seed": one, **settings} for one in seeds for name in VARIANTS])
    longest = np.arange(max(piece.sizes["k"] for piece in pieces))
    padded = [piece.reindex(k=longest) for piece in pieces]
    count = len(VARIANTS)
    rows = [xr.concat(padded[at * count : (at + 1) * count], "variant") for at in range(len(seeds))]
    data = xr.concat(rows, "repeat").assign_coords(variant=list(VARIANTS), repeat=seeds)
    limit = np.where(data.norm_U < ALPHA, 1 - ALPHA * data.eta + data.eta * data.norm_U, np.nan)
    data["bound"] = (("repeat", "variant"), limit)
    rate, straightness, fastest = _rates(data)
    data["rate"] = (data.spectral_radius.dims, rate)
    data["straightness"] = (data.spectral_radius.dims, straightness)
    data["largest_ratio"] = (data.spectral_radius.dims, fastest)
    for name, meaning in MEANINGS.items():
        data[name].attrs.update(units="1", long_name=meaning)
    return data.assign_attrs(
        scale=scale, seed=seed, reference="iRNN, Fig. 6, Proposition 2, Theorem 3", alpha=ALPHA, inputs=INPUTS,
        hidden_size=settings["hidden_size"],
        base="eta = 0.1, U Gaussian scaled to |U| = 0.5, W standard normal, b = 0, ReLU, g_0 = 0",
    )  # fmt: skip


MEANINGS = {
    "distance": "|g_k - g*|, g* SciPy's root; inf where it found none",
    "residual": "|phi(U (g_k + h) + W x + b) - alpha (g_k + h)|",
    "predicted": "|A^(k - j) (g_j - g*)| from half-way j on, A = I + eta (phi' U - alpha I) at the root",
    "found": "whether SciPy found the root",
    "spectral_radius": "of I + eta (phi' U - alpha I) at the root; at g_K where none was found",
    "root_size": "|g*|; |g_K| where none was found",
    "norm_U": "spectral norm of U",
    "eta": "inner step",
    "bound": "1 - alpha eta + eta |U|, Proposition 2; NaN where |U| >= alpha",
    "rate": "factor by which the distance falls in one inner step, a fit to the last half above rounding",
    "straightness": "r^2 of that log distance against k, from k = 0 on",
    "largest_ratio": "largest ratio of successive distances above rounding",
}


def _rates(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rate, r^2 and largest ratio of the distances (repeat, variant, transition, k); NaN where there is no root."""
    order = ("repeat", "variant", "transition", "k")
    distance, size = data.distance.transpose(*order).values, data.root_size.transpose(*order[:-1]).values
    found = np.full((3, *distance.shape[:-1]), np.nan)
    for at in np.ndindex(distance.shape[:-1]):
        count = _above_rounding(distance[at], size[at])
        if count < 4:
            continue
        logs, k = np.log(distance[at][:count]), np.arange(count)
        half = count // 2
        found[(0, *at)] = np.exp(np.polyfit(k[half:], logs[half:], 1)[0])
        found[(1, *at)] = np.corrcoef(k, logs)[0, 1] ** 2
        found[(2, *at)] = np.exp(np.diff(logs).max())
    return found[0], found[1], found[2]


# ---- drawing ---------------------------------------------------------------------------------------------------------


def draw(dataset: xr.Dataset) -> Any:
    """Distances of the base against k, with the theoretical slopes; rates of all variants against theory."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import cell_look, style

    colour = cell_look("irnn")["color"]
    with style():
        figure = Figure(figsize=(7, 2.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.1, 1.15, 1))
        base = dataset.sel(variant="base").isel(repeat=0).dropna("k", subset=["distance"])
        for m in base.transition.values:
            left.semilogy(
                base.k, base.distance.sel(transition=m), color=colour, linewidth=1,
                alpha=0.3 + 0.7 * m / len(base.transition), label="$|g_k - g^*|$, each input" if m == 1 else None,
            )  # fmt: skip
        start = float(base.distance.isel(k=0).max())
        left.semilogy(
            base.k,
            start * float(base.bound) ** base.k,
            color="black",
            linestyle="--",
            linewidth=1,
            label="bound, Prop. 2",
        )
        left.semilogy(
            base.k, start * float(base.spectral_radius.max()) ** base.k, color="black", linestyle=":", linewidth=1,
            label="spectral radius",
        )  # fmt: skip
        left.set_ylim(1e-13, 10 * start)
        left.set_xlabel("inner step k")
        left.set_ylabel("distance from SciPy's root")
        left.legend(fontsize=6.5, loc="upper right")
        _rates_panel(middle, dataset)
        for name, style_of in (("base", "-"), ("U = I + V H", "--")):
            one = dataset.sel(variant=name).isel(repeat=0)
            one = one.dropna("k", subset=["residual"])
            relative = one.residual / one.residual.isel(k=0)
            right.semilogy(
                one.k, np.maximum(relative.mean("transition"), 1e-14), color=colour, linestyle=style_of, label=name
            )
        right.set_xlabel("inner step k")
        right.set_ylabel("residual / residual at k = 0")
        right.legend(fontsize=6.5, loc="center right")
        for axes, letter in zip((left, middle, right), "abc", strict=True):
            axes.set_title(letter, loc="left", fontweight="bold")
    return figure


def _rates_panel(axes: Any, dataset: xr.Dataset) -> None:
    from dynlab.plots.style import cell_look

    marks = "os^v<>D"
    names = [str(name) for name in dataset.variant.values if bool(dataset.found.sel(variant=name).all())]
    for name, mark in zip(names, marks, strict=False):
        one = dataset.sel(variant=name)
        axes.plot(
            1 - one.spectral_radius.values.ravel(), 1 - one.rate.values.ravel(), mark, markersize=3.5, alpha=0.7,
            color=cell_look("irnn")["color"], markeredgecolor="black", markeredgewidth=0.3, label=name,
        )  # fmt: skip
    span = np.array([1e-3, 1.0])
    axes.plot(span, span, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("1 - spectral radius at the root")
    axes.set_ylabel("1 - measured rate")
    axes.legend(fontsize=6.5, loc="upper left", handletextpad=0.2, borderpad=0.1, labelspacing=0.25)


# ---- claims ----------------------------------------------------------------------------------------------------------


def _contracting(data: xr.Dataset) -> xr.Dataset:
    """The variants with |U| < alpha in every repeat."""
    return data.isel(variant=np.flatnonzero((data.norm_U < ALPHA).all("repeat").values))


def _linear(data: xr.Dataset) -> Measured:
    own = _contracting(data)
    if not bool(own.found.all()):
        return Measured(f"no root found in {int((~own.found).sum())} of {own.found.size} transitions", False)
    worst = float(own.straightness.min())
    spread = f"rates {float(own.rate.min()):.3f} to {float(own.rate.max()):.4f}"
    return Measured(
        f"log distance against k: r^2 >= {worst:.4f}; {spread}", worst >= 0.99 and float(own.rate.max()) < 1
    )


def _bounded(data: xr.Dataset) -> Measured:
    own = _contracting(data)
    room = own.bound - own.largest_ratio
    value = f"largest ratio of successive distances minus bound: {-float(room.min()):.1e}"
    # At the last distances, 1e-13, a rounding of 1e-16 is a thousandth.
    return Measured(value, bool((room >= -2e-3 * own.eta).all()))


def _asymptotic(data: xr.Dataset) -> Measured:
    own = _contracting(data)
    seen = np.isfinite(own.predicted) & (own.distance > 1e3 * ROUNDING * (1 + own.root_size))
    error = abs(np.log(own.distance.where(seen)) - np.log(own.predicted.where(seen))).max(("transition", "k", "repeat"))
    worst = float(error.max()) if bool(own.found.all()) else float("inf")
    slower = float((np.log(own.rate) / np.log(own.spectral_radius)).min())
    faster = float((np.log(own.rate) / np.log(own.spectral_radius)).max())
    value = (
        f"log distance off the prediction by at most {worst:.1g}; decades a step "
        f"{slower:.2f} to {faster:.2f} times those of the spectral radius"
    )
    why = "More than one where the start has little of the slowest direction, the largest eigenvalue's."
    return Measured(value, worst <= 0.01, why)


def _as_parametrised(data: xr.Dataset) -> Measured:
    one = data.sel(variant="U = I + V H")
    residual = one.residual.dropna("k")
    left = float((residual.isel(k=-1) / residual.isel(k=0)).median())
    radius = float(one.spectral_radius.max())
    value = (
        f"|U| = {float(one.norm_U.mean()):.2f}; residual at k = K over residual at 0: {left:.2g}; root found in "
        f"{int(one.found.sum())} of {one.found.size} transitions; spectral radius up to {radius:.4f}"
    )
    why = (
        "On its active units phi' U - alpha I is V H, of rank d / 8: singular where more units are active, with "
        "eigenvalues of both signs, so that neither |U| < alpha nor Corollary 2's |I + eta (phi' U - I)| < 1 holds."
    )
    return Measured(value, left < 1e-3 and bool(one.found.all()), why)


ITEM = Item(
    paper="iRNN",
    number="Fig. 6",
    title="Linear convergence of the inner steps to SciPy's root",
    protocol="Euclidean distance of g_k from scipy's FSOLVE root, g_0 = 0, parameters initialised suitably and fixed.",
    choices=(
        "Parameters, inputs and sizes are not published: U Gaussian scaled to |U| = 0.5 < alpha = 1 (Proposition 1), "
        "W and the inputs standard normal, b = 0, ReLU, eta = 0.1; each changed on its own as a control.",
        "SciPy's root (fsolve, with the Jacobian) starts from g_K, in float64.",
    ),
    findings=(
        "The rate is linear with eta, |U|, the nonlinearity or g_0 changed one at a time. With U = I + V H in place of "
        "a Gaussian U, |U| > alpha and no equilibrium is found: the residual grows.",
    ),
    claims=(
        Claim(
            "The approximate solutions converge to SciPy's fixed points with linear rate.",
            _linear,
            tolerance="r^2 >= 0.99: curvature comes only from the transient before the slowest direction is left",
        ),
        Claim(
            "Proposition 2: every inner step shrinks the distance by at most 1 - alpha eta + eta |U|.",
            _bounded,
            tolerance="0.002 eta, rounding of the smallest distances",
        ),
        Claim(
            "Theory (our check): near the root the distance is what A = I + eta (phi' U - alpha I) there makes of it.",
            _asymptotic,
            tolerance="1 % down to 1000 times rounding: half-way, tanh's curvature is less, and ReLU has none",
            scales=("laptop", "paper"),
        ),
        Claim(
            "It holds for the parametrisation of the experiments, U = I + V H (section 3.2), too.",
            _as_parametrised,
            tolerance="residual down by 1000 in as many steps as the base needs for ten decades",
            scales=("laptop", "paper"),
        ),
    ),
)
