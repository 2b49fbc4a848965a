"""``record``: one rollout, one sweep of each kind, all probes, one labelled dataset."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor, nn

import dynlab
from dynlab import _check
from dynlab.cell import Cell, derive_once
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.graded import graded_sweep
from dynlab.jacobian.product import Product
from dynlab.jacobian.sweep import Visitor, adjoint_sweep
from dynlab.probes import PROBES
from dynlab.probes.base import AdjointRequest, GradedRequest, Observer, Probe, Variable, restrict_rows
from dynlab.trace import Trace, rollout

if TYPE_CHECKING:
    import xarray as xr

Tick = Callable[[int], None]


@overload
def record(
    model: nn.Module,
    inputs: Tensor,
    probes: Sequence[Probe | str] = ...,
    state: Tensor | None = ...,
    dtype: torch.dtype | None = ...,
    *,
    attrs: Mapping[str, Any] | None = ...,
    tick: Tick = ...,
) -> xr.Dataset: ...
@overload
def record(
    model: Mapping[str, nn.Module],
    inputs: Tensor,
    probes: Sequence[Probe | str] = ...,
    state: None = ...,
    dtype: torch.dtype | None = ...,
    *,
    attrs: Mapping[str, Any] | None = ...,
    tick: Tick = ...,
) -> xr.DataTree: ...
def record(
    model: nn.Module | Mapping[str, nn.Module],
    inputs: Tensor,
    probes: Sequence[Probe | str] = ("GradientNorm",),
    state: Tensor | None = None,
    dtype: torch.dtype | None = None,
    *,
    attrs: Mapping[str, Any] | None = None,
    tick: Tick = lambda steps: None,
) -> xr.Dataset | xr.DataTree:
    """Measure ``probes`` along one rollout of ``model``.

    The model is put into eval mode and restored. All probes share the rollout and one sweep of each kind.

    Arguments:
        model: a cell, a network, or anything ``as_cell`` takes; or a mapping from names to such, all run on the
            same inputs.
        inputs: (time, batch, feature), or (batch, time, feature) for a batch-first model.
        probes: probes, or names of probes with their defaults.
        state: the initial state (batch, state); zeros by default.
        dtype: measure a copy of the model in this dtype, the model's own by default; inputs follow it.
        attrs: further attributes of the dataset, for instance ``{"seed": 0}``.
        tick: called with the number of sweep steps done since the last call.

    Returns:
        A Dataset whose variables are named and dimensioned as the probes say; for a mapping a DataTree with one
        group a model. If the state leaves the float range, the dataset ends before that step and its attribute
        ``overflow_step`` says which step it was (0 for none).

    Raises:
        TypeError, ValueError: bad inputs, an unknown probe, a quantity that cannot be had, or two probes that
            give the same variable.
    """
    import xarray as xr

    chosen = as_probes(probes)
    if isinstance(model, Mapping):
        if state is not None:
            raise ValueError(
                "record: expected no state with several models, whose states differ; record them one by one"
            )
        groups = {name: record(one, inputs, chosen, None, dtype, attrs=attrs, tick=tick) for name, one in model.items()}
        return xr.DataTree.from_dict(groups)
    cell = _as_cell(model)
    if dtype is not None:
        cell = copy.deepcopy(cell).to(dtype)
        inputs, state = _cast(inputs, dtype), None if state is None else _cast(state, dtype)
    return record_trace(take_trace(cell, inputs, state), chosen, attrs=attrs, tick=tick)


def take_trace(cell: Cell, inputs: Tensor, state: Tensor | None = None) -> Trace:
    """The rollout that ``record`` measures, with its warning where the state leaves the float range."""
    with _measuring(cell):
        trace = rollout(cell, inputs, state)
    if trace.overflow is not None:
        warnings.warn(
            f"{cell.title}: the state left the range of {trace.states.dtype} at step {trace.overflow} of "
            f"{trace.requested}; the record ends one step before",
            RuntimeWarning,
            stacklevel=3,
        )
    return trace


def record_trace(
    trace: Trace,
    probes: Sequence[Probe | str],
    *,
    attrs: Mapping[str, Any] | None = None,
    tick: Tick = lambda steps: None,
) -> xr.Dataset:
    """As ``record``, of a rollout at hand: asked several times, what one sweep has formed serves the next."""
    with _measuring(trace.cell):
        variables = measure(trace, as_probes(probes), tick)
    return to_dataset(trace, variables, attrs or {})


def measure(trace: Trace, probes: Sequence[Probe], tick: Tick = lambda steps: None) -> list[Variable]:
    """All variables of all probes from one trace, one sweep of each kind."""
    observers = [probe.observe(trace) for probe in probes]
    _run_adjoint_sweeps(trace, observers, tick)
    _run_graded_sweep(trace, observers, tick)
    variables = [variable for observer in observers for variable in observer.variables()]
    names = [variable.name for variable in variables]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"record: expected each variable from one probe, got {', '.join(sorted(twice))} from two; record twice"
        )
    return variables


class _HiddenRows:
    """Shows an observer the hidden rows of a sweep that runs for the whole state."""

    def __init__(self, observer: Observer, cell: Cell) -> None:
        self.observer, self.cell = observer, cell

    def visit(self, first: int, product: Product, linearization: Linearization | None) -> None:
        self.observer.visit(first, restrict_rows(product, self.cell), linearization)

    def take_adjoint(self, product: Product) -> None:
        self.observer.take_adjoint(restrict_rows(product, self.cell))


def _run_adjoint_sweeps(trace: Trace, observers: list[Observer], tick: Tick) -> None:
    groups: dict[tuple[Any, int, int], list[Observer | _HiddenRows]] = {}
    wishes = [(observer, observer.adjoint) for observer in observers if observer.adjoint is not None]
    whole = {(wish.start, wish.stop) for _, wish in wishes if isinstance(wish.rows, str) and wish.rows == "state"}
    for observer, wish in wishes:
        rows: Any = wish.rows if isinstance(wish.rows, str) else id(wish.rows)
        member: Observer | _HiddenRows = observer
        if rows == "hidden" and (wish.start, wish.stop) in whole:
            rows, member = "state", _HiddenRows(observer, trace.cell)
        groups.setdefault((rows, wish.start, wish.stop), []).append(member)
    requests: dict[tuple[Any, int, int], AdjointRequest] = {}
    for _, wish in wishes:
        requests.setdefault((wish.rows if isinstance(wish.rows, str) else id(wish.rows), wish.start, wish.stop), wish)
    for key, members in groups.items():
        visitors: list[Visitor] = [member for member in members if _visits(member)]
        product = adjoint_sweep(trace, visitors, requests[key].rows, key[1], key[2], tick)
        for member in members:
            member.take_adjoint(product)


def _visits(member: Observer | _HiddenRows) -> bool:
    observer = member.observer if isinstance(member, _HiddenRows) else member
    return type(observer).visit is not Observer.visit


def _run_graded_sweep(trace: Trace, observers: list[Observer], tick: Tick) -> None:
    wishes = [(observer, observer.graded) for observer in observers if observer.graded is not None]
    # Exponents count from their transient on, so those with the same one share a sweep; singular values join any.
    groups: dict[int, list[tuple[Observer, GradedRequest]]] = {}
    for observer, wish in sorted(wishes, key=lambda pair: pair[1].full):
        key = next(iter(groups), 0) if wish.full else wish.transient
        groups.setdefault(key, []).append((observer, wish))
    for transient, members in groups.items():
        k = max(wish.k for _, wish in members)
        full = any(wish.full for _, wish in members)
        times = tuple(sorted({time for _, wish in members for time in wish.times}))
        for time, product in graded_sweep(trace, k, full=full, times=times, transient=transient, tick=tick):
            for observer, _ in members:
                observer.take_graded(time, product)


# ---- dataset ---------------------------------------------------------------------------------------------------

_FIRST = {"transition": 1}


def to_dataset(trace: Trace, variables: list[Variable], attrs: Mapping[str, Any]) -> xr.Dataset:
    """The variables as one dataset, with coordinates and the attributes of the data contract."""
    import xarray as xr

    arrays: dict[str, Any] = {}
    coords = {"batch": np.arange(trace.batch_size)}
    for variable in variables:
        # Where two probes have different grids of the same kind, the longer one has the name.
        for dim, coord in _coordinates(variable).items():
            if dim not in coords or len(coord) > len(coords[dim]):
                coords[dim] = coord
    for variable in variables:
        dims = list(variable.dims)
        for axis, (dim, coord) in enumerate(_coordinates(variable).items()):
            if not np.array_equal(coords[dim], coord):
                dims[axis] = f"{variable.name}_{dim}"
                coords[dims[axis]] = coord
        attributes = {key: _plain(value) for key, value in variable.attrs.items()}
        arrays[variable.name] = (dims, _as_array(variable.values), attributes)
    arrays["overflow_step"] = (
        ("batch",),
        trace.overflow_by_sample.cpu().numpy(),
        {"units": "step", "long_name": "first step whose state left the float range, 0 for none"},
    )
    cell = trace.cell
    described = {
        "cell": cell.title,
        "hyperparameters": json.dumps(cell.hyperparameters, default=str),
        "input_size": cell.input_size,
        "hidden_size": cell.hidden_size,
        "state_size": cell.state_size,
        "parameters": sum(parameter.numel() for parameter in cell.parameters()),
        "T": trace.steps,
        "requested_T": trace.requested,
        "overflow_step": trace.overflow or 0,
        "dtype": str(trace.states.dtype).removeprefix("torch."),
        "seed": "not given",
        "dynlab_version": dynlab.__version__,
        "reference": cell.reference,
    }
    dataset = xr.Dataset(arrays, coords, {**described, **{key: _plain(value) for key, value in attrs.items()}})
    for name in dataset.coords:
        dataset[name].attrs.setdefault(
            "units", "step" if str(name).rpartition("_")[2] in ("time", "transition") else "1"
        )
    return dataset


def _as_array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def _coordinates(variable: Variable) -> dict[str, np.ndarray]:
    """The coordinate of each dim, in the order of the dims: the given one, or a count from the dim's first number."""
    lengths = dict(zip(variable.dims, variable.values.shape, strict=True))
    counted = {dim: np.arange(length) + _FIRST.get(dim, 0) for dim, length in lengths.items()}
    return {dim: np.asarray(variable.coords.get(dim, counted[dim])) for dim in lengths}


def _plain(value: Any) -> Any:
    """An attribute that Zarr can store."""
    return value if isinstance(value, str | int | float | bool | list) else str(value)


# ---- arguments -------------------------------------------------------------------------------------------------


def as_probes(probes: Sequence[Probe | str] | Probe | str) -> list[Probe]:
    """Probes, or names of probes with their defaults, as a list of probes."""
    return [_as_probe(probe) for probe in ([probes] if isinstance(probes, Probe | str) else probes)]


def _as_probe(probe: Any) -> Probe:
    if isinstance(probe, str):
        if probe not in PROBES:
            raise ValueError(f"record: expected a probe among {', '.join(PROBES)}; got {probe!r}")
        return getattr(dynlab, probe)()
    if isinstance(probe, type) and issubclass(probe, Probe):
        return probe()
    if not isinstance(probe, Probe):
        raise TypeError(f"record: expected probes such as dynlab.GradientNorm(), got {_check.describe(probe)}")
    return probe


def _as_cell(model: Any) -> Cell:
    if isinstance(model, Cell):
        return model
    from dynlab.adapt import as_cell

    return as_cell(model)


def _cast(tensor: Any, dtype: torch.dtype) -> Tensor:
    return _check.floating("inputs", tensor, "record").to(dtype)


@contextmanager
def _measuring(model: nn.Module) -> Iterator[None]:
    """In eval mode, without gradients, weights derived once."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), derive_once():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
