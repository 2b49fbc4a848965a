"""How near the inner steps of an iRNN come to their equilibrium, and any other cell to a fixed point."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.cell import Cell, derive_once
from dynlab.probes.base import Computed, Observer, Probe, Variable
from dynlab.trace import Trace

# Distances below this many float64 roundings of the states' size say nothing about a rate.
ROUNDINGS = 1000
# Of the function, a root. SciPy's own limit, 100 (n + 1), takes seconds to give up; found ones took up to 120.
MAX_EVALUATIONS = 300


@dataclass(frozen=True)
class Equilibrium(Probe):
    """Distance to the root that the inner steps iterate towards, found by SciPy as in iRNN appendix A.7.5.

    A cell with inner steps (``inner_states(term, state)`` and ``residual(term, inner, state)``: iRNN) has at each
    transition t the equilibrium g* where residual(x_t, g*, h_{t-1}) = 0. SciPy's root (method "hybr", with the
    Jacobian) starts from g_K and one Newton step follows, in float64; of several roots that is one near g_K.

    Variables:
        equilibrium_residual (transition, k 0..K, batch): Euclidean norm of the residual at g_k.
        equilibrium_distance (transition, k 0..K, batch): |g_k - g*|, Euclidean.
        equilibrium_converged (transition, batch): whether the root was found; where it was not, the distance and
            the rate are +inf.
        equilibrium_rate (transition, batch): r of |g_k - g*| ~ r^k, for K >= 2: exp of the mean log ratio of successive
            distances, up to the last one above rounding; 0 where g_0 is the equilibrium or g_1 already is.
        implicit_jacobian_error (transition, batch): |J + sign I|_F / sqrt(d), J the step Jacobian; Theorem 1 says
            that it tends to 0 as K grows.

    Any other cell: the fixed point h* = F(x_t, h*) of the whole step at that input, SciPy started at state_{t-1}.
    The residual is |F(x_t, state_{t-1}) - state_{t-1}| and the distance |state_{t-1} - h*|, with no axis k, and there
    are no rate and no implicit_jacobian_error.

    Arguments:
        transitions: which of 1..T; up to 16 evenly spaced ones by default.
        tolerance: a root counts as found where its residual is at most tolerance * (1 + |root|).
        samples: the first so many of the batch, in place of batch the dimension equilibrium_batch; all by default.
            SciPy is called once a transition and sample: 3 to 60 ms each at d = 128, up to 200 where there is no root.

    A module is copied to float64. A bare function has nothing to convert: it runs in the trace's dtype, and the
    tolerance is then at least 100 sqrt(n) roundings of that dtype.
    """

    transitions: Sequence[int] | None = None
    tolerance: float = 1e-9
    samples: int | None = None

    provides = (
        "equilibrium_residual",
        "equilibrium_distance",
        "equilibrium_converged",
        "equilibrium_rate",
        "implicit_jacobian_error",
    )
    summary = "distance of iRNN's inner steps to their equilibrium, and Theorem 1's error"
    reference = "iRNN, Proposition 2, Theorem 1, appendix A.7.5"

    def __post_init__(self) -> None:
        _check.number("tolerance", self.tolerance, "Equilibrium", above=0)
        if self.samples is not None:
            _check.integer("samples", self.samples, "Equilibrium")
        if self.transitions is None:
            return
        if isinstance(self.transitions, str) or not isinstance(self.transitions, Sequence):
            raise TypeError(
                "Equilibrium: expected transitions to be a sequence of integers, "
                f"got {_check.describe(self.transitions)}"
            )
        for transition in self.transitions:
            _check.integer("each of transitions", transition, "Equilibrium")
        if not self.transitions or list(self.transitions) != sorted(set(self.transitions)):
            raise ValueError(f"Equilibrium: expected one or more ascending transitions, got {self.transitions!r}")
        object.__setattr__(self, "transitions", tuple(self.transitions))

    @torch.no_grad()
    def observe(self, trace: Trace) -> Observer:
        """As ``Probe.observe``."""
        transitions = self._chosen(trace.steps)
        samples = trace.batch_size if self.samples is None else self.samples
        if samples > trace.batch_size:
            raise ValueError(f"Equilibrium: expected at most {trace.batch_size} samples, got samples={samples}")
        cell, dtype = _in_double(trace)
        solve = _inner if hasattr(cell, "residual") and hasattr(cell, "inner_states") else _whole
        found = []
        with derive_once():
            for transition in transitions:
                x = trace.inputs[transition - 1, :samples].to(dtype)
                state = trace.states[transition - 1, :samples].to(dtype)
                found.append(solve(cell, x, state, transition - 1, self.tolerance))
        coords = {"transition": torch.tensor(transitions)}
        if samples < trace.batch_size:
            coords["equilibrium_batch"] = torch.arange(samples)
        return Computed(self._variables(found, coords, solve is _inner))

    def _chosen(self, steps: int) -> list[int]:
        if self.transitions is None:
            return np.unique(np.linspace(1, steps, min(16, steps)).round().astype(int)).tolist()
        if self.transitions[-1] > steps:
            raise ValueError(
                f"Equilibrium: expected transitions from 1 to T = {steps}, got {self.transitions[-1]} among them"
            )
        return list(self.transitions)

    def _variables(self, found: list[_Found], coords: dict[str, Tensor], inner: bool) -> list[Variable]:
        attrs = {"units": "1", "tolerance": self.tolerance, "reference": self.reference}
        batch = "equilibrium_batch" if "equilibrium_batch" in coords else "batch"
        per_sample = ("transition", batch)
        along = ("transition", "k", batch) if inner else per_sample
        at, root = ("g_k", "the equilibrium g*") if inner else ("state_{t-1}", "the fixed point h* = F(x_t, h*)")
        lost = {"where_not_converged": "+inf: SciPy found no root"}
        wanted = [
            ("equilibrium_residual", along, f"norm of the residual at {at}", {}),
            ("equilibrium_distance", along, f"distance of {at} to {root}", lost),
            ("equilibrium_converged", per_sample, "whether SciPy found the root", {}),
            ("equilibrium_rate", per_sample, "factor by which the distance changes in one inner step", lost),
            ("implicit_jacobian_error", per_sample, "norm of step Jacobian + sign * I, over sqrt(d)", {}),
        ]
        variables = []
        for (name, dims, meaning, more), values in zip(wanted, zip(*found, strict=True), strict=True):
            if values[0] is not None:
                own = {dim: value for dim, value in coords.items() if dim in dims}
                variables.append(
                    Variable(name, dims, torch.stack(values), {**attrs, "long_name": meaning, **more}, own)
                )
        return variables


class _Found(NamedTuple):
    """What one transition gives, in the order of ``Equilibrium.provides``; None for what the cell does not have."""

    residual: Tensor
    distance: Tensor
    converged: Tensor
    rate: Tensor | None
    jacobian_error: Tensor | None


def _in_double(trace: Trace) -> tuple[Cell, torch.dtype]:
    """The cell in float64, or as it is where it holds no numbers of its own."""
    if trace.states.dtype == torch.float64 or next(trace.cell.parameters(), None) is None:
        return trace.cell, trace.states.dtype
    return copy.deepcopy(trace.cell).double(), torch.float64


def _inner(cell: Cell, x: Tensor, state: Tensor, first: int, tolerance: float) -> _Found:
    """The inner steps of one transition: x (batch, f), state (batch, d)."""
    term = cell.terms(x, first)
    inner = torch.stack(cell.inner_states(term, state))  # type: ignore[operator]

    def at(sample: int) -> Callable[[Tensor], Tensor]:
        row = slice(sample, sample + 1)
        return lambda g: cell.residual(term[row], g[None], state[row])[0]  # type: ignore[operator]

    functions = [at(sample) for sample in range(state.shape[0])]
    roots, converged = _roots(functions, [torch.func.jacrev(one) for one in functions], inner[-1], tolerance)
    residual = torch.linalg.vector_norm(cell.residual(term, inner, state), dim=-1)  # type: ignore[operator]
    distance = torch.linalg.vector_norm(inner.double() - roots, dim=-1)
    rate = None
    if inner.shape[0] > 2:
        rate = _rate(distance, roots, inner.dtype).masked_fill(~converged, torch.inf)
    jacobian = cell.linearization(x, state, first).jacobian.to_dense()
    sign = getattr(cell, "sign", 1)
    excess = jacobian + sign * torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    error = torch.linalg.matrix_norm(excess) / jacobian.shape[-1] ** 0.5
    return _Found(residual, distance.masked_fill(~converged, torch.inf), converged, rate, error)


def _whole(cell: Cell, x: Tensor, state: Tensor, first: int, tolerance: float) -> _Found:
    """The fixed point of the whole step at one transition: x (batch, f), state (batch, n)."""
    term = cell.terms(x, first)
    eye = torch.eye(state.shape[-1], dtype=state.dtype, device=state.device)

    def at(sample: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        row = slice(sample, sample + 1)
        return (
            lambda h: cell.advance(term[row], h[None])[0] - h,
            lambda h: cell.linearization(x[row], h[None], first).jacobian.to_dense()[0] - eye,
        )

    functions, jacobians = zip(*map(at, range(state.shape[0])), strict=True)
    roots, converged = _roots(functions, jacobians, state, tolerance)
    residual = torch.linalg.vector_norm(cell.advance(term, state) - state, dim=-1)
    distance = torch.linalg.vector_norm(state.double() - roots, dim=-1)
    return _Found(residual, distance.masked_fill(~converged, torch.inf), converged, None, None)


def _roots(
    functions: Sequence[Callable[[Tensor], Tensor]],
    jacobians: Sequence[Callable[[Tensor], Tensor]],
    start: Tensor,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Roots near ``start`` (batch, n), float64 and finite, and whether each is one, (batch,)."""
    tolerance = max(tolerance, 100 * start.shape[-1] ** 0.5 * torch.finfo(start.dtype).eps)
    roots, found = [], []
    for function, jacobian, guess in zip(functions, jacobians, start, strict=True):
        root = _polished(function, jacobian, _scipy_root(function, jacobian, guess))
        norm = float(torch.linalg.vector_norm(function(root)))
        good = norm <= tolerance * (1 + float(torch.linalg.vector_norm(root)))
        found.append(good)
        roots.append(root.double() if good else torch.zeros_like(root, dtype=torch.float64))
    return torch.stack(roots), torch.tensor(found, device=start.device)


def _scipy_root(function: Callable[[Tensor], Tensor], jacobian: Callable[[Tensor], Tensor], guess: Tensor) -> Tensor:
    from scipy.optimize import root

    def tensor(point: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(point)).to(guess)

    solution = root(
        lambda point: function(tensor(point)).double().cpu().numpy(),
        guess.double().cpu().numpy(),
        jac=lambda point: jacobian(tensor(point)).double().cpu().numpy(),
        method="hybr",
        options={"maxfev": MAX_EVALUATIONS},
    )
    return tensor(solution.x)


def _polished(function: Callable[[Tensor], Tensor], jacobian: Callable[[Tensor], Tensor], root: Tensor) -> Tensor:
    """``root`` after one Newton step, if that brings the residual down."""
    residual = function(root)
    step, info = torch.linalg.solve_ex(jacobian(root), residual)
    if int(info) != 0:
        return root
    better = root - step
    norm = torch.linalg.vector_norm
    # False for NaN too.
    return better if bool(norm(function(better)) < norm(residual)) else root


def _rate(distance: Tensor, roots: Tensor, dtype: torch.dtype) -> Tensor:
    """(D_m / D_0)^(1/m) with D_m the last of ``distance`` (k, batch) above rounding; (batch,)."""
    floor = ROUNDINGS * torch.finfo(dtype).eps * (1 + torch.linalg.vector_norm(roots, dim=-1))
    # Of the run that starts at k = 0.
    last = (distance > floor).long().cumprod(0).sum(0) - 1
    ratio = distance.gather(0, last.clamp_min(0)[None])[0].log() - distance[0].log()
    return torch.where(last > 0, (ratio / last.clamp_min(1)).exp(), 0)
