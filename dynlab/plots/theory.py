"""Propositions: the bound laid over what was measured, iRNN's map over eta and K, and the smallest gamma on a trace."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dynlab.plots.style import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURED, BOUND, BROKEN = "#0072B2", "#000000", "#D55E00"  # of the style's palette
_DECADES = 1.5
"""An axis whose numbers are all above zero is logarithmic from this many on."""
_MARKS = "osD^vPX*<>ph8"


def theory_figure(finding: xr.Dataset) -> Figure | None:
    """The figure that suits a finding, at column width; None where it is a single number."""
    from matplotlib.figure import Figure

    from dynlab.theory.base import axis_of

    attrs = finding.attrs
    axis = axis_of(finding)
    mapped, traced = "setting_gain" in finding, "gamma_along_trace" in finding
    if axis is None and not traced:
        return None
    with style():
        if mapped:
            figure = Figure(figsize=(7.0, 4.3), layout="constrained")
            jacobian_map(finding, figure)
            return figure
        named = axis is not None and not traced and finding[axis].dtype.kind in "OUT"
        tall = 0.9 + 0.24 * finding.sizes[axis] if named else 2.9
        figure = Figure(figsize=(5.0, max(tall, 2.2)), layout="constrained")
        ax = figure.subplots()
        if traced:
            gamma_along_trace(finding, ax)
        else:
            bound_overlay(finding, ax, axis)
        figure.suptitle(
            f"{attrs['proposition']}: {attrs['verdict']}\n{textwrap.fill(attrs['statement'], 76)}", fontsize=8
        )
    return figure


def bound_overlay(finding: xr.Dataset, ax: Axes, along: str | None = None) -> None:
    """Bound and measured values along one dim, their range over the other dims; places where the bound is broken.

    Arguments:
        along: the dim; that of ``axis_of`` unless given.

    Raises:
        ValueError: a finding that does not have this dim.
    """
    from dynlab.theory.base import axis_of

    along = axis_of(finding) if along is None else along
    if along is None or along not in finding["satisfied"].dims:
        raise ValueError(f"bound_overlay: expected a dim among {finding['satisfied'].dims}, got {along!r}")
    like = finding["satisfied"]
    bound, measured = (finding[name].broadcast_like(like).astype(float) for name in ("bound", "measured"))
    others = [dim for dim in like.dims if dim != along]
    broken = ~like.all(others).values
    low, high = measured.min(others).values, measured.max(others).values
    # The measured value that comes nearest to the bound, or is farthest beyond it.
    worst = low if finding.attrs["relation"] == ">=" else high
    edges = (bound.min(others).values, bound.max(others).values)
    kept = {"<=": "upper bound", ">=": "lower bound", "==": "expected"}[finding.attrs["relation"]]
    named = finding[along].dtype.kind in "OUT"
    if named:
        _named(ax, finding[along].values, (low, high, worst), edges, broken, kept)
    else:
        places = finding[along].values.astype(float)
        ax.plot(places, worst, color=MEASURED, marker="." if len(places) < 40 else "", label="measured", zorder=3)
        ax.fill_between(places, low, high, color=MEASURED, alpha=0.2, linewidth=0)
        ax.plot(places, edges[0], color=BOUND, linestyle="--", linewidth=1.2, label=kept, zorder=2)
        ax.plot(places, edges[1], color=BOUND, linestyle="--", linewidth=1.2, zorder=2)
        ax.plot(places[broken], worst[broken], "x", color=BROKEN, markersize=5, label="broken", zorder=4)
        _allowance(ax, finding, places, edges, worst)
        ax.set_xlabel(_axis_label(finding[along]))
        if along not in ("time", "transition"):
            _scale(ax, "x", places)
        if ax.get_xscale() == "linear" and finding[along].dtype.kind == "i":
            ax.locator_params(axis="x", integer=True)
    values, label = (ax.xaxis, ax.set_xlabel) if named else (ax.yaxis, ax.set_ylabel)
    _scale(ax, values.axis_name, low, high, *edges)
    if values.get_scale() == "linear":
        ax.ticklabel_format(axis="x" if named else "y", useOffset=False)
    label(textwrap.fill(_axis_label(finding["measured"]), 38))
    _legend(ax, "right" if named else "center")


def _allowance(
    ax: Axes, finding: xr.Dataset, places: np.ndarray, edges: tuple[np.ndarray, np.ndarray], worst: np.ndarray
) -> None:
    """Where only the tolerance keeps a value within the bound, the line that it may reach."""
    side = {"<=": 1.0, ">=": -1.0}.get(finding.attrs["relation"], 0.0)
    edge = edges[1] if side > 0 else edges[0]
    if side and bool((side * (worst - edge) > 0).any()) and bool(finding["satisfied"].all()):
        reach = edge + side * float(finding.attrs["tolerance"])
        ax.plot(places, reach, color=BOUND, linestyle=":", linewidth=1, label="with its tolerance", zorder=2)


def _named(
    ax: Axes,
    labels: np.ndarray,
    measured: tuple[np.ndarray, np.ndarray, np.ndarray],
    bounds: tuple[np.ndarray, np.ndarray],
    broken: np.ndarray,
    kept: str,
) -> None:
    """A row for each label, the first one at the top."""
    rows = np.arange(len(labels))
    low, high, worst = measured
    ax.hlines(rows, low, high, color=MEASURED, alpha=0.3, linewidth=4)
    ax.plot(worst[~broken], rows[~broken], "o", color=MEASURED, markersize=4, label="measured")
    ax.plot(worst[broken], rows[broken], "x", color=BROKEN, markersize=5, label="measured, broken")
    for index, edge in enumerate(bounds):
        ax.plot(edge, rows, "|", color=BOUND, markersize=9, markeredgewidth=1.4, label=kept if not index else None)
    ax.set_yticks(rows, [textwrap.shorten(str(one), 48, placeholder=" ...") for one in labels], fontsize=7)
    ax.set_ylim(len(labels) - 0.4, -0.6)


def gamma_along_trace(finding: xr.Dataset, ax: Axes) -> None:
    """What AntisymmetricRNN's Prop. 2 asks of gamma at each transition, against the cell's gamma."""
    needed, own = finding["gamma_along_trace"], float(finding["measured"])
    places, values = needed["transition"].values, needed.values
    found = np.isfinite(values)
    ax.plot(places[found], values[found], ".", color=MEASURED, label="smallest gamma, each transition", zorder=3)
    ax.vlines(places[found], 0, values[found], color=MEASURED, alpha=0.3, linewidth=1)
    top = max(float(values[found].max(initial=0)), own) or 1.0
    ax.plot(places[~found], np.full((~found).sum(), 1.1 * top), "^", color=BROKEN, label="no gamma does", zorder=3)
    if found.all() and found.any():
        ax.axhline(values.max(), color=MEASURED, linestyle=":", linewidth=1.2, label="smallest gamma, all of them")
    ax.axhline(own, color=BOUND, linestyle="--", linewidth=1.2, label="the cell's gamma")
    ax.set(xlabel="transition", ylabel="gamma", ylim=(0, 1.2 * top))
    _legend(ax)


def jacobian_map(finding: xr.Dataset, figure: Figure) -> None:
    """iRNN's step Jacobian over eta and K, a panel for each start of g; the paper's settings and trained cells.

    Both the plane and the marks are coloured by the gain, the mean diagonal entry of the Jacobian.
    """
    gain, limit = finding["gain"], {"vmin": -1.0, "vmax": 1.0, "cmap": "RdBu_r"}
    axes = figure.subplots(1, gain.sizes["start"], sharey=True, squeeze=False)[0]
    etas, depths = gain["eta"].values, gain["K"].values
    for ax, start in zip(axes, gain["start"].values, strict=True):
        plane = gain.sel(start=start).transpose("K", "eta").values
        mesh: Any = ax.pcolormesh(etas, depths, plane, shading="gouraud", rasterized=True, **limit)
        form = finding["closed_form"].sel(start=start).transpose("K", "eta").values
        if form.min() < 0 < form.max():
            ax.contour(etas, depths, form, [0], colors=BOUND, linewidths=1.1)
            ax.plot([], [], color=BOUND, linewidth=1.1, label="0 where phi' U = 0: K eta alpha about ln 2")
        ax.set(xscale="log", yscale="log", xlabel=r"$\eta$", xlim=(etas.min(), etas.max()))
        ax.set_ylim(depths.min() / 1.15, depths.max())
        ax.set_yticks(depths, [str(one) for one in depths], fontsize=7)
        ax.minorticks_off()
        ax.grid(False)
        origin = "h_{m-1}" if start == "previous" else "0"
        ax.set_title(rf"from $g_0 = {origin}$")
    axes[0].set_ylabel("K")
    _settings(finding, axes[0], limit)
    figure.colorbar(mesh, ax=list(axes), label="gain: mean diagonal entry of the step Jacobian", shrink=0.9)
    handles, labels = axes[0].get_legend_handles_labels()
    title = "marks: settings; those of one eta and K side by side"
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7, title=title, title_fontsize=7)


def _settings(finding: xr.Dataset, ax: Axes, limit: dict[str, Any]) -> None:
    """One mark a kind of setting; those of the same eta and K side by side."""
    kinds: dict[str, list[int]] = {}
    labels = [str(one) for one in finding["setting"].values]
    for index, label in enumerate(labels):
        kinds.setdefault(label.replace(f", K = {finding['setting_K'].values[index]:.0f}", ""), []).append(index)
    pairs = list(zip(finding["setting_eta"].values.tolist(), finding["setting_K"].values.tolist(), strict=True))
    placed: Counter[tuple[float, float]] = Counter()
    for mark, (kind, rows) in zip(_MARKS * len(kinds), kinds.items(), strict=False):
        eta, depth, gain = (finding[f"setting_{name}"].values[rows].astype(float) for name in ("eta", "K", "gain"))
        for place, pair in enumerate(pairs[row] for row in rows):
            eta[place] *= 1.35 ** (placed[pair] - (pairs.count(pair) - 1) / 2)
            placed[pair] += 1
        ax.scatter(eta, depth, marker=mark, s=70, color="white", linewidths=0, zorder=4)
        ax.scatter(
            eta, depth, c=gain, marker=mark, s=34, edgecolors=BOUND, linewidths=0.8, label=kind, zorder=4, **limit
        )


def _axis_label(array: xr.DataArray) -> str:
    unit = str(array.attrs.get("units", "1"))
    name = str(array.attrs.get("long_name") or str(array.name).replace("_", " "))
    return name if unit in ("", "1", "text", "bool") else f"{name} ({unit})"


def _scale(ax: Axes, which: str, *values: np.ndarray) -> None:
    """Logarithmic where all finite numbers are above zero and far enough apart."""
    numbers = np.concatenate([np.ravel(one) for one in values])
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size and numbers.min() > 0 and np.log10(numbers.max() / numbers.min()) > _DECADES:
        ax.set(**{f"{which}scale": "log"})


def _legend(ax: Axes, side: Literal["center", "right"] = "center") -> None:
    """Above the axes, without what has no points; from their right end where long labels leave them little room."""
    entries: Any = zip(*ax.get_legend_handles_labels(), strict=True)
    pairs = [(handle, label) for handle, label in entries if len(handle.get_xdata())]
    handles, labels = [handle for handle, _ in pairs], [label for _, label in pairs]
    columns = len(labels) if sum(map(len, labels)) < 50 else 2
    ax.legend(
        handles,
        labels,
        loc="lower center" if side == "center" else "lower right",
        bbox_to_anchor=(0.5 if side == "center" else 1.0, 1.0),
        ncols=columns,
        fontsize=7,
    )
