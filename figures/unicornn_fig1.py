"""UnICORNN Fig. 1: the multi-layer architecture (schematic).

The caption says that the layers, and the first one with the input, are densely connected, that the hidden states evolve
independently in time, and that blue arrows stand for the invertibility: "the hidden states can be reconstructed during
the backward pass and do not need to be stored". The connections drawn here are those derivatives of a network that are
not zero. Beside it, the phase plane of one neuron: its orbit, and the same orbit reconstructed from its last state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS, UNITS, INPUTS = 3, 3, 2
DT, ALPHA = 0.126, 13.0
"""Of the paper's noise-padded CIFAR-10 (Table 6)."""
DIVISORS = (1, 2, 4, 8)
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 60, "grid": 21},
    "laptop": {"steps": 1000, "grid": 61},
    "paper": {"steps": 1000, "grid": 61},
}


def connections(steps: int, seed: int) -> xr.Dataset:
    """Which state depends on which, by autograd, in a network of three layers; and its states reconstructed.

    Arguments:
        steps: of the rollout that is run backwards by Eq. (7), under white noise.
    """
    from dynlab.cells import UnICORNN

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [UnICORNN(UNITS if index else INPUTS, UNITS, DT, ALPHA).double() for index in range(LAYERS)]
        inputs = torch.randn(steps, 1, INPUTS, dtype=torch.float64)
        state = torch.randn(2 * UNITS, dtype=torch.float64)
    step, drive, error = [], np.full((LAYERS, UNITS, max(INPUTS, UNITS)), np.nan), []
    feed = back = inputs
    for index, layer in enumerate(layers):
        x = feed[-1, 0]
        of_state = torch.func.jacrev(lambda s, layer=layer, x=x: layer(x[None], s[None])[0])(state)
        of_input = torch.func.jacrev(lambda u, layer=layer: layer(u[None], state[None])[0, :UNITS])(x)
        # y and z of a neuron count as one.
        step.append(of_state.reshape(2, UNITS, 2, UNITS).abs().amax((0, 2)).detach().numpy())
        drive[index, :, : len(x)] = of_input.abs().detach().numpy()
        with torch.no_grad():
            states = layer.scan(feed)
            found = [states[-1]]
            for term in back.flip(0):
                found.append(layer.inverse(term, found[-1]))
            rebuilt = torch.stack(found[::-1])
        error.append(((rebuilt - states).abs().amax((1, 2)) / states.abs().max()).numpy())
        # Upper layers are rebuilt from what was rebuilt below.
        feed, back = states[1:, :, :UNITS], rebuilt[1:, :, :UNITS]
    return xr.Dataset(
        {
            "step": (("layer", "unit", "unit_before"), np.stack(step), {"long_name": "|d (y, z)_n / d (y, z)_(n-1)|"}),
            "drive": (("layer", "unit", "source"), drive, {"long_name": "|d y_n / d input of the layer at n|"}),
            "error": (
                ("layer", "time"),
                np.stack(error),
                {"long_name": "largest error of a reconstructed state, over the largest state"},
            ),
        }
    )


def neuron(steps: int, grid: int, seed: int) -> xr.Dataset:
    """One neuron under a constant input: its orbit there and back, its Hamiltonian, and how that swings with dt."""
    from dynlab.cells import UnICORNN

    random = np.random.default_rng(seed)
    w, bias, start = random.uniform(0, 1), random.normal(), torch.tensor([[0.4, 0.0]], dtype=torch.float64)
    swings = []
    for divisor in DIVISORS:
        cell = UnICORNN(0, 1, DT / divisor, ALPHA).double()
        with torch.no_grad():
            cell.weight_hh.fill_(w)
            cell.bias.fill_(bias)
            cell.c.fill_(50.0)  # sigmoid(c) = 1: the whole dt
            rest = torch.zeros(steps * divisor, 1, 0, dtype=torch.float64)
            states = cell.scan(rest, start)
            energy = cell.energy(torch.zeros(len(states), 1, 0, dtype=torch.float64), states, from_rest=True)[:, 0, 0]
        swings.append(float((energy - energy[0]).abs().max()))
        if divisor == 1:
            orbit, back = states[:, 0].numpy(), [states[-1]]
            with torch.no_grad():
                for _ in range(steps):
                    back.append(cell.inverse(rest[0], back[-1]))
                y = torch.linspace(-0.6, 0.6, grid, dtype=torch.float64)
                z = torch.linspace(-2.0, 2.0, grid, dtype=torch.float64)
                plane = torch.stack(torch.meshgrid(y, z, indexing="xy"), -1).reshape(-1, 2)
                levels = cell.energy(plane[:, :0], plane, from_rest=True)[:, 0].reshape(grid, grid).numpy()
            reached = float(energy.abs().mean())
    rebuilt = torch.stack(back[::-1])[:, 0].numpy()
    return xr.Dataset(
        {
            "orbit": (("time", "part"), orbit, {"long_name": "y and z of one neuron"}),
            "rebuilt": (("time", "part"), rebuilt, {"long_name": "the same, from the last state by Eq. (7)"}),
            "energy": (("z", "y"), levels, {"long_name": "Hamiltonian of the neuron, Eq. (4)"}),
            "orbit_energy": ((), reached, {"long_name": "mean Hamiltonian along the orbit"}),
            "swing": (("dt",), swings, {"long_name": "max |H_n - H_0|"}),
        },
        {"part": ["y", "z"], "y": y.numpy(), "z": z.numpy(), "dt": [DT / divisor for divisor in DIVISORS]},
    )


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """The network's connections, and one neuron."""
    settings = SCALES[scale]
    (network,) = run(connections, [{"steps": settings["steps"], "seed": seed}])
    (one,) = run(neuron, [{**settings, "seed": seed}])
    data = xr.merge([network, one], combine_attrs="override")
    for name in data.variables:
        data[name].attrs.setdefault("units", "1")
    return data.assign_attrs(scale=scale, seed=seed, alpha=ALPHA, reference="UnICORNN, Fig. 1, Eqs. (4), (6), (7)")


# ---- drawing ---------------------------------------------------------------------------------------------------------

FORWARD, BACKWARD = "#333333", "#0072B2"
COLUMNS = (0.0, 2.9, 5.8)
RISE, APART, HEIGHT = 0.26, 0.42, 1.75


def draw(dataset: xr.Dataset) -> Figure:
    """The network over three time steps, and the phase plane of a neuron."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import style

    with style():
        figure = Figure(figsize=(7.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.8, 1))
        _network(left, dataset)
        _plane(right, dataset)
    return figure


def _at(column: float, layer: int, unit: int) -> tuple[float, float]:
    """Centre of a neuron; the input is layer 0."""
    return column + APART * unit, HEIGHT * layer + RISE * unit


def _network(ax: Any, dataset: xr.Dataset) -> None:
    """Neurons of the input and of each layer at three times, and a line for every derivative that is not zero."""
    from matplotlib.patches import Circle, FancyArrowPatch

    ax.set(xlim=(-1.2, 7.6), ylim=(-0.75, 3 * HEIGHT + 1.1), aspect="equal")
    ax.axis("off")
    drive, step = np.nan_to_num(dataset["drive"].values), dataset["step"].values

    def arrow(start: tuple[float, float], end: tuple[float, float], colour: str, above: float) -> None:
        (x0, y0), (x1, y1) = start, end
        ax.add_patch(
            FancyArrowPatch((x0, y0 + above), (x1, y1 + above), arrowstyle="-|>", mutation_scale=5, color=colour,
                            linewidth=0.7, shrinkA=0, shrinkB=0, zorder=3)
        )  # fmt: skip

    for at, column in enumerate(COLUMNS):
        for layer in range(LAYERS + 1):
            places = [_at(column, layer, unit) for unit in range(UNITS if layer else INPUTS)]
            ax.plot(*np.transpose(places), color="#DCEAF5" if layer else "#E6E6E6", linewidth=15, zorder=1,
                    solid_capstyle="round")  # fmt: skip
            for place in places:
                ax.add_patch(Circle(place, 0.1, facecolor="white", edgecolor=FORWARD, linewidth=0.8, zorder=4))
            for unit, source in np.argwhere(drive[layer - 1] > 0) if layer else ():
                (x, y), (x0, y0) = places[unit], _at(column, layer - 1, source)
                ax.plot((x0, x), (y0, y), color="#999999", linewidth=0.6, zorder=2)
            for unit, before in np.argwhere(step[layer - 1] > 0) if layer and at else ():
                (x, y), (x0, y0) = places[unit], _at(COLUMNS[at - 1], layer, before)
                arrow((x0 + 0.13, y0), (x - 0.13, y), FORWARD, 0.05)
                arrow((x - 0.13, y), (x0 + 0.13, y0), BACKWARD, -0.05)
        ax.text(column + APART, -0.55, ("$n-1$", "$n$", "$n+1$")[at], ha="center", va="center", fontsize=8)
    for layer in range(LAYERS + 1):
        name = rf"$\mathbf{{y}}^{layer},\ \mathbf{{z}}^{layer}$" if layer else r"$\mathbf{u}$"
        ax.text(-0.35, HEIGHT * layer, name, ha="right", va="center", fontsize=8)
    ax.plot([], [], color="#999999", linewidth=0.8, label="dense, at one time")
    ax.plot([], [], color=FORWARD, linewidth=0.9, label="onwards, Eq. (6)")
    ax.plot([], [], color=BACKWARD, linewidth=0.9, label="reconstruction, Eq. (7)")
    ax.legend(fontsize=6.5, loc="upper center", ncols=3, columnspacing=1.2, handlelength=1.4, borderpad=0)


def _plane(ax: Any, dataset: xr.Dataset) -> None:
    orbit, rebuilt = dataset["orbit"].values[:60], dataset["rebuilt"].values[:60]
    energy = dataset["energy"]
    level = float(dataset["orbit_energy"])
    ax.contour(
        energy["y"], energy["z"], energy, levels=[0.25 * level, level, 2.25 * level], colors="#bbbbbb", linewidths=0.8
    )
    ax.plot(*orbit.T, "o", color=FORWARD, markersize=2.2, label="onwards, Eq. (6)")
    ax.plot(*rebuilt.T, "o", markersize=5, markerfacecolor="none", markeredgecolor=BACKWARD, markeredgewidth=0.7,
            label="reconstructed, Eq. (7)")  # fmt: skip
    ax.plot([], [], color="#bbbbbb", linewidth=0.8, label="H constant, Eq. (4)")
    ax.set_xlabel("y", labelpad=1)
    ax.set_ylabel("z", labelpad=1)
    ax.set_ylim(-2.0, 3.1)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=6.5, loc="upper center", labelspacing=0.3)
    ax.set_title("one neuron, constant input", fontsize=8)


# ---- claims ----------------------------------------------------------------------------------------------------------


def densely_connected(data: xr.Dataset) -> Measured:
    """Every neuron depends on every output of the layer below, and on every input."""
    drive = data["drive"].values
    there = ~np.isnan(drive)
    return Measured(f"{int((drive[there] > 0).sum())} of {int(there.sum())} derivatives are not zero",
                    bool((drive[there] > 0).all()))  # fmt: skip


def independent(data: xr.Dataset) -> Measured:
    """No neuron depends on the past of another one of its layer."""
    step, own = data["step"].values, np.eye(data.sizes["unit"], dtype=bool)
    others = int((step[:, ~own] != 0).sum())
    alive = bool((step[:, own] > 0).all())
    return Measured(f"{others} of {step[:, ~own].size} derivatives by another neuron's past are not zero",
                    others == 0 and alive)  # fmt: skip


def reconstructed(data: xr.Dataset) -> Measured:
    """All states of all layers from the last ones and the input."""
    worst = float(data["error"].max())
    return Measured(f"{data.sizes['time'] - 1:,} steps back through {data.sizes['layer']} layers: error {worst:.0e}",
                    worst <= 1e-9)  # fmt: skip


def on_a_level(data: xr.Dataset) -> Measured:
    """The orbit that is drawn keeps to a level of the Hamiltonian, but for O(dt)."""
    dt, swing = data["dt"].values, data["swing"].values
    order = float(np.polyfit(np.log(dt), np.log(swing), 1)[0])
    share = swing[0] / float(data["orbit_energy"])
    value = f"max |H_n - H_0| / |H| = {share:.2f} at dt = {dt[0]:g}; order {order:.2f} in dt"
    return Measured(value, order >= 0.9)


ITEM = Item(
    paper="UnICORNN",
    number="Fig. 1",
    title="The multi-layer architecture (schematic)",
    protocol="A schematic; three layers of three neurons here.",
    claims=(
        Claim("The layers (respectively the input) are densely connected.", densely_connected, tolerance="none"),
        Claim("The hidden states evolve independently in time.", independent, tolerance="none: exactly zero"),
        Claim("The hidden states can be reconstructed and do not need to be stored (Eq. 7).", reconstructed,
              tolerance="1e-9, float64 rounding over up to 1,000 steps, relative to the largest state"),
        Claim("The orbit drawn is one of a discretised Hamiltonian system: H swings by O(dt) (section 2.1).",
              on_a_level, tolerance="order 0.9 at least, over dt, dt/2, dt/4, dt/8 of the same time"),
    ),
    choices=("The phase plane is ours: dt and alpha of noise-padded CIFAR-10 (Table 6), a constant input.",),
)  # fmt: skip
