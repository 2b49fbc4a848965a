"""UnICORNN as a symplectic map: volume and symplecticity.

Index conventions: n time step, b batch, l layer, i unit; h = dt sigmoid(c).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell
from dynlab.jacobian.autodiff import linearize_by_autodiff
from dynlab.theory.base import Proposition, finding
from dynlab.theory.unicornn_settings import Setting
from dynlab.theory.unicornn_subject import CELLS, subject
from dynlab.trace import rollout

# Dense Jacobians of this many transitions: our choice. Rounding grows with the number of entries.
JACOBIANS = 64
ROUNDING = 64 * torch.finfo(torch.float64).eps


def dense_jacobians(cell: Cell, inputs: Tensor, states: Tensor) -> np.ndarray:
    """d state_t / d state_{t-1} by ``torch.func`` through the step itself, not its closed form, (time, batch, n, n)."""
    return linearize_by_autodiff(cell.advance, cell.terms(inputs).detach(), states).jacobian.to_dense().numpy()


def volume(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    jacobians: int = JACOBIANS,
) -> xr.Dataset:
    """det d X_n / d X_{n-1} = 1: phase-space volume is conserved (section 3, before Prop. 3.2; section 5).

    Hypotheses: none; any dt, alpha, w and input, and any stack, whose Jacobian is block triangular in the layers.

    Arguments:
        jacobians: how many transitions, from the first on.

    Measured: max over samples of |log |det|| of dense step Jacobians, by autodiff of the step and LU, to be 0; for each
    step ("step"), and summed over them ("sequence"). Allowed: rounding, 64 eps a state component and step, times the
    largest entry squared where that is above 1, for LU cancels products of two entries.
    """
    where = "unicornn-volume"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, hidden_size=8)
    count = min(one.inputs.shape[0], _check.integer("jacobians", jacobians, where))
    trace = rollout(one.network, one.inputs[:count])
    dense = dense_jacobians(one.network, trace.inputs, trace.states[:-1])
    sign, logs = np.linalg.slogdet(dense)
    with np.errstate(over="ignore"):
        away = [float(np.abs(np.expm1(sums)).max()) for sums in (logs, logs.sum(0))]
    # A reflection keeps the absolute volume; an odd number of them does not keep det = 1.
    logs = np.where(sign > 0, logs, np.inf)
    measured = np.array([np.abs(logs).max(), np.abs(logs.sum(0)).max()])
    tolerance = ROUNDING * one.network.state_size * count * max(1.0, float(np.abs(dense).max())) ** 2
    return finding(
        key=where,
        reference="UnICORNN, section 3",
        statement="log |det d X_n / d X_{n-1}| = 0",
        relation="==",
        bound=xr.DataArray(0.0, attrs={"units": "1"}),
        measured=xr.DataArray(
            measured, {"over": ["step", "sequence"]}, ("over",), attrs={"units": "1", "long_name": "|log det|"}
        ),
        tolerance=tolerance,
        hypotheses=[],
        extra={"log_determinant": xr.DataArray(logs, dims=("transition", "batch"), attrs={"units": "1"})},
        note=f"||det| - 1| at most {away[0]:.1e} a step, {away[1]:.1e} over {count} steps (rounding: {tolerance:.1e}); "
        f"det > 0 in {int((sign > 0).sum())} of {sign.size}",
        **one.attrs,
    )


def symplectic_defect(jacobians: np.ndarray, units: Sequence[int]) -> float:
    """max |J^T Omega J - Omega| for states [y, z] of each layer, Omega = [[0, 1], [-1, 0]] in (y_i, z_i)."""
    blocks = [np.kron([[0.0, 1.0], [-1.0, 0.0]], np.eye(d)) for d in units]
    omega, start = np.zeros(jacobians.shape[-2:]), 0
    for block in blocks:
        stop = start + len(block)
        omega[start:stop, start:stop], start = block, stop
    return float(np.abs(jacobians.swapaxes(-1, -2) @ omega @ jacobians - omega).max())


def symplecticity(
    cell: Cell | None = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    setting: str | Setting = "cifar10",
    jacobians: int = JACOBIANS,
) -> xr.Dataset:
    """J^T Omega J = Omega, J = d X_n^l / d X_{n-1}^l: a layer's step is symplectic (section 2, Eqs. 3 and 5).

    Hypotheses: none. It is true of each layer, under any input. A stack is not Hamiltonian: a layer drives the next one
    and feels nothing back; ``stack_defect`` shows what the whole Jacobian misses, though its volume is kept.

    Measured: max |J^T Omega J - Omega| of each layer over samples and ``jacobians`` transitions from the first on, by
    autodiff of the step; "==" 0 within rounding, 64 eps a state component times the largest |J|^2.
    """
    where = "unicornn-symplectic"
    one = subject(cell, inputs, where=where, seed=seed, setting=setting, hidden_size=8)
    count = min(one.inputs.shape[0], _check.integer("jacobians", jacobians, where))
    trace = rollout(one.network, one.inputs[:count])
    with torch.no_grad():
        pairs = one.network.layer_inputs(trace.inputs, trace.states[:-1])
    steps = [dense_jacobians(layer, *pair) for layer, pair in zip(one.layers, pairs, strict=True)]
    defects = [symplectic_defect(J, [layer.hidden_size]) for J, layer in zip(steps, one.layers, strict=True)]
    whole = dense_jacobians(one.network, trace.inputs, trace.states[:-1])
    stack = symplectic_defect(whole, [layer.hidden_size for layer in one.layers])
    largest = max(float(np.abs(J).max()) for J in steps)
    tolerance = ROUNDING * max(layer.state_size for layer in one.layers) * max(1.0, largest) ** 2
    return finding(
        key=where,
        reference="UnICORNN, section 2, Eqs. (3), (5)",
        statement="J^T Omega J = Omega for J = d X_n^l / d X_{n-1}^l",
        relation="==",
        bound=xr.DataArray(0.0, attrs={"units": "1"}),
        measured=xr.DataArray(defects, dims=("layer",), attrs={"units": "1", "long_name": "max |J^T Omega J - Omega|"}),
        tolerance=tolerance,
        hypotheses=[],
        extra={"stack_defect": xr.DataArray(stack, attrs={"units": "1", "long_name": "of the whole stack"})},
        note=f"defect of a layer at most {max(defects):.1e} (rounding: {tolerance:.1e}), of the stack of "
        f"{len(defects)} layers {stack:.1e}, over {count} steps",
        **one.attrs,
    )


PROPOSITIONS: tuple[Proposition, ...] = (
    Proposition("unicornn-volume", "log |det d X_n / d X_{n-1}| = 0", "UnICORNN, section 3", CELLS, volume),
    Proposition(
        "unicornn-symplectic",
        "J^T Omega J = Omega for J = d X_n^l / d X_{n-1}^l",
        "UnICORNN, section 2, Eqs. (3), (5)",
        CELLS,
        symplecticity,
    ),
)
