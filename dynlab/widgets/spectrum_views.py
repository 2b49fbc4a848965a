"""The pictures of ``Spectrum``: what ``dynlab.widgets.between`` measured, drawn into axes whose artists stay.

No widget is imported here. Each view has ``moving``, its artists that change, and ``show``, which changes them and
says whether something else, such as limits, changed too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from dynlab import _check
from dynlab.plots.style import style
from dynlab.widgets import decades

if TYPE_CHECKING:
    import xarray as xr

Radius = Literal["auto", "linear", "log"]
RADII: tuple[Radius, ...] = get_args(Radius)
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # of the style's palette
NARROW = (0.03, 10.0)
"""Moduli for which "auto" takes a linear radius."""
SCALES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 1_000_000)
"""Decades from the unit circle to the centre of a logarithmic radius."""
LN10 = math.log(10)


class Interval:
    """The norm of d state_T / d state_t against t, and start and stop, which can be dragged."""

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        self.ax = ax
        decades.dress(ax, r"$\log_{10}\ \|\partial s_T / \partial s_t\|$")
        (self.line,) = ax.plot([], [], color=GREY)
        across = ax.get_xaxis_transform()
        self.span = Rectangle((0, 0), 1, 1, transform=across, color=BLUE, alpha=0.15, linewidth=0, zorder=1)
        ax.add_patch(self.span)
        self.ends = [
            ax.plot([0, 0], [0, 1], color=BLUE, transform=across, marker="o", markersize=6, markevery=[1],
                    clip_on=False, zorder=5)[0]
            for _ in range(2)
        ]  # fmt: skip
        self.moving: list[Artist] = [self.span, *self.ends, ax.title]
        ax.set_xlabel("time t (steps)")
        self.sequence(data)
        self.place(int(data.attrs["start"]), int(data.attrs["stop"]))

    def sequence(self, data: xr.Dataset) -> None:
        """Show another sample."""
        time = data["rollout_time"].values
        values = data["log_final_gradient_norm"].isel(batch=0).values / LN10
        self.line.set_data(time, values)
        self.ax.set_xlim(0, time[-1])
        decades.fit(self.ax, values)

    def place(self, start: int, stop: int) -> None:
        """Move both ends."""
        self.span.set_x(start)
        self.span.set_width(stop - start)
        for end, time in zip(self.ends, (start, stop), strict=True):
            end.set_xdata([time, time])
        self.ax.title.set_text(f"start {start}, stop {stop}: drag either end")


class Norms:
    """log10 norms of the products from start to u, and from u to stop: their far ends are the whole product's norm."""

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        self.ax = ax
        decades.dress(ax, r"$\log_{10}$ norm")
        (self.forward,) = ax.plot([], [], color=BLUE, label="from start to u")
        (self.backward,) = ax.plot([], [], color=GREEN, linestyle="--", label="from u to stop")
        self.moving: list[Artist] = [self.forward, self.backward, ax.title]
        ax.set_xlabel("time u from start to stop (steps)")
        self.legend = ax.legend(loc="lower center", ncols=2)
        ax.set_xlim(0, len(data["rollout_time"]) - 1)
        self.show(data)

    def show(self, data: xr.Dataset) -> bool:
        time = data["time"].values
        forward, backward = (data[name].isel(batch=0).values / LN10 for name in ("log_growth", "log_gradient_norm"))
        self.forward.set_data(time, forward)
        self.backward.set_data(time, backward)
        self.ax.title.set_text(f"norm of {product_of(data)}: $10^{{{forward[-1]:.3g}}}$")
        changed = decades.fit(self.ax, np.concatenate([forward, backward]))
        low, high = self.ax.get_ylim()
        self.legend.set_loc("upper center" if -low > high else "lower center")
        return changed


class Plane:
    """Eigenvalues of the product in the complex plane, radius linear or logarithmic, with the unit circle."""

    def __init__(self, ax: Axes, radius: Radius = "auto") -> None:
        self.ax, self.radius = ax, _check.choice("radius", radius, RADII, "Plane")
        self._drawn: tuple[Any, ...] = ()
        ax.set_aspect("equal", adjustable="box", anchor="W")
        (self.points,) = ax.plot([], [], "o", color=BLUE, markersize=4, markeredgewidth=0, alpha=0.75, zorder=4)
        self.note = ax.text(1.04, 0.0, "", transform=ax.transAxes, fontsize=8, color=GREY, va="bottom")
        self.rings = [ax.add_patch(Circle((0, 0), 1, fill=False, zorder=2)) for _ in range(5)]
        self.labels = [ax.text(0, 0, "", fontsize=7, color=GREY, ha="center", va="center", zorder=3) for _ in range(5)]
        for label in self.labels:
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8})
        self.moving: list[Artist] = [self.points, self.note, ax.title]

    def show(self, data: xr.Dataset) -> bool:
        values = data["end_to_end_eigenvalue"].isel(batch=0).values
        log10 = data["log_end_to_end_modulus"].isel(batch=0).values / LN10
        resolved = data["end_to_end_resolved"].isel(batch=0).values
        return self.plot(values, log10, resolved, f"eigenvalues of {product_of(data)}")

    def plot(
        self,
        values: np.ndarray,
        log10: np.ndarray,
        resolved: np.ndarray,
        title: str,
        extent: tuple[float, float] | None = None,
    ) -> bool:
        """Show these eigenvalues.

        Arguments:
            values, log10, resolved: (mode,): values out of float range are NaN, their log10 modulus is not.
            extent: smallest and largest log10 modulus for which there is to be room, those of the values by default.
        """
        seen = np.isfinite(values)
        if extent is None:
            extent = (float(log10[seen].min()), float(log10[seen].max())) if seen.any() else (0.0, 0.0)
        scale = self._scale(*extent)

        def radius(modulus: np.ndarray) -> np.ndarray:
            return 10**modulus if scale == 0 else np.clip(1 + modulus / scale, 0, 2)

        size, angle = radius(log10[seen]), np.angle(values[seen])
        self.points.set_data(size * np.cos(angle), size * np.sin(angle))
        self.ax.title.set_text(title)
        self.note.set_text(_note(resolved, seen))
        return self._frame(scale, float(radius(np.array(extent[1]))))

    def _scale(self, low: float, high: float) -> int:
        """Decades to the centre; 0 for a linear radius."""
        narrow = math.log10(NARROW[0]) <= low and high <= math.log10(NARROW[1])
        if self.radius == "linear" or (self.radius == "auto" and narrow):
            return 0
        return next((scale for scale in SCALES if scale >= max(-low, high)), SCALES[-1])

    def _frame(self, scale: int, reach: float) -> bool:
        """Rings, labels, limits; whether they are others than before."""
        limit = next(one for one in (1.1, 2.1, 3, 5, 10.5, np.inf) if reach <= one or one == np.inf)
        limit = float(10 ** math.ceil(math.log10(reach))) if np.isinf(limit) else limit
        if (scale, limit) == self._drawn:
            return False
        self._drawn = (scale, limit)
        ax = self.ax
        ax.spines[["left", "bottom"]].set_visible(not scale)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
        # A radius and what stands at it; the first is the unit circle.
        rings = [(1.0, "$1$")]
        if scale:
            exponents = (-scale / 2, scale / 2, scale) if limit > 1.1 else (-scale / 2,)
            rings += [(1 + exponent / scale, f"$10^{{{exponent:g}}}$") for exponent in exponents]
            ax.set(xticks=[], yticks=[], ylabel="", xlabel=rf"radius: $\log_{{10}}|\lambda|$, centre $10^{{{-scale}}}$")
        else:
            ticks = [-1, 0, 1] if limit < 3 else [-limit / 2, 0, limit / 2]
            ax.set(xlabel=r"Re $\lambda$", ylabel=r"Im $\lambda$", xticks=ticks, yticks=ticks)
        for index, (ring, label) in enumerate(zip(self.rings, self.labels, strict=True)):
            shown = index < len(rings)
            ring.set_visible(shown)
            label.set_visible(shown and bool(scale))
            if shown:
                size, text = rings[index]
                ring.set(radius=size, edgecolor="#000000" if index == 0 else "#bbbbbb", linewidth=1 - 0.3 * (index > 0))
                label.set(position=(0, -size), text=text)
        return True


class Ranks:
    """log10 singular values and moduli of eigenvalues of the product, by rank."""

    def __init__(self, ax: Axes, data: xr.Dataset) -> None:
        self.ax = ax
        decades.dress(ax, r"$\log_{10}$")
        (self.singular,) = ax.plot([], [], color=VERMILLION, marker=".", markersize=3, label=r"singular value $\sigma$")
        (self.modulus,) = ax.plot([], [], color=BLUE, linestyle="--", label=r"$|\lambda|$, resolved")
        self.moving: list[Artist] = [self.singular, self.modulus, ax.title]
        ax.set_xlim(0.5, data.sizes["mode"] + 0.5)
        ax.set_xlabel("rank")
        ax.legend(loc="upper right")
        self.show(data)

    def show(self, data: xr.Dataset) -> bool:
        rank = np.arange(1, data.sizes["mode"] + 1)
        modulus = _finite(data["log_end_to_end_modulus"].isel(batch=0).values / LN10)
        self.modulus.set_data(rank, modulus)
        singular = np.full(len(rank), np.nan)
        if "log_singular_value" in data:
            singular = _finite(data["log_singular_value"].isel(batch=0).values / LN10)
        self.singular.set_data(rank, singular)
        missing = "" if "log_singular_value" in data else ": not measured yet"
        self.ax.title.set_text(f"singular values of {product_of(data)}{missing}")
        return decades.fit(self.ax, np.concatenate([modulus, singular]))


def spectrum_figure(data: xr.Dataset, radius: Radius = "auto") -> Figure:
    """All views of what ``between`` measured, on one sheet."""
    with style():
        figure = Figure(figsize=(8.4, 5.8), layout="constrained")
        axes = figure.subplots(2, 2)
        Interval(axes[0, 0], data)
        Norms(axes[0, 1], data)
        Plane(axes[1, 0], radius).show(data)
        Ranks(axes[1, 1], data)
        figure.suptitle(f"{data.attrs.get('spec', data.attrs['cell'])}, sample {data.attrs['sample']}", fontsize=9)
    return figure


def numbers(data: xr.Dataset) -> list[tuple[str, str]]:
    """What the table under the controls says: (name, number)."""
    modulus = data["log_end_to_end_modulus"].isel(batch=0).values / LN10
    resolved = int(data["end_to_end_resolved"].sum())
    rows = [
        ("norm", power_of_ten(float(data["log_growth"].isel(time=-1, batch=0)) / LN10)),
        ("largest |λ|", power_of_ten(float(modulus[0]))),
        ("λ resolved", f"{resolved} of {len(modulus)}"),
    ]
    if "log_singular_value" in data:
        singular = data["log_singular_value"].isel(batch=0).values / LN10
        rows += [
            ("largest σ", power_of_ten(float(singular[0]))),
            ("smallest σ", power_of_ten(float(singular[-1]))),
            ("ln largest σ / steps", f"{singular[0] * LN10 / (data.attrs['stop'] - data.attrs['start']):+.3g}"),
        ]
    return rows


def power_of_ten(log10: float) -> str:
    """A number from its log10, also far out of the range of floats."""
    if math.isinf(log10):
        return "0" if log10 < 0 else "inf"
    if abs(log10) < 4:
        return f"{10**log10:.3g}"
    power = math.floor(log10)
    return f"{10 ** (log10 - power):.2f}e{power:+d}"


def product_of(data: xr.Dataset) -> str:
    """The product's name in titles."""
    return rf"$\partial s_{{{data.attrs['stop']}}} / \partial s_{{{data.attrs['start']}}}$"


def _note(resolved: np.ndarray, seen: np.ndarray) -> str:
    """What the plane leaves out."""
    lines = []
    if hidden := int((~resolved).sum()):
        lines.append(f"{hidden} of {len(resolved)}\nbelow rounding,\nnot shown")
    if beyond := int((resolved & ~seen).sum()):
        lines.append(f"{beyond} beyond\n$10^{{\\pm304}}$, see\nthe ranks")
    return "\n".join(lines)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)
