"""Paths of two-dimensional states in their plane, as AntisymmetricRNN Figs. 1, 3, 4 and 5 draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.quiver import Quiver

PATH_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""One a start, of the style's palette; here colours do not tell cells apart."""


def phase_paths(trajectory: xr.DataArray, ax: Axes, jumps: bool = False) -> None:
    """Paths with a star at each initial state, earlier states more translucent.

    Arguments:
        trajectory: (time, batch, unit) with two units.
        jumps: whether the states jump (a map) rather than flow: then they are dots on a faint line.
    """
    from matplotlib.colors import to_rgba

    values = trajectory.transpose("time", "batch", "unit").values
    steps = len(values)
    alphas = np.linspace(0.15, 1.0, steps)
    for index in range(values.shape[1]):
        path, colour = values[:, index], PATH_COLOURS[index % len(PATH_COLOURS)]
        ax.plot(path[:, 0], path[:, 1], color=colour, alpha=0.25, linewidth=0.5 if jumps else 0.8, zorder=2)
        dots = [to_rgba(colour, alpha) for alpha in alphas]
        ax.scatter(path[:, 0], path[:, 1], s=5, color=dots, linewidths=0, zorder=3, label=f"start {index}")
        ax.plot(
            *path[0], marker="*", markersize=7, color=colour, markeredgecolor="black", markeredgewidth=0.4, zorder=5
        )


def vector_field(line: np.ndarray, flow: np.ndarray, ax: Axes) -> Quiver:
    """Arrows of one length that point along the field, darker where it is faster.

    Arguments:
        line: coordinates (points,) along both axes. flow: (row, column, axis).

    Returns:
        The arrows, for ``point_along``.
    """
    nothing = np.zeros(flow.shape[:2])
    arrows = ax.quiver(
        line, line, nothing, nothing, nothing, cmap="Greys", angles="xy", scale=1.5 * len(line), width=0.006,
        headwidth=4, headlength=4.5, headaxislength=4, zorder=1,
    )  # fmt: skip
    point_along(arrows, flow)
    return arrows


def point_along(arrows: Quiver, flow: np.ndarray) -> None:
    """Turn the arrows of ``vector_field`` along another field on the same points."""
    speed = np.linalg.norm(flow, axis=-1)
    unit = flow / np.where(speed > 0, speed, 1)[..., None]
    arrows.set_UVC(unit[..., 0], unit[..., 1], speed)
    arrows.set_clim(-0.7 * speed.max(), 2.2 * speed.max())


def square(ax: Axes, half_width: float, title: str = "") -> None:
    """An axis of equal scales around the origin, its axes through it drawn thin; few ticks."""
    ax.grid(False)
    ax.axhline(0, color="#bbbbbb", linewidth=0.5, zorder=0)
    ax.axvline(0, color="#bbbbbb", linewidth=0.5, zorder=0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)
    ax.set_title(title, fontsize=8, pad=3)
    resize(ax, half_width)


def resize(ax: Axes, half_width: float) -> None:
    """Another size for an axis of ``square``."""
    ax.set(xlim=(-half_width, half_width), ylim=(-half_width, half_width), aspect="equal")
    tick = 10 ** np.floor(np.log10(half_width))
    tick *= 5 if half_width / tick >= 5 else 1
    ax.set_xticks([-tick, 0, tick], [f"{value:g}" for value in (-tick, 0, tick)])
    ax.set_yticks([-tick, 0, tick], [f"{value:g}" for value in (-tick, 0, tick)])


def plane_panels(
    trajectories: xr.DataArray, titles: list[str], half_width: float, jumps: bool, flow: xr.DataArray | None = None
) -> Figure:
    """A sheet of planes, four in a row, one a draw, at double column width.

    Arguments:
        trajectories: (draw, time, batch, unit). titles: one a draw. half_width: of every window.
        flow: (draw, flow_row, flow_column, unit) with coordinate ``flow_column``, drawn behind the paths.
    """
    from matplotlib.figure import Figure

    count = trajectories.sizes["draw"]
    rows = -(-count // 4)
    figure = Figure(figsize=(7.0, 0.3 + 1.78 * rows), layout="constrained")
    axes = figure.subplots(rows, 4, squeeze=False, sharex=True, sharey=True)
    for index, ax in enumerate(axes.flat):
        if index >= count:
            ax.set_visible(False)
            continue
        if flow is not None:
            vector_field(flow["flow_column"].values, flow.isel(draw=index).values, ax)
        phase_paths(trajectories.isel(draw=index), ax, jumps)
        square(ax, half_width, titles[index])
        ax.tick_params(labelsize=6.5, length=2, pad=1.5)
    figure.supxlabel(r"$h_1$", fontsize=8)
    figure.supylabel(r"$h_2$", fontsize=8)
    return figure
