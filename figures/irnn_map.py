"""iRNN's step Jacobian over (eta, K): a map of ours, which no figure of the paper shows.

Theorem 1 has -I for K -> inf: "the partial gradients over arbitrary number of rounds for iRNN is identity". At finite K
and with phi' U small, Eq. (5) makes the step Jacobian (2 (1 - eta alpha)^K - 1) I from g_0 = h_{m-1}, and
((1 - eta alpha)^K - 1) I from g_0 = 0. So between +I and -I there is a zero, at K eta alpha about ln 2, where gradients
vanish in one step. Marked: the paper's settings at their initial values, and small cells after some training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"etas": 13, "depths": [1, 5, 50]},
    "laptop": {"etas": 61, "depths": [1, 2, 3, 5, 7, 10, 20, 30, 50]},
    "paper": {"etas": 121, "depths": [1, 2, 3, 5, 7, 10, 20, 30, 50, 100]},
}
SMALLEST, LARGEST = 1e-3, 1.0
"""eta."""
LN2 = float(np.log(2))


def mapped(seed: int, etas: int, depths: list[int]) -> xr.Dataset:
    """The map over ``etas`` values of eta and over K, and the settings in it."""
    from dynlab.theory.irnn_map import jacobian_map

    grid = np.geomspace(SMALLEST, LARGEST, etas).tolist()
    return jacobian_map(seed=seed, grid=grid, depths=depths)


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """The map; one piece."""
    data = run(mapped, [{**SCALES[scale], "seed": seed}])[0]
    return data.assign_attrs(scale=scale, seed=seed)


# ---- the figure ------------------------------------------------------------------------------------------------------


def draw(dataset: xr.Dataset) -> Figure:
    """(a, b) the maps from both starts, with the settings; (c) all of the first map against K eta alpha."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import style
    from dynlab.plots.theory import jacobian_map

    with style():
        figure = Figure(figsize=(7, 6.6), layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=(4.4, 2.2))
        jacobian_map(dataset, upper)  # type: ignore[arg-type]
        for axes, letter in zip(upper.axes, "ab", strict=False):
            axes.set_title(f"({letter}) {axes.get_title()}")
        _collapsed(lower.subplots(), dataset)
    return figure


def _collapsed(axes: Axes, dataset: xr.Dataset) -> None:
    """Gain against K eta alpha: a line for each of three K, and the settings."""
    from dynlab.plots.style import cell_look

    colour = cell_look("irnn")["color"]
    first = dataset.sel(start="previous")
    alpha = _alpha(dataset)
    chosen = sorted({int(first["K"].min()), 5, int(first["K"].max())})
    for K, line in zip(chosen, ("-", "--", ":"), strict=True):
        along = K * first["eta"] * alpha
        axes.plot(along, first["gain"].sel(K=K), color="0.35", ls=line, lw=1.2, label=f"map, K = {K}")
    for kind, mark in (("Gaussian", "o"), ("V H", "s"), ("after", "*")):
        rows = [str(one).count(kind) > 0 for one in dataset["setting"].values]
        own = dataset.isel(setting=np.flatnonzero(rows))
        where, gain, spread = (
            one.values
            for one in (own["setting_K"] * own["setting_eta"] * alpha, own["setting_gain"], own["setting_gain_spread"])
        )
        names = {"Gaussian": "Gaussian U", "V H": "U = I + V H, with P or without", "after": "trained, 100 updates"}
        axes.errorbar(
            where, gain, spread, fmt=mark, color=colour, markeredgecolor="black",
            markeredgewidth=0.5, markersize=7 if mark == "*" else 4, elinewidth=0.8, label=names[kind],
        )  # fmt: skip
    axes.axhline(0, color="0.3", lw=0.8)
    axes.axvline(LN2, color="0.3", lw=0.8, ls=(0, (4, 3)))
    axes.annotate("ln 2", (LN2, 1), xytext=(3, -2), textcoords="offset points", fontsize=7.5, va="top")
    axes.set(xscale="log", xlim=(2e-3, 20), ylim=(-1.08, 1.12), xlabel=r"$K \eta \alpha$", ylabel="gain")
    axes.set_title("(c) from $g_0 = h_{m-1}$; bars: standard deviation over units, samples and times")
    axes.legend(loc="lower left", ncols=2, fontsize=7)


# ---- claims ----------------------------------------------------------------------------------------------------------


def _alpha(data: xr.Dataset) -> float:
    import json

    return float(json.loads(data.attrs["hyperparameters"])["alpha"])


def _rows(data: xr.Dataset, part: str) -> xr.Dataset:
    """The settings whose label has this part."""
    return data.isel(setting=[index for index, one in enumerate(data["setting"].values) if part in str(one)])


def explained(data: xr.Dataset) -> Measured:
    """The closed form, up to what U can change."""
    share = data["measured"] / data["bound"].where(data["bound"] > 0)
    off = abs(data["gain"] - data["closed_form"])
    value = (
        f"|J - closed form I| at most {float(share.max()):.2f} times what ||U|| can change; mean diagonal entry off by "
        f"at most {float(off.max()):.1e}, at {data['gain'].size:,} points"
    )
    return Measured(value, bool(data["satisfied"].all()))


def crossings(data: xr.Dataset) -> xr.DataArray:
    """K eta alpha where the gain from h_{m-1} crosses zero, for each K; NaN where it does not."""
    first, found = data["gain"].sel(start="previous"), []
    for K in first["K"].values:
        along = np.log(K * first["eta"].values * _alpha(data))
        gain = first.sel(K=K).values
        after = int(np.argmax(gain < 0))
        if not after:
            found.append(np.nan)
            continue
        low, high = gain[after - 1], gain[after]
        found.append(float(np.exp(along[after - 1] + (along[after] - along[after - 1]) * low / (low - high))))
    return xr.DataArray(found, {"K": first["K"]}, ("K",))


def zero(data: xr.Dataset) -> Measured:
    """At ln 2 for the largest K; at each K where (1 - eta alpha)^K is 1/2."""
    found = crossings(data)
    K = found["K"].values
    error = abs(found / (K * (1 - 0.5 ** (1 / K))) - 1)
    last = float(found.isel(K=-1))
    value = f"K eta alpha = {last:.4f} at K = {K[-1]} (ln 2 = {LN2:.4f}), {float(found[0]):.3f} at K = {K[0]}"
    why = f"At finite K exactly K (1 - 2^(-1/K)), 1/2 for K = 1; measured within {100 * float(error.max()):.2g} %."
    return Measured(value, bool(abs(last / LN2 - 1) <= 0.02 and (error <= 0.01).all()), why)


def ends(data: xr.Dataset) -> Measured:
    """+I (or 0) where K eta alpha is small, -I where it is large."""
    along = data["K"] * data["eta"] * _alpha(data)
    early, late = data["gain"].where(along <= 0.01), data["gain"].where(along >= 5)
    start, end = early.max(("eta", "K")), late.min(("eta", "K"))
    low, high = early.min(("eta", "K")), late.max(("eta", "K"))
    value = (
        f"for K eta alpha <= 0.01 from {float(low.sel(start='previous')):+.3f} to "
        f"{float(start.sel(start='previous')):+.3f}, for >= 5 from {float(end.sel(start='previous')):+.3f} to "
        f"{float(high.sel(start='previous')):+.3f}; from g_0 = 0 {float(low.sel(start='zero')):+.3f} and "
        f"{float(high.sel(start='zero')):+.3f}"
    )
    near = bool(low.sel(start="previous") >= 0.97) and bool(low.sel(start="zero") >= -0.02)
    return Measured(value, near and bool((high <= -0.97).all()))


def identity(data: xr.Dataset) -> Measured:
    """Whether larger K brings the gradient of the paper's settings closer to the identity, +I or -I."""
    lines, closer = [], []
    for kind in ("Gaussian U, K", "(section 3.2)"):
        own = _rows(data, kind).sortby("setting_K")
        gain = own["setting_gain"].values
        lines.append(", ".join(f"{value:+.3f}" for value in gain))
        closer.append(bool((np.diff(np.abs(gain)) > 0).all()))
    own = ", ".join(f"{K:.0f}" for K in np.unique(_rows(data, "Gaussian U, K")["setting_K"].values))
    value = f"gain at K = {own}: Gaussian U {lines[0]}; U = I + V H {lines[1]}"
    why = (
        "Along K at eta = 0.01 the step goes from +I towards the zero, not towards -I: that would take K eta alpha of "
        "5 or so, K = 500."
    )
    return Measured(value, all(closer), why)


def near_one(data: xr.Dataset) -> Measured:
    """The gain of U = I + V H, next to that of a Gaussian U."""
    low_rank, gaussian = (_rows(data, part).sortby("setting_K")["setting_gain"].values
                          for part in ("(section 3.2)", "Gaussian U, K"))  # fmt: skip
    ranges = [f"{one.min():+.3f} to {one.max():+.3f}" for one in (low_rank, gaussian)]
    value = f"{ranges[0]}; with a Gaussian U {ranges[1]}"
    why = "With phi' (I + V H) an active unit keeps its h up to V H; one that is off has the closed form."
    return Measured(value, bool((low_rank >= 0.9).all() and (low_rank > gaussian).all()), why)


def before_zero(data: xr.Dataset) -> Measured:
    """On which side of the zero the settings lie."""
    along = data["setting_K"] * data["setting_eta"] * _alpha(data)
    trained = _rows(data, "after")
    ours = [
        f"{str(one['setting'].item()).partition(' after')[0]}: "
        f"K eta alpha = {float(one['setting_K'] * one['setting_eta']) * _alpha(data):.2f}, "
        f"gain {float(one['setting_gain']):+.2f}"
        for one in (trained.isel(setting=index) for index in range(trained.sizes["setting"]))
    ]
    gain = float(data["setting_gain"].min())
    value = f"K eta alpha up to {float(along.max()):.2f}, gain from {gain:+.2f}; trained, {'; '.join(ours)}"
    return Measured(value, bool((along < LN2).all() and (data["setting_gain"] > 0).all()))


ITEM = Item(
    paper="iRNN",
    number="Map of Eq. (5)",
    title="Ours: the step Jacobian over eta and K, from +I through zero to -I",
    protocol="None: no figure of the paper shows it. Eq. (5) and Theorem 1 give the closed form, section 4.1 the "
    "settings (eta = 0.01 at the start, ReLU, K = 1 to 10), section 3.1 the Gaussian U, section 3.2 U = I + V H.",
    choices=(
        "The map is ours. Gaussian U, 32 units, 2 inputs, at the second step of a rollout on standard normal inputs.",
        "Settings: 128 units, the adding problem's 2 inputs, means over 16 transitions of a rollout at initial values.",
        "Trained cells: 16 units, 100 updates of Adam on the adding problem of 20 steps, one seed.",
    ),
    findings=(
        "Theorem 1's identity is -I, at K eta alpha >> ln 2. The paper's settings, and cells trained for a short "
        "while, are on the other side of the zero, near +I: their gradients live by the step being small, as FastRNN's "
        "do, not by convergence to the equilibrium. At eta = 0.01 a larger K takes them further from both.",
        "Learning raises eta, and K eta alpha with it, towards the zero: with K = 5 and a full U from 0.05 to 0.25 in "
        "100 updates, a gain of 0.56 a step, which is 1e-5 over 20 steps.",
    ),
    claims=(
        Claim(
            "Ours, from Eq. (5): the step Jacobian is (2 (1 - eta alpha)^K - 1) I from h_{m-1} and "
            "((1 - eta alpha)^K - 1) I from 0, up to c ((|1 - eta alpha| + eta ||U||)^K - |1 - eta alpha|^K).",
            explained,
            tolerance="none: the second term bounds what U can change",
        ),
        Claim(
            "Ours: from h_{m-1} the gradient passes through zero at K eta alpha about ln 2.",
            zero,
            tolerance="2 % at the largest K, where K (1 - 2^(-1/K)) is 0.7 % below ln 2 and U may add a little; 1 % of "
            "that expression at each K, of which the interpolation between values of eta has 0.05 %",
            scales=("laptop", "paper"),
        ),
        Claim(
            "Ours: the step is near +I (from g_0 = 0: near 0) for K eta alpha << 1 and near -I for K eta alpha >> 1.",
            ends,
            tolerance="0.03 of the factor: the closed form has 0.02 at K eta alpha = 0.01 and 2 exp(-5) = 0.014 at 5",
        ),
        Claim(
            '"iRNN for larger K is closer to identity gradient" (section 4.2 b; Theorem 1: -I as K grows): here, of '
            "the step at the initial values.",
            identity,
            tolerance="|gain| grows with every K of 1, 3, 5, 10",
        ),
        Claim(
            "Ours: with U = I + V H, section 3.2, the gain a step starts near 1, nearer than with a Gaussian U.",
            near_one,
            tolerance="within 0.1 of 1 at every K, our choice",
        ),
        Claim(
            "Ours: the paper's settings at the start and the trained cells lie before the zero, on +I's side.",
            before_zero,
            tolerance="none: K eta alpha < ln 2 and a positive gain for each",
        ),
    ),
)
