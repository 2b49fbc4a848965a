"""AntisymmetricRNN Fig. 3: vanilla RNNs h_t = tanh(W h_{t-1}) with standard Gaussian W, seeds 1 to 16.

The paper's caption is at hand, its text on the figure is not: what the pictures are there to show, beside Fig. 4, is
the abstract's "AntisymmetricRNN exhibits much more predictable dynamics". So the behaviours are classified by where a
grid of initial states ends, counted, and compared with what the eigenvalues of W let one expect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dynlab.figures import planar
from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one
from dynlab.plots.phase_plane import plane_panels
from dynlab.plots.style import style
from dynlab.verdicts import THRESHOLD

STEPS = 50
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"draws": 6, "settle": 400},
    "laptop": {"draws": 16, "settle": 2000},
    "paper": {"draws": 16, "settle": 2000},
}


def one_network(draw: int, settle: int) -> xr.Dataset:
    """The vanilla RNN of one draw, and the end of its control: W scaled to a spectral radius of 0.9, all else equal."""
    w = planar.gaussian_matrix(draw)
    scaled = 0.9 * w / np.abs(np.linalg.eigvals(w)).max()
    found = planar.survey(planar.vanilla(w), draw, STEPS, settle)
    late = planar.ends(planar.vanilla(scaled), settle)["late_radius_max"]
    return found.assign(scaled_late_radius_max=late.assign_attrs(long_name="late distance, W scaled to radius 0.9"))


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """All draws, 1 to 16 for seed 0, the next 16 for seed 1."""
    settings = SCALES[scale]
    draws = [16 * seed + index + 1 for index in range(settings["draws"])]
    found = run(one_network, [{"draw": draw, "settle": settings["settle"]} for draw in draws])
    data = xr.concat(found, "draw")
    data.attrs = {"scale": scale, "seed": seed, "settle": settings["settle"], "cell": "elman",
                  "reference": "AntisymmetricRNN, Fig. 3"}  # fmt: skip
    return data


def draw(dataset: xr.Dataset) -> Figure:
    """Four rows of four planes, titled with the draw and what its states end in."""
    titles = [f"{int(number)}: {what}" for number, what in zip(dataset["draw"], planar.kinds(dataset), strict=True)]
    with style():
        return plane_panels(dataset["trajectory"], titles, 1.1, jumps=True)


def spectral_radius(data: xr.Dataset) -> np.ndarray:
    """Of every W, (draw,)."""
    return np.abs(np.linalg.eigvals(data["weight"].values)).max(-1)


def collapse(data: xr.Dataset) -> Measured:
    """Every state ends at a point or a periodic orbit: the memory of where it began is gone but for which one."""
    kinds = planar.kinds(data)
    held = np.array([what == "ring" for what in kinds])
    gone = data["log_gradient_norm"].isel(time=0).max("batch") < -THRESHOLD
    values = np.linalg.eigvals(data["weight"].values)
    turning = (np.abs(values.imag).max(-1) > 0) & (np.abs(values).max(-1) > 1)
    dead = int((data["scaled_late_radius_max"] < 1e-3).sum())
    numbers = ", ".join(str(int(number)) for number in data["draw"].values[held])
    why = "" if not held.any() else (
        f"Draws {numbers} go round on a closed curve for ever. Complex eigenvalues of modulus above 1 have "
        f"{int(turning.sum())} draws, {int((turning & held).sum())} of them these. Control: W scaled to a spectral "
        f"radius of 0.9, all else equal, sends {dead} of {held.size} draws to the origin, these included."
    )  # fmt: skip
    return Measured(
        f"{int((~held).sum())} of {len(kinds)} draws: {planar.counted(kinds)}; d h_50 / d h_0 below 1/100 from all "
        f"three starts in {int(gone.sum())}",
        not held.any(),
        why,
    )


def erratic(data: xr.Dataset) -> Measured:
    """How many different behaviours there are, and how badly one step predicts the next."""
    kinds = planar.kinds(data)
    wobble = data["wobble"].values
    value = (
        f"{len(set(kinds))} kinds in {len(kinds)} draws; wobble {wobble.min():.2f} to {wobble.max():.2f}, median "
        f"{np.median(wobble):.2f}, {int((wobble > 1).sum())} above 1"
    )
    why = "Wobble: rms second over first difference of the 50 steps, 0 for uniform motion, 2 for jumping to and fro."
    return Measured(value, len(set(kinds)) >= 4 and float(np.median(wobble)) > 0.5, why)


def fate_by_eigenvalues(data: xr.Dataset) -> Measured:
    """Whether the spectral radius tells the states that die out from those that do not."""
    origin = np.array([what == "origin" for what in planar.kinds(data)])
    right = origin == (spectral_radius(data) < 1)
    alive = sorted({what for what, dead in zip(planar.kinds(data), origin, strict=True) if not dead})
    return Measured(
        f"right for {int(right.sum())} of {len(right)} draws; above 1 there are {len(alive)} kinds "
        f"({', '.join(alive)})",
        bool(right.all()),
    )


ITEM = Item(
    paper="AntisymmetricRNN",
    number="Fig. 3",
    title="Vanilla RNNs with standard Gaussian weights, seeds 1 to 16",
    protocol="h_t = tanh(W h_{t-1}), W standard Gaussian, initial states of Fig. 1",
    claims=(
        Claim("The states of vanilla RNNs collapse to attractors (our reading; Fig. 1 (a) says fixed points)", collapse,
              tolerance="ends of a 12 x 12 grid of states after 2,000 steps; a closed curve is no collapse",
              scales=("laptop", "paper")),
        Claim("Their dynamics are erratic: different in kind from seed to seed, and step to step (our reading of "
              "\"much more predictable dynamics\" of AntisymmetricRNN)", erratic,
              tolerance="four or more kinds; median wobble above 0.5, a turn by 30 degrees a step; Fig. 4 has 0.2 at "
              "most", scales=("laptop", "paper")),
        Claim("Whether the states die out can be told from the spectral radius of W (our check, cf. Fig. 4)",
              fate_by_eigenvalues, scales=("laptop", "paper")),
    ),
    choices=(
        "The draws are NumPy's RandomState(seed).standard_normal((2, 2)), seeds 1 to 16; the paper's generator is "
        "unknown, so single pictures need not be the paper's.",
        "50 steps and the starts of Fig. 1.",
        "Panels are titled by our classification.",
    ),
    findings=(
        "Not all collapse: where W has complex eigenvalues of modulus above 1, the states go round on a closed curve. "
        "Control: with W scaled to a spectral radius of 0.9, all else equal, every draw goes to the origin.",
    ),
)  # fmt: skip
