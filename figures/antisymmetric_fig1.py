"""AntisymmetricRNN Fig. 1: two-dimensional dynamics of vanilla RNNs and of RNNs with feedback, no input, no bias.

Top row, h_t = tanh(W h_{t-1}): (a) i.i.d. standard Gaussian W, two fixed points on the boundary; (b) identity,
(c), (d) random orthogonal, all states go to the origin. Bottom row, h_t = h_{t-1} + eps tanh(W h_{t-1}), eps = 0.1,
with the vector field of its ODE: (e) eigenvalues 2, away from the origin; (f) -2, to it; (g) +-2i, slow outward
spirals; (h) -0.15 +- 2i, about constant distance. 50 steps from three initial states (stars).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from dynlab.figures import planar
from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one
from dynlab.plots.phase_plane import phase_paths, square, vector_field
from dynlab.plots.style import style

EPSILON = 0.1
VANILLA, FEEDBACK = "abcd", "efgh"
MATRICES = {
    "e": [[2.0, -2.0], [0.0, 2.0]],
    "f": [[-2.0, 2.0], [0.0, -2.0]],
    "g": [[0.0, -2.0], [2.0, 0.0]],
    "h": [[-0.15, -2.0], [2.0, -0.15]],
}
TITLES = {
    "a": "Gaussian",
    "b": "identity",
    "c": "orthogonal, rotation",
    "d": "orthogonal, reflection",
    "e": r"$\lambda = 2,\ 2$",
    "f": r"$\lambda = -2,\ -2$",
    "g": r"$\lambda = \pm 2i$",
    "h": r"$\lambda = -0.15 \pm 2i$",
}
WINDOW = {**dict.fromkeys(VANILLA, 1.1), "e": 9.0, "f": 1.0, "g": 1.3, "h": 1.1}
CONTROLS = ((0.1, 0.15), (0.1, 0.0), (0.1, 0.2), (0.1, 0.25), (0.01, 0.15))
"""(eps, gamma) of panel (h), then one of the two changed at a time."""

SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"late": 2000, "ring": 4000, "grid": 9},
    "laptop": {"late": 5000, "ring": 40_000, "grid": 15},
    "paper": {"late": 5000, "ring": 40_000, "grid": 15},
}
STEPS = 50


def orthogonal_matrix(draw: int) -> np.ndarray:
    """Uniform on the orthogonal group: Q of a Gaussian matrix's QR, with R's diagonal positive."""
    q, r = np.linalg.qr(planar.gaussian_matrix(draw))
    return q * np.sign(np.diag(r))


def choose(seed: int, settle: int) -> dict[str, tuple[int, np.ndarray]]:
    """The draws of panels (a), (c) and (d), the first from ``seed`` on that are as the paper describes theirs."""
    chosen: dict[str, tuple[int, np.ndarray]] = {}
    for draw in range(seed, seed + 200):
        if "a" not in chosen:
            w = planar.gaussian_matrix(draw)
            found = planar.ends(planar.vanilla(w), settle, starts=6)
            if planar.kind(found) == "2 fixed points" and (abs(found["end"]).max("unit") > 0.9).all():
                chosen["a"] = (draw, w)
        orthogonal = orthogonal_matrix(draw)
        chosen.setdefault("c" if np.linalg.det(orthogonal) > 0 else "d", (draw, orthogonal))
        if len(chosen) == 3:
            return chosen
    raise ValueError(f"antisymmetric_fig1: expected draws as the paper describes them, found none from seed {seed} on")


def panels(seed: int, late: int, grid: int) -> xr.Dataset:
    """All eight panels, the late distances, and the fixed points of (a)."""
    chosen = choose(seed, 400)
    matrices = {name: w for name, (_, w) in chosen.items()} | {"b": np.eye(2)} | MATRICES
    names = sorted(matrices)
    shown, late_radius, fields = [], [], []
    for name in names:
        cell = planar.vanilla(matrices[name]) if name in VANILLA else planar.feedback(matrices[name], EPSILON)
        shown.append(planar.paths(cell, STEPS)[["trajectory"]])
        late_radius.append(np.linalg.norm(planar.late_states(cell, planar.start_states(), late, 500), axis=-1))
        if name in FEEDBACK:
            fields.append(planar.field(cell, WINDOW[name], grid, EPSILON))
    fixed, radii = fixed_points(planar.vanilla(matrices["a"]), late)
    data = xr.concat(shown, "panel").assign_coords(panel=names)
    data = data.assign(
        weight=(("panel", "row", "unit"), np.stack([np.asarray(matrices[name], float) for name in names])),
        late_radius_min=(("panel", "batch"), np.stack([one.min(0) for one in late_radius])),
        late_radius_max=(("panel", "batch"), np.stack([one.max(0) for one in late_radius])),
        field_line=(("field_panel", "point"), np.stack([line for line, _ in fields])),
        flow=(("field_panel", "point", "column", "unit"), np.stack([flow for _, flow in fields])),
        fixed_point=(("fixed", "unit"), fixed),
        fixed_point_spectral_radius=(("fixed",), radii),
    ).assign_coords(field_panel=list(FEEDBACK))
    data["late_radius_min"].attrs |= {"units": "1", "long_name": f"smallest distance in 500 steps from step {late}"}
    data["late_radius_max"].attrs |= {"units": "1", "long_name": f"largest distance in 500 steps from step {late}"}
    data["weight"].attrs |= {"units": "1", "long_name": "W"}
    data["flow"].attrs |= {"units": "1/time", "long_name": "vector field of the ODE, tanh(W h)"}
    data["field_line"].attrs |= {"units": "1", "long_name": "coordinates of the field, both axes"}
    data["fixed_point"].attrs |= {"units": "1", "long_name": "where a grid of states ends under (a)"}
    data["fixed_point_spectral_radius"].attrs |= {"units": "1", "long_name": "spectral radius of the step Jacobian"}
    data.attrs = {f"draw_{name}": draw for name, (draw, _) in chosen.items()}
    return data


def fixed_points(cell: Any, settle: int) -> tuple[np.ndarray, np.ndarray]:
    """The different states where a grid of initial ones ends, (n, 2), and the spectral radius of the map there."""
    found = planar.ends(cell, settle)
    points = np.unique(np.round(found["end"].values, 4), axis=0)
    states = torch.tensor(points)
    jacobian = cell.step_jacobian(states.new_zeros(len(points), 0), states).to_dense().numpy()
    return points, np.abs(np.linalg.eigvals(jacobian)).max(-1)


def ring(epsilon: float, gamma: float, settle: int) -> xr.Dataset:
    """Panel (h) with another step or diffusion: late distances, and the growth at the origin, |1 + eps lambda|."""
    cell = planar.feedback([[-gamma, -2.0], [2.0, -gamma]], epsilon)
    radius = np.linalg.norm(planar.late_states(cell, planar.start_states(), settle, 2000), axis=-1)
    return xr.Dataset(
        {
            "control_radius_min": ((), radius.min(), {"units": "1", "long_name": f"after {settle} steps"}),
            "control_radius_max": ((), radius.max(), {"units": "1", "long_name": f"after {settle} steps"}),
            "control_growth": ((), abs(1 + epsilon * (-gamma + 2j)), {"units": "1", "long_name": "|1 + eps lambda|"}),
            "control_epsilon": ((), epsilon, {"units": "time", "long_name": "eps"}),
            "control_gamma": ((), gamma, {"units": "1/time", "long_name": "gamma"}),
        }
    )


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """Trajectories of all panels, late distances, and the control of panel (h)."""
    settings = SCALES[scale]
    (main,) = run(panels, [{"seed": seed, "late": settings["late"], "grid": settings["grid"]}])
    rings = run(ring, [{"epsilon": e, "gamma": g, "settle": settings["ring"]} for e, g in CONTROLS])
    data = xr.merge([main, xr.concat(rings, "control")], combine_attrs="override")
    data.attrs |= {"scale": scale, "seed": seed, "epsilon": EPSILON, "late": settings["late"],
                   "reference": "AntisymmetricRNN, Fig. 1"}  # fmt: skip
    return data


def draw(dataset: xr.Dataset) -> Figure:
    """Two rows of four planes."""
    with style():
        figure = Figure(figsize=(7.0, 3.75), layout="constrained")
        for ax, name in zip(figure.subplots(2, 4).flat, VANILLA + FEEDBACK, strict=True):
            if name in FEEDBACK:
                chosen = dataset.sel(field_panel=name)
                vector_field(chosen["field_line"].values, chosen["flow"].values, ax)
            phase_paths(dataset["trajectory"].sel(panel=name), ax, jumps=name in VANILLA)
            square(ax, WINDOW[name], f"({name}) {TITLES[name]}")
            ax.tick_params(labelsize=6.5, length=2, pad=1.5)
        figure.supxlabel(r"$h_1$", fontsize=8)
        figure.supylabel(r"$h_2$", fontsize=8)
    return figure


def _radius(data: xr.Dataset, panel: str) -> xr.DataArray:
    path = data["trajectory"].sel(panel=panel)
    return (path**2).sum("unit") ** 0.5


def two_fixed_points(data: xr.Dataset) -> Measured:
    """(a): where a grid of states ends."""
    points = data["fixed_point"].values
    largest = np.abs(points).max(-1)
    shown = " and ".join(f"({x:.3f}, {y:.3f})" for x, y in points)
    stable = bool((data["fixed_point_spectral_radius"] < 1).all())
    holds = len(points) == 2 and bool((largest > 0.9).all()) and stable
    why = f"The draw (number {data.attrs['draw_a']}) was chosen to be of this kind; Fig. 3 counts how many are."
    return Measured(f"{len(points)} attracting: {shown}", holds, why)


def goes_to_origin(panel: str) -> Any:
    """(b)-(d): the distance never grows and dies out."""

    def check(data: xr.Dataset) -> Measured:
        radius, late = _radius(data, panel), float(data["late_radius_max"].sel(panel=panel).max())
        falls = bool((radius.diff("time") < 0).all())
        value = (
            f"distance falls at every step, {float(radius[0].max()):.2f} to {float(radius[-1].max()):.2f} in {STEPS} "
            f"steps, {late:.3f} after {data.attrs['late']:,}"
        )
        # tanh(h) = h - h^3 / 3: under an orthogonal W at most sqrt(3 / t) is left, twice that allowed.
        return Measured(value if falls else "distance does not fall at every step",
                        falls and late < 2 * (3 / data.attrs["late"]) ** 0.5)  # fmt: skip

    return check


def away(data: xr.Dataset) -> Measured:
    """(e)."""
    radius = _radius(data, "e")
    grows = bool((radius.diff("time") > 0).all())
    factor = radius[-1] / radius[0]
    return Measured(f"distance {'grows at every step' if grows else 'does not grow at every step'}, "
                    f"{float(factor.min()):.1f} to {float(factor.max()):.1f} times in {STEPS} steps",
                    grows and float(factor.min()) > 2)  # fmt: skip


def to_origin(data: xr.Dataset) -> Measured:
    """(f)."""
    radius = _radius(data, "f")
    last = float(radius[-1].max())
    return Measured(f"{float(radius[0].max()):.2f} to {last:.1e} in {STEPS} steps", last < 1e-3)


def _at_quarter_turns(data: xr.Dataset, panel: str) -> list[np.ndarray]:
    """Distances of each path at its first angle, and a quarter turn, half a turn, ... further."""
    path = data["trajectory"].sel(panel=panel).transpose("batch", "time", "unit").values
    angle = np.unwrap(np.arctan2(path[..., 1], path[..., 0]), axis=-1)
    turned, radius = angle - angle[:, :1], np.linalg.norm(path, axis=-1)
    return [np.interp(np.arange(0, one[-1], np.pi / 2), one, r) for one, r in zip(turned, radius, strict=True)]


def outward_spirals(data: xr.Dataset) -> Measured:
    """(g): the energy of the undamped ODE, log cosh 2h_1 + log cosh 2h_2, and distances at quarter turns."""
    path = data["trajectory"].sel(panel="g")
    turning = path.isel(unit=0) * path.shift(time=-1).isel(unit=1) - path.isel(unit=1) * path.shift(time=-1).isel(
        unit=0
    )
    one_way = bool((turning.isel(time=slice(0, -1)) > 0).all())
    energy = np.log(np.cosh(2 * path)).sum("unit")
    rises = bool((energy.diff("time") > 0).all())
    quarters = _at_quarter_turns(data, "g")
    outward = all(len(one) > 2 and bool((np.diff(one) > 0).all()) for one in quarters)
    growth = [float((one[-1] / one[0]) ** (1 / (len(one) - 1))) for one in quarters if len(one) > 1]
    slow = bool(growth) and max(growth) < 1.5
    radius = _radius(data, "g")
    value = (
        f"all turn one way; distance {min(growth):.2f} to {max(growth):.2f} times a quarter turn, "
        f"{float((radius[-1] / radius[0]).min()):.2f} to {float((radius[-1] / radius[0]).max()):.2f} times in {STEPS} "
        "steps"
    ) if growth else "the states do not turn"  # fmt: skip
    why = (
        "Seen at equal angles. Within a quarter turn the distance also shrinks: the closed orbits of the ODE are level "
        "curves of log cosh 2h_1 + log cosh 2h_2, rounded squares, and that energy rises at every step."
    )
    return Measured(value, one_way and rises and outward and slow, why)


def constant_distance(data: xr.Dataset) -> Measured:
    """(h): within the 50 steps drawn."""
    radius = _radius(data, "h")
    ratio = radius.max("time") / radius.min("time")
    late = data.sel(panel="h")
    value = (
        f"largest over smallest distance in {STEPS} steps: {float(ratio.min()):.2f} to {float(ratio.max()):.2f}; all "
        f"starts end on a ring, distance {float(late['late_radius_min'].min()):.3f} to "
        f"{float(late['late_radius_max'].max()):.3f}"
    )
    return Measured(value, float(ratio.max()) < 1.25)


def ring_needs_euler(data: xr.Dataset) -> Measured:
    """(h) under Prop. 2, and with one of eps, gamma changed at a time."""
    growth, radius = data["control_growth"].values, data["control_radius_max"].values
    shown = "; ".join(
        f"eps {e:g}, gamma {g:g}: {grown:.4f}, {f'{low:.3f} to {high:.3f}' if high > 1e-3 else 'origin'}"
        for e, g, grown, low, high in zip(
            data["control_epsilon"].values, data["control_gamma"].values, growth,
            data["control_radius_min"].values, radius, strict=True,
        )
    )  # fmt: skip
    why = (
        "At the origin |1 + eps lambda| is above 1 for panel (h): Euler's method pushes outward there by 0.5 % a step, "
        "and only the saturation of tanh stops it, on a ring. Of eps and gamma one changed at a time, the ring shrinks "
        f"as |1 + eps lambda| falls, and is gone below 1 (growth, late distance: {shown})."
    )
    return Measured(f"max |1 + eps lambda| = {growth[0]:.4f}", bool(growth[0] <= 1), why)


ITEM = Item(
    paper="AntisymmetricRNN",
    number="Fig. 1",
    title="Two-dimensional dynamics of vanilla RNNs and RNNs with feedback",
    protocol="no input, no bias, 50 steps, initial states (0, 0.5), (-0.5, -0.5), (0.5, -0.75), eps = 0.1",
    claims=(
        Claim("(a) Gaussian W: two fixed points on the boundary", two_fixed_points,
              tolerance="ends of a 12 x 12 grid of states; on the boundary: a component beyond +-0.9; attracting"),
        Claim("(b) identity W: all states go to the origin", goes_to_origin("b"),
              tolerance="falls at every step, and is below twice sqrt(3 / t) late, the law of tanh's cubic term"),
        Claim("(c) orthogonal W: all states go to the origin", goes_to_origin("c"), tolerance="as (b)"),
        Claim("(d) orthogonal W: all states go to the origin", goes_to_origin("d"), tolerance="as (b)"),
        Claim("(e) eigenvalues 2: states move away from the origin", away,
              tolerance="distance grows at every step, at least twofold in all"),
        Claim("(f) eigenvalues -2: states go to the origin", to_origin,
              tolerance="below 1e-3 after 50 steps; the eigenvalue -2 alone leaves 0.8^50 = 1.4e-5"),
        Claim("(g) eigenvalues +-2i: slow outward spirals", outward_spirals,
              tolerance="one sense of rotation, distance grows from quarter turn to quarter turn, less than 1.5 times"),
        Claim("(h) eigenvalues -0.15 +- 2i: about constant distance from the origin", constant_distance,
              tolerance="largest over smallest below 1.25: closed orbits of the ODE without diffusion have 1.04 to "
              "1.10, the spirals of (g) 1.37 to 1.62"),
        Claim("(h) meets Proposition 2's condition for Euler's method, max |1 + eps lambda| <= 1, which diffusion is "
              "introduced for (whether the paper says so of this panel is not at hand)", ring_needs_euler,
              published="<= 1", tolerance="none: arithmetic"),
    ),
    choices=(
        "W of (a): the first draw of NumPy's RandomState(seed), seed 0, 1, ..., whose map has two attracting fixed "
        "points with a component above 0.9; it is seed 0. The paper's generator is unknown.",
        "W of (c), (d): Q of the QR decomposition of the same draws; the paper has one rotation and one reflection, so "
        "we take the first of each (seeds 0 and 1).",
        "Windows and arrow grids of the planes.",
    ),
    findings=(
        "Panel (h) does not meet the paper's own Proposition 2 at the origin (1.005), which is why the distance is "
        "about constant in 50 steps: states inside the ring creep outward, states outside creep inward.",
    ),
)  # fmt: skip
