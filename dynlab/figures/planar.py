"""Recurrences of two units: the paths that AntisymmetricRNN Figs. 1, 3, 4 and 5 draw, and where they end.

Index conventions: t time, b start, d unit (axis of the plane), r row and c column of a grid of states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

import dynlab
from dynlab.cell import Cell
from dynlab.cells import AntisymmetricRNN, Elman

STARTS = ((0.0, 0.5), (-0.5, -0.5), (0.5, -0.75))
"""The initial states of AntisymmetricRNN section 4."""

LONGEST_PERIOD = 32
SAME = 1e-5
"""Distance below which two late states are one. Our choice: well above what is left of a convergence at 0.998 a step
after 8,000 steps (1e-7), well below any distance in the pictures."""


def start_states() -> Tensor:
    """``STARTS`` as states (3, 2), float64."""
    return torch.tensor(STARTS, dtype=torch.float64)


def vanilla(matrix: Sequence[Sequence[float]] | np.ndarray) -> Elman:
    """h_t = tanh(W h_{t-1}), in float64."""
    cell = Elman(0, 2).double()
    with torch.no_grad():
        cell.module.weight_hh.copy_(torch.tensor(np.asarray(matrix, dtype=float)))
        cell.module.bias_ih.zero_()
        cell.module.bias_hh.zero_()
    return cell


def feedback(
    matrix: Sequence[Sequence[float]] | np.ndarray, epsilon: float, scale: float | None = None
) -> AntisymmetricRNN:
    """h_t = h_{t-1} + eps tanh(W h_{t-1} + scale x_t), in float64; without ``scale`` there is no input."""
    cell = AntisymmetricRNN(0 if scale is None else 2, 2, epsilon=epsilon, gamma=0, structured=False).double()
    with torch.no_grad():
        cell.weight_free.copy_(torch.tensor(np.asarray(matrix, dtype=float)))
        if scale is not None:
            cell.weight_ih.copy_(scale * torch.eye(2))
    return cell


def antisymmetric(matrix: Sequence[Sequence[float]] | np.ndarray, gamma: float, epsilon: float) -> AntisymmetricRNN:
    """The feedback recurrence of W - W^T - gamma I, in float64."""
    cell = AntisymmetricRNN(0, 2, epsilon=epsilon, gamma=gamma).double()
    full = np.asarray(matrix, dtype=float)
    with torch.no_grad():
        cell.weight_packed.fill_(float(full[0, 1] - full[1, 0]))
    return cell


def gaussian_matrix(draw: int) -> np.ndarray:
    """W of independent standard Gaussian numbers, (2, 2).

    Our choice: the generator behind the paper's seeds is not known; NumPy's legacy one is a guess.
    """
    return np.random.RandomState(draw).standard_normal((2, 2))


def paths(cell: Cell, steps: int, inputs: Tensor | None = None) -> xr.Dataset:
    """``record`` of the rollouts from ``STARTS``.

    Arguments:
        inputs: (time, batch, f); none, and the cell has no input.

    Returns:
        ``trajectory`` (time 0..T, batch, unit) and ``log_gradient_norm`` (time 0..T, batch).
    """
    if inputs is None:
        inputs = torch.zeros(steps, len(STARTS), cell.input_size, dtype=torch.float64)
    return dynlab.record(cell, inputs, [dynlab.Trajectory(of="state"), dynlab.GradientNorm()], state=start_states())


def field(cell: Cell, half_width: float, points: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """The vector field of the ODE that the cell is Euler's method for, (new state - state) / eps without input.

    Returns:
        (coordinates (points,) of both axes, the field (row, column, axis)).
    """
    line = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
    states = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        new = cell(states.new_zeros(len(states), cell.input_size), states)
    return line.numpy(), ((new - states) / epsilon).reshape(points, points, 2).numpy()


@torch.no_grad()
def late_states(cell: Cell, states: Tensor, settle: int, watch: int) -> np.ndarray:
    """States after ``settle`` steps and the ``watch`` after them, (watch + 1, batch, 2)."""
    rest = torch.zeros(settle, len(states), cell.input_size, dtype=torch.float64)
    settled = cell.scan(rest, states, keep="last")
    return cell.scan(rest[:1].expand(watch, -1, -1), settled).numpy()


def ends(cell: Cell, settle: int, starts: int = 12) -> xr.Dataset:
    """Where a grid of initial states ends.

    Arguments:
        settle: steps before one looks. starts: initial states along each axis of [-1, 1] x [-1, 1].

    Returns:
        ``period`` (): 1 where every start ends at a fixed point, p where every orbit has a period of at most p, 0 where
        some has none up to ``LONGEST_PERIOD``. ``attractors`` (): how many different ends there are; 0 where period is
        0. ``end`` (batch, unit): the state after ``settle`` steps, the orbit's smallest in lexicographic order.
        ``late_radius_min``, ``late_radius_max`` (): of all late states.
    """
    # Shifted, so that no start lies on a basin boundary that goes through the origin by symmetry.
    line = torch.linspace(-1, 1, starts, dtype=torch.float64) + 1e-3
    late = late_states(cell, torch.cartesian_prod(line, 0.999 * line), settle, 4 * LONGEST_PERIOD)
    periods = np.array([_period(late[:, start]) for start in range(late.shape[1])])
    representatives = np.stack([_smallest(late[: max(1, p), start]) for start, p in enumerate(periods)])
    radius = np.linalg.norm(late, axis=-1)
    some_without = bool((periods == 0).any())
    return xr.Dataset(
        {
            "period": (
                (),
                0 if some_without else int(periods.max()),
                {"units": "steps", "long_name": "longest period of a late orbit"},
            ),
            "attractors": (
                (),
                0 if some_without else _count(representatives),
                {"units": "1", "long_name": "different ends"},
            ),
            "end": (("grid_start", "unit"), representatives, {"units": "1", "long_name": "where a start ends"}),
            "late_radius_min": ((), float(radius.min()), {"units": "1", "long_name": "smallest late distance"}),
            "late_radius_max": ((), float(radius.max()), {"units": "1", "long_name": "largest late distance"}),
        }
    )


def _period(orbit: np.ndarray) -> int:
    """Smallest p <= LONGEST_PERIOD with orbit[t + p] = orbit[t] for all t, (time, 2); 0 for none."""
    for period in range(1, LONGEST_PERIOD + 1):
        if np.abs(orbit[period:] - orbit[:-period]).max() < SAME:
            return period
    return 0


def _smallest(states: np.ndarray) -> np.ndarray:
    """The first of (n, 2) states in lexicographic order, by coordinates rounded to what counts as the same."""
    rounded = np.round(states / (10 * SAME))
    return states[np.lexsort((rounded[:, 1], rounded[:, 0]))[0]]


def _count(points: np.ndarray) -> int:
    different: list[np.ndarray] = []
    for point in points:
        if all(np.abs(point - other).max() > 100 * SAME for other in different):
            different.append(point)
    return len(different)


def kind(one: xr.Dataset) -> str:
    """What ``ends`` found, in words: "origin", "2 fixed points", "one 2-cycle", "two 2-cycles", "ring"."""
    period, count = int(one["period"]), int(one["attractors"])
    if period == 0:
        return "ring"
    if float(one["late_radius_max"]) < 100 * SAME:
        return "origin"
    if period == 1:
        return f"{count} fixed point{'s' if count > 1 else ''}"
    return {1: f"one {period}-cycle", 2: f"two {period}-cycles"}.get(count, f"{count} cycles of period {period}")


def wobble(trajectory: xr.DataArray) -> xr.DataArray:
    """How badly "as before" predicts the next step: the root mean square of second over that of first differences.

    0 for uniform motion, 2 for a state that jumps to and fro; a turn by an angle a a step gives about a.
    """
    first = trajectory.diff("time")
    second = first.diff("time")
    over = [dim for dim in ("time", "batch", "unit") if dim in trajectory.dims]
    return (second**2).sum(over) ** 0.5 / (first**2).sum(over) ** 0.5


def survey(cell: Elman | AntisymmetricRNN, draw: int, steps: int, settle: int) -> xr.Dataset:
    """One network of Figs. 3 and 4: its paths, gradients and wobble over ``steps``, and where it ends.

    Returns:
        What ``paths`` and ``ends`` return, ``wobble`` (), ``weight`` (row, column), the matrix inside tanh, and
        ``draw``, the number of the draw.
    """
    found = xr.merge([paths(cell, steps), ends(cell, settle)], combine_attrs="override")
    matrix = cell.recurrent_matrix() if isinstance(cell, AntisymmetricRNN) else cell.module.weight_hh
    return found.assign(
        wobble=(
            (),
            float(wobble(found["trajectory"])),
            {"units": "1", "long_name": "unpredictability of the next step"},
        ),
        weight=(("row", "column"), matrix.detach().numpy(), {"units": "1", "long_name": "matrix inside tanh"}),
    ).assign_coords(draw=draw)


def kinds(data: xr.Dataset) -> list[str]:
    """``kind`` of every draw."""
    return [kind(data.isel(draw=index)) for index in range(data.sizes["draw"])]


def counted(names: Sequence[str]) -> str:
    """How often each occurs, the most frequent first: "7 x 2 fixed points, 5 x origin"."""
    return ", ".join(f"{count} x {name}" for name, count in Counter(names).most_common())
