"""Trajectories in a plane, and the flow there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dynlab import _check
from dynlab.probes.base import Computed, Observer, Of, Probe, Variable, check_of, size_of
from dynlab.probes.geometry import CHUNK_ROWS, Backend, kernel_smooth, principal_axes
from dynlab.trace import Trace


@dataclass(frozen=True)
class PhasePortrait(Probe):
    """The trajectories and the velocity of the step map, velocity = new state - state, in a plane.

    A state of two components is its own plane, and the flow is exact: F(x, s) - s at every grid point s, for one
    fixed input x (time-varying cells: with the parameters of the first transition). Larger states are projected on
    their two leading principal components, and the flow is the average of the recorded velocities
    state_t - state_{t-1}, placed at state_{t-1}, with Gaussian weights (Nadaraya-Watson).

    Variables:
        trajectory_plane (time 0..T, batch, axis 2): coordinates in the plane.
        flow (row, column, axis 2): velocity at the grid points, state per step; ``row`` has the coordinates along axis
            1, ``column`` those along axis 0.
        Larger states only:
        flow_weight (row, column): sum of the kernel over the recorded states, each 1 at distance 0: how many of
            them the flow rests on. Where it underflows to 0 the flow is set to 0.
        plane (axis, component): the two principal directions, orthonormal, largest loading positive.
        plane_mean (component): the states' mean, the origin of the plane.
        explained_variance_ratio (axis): share of the variance along each; 0 for states that do not vary.

    Arguments:
        of: "hidden" or "state". "hidden" is exact only where it is the whole state.
        grid: points along each axis, >= 2.
        input: the fixed input, length input_size; the mean over time and batch by default. Exact flow only.
        samples: plane, grid and smoothed flow come from the first so many of the batch; all by default.
        bandwidth: standard deviation of the weights, in units of the plane. By default, for each axis, the larger of
            Scott's rule for two dimensions, (standard deviation) * (number of states)^(-1/6), and half the grid's
            spacing, below which arrows would skip states that lie between them.
        margin: what the grid adds on each side of the trajectories, as a share of their extent.
        backend: of the smoothing, see ``kernel_smooth``.
    """

    of: Of = "hidden"
    grid: int = 25
    input: Sequence[float] | None = None
    samples: int | None = None
    bandwidth: float | None = None
    margin: float = 0.1
    backend: Backend = "auto"

    provides = (
        "trajectory_plane",
        "flow",
        "flow_weight",
        "plane",
        "plane_mean",
        "explained_variance_ratio",
    )
    summary = "trajectories and flow, exact in two dimensions, in the principal plane otherwise"
    reference = "AntisymmetricRNN, Fig. 1"

    def __post_init__(self) -> None:
        check_of(self.of, self)
        _check.integer("grid", self.grid, "PhasePortrait", least=2)
        if self.samples is not None:
            _check.integer("samples", self.samples, "PhasePortrait")
        if self.bandwidth is not None:
            _check.number("bandwidth", self.bandwidth, "PhasePortrait", above=0)
        _check.number("margin", self.margin, "PhasePortrait", least=0)
        _check.choice("backend", self.backend, ("auto", "keops", "torch"), "PhasePortrait")
        if self.input is not None:
            if isinstance(self.input, Tensor):
                object.__setattr__(self, "input", self.input.tolist())
            if isinstance(self.input, str) or not isinstance(self.input, Sequence):
                raise TypeError(
                    f"PhasePortrait: expected input to be a sequence of numbers, got {_check.describe(self.input)}"
                )
            numbers = tuple(_check.number("each of input", value, "PhasePortrait") for value in self.input)
            object.__setattr__(self, "input", numbers)

    @torch.no_grad()
    def observe(self, trace: Trace) -> Observer:
        """As ``Probe.observe``."""
        size, cell = size_of(self.of, trace.cell), trace.cell
        if size < 2:
            raise ValueError(
                f"PhasePortrait: expected at least 2 {self.of} components for a plane, {type(cell).__name__} has {size}"
                + (f'; its whole state has {cell.state_size}: of="state"' if cell.state_size > size else "")
            )
        if self.samples is not None and self.samples > trace.batch_size:
            raise ValueError(f"PhasePortrait: expected at most {trace.batch_size} samples, got samples={self.samples}")
        if cell.state_size == 2:
            return Computed(self._exact(trace))
        if self.input is not None:
            raise ValueError(
                f"PhasePortrait: expected input only for states of 2 components, where the flow is exact, got it for "
                f"{type(cell).__name__} with {cell.state_size}"
            )
        return Computed(self._projected(trace))

    def _exact(self, trace: Trace) -> list[Variable]:
        x = self._fixed_input(trace)
        across, up = self._grid_lines(trace.states[:, : self.samples].double())
        points = torch.stack(torch.meshgrid(up, across, indexing="ij")[::-1], dim=-1)
        states = points.reshape(-1, 2).to(trace.states)
        new = trace.cell.advance(trace.cell.terms(x.expand(states.shape[0], -1)), states)
        flow = (new - states).reshape(points.shape)
        _check.finite("flow at the grid points (a smaller margin may help)", flow, "PhasePortrait")
        attrs = {"flow": "exact", "input": x.tolist()}
        return self._variables(trace.states, flow, across, up, "state component", attrs)

    def _fixed_input(self, trace: Trace) -> Tensor:
        if self.input is None:
            return trace.inputs.double().mean((0, 1)).to(trace.inputs)
        if len(self.input) != trace.cell.input_size:
            raise ValueError(
                f"PhasePortrait: expected input of length {trace.cell.input_size}, got {len(self.input)} numbers"
            )
        return torch.tensor(self.input, dtype=trace.inputs.dtype, device=trace.inputs.device)

    def _projected(self, trace: Trace) -> list[Variable]:
        seen = trace.states if self.of == "state" else trace.cell.hidden(trace.states)
        plane, mean, share = principal_axes(seen[:, : self.samples].reshape(-1, seen.shape[-1]), 2)
        # Centred first: differences of large projections would lose what the plane shows.
        chunks = seen.split(max(1, CHUNK_ROWS // trace.batch_size))
        paths = torch.cat([(rows.double() - mean) @ plane.T for rows in chunks])
        used = paths[:, : self.samples]
        across, up = self._grid_lines(used)
        points = torch.stack(torch.meshgrid(up, across, indexing="ij")[::-1], dim=-1)
        starts, velocities = used[:-1].reshape(-1, 2), (used[1:] - used[:-1]).reshape(-1, 2)
        bandwidth = self._bandwidths(starts, across, up)
        flow, log_mass, backend = kernel_smooth(starts, velocities, points.reshape(-1, 2), bandwidth, self.backend)
        weight = log_mass.exp()
        flow = torch.where(weight[:, None] > 0, flow, 0).reshape(points.shape)
        attrs = {"flow": "smoothed", "bandwidth": bandwidth.tolist(), "backend": backend}
        found = self._variables(paths, flow, across, up, "principal component", attrs)
        common = found[0].attrs
        more = [
            ("flow_weight", ("row", "column"), weight.reshape(points.shape[:2]), "recorded states behind the flow"),
            ("plane", ("axis", "component"), plane, "principal directions"),
            ("plane_mean", ("component",), mean, "mean state"),
            ("explained_variance_ratio", ("axis",), share, "share of the variance"),
        ]
        for name, dims, values, meaning in more:
            coords = found[1].coords if name == "flow_weight" else {}
            found.append(Variable(name, dims, values, {**common, "long_name": meaning}, coords))
        return found

    def _grid_lines(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Grid coordinates along axis 0 and axis 1 of ``paths`` (time, batch, 2), float64, always apart."""
        low, high = paths.amin((0, 1)), paths.amax((0, 1))
        extent = high - low
        size = torch.maximum(low.abs(), high.abs())
        # A path without extent along an axis gets the other's, or 1 where it is a point, within what numbers of that
        # size can tell apart.
        flat = extent <= (1e-12 * size).clamp_min(1e-280)
        other = extent.flip(0).masked_fill(flat.flip(0), 1.0)
        extent = torch.where(flat, torch.maximum(other, 1e-3 * size), extent)
        middle, half = low / 2 + high / 2, extent * (0.5 + self.margin)
        across, up = (torch.linspace(-1, 1, self.grid, dtype=low.dtype, device=low.device) * half[:, None]) + middle[
            :, None
        ]
        return across, up

    def _bandwidths(self, starts: Tensor, across: Tensor, up: Tensor) -> Tensor:
        if self.bandwidth is not None:
            return starts.new_full((2,), self.bandwidth)
        spacing = torch.stack([across[1] - across[0], up[1] - up[0]])
        return torch.maximum(starts.std(0, correction=0) * starts.shape[0] ** (-1 / 6), spacing / 2)

    def _variables(
        self, paths: Tensor, flow: Tensor, across: Tensor, up: Tensor, axis: str, more: Mapping[str, object]
    ) -> list[Variable]:
        attrs = {"units": "1", "of": self.of, "axis": axis, "reference": self.reference, **more}
        grid = {"row": up, "column": across}
        return [
            Variable(
                "trajectory_plane", ("time", "batch", "axis"), paths, {**attrs, "long_name": "trajectory in the plane"}
            ),
            Variable(
                "flow",
                ("row", "column", "axis"),
                flow,
                {**attrs, "units": "1 (state per step)", "long_name": "velocity of the step map"},
                grid,
            ),
        ]
