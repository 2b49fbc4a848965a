"""The product of step Jacobians from any time s to any time t of a rollout: its norm, eigenvalues, singular values.

No widget is imported here. The rollout is made once; each answer then comes from one sample's part of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dynlab import _check
from dynlab.adapt import as_cell
from dynlab.cell import Cell, derive_once
from dynlab.jacobian.drive import Linearization
from dynlab.jacobian.product import out_of_range
from dynlab.probes import EndToEndSpectrum, GradientNorm, LyapunovSpectrum, SingularValues
from dynlab.probes.base import Variable
from dynlab.recording import measure, to_dataset
from dynlab.trace import Trace, rollout

if TYPE_CHECKING:
    import xarray as xr

Tick = Callable[[float], None]
SWEEP = 0.9
"""The share of the sweep in the time that singular values take; the rest is their own, seldom of unknown length."""


@dataclass(frozen=True)
class Part(Trace):
    """Consecutive transitions of a longer rollout.

    Attributes:
        offset: transitions of the rollout before the first one here, for cells whose step depends on the time.
    """

    offset: int = 0

    def linearize(self, start: int, stop: int) -> Linearization:
        """As ``Trace.linearize``, times counted from the part's start."""
        return self.cell.linearization(self.inputs[start:stop], self.states[start:stop], start + self.offset)


def follow(model: nn.Module, inputs: Tensor, dtype: torch.dtype | None = None) -> Trace:
    """The rollout of a copy of ``model`` in eval mode, so that what is learned later does not change it.

    Arguments:
        model: a cell, a network, or anything ``as_cell`` takes. inputs: as it takes them. dtype: of the copy and the
            inputs; the model's own by default.

    Raises:
        TypeError, ValueError: as ``as_cell`` and ``rollout``.
    """
    cell = copy.deepcopy(model if isinstance(model, Cell) else as_cell(model)).eval()
    if dtype is not None:
        cell, inputs = cell.to(dtype), _check.floating("inputs", inputs, "between").to(dtype)
    with derive_once():
        return rollout(cell, inputs)


def part(trace: Trace, start: int, stop: int, sample: int = 0) -> Part:
    """Transitions start + 1 .. stop of one sample.

    Raises:
        ValueError: unless 0 <= start < stop <= T and there is such a sample.
    """
    for name, value in (("start", start), ("stop", stop), ("sample", sample)):
        _check.integer(name, value, "between", least=0)
    if not start < stop <= trace.steps:
        raise ValueError(
            f"between: expected 0 <= start < stop <= T = {trace.steps}, got start = {start}, stop = {stop}"
        )
    if sample >= trace.batch_size:
        raise ValueError(f"between: expected a sample below {trace.batch_size}, got {sample}")
    one = slice(sample, sample + 1)
    return Part(
        trace.cell, trace.inputs[start:stop, one], trace.states[start : stop + 1, one], stop - start, None,
        torch.zeros_like(trace.overflow_by_sample[one]), start,
    )  # fmt: skip


# ---- what is measured ------------------------------------------------------------------------------------------------


def gradient_norm(trace: Trace, sample: int, tick: Tick = lambda share: None) -> xr.Dataset:
    """``log_final_gradient_norm`` (rollout_time 0..T, batch): of d state_T / d state_t, whatever s and t are."""
    whole = part(trace, 0, trace.steps, sample)
    with torch.no_grad(), derive_once():
        measured = measure(whole, [GradientNorm(ratio=False)], _counted(tick, whole.steps))
    found = next(variable for variable in measured if variable.name == "log_gradient_norm")
    name = f"log norm of d state_{trace.steps} / d state_t"
    dims = ("rollout_time", "batch")
    final = Variable("log_final_gradient_norm", dims, found.values, {**found.attrs, "long_name": name})
    return _dataset(whole, [final], sample).drop_attrs(deep=False)


def eigenvalues(trace: Trace, start: int, stop: int, sample: int, tick: Tick = lambda share: None) -> xr.Dataset:
    """What one sweep each way gives of d state_stop / d state_start, the quick part.

    Variables:
        those of ``EndToEndSpectrum``;
        log_gradient_norm (time start..stop, batch): of d state_stop / d state_t, as ``GradientNorm`` has it;
        log_growth (time start..stop, batch): of d state_t / d state_start, in the same norm. Its last is the first
            of log_gradient_norm: the norm of the whole product.
    """
    piece = part(trace, start, stop, sample)
    swept = _counted(tick, 2 * piece.steps)
    with torch.no_grad(), derive_once():
        found = measure(piece, [EndToEndSpectrum(), GradientNorm(ratio=False)], swept)
        found.append(_growth(piece, swept))
    return _dataset(piece, found, sample)


def singular_values(trace: Trace, start: int, stop: int, sample: int, tick: Tick = lambda share: None) -> xr.Dataset:
    """What the QR sweep gives, the slow part; small singular values are as accurate as large ones.

    Variables:
        log_singular_value (batch, mode): of d state_stop / d state_start.
        lyapunov_exponent (batch, mode): of the transitions between, nats a step.
    """
    piece = part(trace, start, stop, sample)
    done = 0.0

    def swept(share: float) -> None:
        nonlocal done
        done = SWEEP * share
        tick(done)

    with torch.no_grad(), derive_once(), _Interruptible(lambda: tick(done)):
        found = measure(piece, [SingularValues(), LyapunovSpectrum()], _counted(swept, piece.steps))
    return _dataset(piece, found, sample)


def between(
    model: nn.Module,
    inputs: Tensor,
    start: int = 0,
    stop: int | None = None,
    sample: int = 0,
    dtype: torch.dtype | None = None,
    *,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """All about d state_stop / d state_start of one sample: ``eigenvalues``, ``singular_values``, ``gradient_norm``.

    Arguments:
        model, inputs, dtype: as ``follow`` takes them. start, stop: 0 <= start < stop <= T, T by default.
        sample: of the batch. attrs: further attributes of the dataset.

    Raises:
        TypeError, ValueError: as ``follow`` and ``part``.
    """
    trace = follow(model, inputs, dtype)
    stop = trace.steps if stop is None else stop
    found = [make(trace, start, stop, sample) for make in (eigenvalues, singular_values)]
    return joined([*found, gradient_norm(trace, sample)], attrs)


def joined(parts: Iterable[xr.Dataset], attrs: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Answers about the same product as one dataset."""
    import xarray as xr

    whole = xr.merge(parts, combine_attrs="override", join="exact", compat="no_conflicts")
    return whole.assign_attrs(dict(attrs or {}))


def _growth(piece: Part, swept: Callable[[int], None]) -> Variable:
    """log of the Frobenius norm of d state_t / d state_start over the square root of n, for t = start .. stop."""
    size = piece.cell.state_size
    like = piece.states
    columns = torch.eye(size, dtype=like.dtype, device=like.device).expand(piece.batch_size, size, size)
    log_scale = like.new_zeros(piece.batch_size, dtype=torch.float64)
    logs = [log_scale + math.log(size) / 2]
    for _, step in piece.linearizations(width=size):
        columns = step.jacobian.right(columns)
        norm = torch.linalg.vector_norm(columns, dim=(-2, -1))
        logs.append(norm.double().log() + log_scale)
        if out_of_range(norm):
            norm = torch.where(norm > 0, norm, 1)
            columns, log_scale = columns / norm[:, None, None], log_scale + norm.double().log()
        swept(1)
    name = f"log Frobenius norm of d state_t / d state_{piece.offset}, over the square root of the state's size"
    values = torch.stack(logs) - math.log(size) / 2
    return Variable("log_growth", ("time", "batch"), values, {"units": "nat", "long_name": name})


def _counted(tick: Tick, steps: int) -> Callable[[int], None]:
    done = 0

    def swept(count: int) -> None:
        nonlocal done
        done += count
        tick(min(done / steps, 1.0))

    return swept


def _dataset(piece: Part, variables: list[Variable], sample: int) -> xr.Dataset:
    start, stop = piece.offset, piece.offset + piece.steps
    data = to_dataset(piece, variables, {"start": start, "stop": stop, "sample": sample})
    data = data.assign_coords(batch=("batch", [sample], {"units": "1"}))
    if "time" in data.dims:
        data = data.assign_coords(time=("time", data["time"].values + start, {"units": "step"}))
    for variable in data.data_vars.values():
        name = variable.attrs["long_name"]
        # The probes name the ends of the rollout that they are given.
        variable.attrs["long_name"] = name.replace("state_T", f"state_{stop}").replace("state_0", f"state_{start}")
    return data


class _Interruptible(TorchFunctionMode):
    """Calls ``tick``, which may raise, before every torch function of this thread: nothing goes on for long."""

    def __init__(self, tick: Callable[[], None]) -> None:
        super().__init__()
        self._tick = tick

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._tick()
        return func(*args, **(kwargs or {}))
