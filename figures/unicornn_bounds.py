"""UnICORNN's bounds over its settings: a map of ours, which no figure of the paper shows.

Prop. C.1 bounds the states and Prop. 3.1 the gradient, for dt "sufficiently small"; after it: "there is no exponential
growth of the gradient with respect to the number of time steps"; Eqs. (74) and (80) say how the gradient falls with
depth. Mapped over dt, alpha and N (T = N dt), with Table 6's settings: where the proofs apply, how tight the bounds
are, where an input in resonance breaks them and where it makes gradients grow, and the gradient against depth.
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
    "smoke": {
        "bounds": {"dts": [0.004, 0.512], "alphas": [0.01, 10.0], "steps": [10, 10_000]},
        "driving": {"dts": [0.128, 0.512], "alphas": [0.0, 0.3], "amplitudes": [3.0], "steps": 512},
        "depth": {"depths": [1, 3, 7], "dts": [0.126, 0.5], "alphas": [1.0], "residual": [0, 3], "T": 6.0},
        "draws": 2,
    },
    "laptop": {
        "bounds": {
            "dts": [0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512],
            "alphas": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0],
            "steps": [10, 250, 1000, 4000, 18_000],
        },
        "driving": {
            "dts": [0.016, 0.032, 0.064, 0.128, 0.256, 0.512],
            "alphas": [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0],
            "amplitudes": [0.3, 1.0, 3.0, 10.0],
            "steps": 10_240,
        },
        "depth": {
            "depths": [1, 2, 3, 4, 5, 6, 7], "dts": [0.03, 0.126, 0.5], "alphas": [0.0, 1.0, 13.0],
            "residual": [0, 2, 3], "T": 12.0,
        },
        "draws": 4,
    },
    "paper": {
        "bounds": {
            "dts": [0.004 * 2 ** (index / 2) for index in range(15)],
            "alphas": [0.01 * 10 ** (index / 4) for index in range(15)],
            "steps": [10, 250, 1000, 4000, 18_000],
        },
        "driving": {
            "dts": [0.016 * 2 ** (index / 2) for index in range(11)],
            "alphas": [0.0, *(0.1 * 10 ** (index / 4) for index in range(11))],
            "amplitudes": [0.3, 1.0, 3.0, 10.0],
            "steps": 20_480,
        },
        "depth": {
            "depths": [1, 2, 3, 4, 5, 6, 7], "dts": [0.03, 0.126, 0.5], "alphas": [0.0, 1.0, 13.0],
            "residual": [0, 2, 3], "T": 100.0,
        },
        "draws": 10,
    },
}  # fmt: skip
AMPLITUDE = 5.0
"""Of V u of the square wave for the multipliers, as in ``unicornn-driving``: sigma' between 1 and almost 0."""


def bounds(seed: int, **grid: Any) -> xr.Dataset:
    """Props. C.1 and 3.1 over (dt, alpha, steps) and at Table 6's settings."""
    from dynlab.theory.unicornn_map import bounds_map

    return bounds_map(**grid, seed=seed)


def driving(seed: int, **grid: Any) -> xr.Dataset:
    """The largest exponent of a driven unit over (dt, alpha, amplitude) and at Table 6's settings."""
    from dynlab.theory.unicornn_chaos import driving_map

    return driving_map(**grid, seed=seed)


def depth(seed: int, **grid: Any) -> xr.Dataset:
    """|dE_n / dw^1| against depth, dt, alpha and stacking."""
    from dynlab.theory.unicornn_depth_map import gradient_against_depth

    return gradient_against_depth(**grid, seed=seed)


def multipliers(setting: str) -> xr.Dataset:
    """Floquet exponents at a setting of Table 6, of units with w over (0, 1] and of as many with w = 0, (w, pair).

    Square wave at half the natural period of the middle unit, from the periodic response that grows out of rest. With
    w = 0 the input leaves the Jacobian as it is; NaN at alpha = 0, where such a unit is no oscillator.
    """
    import torch

    from dynlab.theory.unicornn_driving import half_period, modulated, periodic_response, square_wave
    from dynlab.theory.unicornn_settings import table_6

    row = table_6()[setting]
    layer, still = (modulated(row.dt, row.alpha) for _ in range(2))
    with torch.no_grad():
        still.weight_hh.zero_()
        w = layer.weight_hh.numpy().copy()
    P = half_period(row.dt / 2, row.alpha, float(w[len(w) // 2]))
    wave = square_wave(P, P, AMPLITUDE)
    exponents = np.log(np.abs(periodic_response(layer, wave).multipliers)) / P
    control = np.full_like(exponents, np.nan)
    if row.alpha:
        control = np.log(np.abs(periodic_response(still, wave).multipliers)) / P
    values = {"floquet": (("w", "pair"), exponents), "floquet_still": (("w", "pair"), control)}
    return xr.Dataset({**values, "period": ((), P)}, {"w": w})


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """The three maps, and at Table 6's settings the multipliers of driven units."""
    from dynlab.theory.unicornn_settings import table_6

    own = SCALES[scale]
    steps, rows = own["driving"]["steps"], list(table_6())
    within = run(bounds, [{**own["bounds"], "seed": seed}])[0]
    driven, half = run(driving, [{**own["driving"], "steps": N, "seed": seed} for N in (steps, steps // 2)])
    seeds = [seed + index for index in range(own["draws"])]
    deep = xr.concat(run(depth, [{**own["depth"], "seed": one} for one in seeds]), "seed", combine_attrs="override")
    response = xr.concat(run(multipliers, [{"setting": row} for row in rows]), "setting")
    driven = driven.drop_vars(["setting_dt", "setting_alpha", "cubic"])
    for name in ("", "setting_"):
        # Second half only: neither the constant before a power of N nor a transient counts.
        driven[f"{name}growth"] = 2 * driven[f"{name}exponent"] - half[f"{name}exponent"]
        driven[f"{name}growth"].attrs.update(units="nat/step", long_name="growth in the second half of N, a step")
    data = xr.merge([
        within.drop_attrs(deep=False),
        driven.rename({"dt": "driven_dt", "alpha": "driven_alpha"}).drop_attrs(deep=False),
        deep.rename({"dt": "depth_dt", "alpha": "depth_alpha"}).assign_coords(seed=seeds).drop_attrs(deep=False),
        response.assign_coords(setting=rows),
    ], join="exact")  # fmt: skip
    for name, meaning in (("floquet", "w over (0, 1]"), ("floquet_still", "w = 0")):
        data[name].attrs.update(units="nat/step", long_name=f"Floquet exponents under the square wave, {meaning}")
    data["period"].attrs.update(units="step", long_name="period of the square wave")
    for name in ("dt", "driven_dt", "depth_dt", "alpha", "driven_alpha", "depth_alpha", "amplitude", "L", "w"):
        data[name].attrs.update(units="1")
    return data.assign_attrs(
        scale=scale, first_seed=seed, T=own["depth"]["T"], N=steps, cubic=6 * np.log(2) / steps,
        floquet_amplitude=AMPLITUDE,
        reference="UnICORNN, Props. C.1 and 3.1, section 3, Eqs. (74), (80), Table 6; the maps are ours",
    )  # fmt: skip


# ---- the figure ------------------------------------------------------------------------------------------------------

_MARKS = ("o", "s", "D", "^", "v", "P", "X")
BROKEN = "#D55E00"


def draw(dataset: xr.Dataset) -> Figure:
    """(a) states and (b) gradient against their bounds; (c, d) growth in a driven unit; (e, f) gradient and depth."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import style

    with style():
        figure = Figure(figsize=(7, 7.4), layout="constrained")
        rows = figure.subfigures(3, 1, height_ratios=(1, 1.3, 1.3))
        for row, (field, marked), least, title in zip(
            rows,
            _ratios(dataset),
            (1e-4, 1e-16),
            ("(a) largest state over Prop. C.1's bound", "(b) largest gradient over Prop. 3.1's bound"),
            strict=False,
        ):
            panels = row.subplots(1, dataset.sizes["steps"], sharex=True, sharey=True, squeeze=False)[0]
            mesh = _bounds_row(panels, dataset, field, marked, least)
            row.colorbar(mesh, ax=list(panels), label="largest / bound", extend="both")
            row.suptitle(title, x=0.01, ha="left", fontsize=9)
        handles, labels = panels[-1].get_legend_handles_labels()
        rows[1].legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
        left, right = rows[2].subfigures(1, 2, width_ratios=(1, 1.1))
        _growth(left, dataset)
        left.suptitle("growth in a driven unit", fontsize=9)
        _depth_panels(*right.subplots(1, 2, sharey=True), dataset)
        right.suptitle("gradient against depth", fontsize=9)
    return figure


def _ratios(data: xr.Dataset) -> list[tuple[xr.DataArray, xr.DataArray]]:
    """Largest over bound of the states, y or z, and of the gradient: on the grid, and at the settings.

    Of driving and noise whichever has more: before its first half period a wave is nothing.
    """
    both = [np.maximum(data[f"{name}driven_tightness"], data[f"{name}tightness"]) for name in ("", "setting_")]
    states = [one.sel(quantity=["y", "z"]).max("quantity") for one in both]
    gradient = [one.sel(quantity="gradient") for one in both]
    return [(states[0], states[1]), (gradient[0], gradient[1])]


def _place(value: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Where values lie among the cells of a logarithmic grid, which may begin with 0; half a cell beyond at most."""
    known = np.flatnonzero(grid > 0)
    within = np.interp(np.log(np.maximum(value, 1e-300)), np.log(grid[known]), known)
    return np.where(value > 0, within, known[0] - 1)


def _plane(axes: Axes, field: xr.DataArray, alphas: np.ndarray, dts: np.ndarray, **look: Any) -> Any:
    """Cells of equal size over (alpha, dt) with ticks at some; where alpha = 0 has no cells, a tick for it below."""
    mesh = axes.pcolormesh(np.arange(len(dts)), np.arange(len(alphas)), field.values, rasterized=True, **look)
    lines = np.arange(len(alphas))[:: 1 if len(alphas) < 8 else 2]
    rows = {-1: 0.0} if alphas[0] > 0 else {}
    rows |= {int(index): float(alphas[index]) for index in lines}
    axes.set_yticks(list(rows), [f"{alpha:.3g}" for alpha in rows.values()])
    columns = np.unique(np.linspace(0, len(dts) - 1, 3).round().astype(int))
    axes.set_xticks(columns, [f"{dts[index]:.2g}" for index in columns])
    axes.tick_params(labelsize=7)
    axes.grid(False)
    return mesh


def _bounds_row(axes: Any, data: xr.Dataset, field: xr.DataArray, marked: xr.DataArray, least: float) -> Any:
    """A map over (alpha, dt) for each N; a dot where the proof applies; each setting in the map of the nearest N."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    alphas, dts, steps = (data[name].values for name in ("alpha", "dt", "steps"))
    look = {"norm": LogNorm(least, 1), "cmap": colormaps["Blues"].with_extremes(over=BROKEN, under="white")}
    quantity = "gradient" if "gradient" in str(field.coords.get("quantity", "")) else "z"
    at = np.abs(np.log(data["setting_steps"].values[:, None] / steps)).argmin(1)
    mesh = None
    for column, (one, N) in enumerate(zip(axes, steps, strict=True)):
        here = field.sel(steps=N).transpose("alpha", "dt")
        shown = here.where(here <= 1, 10).clip(least / 10)  # beyond float range is beyond the bound
        mesh = _plane(one, shown, alphas, dts, **look)
        proved = data["proved"].sel(quantity=quantity, steps=N).transpose("alpha", "dt").values.astype(bool)
        lines, places = np.nonzero(proved)
        one.plot(places, lines, ".", color="black", markersize=2.5, ls="", label="the proof applies")
        x, y = _place(data["setting_dt"].values, dts), _place(data["setting_alpha"].values, alphas)
        faces = mesh.cmap(look["norm"](marked.clip(least / 10).values))
        for index, (mark, name) in enumerate(zip(_MARKS, data["setting"].values, strict=True)):
            here_too = at[index] == column
            _mark(one, x[[index]] if here_too else [], y[[index]] if here_too else [], mark, faces[index], str(name))
        one.set_ylim(-1.5, len(alphas) - 0.5)
        one.axhline(-0.5, color="0.3", lw=0.6)
        one.set_title(f"N = {N:,}", fontsize=8)
        one.set_xlabel("dt")
    axes[0].set_ylabel(r"$\alpha$")
    return mesh


def _growth(figure: Any, data: xr.Dataset) -> None:
    """Growth against that of N^3 under noise and under a square wave, at the amplitude that does most."""
    from matplotlib.colors import LogNorm

    panels = figure.subplots(1, data.sizes["drive"], sharey=True)
    alphas, dts = data["driven_alpha"].values, data["driven_dt"].values
    fastest = {name: data[name].max("amplitude") / data.attrs["cubic"] for name in ("growth", "setting_growth")}
    look = {"norm": LogNorm(1 / 30, 30), "cmap": "RdBu_r"}
    x, y = _place(data["setting_dt"].values, dts), _place(data["setting_alpha"].values, alphas)
    for axes, drive, letter in zip(panels, data["drive"].values, "cd", strict=True):
        plane = fastest["growth"].sel(drive=drive).clip(1e-3).transpose("driven_alpha", "driven_dt")
        mesh = _plane(axes, plane, alphas, dts, **look)
        faces = mesh.cmap(look["norm"](fastest["setting_growth"].sel(drive=drive).clip(1e-3).values))
        for index, mark in enumerate(_MARKS):
            _mark(axes, x[[index]], y[[index]], mark, faces[index])
        axes.set_title(f"({letter}) {drive}", fontsize=8)
        axes.set_xlabel("dt")
    panels[0].set_ylabel(r"$\alpha$")
    bar = figure.colorbar(mesh, ax=list(panels), location="bottom", extend="both")
    bar.set_label("growth / that of N$^3$", fontsize=8)


def _mark(axes: Axes, x: Any, y: Any, mark: str, face: Any, label: str = "_") -> None:
    """A setting of Table 6."""
    axes.plot(
        x, y, mark, ls="", color=face, markeredgecolor="black", markersize=5.5, markeredgewidth=0.9, label=label,
        clip_on=not len(x),  # what is not clipped counts for the layout, at the corner where there is nothing
    )  # fmt: skip


def _middle(values: np.ndarray, wanted: float) -> float:
    return float(values[np.abs(values - wanted).argmin()])


def _depth_panels(dense: Axes, residual: Axes, data: xr.Dataset) -> None:
    from dynlab.plots.style import cell_look
    from dynlab.theory.unicornn_depth import dense_order, residual_order

    alpha, dt = _middle(data["depth_alpha"].values, 1.0), _middle(data["depth_dt"].values, 0.126)
    L = data["L"].values
    gradient = data["gradient"].sel(depth_alpha=alpha)
    shades = (cell_look("unicornn")["color"], "#E69F00", "0.35")
    for own, shade in zip(data["depth_dt"].values, shades, strict=False):
        _band(dense, gradient.sel(depth_dt=own, residual=0), shade, f"dt = {own:g}")
        _expected(dense, gradient.sel(depth_dt=own, residual=0), own, [dense_order(one) for one in L], shade)
    for S, shade in zip(data["residual"].values, shades, strict=False):
        _band(residual, gradient.sel(depth_dt=dt, residual=S), shade, f"S = {S}" if S else "dense")
        orders = [residual_order(one, S) if S else dense_order(one) for one in L]
        _expected(residual, gradient.sel(depth_dt=dt, residual=S), dt, orders, shade)
    for axes, title in ((dense, "(e) dense"), (residual, f"(f) residual, dt = {dt:g}")):
        axes.plot([], [], color="0.3", lw=0.9, ls=":", label="Eq. (74)" if axes is dense else "Eqs. (74), (80)")
        axes.set(yscale="log", xlabel="layers L", xticks=L)
        axes.set_title(title, loc="left", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6.5, loc="lower left")
        axes.set_ylim(1e-18, 10)
    dense.set_ylabel(r"$|\partial E_n / \partial w^1|$", labelpad=1)


def _band(axes: Axes, values: xr.DataArray, colour: str, label: str) -> None:
    logs = np.log(values)
    mean, spread = logs.mean("seed"), logs.std("seed")
    axes.plot(values["L"], np.exp(mean), color=colour, marker=".", label=label, lw=1.3)
    axes.fill_between(values["L"], np.exp(mean - spread), np.exp(mean + spread), color=colour, alpha=0.25, lw=0)


def _expected(axes: Axes, values: xr.DataArray, dt: float, orders: list[int], colour: str) -> None:
    """dt to the power of the paper, from the measured value at the smallest depth on."""
    first = float(np.exp(np.log(values).mean("seed").isel(L=0)))
    axes.plot(values["L"], first * dt ** (np.array(orders, dtype=float) - orders[0]), color=colour, lw=0.9, ls=":")


# ---- claims ----------------------------------------------------------------------------------------------------------


def _largest(ratio: xr.DataArray) -> float:
    return float(ratio.max())


def proved(data: xr.Dataset) -> Measured:
    """No bound is broken where its proof applies."""
    found, fine = [], True
    for name, shown in (("y", "y"), ("z", "z"), ("gradient", "gradient")):
        where = data["proved"].sel(quantity=name).astype(bool)
        worst = max(_largest(data[kind].sel(quantity=name).where(where)) for kind in ("tightness", "driven_tightness"))
        fine &= worst <= 1
        found.append(f"{shown} {worst:.2g} times the bound at {int(where.sum())} of {where.size} points")
    return Measured("at most " + ", ".join(found), fine)


def settings_applied(data: xr.Dataset) -> Measured:
    """At how many settings of Table 6 the proofs apply: none is claimed."""
    T = data["setting_steps"] * data["setting_dt"]
    alpha = data["setting_alpha"]
    reach = (xr.apply_ufunc(np.maximum, 1 + 2 * alpha, 4 * alpha**2) * T).values
    holds = data["setting_proved"].astype(bool)
    states, gradient = int(holds.sel(quantity="z").sum()), int(holds.sel(quantity="gradient").sum())
    value = (
        f"C.1 at {states} of {holds.sizes['setting']}, 3.1 at {gradient}; beta T from {reach.min():.0f} to "
        f"{reach.max():.1e}"
    )
    why = "The proofs use (1 + beta dt)^N <= 1 + 2 beta N dt, which no dt fulfils once beta T is above about 1.26."
    return Measured(value, not bool(holds.any()), why)


def broken(data: xr.Dataset) -> Measured:
    """Where an input breaks the bounds: C.1 at each dt, 3.1 somewhere."""
    beyond, parts = data["driven_tightness"] > 1, []
    T = data["dt"] * data["steps"]
    for name in ("z", "gradient"):
        own = beyond.sel(quantity=name)
        first = float(T.where(own.any("alpha")).min())
        parts.append(f"{name} at {int(own.sum())} of {own.size} points, from T = {first:.3g} on")
    at = data["setting_driven_tightness"].sel(quantity="z")
    over = [f"{name} {float(one):.1f} times" for name, one in zip(data["setting"].values, at, strict=True) if one > 1]
    parts.append(f"at Table 6 z, {', '.join(over) or 'nowhere'}")
    why = "An input in resonance moves |z| as T, the bound grows as sqrt(T): a smaller dt only takes more steps to it."
    every = bool(beyond.sel(quantity="z").any(("alpha", "steps")).all())
    return Measured("; ".join(parts), every and bool(beyond.sel(quantity="gradient").any()), why)


def loose(data: xr.Dataset) -> Measured:
    """How far below the bounds noise leaves the states and the gradient, at Table 6's settings with alpha > 0."""
    own = data.isel(setting=np.flatnonzero(data["setting_alpha"].values > 0))["setting_tightness"]
    states, gradient = own.sel(quantity=["y", "z"]), own.sel(quantity="gradient")
    value = (
        f"states {float(states.min()):.1e} to {float(states.max()):.1e} of the bound, gradient "
        f"{float(gradient.min()):.1e} to {float(gradient.max()):.1e}"
    )
    return Measured(value, bool(states.max() <= 0.01) and bool(gradient.max() <= 1e-6))


def no_growth(data: xr.Dataset) -> Measured:
    """Growth over the map faster than N^3 in its second half, and multipliers off the unit circle at Table 6."""
    ratio, parts = data["growth"] / data.attrs["cubic"], []
    for drive in data["drive"].values:
        own = ratio.sel(drive=drive).max("amplitude")
        parts.append(
            f"{drive}: faster than N^3 at {int((own > 1).sum())} of {own.size} points, up to {float(own.max()):.0f} x"
        )
    unstable = _unstable(data)
    names = ", ".join(f"{name} {float(value):.1e}" for name, value in zip(
        unstable["setting"].values, unstable.values, strict=True) if value > 0)  # fmt: skip
    parts.append(f"Floquet exponents above 0 at Table 6: {names or 'none'}")
    fine = bool((ratio <= 1).all()) and not names
    still = float((data["floquet_still"].max(("w", "pair")) * data["period"]).max())
    why = (
        f"The input moves sigma', and with it the stiffness. Control, w = 0 under the same wave: log |multiplier| "
        f"at most {still:.0e}."
    )
    return Measured("; ".join(parts), fine, why)


def _unstable(data: xr.Dataset) -> xr.DataArray:
    """Largest Floquet exponent of each setting, 0 where the multipliers are on the unit circle up to 1e-7."""
    found = data["floquet"].max(("w", "pair"))
    return found.where(found * data["period"] > 1e-7, 0.0)


def sums(data: xr.Dataset) -> Measured:
    """Pairs sum to zero where one of them is positive."""
    total = abs(data["floquet"].sum("pair") * data["period"])
    unstable = _unstable(data)
    value = (
        f"largest exponent {float(unstable.max()):.1e} nats a step; |sum of a pair| over a period at most "
        f"{float(total.max()):.0e}"
    )
    return Measured(value, bool(total.max() <= 1e-9) and bool(unstable.max() > 0))


def _logs(data: xr.Dataset) -> xr.DataArray:
    return np.log10(data["gradient"]).mean("seed")


def dense_depth(data: xr.Dataset) -> Measured:
    """The order in dt of the gradient at each depth, from the two smallest dt, against that of Eq. (74)."""
    from dynlab.theory.unicornn_depth import dense_order

    own = _logs(data).sel(residual=0).sortby("depth_dt").isel(depth_dt=slice(0, 2))
    order = own.diff("depth_dt").isel(depth_dt=0) / np.diff(np.log10(own["depth_dt"].values))[0]
    # n = T / dt contributions, each of Eq. (74)'s order.
    expected = xr.DataArray([dense_order(int(L)) - 1.0 for L in data["L"].values], {"L": data["L"]}, ("L",))
    L = int(data["L"].values[-1])
    orders = ", ".join(f"{float(one):.2f}" for one in order.sel(L=L))
    alphas = ", ".join(f"{one:g}" for one in data["depth_alpha"].values)
    value = f"orders in dt of the sum at L = {L}: {orders} for alpha = {alphas}; by Eq. (74) {float(expected[-1]):.0f}"
    why = (
        "Over the many ways from one layer to the next the powers of dt add up to those of the ODE: unicornn-C.4-depth."
    )
    return Measured(value, bool((abs(order - expected) <= 0.5).all()), why)


def vanishing(data: xr.Dataset) -> Measured:
    """Dense stacking: what a layer costs."""
    logs = _logs(data).sel(residual=0)
    lost = -(logs.isel(L=-1) - logs.isel(L=0)) / float(data["L"][-1] - data["L"][0])
    value = f"{float(lost.min()):.2f} to {float(lost.max()):.2f} decades a layer, over dt and alpha"
    steady = bool((logs.diff("L") < 0).all())
    return Measured(value, steady and bool(lost.min() >= 0.3))


def residual_depth(data: xr.Dataset) -> Measured:
    """The paper's example, L = 7 and S = 3: the dense stack whose gradient is nearest, at each dt and alpha."""
    logs = _logs(data)
    ours, dense = logs.sel(L=7, residual=3), logs.sel(residual=0)
    nearest = dense["L"][abs(dense - ours).argmin("L")]
    gain = ours - dense.sel(L=7)
    low, high = int(nearest.min()), int(nearest.max())
    three, four = ours - dense.sel(L=3), ours - dense.sel(L=4)
    value = (
        f"nearest are {low if low == high else f'{low} to {high}'} dense layers; 10^{float(three.min()):.2f} to "
        f"10^{float(three.max()):.2f} times the gradient of 3, 10^{float(four.min()):.2f} to "
        f"10^{float(four.max()):.2f} of 4, 10^{float(gain.min()):.1f} to 10^{float(gain.max()):.1f} of 7"
    )
    why = (
        "Eq. (76) leads from layer l to l - S - 1, so from 7 down to 1 it takes three connections, as with 4 dense "
        "layers; Eqs. (77) to (80) count from l to l - S."
    )
    return Measured(value, bool((nearest == 3).all()) and bool((gain >= 1).all()), why)


ITEM = Item(
    paper="UnICORNN",
    number="Map of appendix C",
    title="Ours: where the bounds hold, how tight they are, where driving makes gradients grow, gradient and depth",
    protocol="None: no figure of the paper shows it. Props. C.1 and 3.1, section 3, Eqs. (74) and (80); Table 6 has "
    "the settings, section 4 the lengths of the sequences, initial values as in appendix A.",
    choices=(
        "The maps are ours. In (a, b) the larger ratio of two inputs. Noise: one layer of 8 units, Table 6's rows with "
        "their own layers. Waves that move each quantity most: for the states one unit with h = dt and a saturating "
        "square wave in step with the oscillation; for the gradient w = 1, h = dt / 2 and a wave of 0 and 5 at half "
        "the natural period.",
        "A dot is a point where `dt sufficiently small` holds as the proofs use it; orange is broken. A setting is "
        "marked in the map of the nearest N, at its own dt and alpha, coloured by its own ratio at its own N. White at "
        "alpha = 0: the gradient has no bound there.",
        "(c, d): one unit with w = V = 1, h = dt / 2, from rest, at the amplitude of 0.3 to 10 that makes it grow "
        "most; growth of the second half of 10,240 steps, over N^3's, 3 ln 2, so that constants do not count.",
        "(e, f): the whole gradient to w of the first layer at T = 12, alpha = 1, 16 units; mean and standard "
        "deviation of its logarithm over n = 4 draws. Dotted: the paper's power of dt, from one layer on.",
    ),
    findings=(
        "`dt sufficiently small` is a condition on T: beta T and gamma T at most 1.26. Table 6 has beta T of 51 and "
        "more. Where the proofs do not apply an input in resonance does break C.1, at any dt: at Table 6 in the two "
        "rows with alpha = 0, by 3.6 and 4.0. In the others alpha is large, beta is 4 alpha^2, and the bound has room. "
        "At dt = 0.51 and alpha = 30 the step itself is unstable, h^2 alpha > 4, from N = 10 on.",
        "Where the bound of the gradient holds by proof it is loose by six decades. It is broken where gradients grow "
        "exponentially, at small alpha and thousands of steps.",
        "Exponential growth, one factor changed at a time: with w = 0 the same wave leaves every multiplier on the "
        "unit circle; with w over (0, 1] some leave it at the two healthcare settings, in pairs whose logarithms sum "
        "to zero. Theirs, 2.4e-4 nats a step, takes more than 10,240 steps to pass N^3, hence blue in (d). At the "
        "other settings this one wave finds no such unit; at the two with alpha = 0 gradients grow from rest, (d).",
        "Depth: the gradient does vanish, by about a decade a layer, but hardly depends on dt; Eqs. (74) and (80) "
        "follow one path of many. A stack of 7 layers with S = 3 is like 4 dense layers, not 3.",
    ),
    claims=(
        Claim(
            "C.1 and 3.1, with `dt sufficiently small` as their proofs use it: no state and no gradient beyond.",
            proved,
            tolerance="none",
        ),
        Claim(
            "Ours: neither applies at any setting that the paper trains with, Table 6.",
            settings_applied,
            tolerance="none; gamma T is taken at the initial w",
        ),
        Claim(
            "Ours: beyond the proofs' conditions an input breaks both, C.1 at every dt of the map.",
            broken,
            tolerance="none",
        ),
        Claim(
            "Ours: under noise, at Table 6's settings with alpha > 0, states stay below 1 % of C.1's bound and "
            "gradients below a millionth of 3.1's.",
            loose,
            tolerance="none: one draw of the network and of the input",
        ),
        Claim(
            "'There is no exponential growth of the gradient with respect to the number of time steps' (section 3).",
            no_growth,
            published="at most as (N dt)^3",
            tolerance="growth of the second half at most that of N^3; log |multiplier| at most 1e-7, rounding where "
            "two of them meet",
            scales=("laptop", "paper"),
        ),
        Claim(
            "Ours: the two exponents of a driven unit sum to zero (volume is preserved) where one is positive.",
            sums,
            tolerance="1e-9 a period, rounding of a product of up to 345 matrices",
        ),
        Claim(
            "Eq. (74): densely stacked, every contribution to the gradient is of order dt^(2 L - 1).",
            dense_depth,
            published="dt^(2 L - 1)",
            tolerance="0.5 in the order at every depth: the two dt are a factor of 4 apart and finite",
            scales=("laptop", "paper"),
        ),
        Claim(
            "'The gradient can become very small if too many layers are stacked together' (appendix C.4).",
            vanishing,
            tolerance="it falls with each layer, by a factor of two on average: our choice",
        ),
        Claim(
            "Appendix C.5: with S = 3 the gradient of 7 layers scales as that of 3 dense ones, far larger than of 7.",
            residual_depth,
            published="dt^5 for both, dt^13 for 7 dense layers",
            tolerance="none but the constant: of the dense stacks 3 layers must be nearest, and 7 a decade below",
            scales=("laptop", "paper"),
        ),
    ),
)
