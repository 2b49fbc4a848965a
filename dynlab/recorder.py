"""``Recorder``: watches a network while it learns, in Lightning or in a loop of one's own."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from dynlab import _check
from dynlab.adjoints import Adjoints, watch_adjoints
from dynlab.cell import Cell
from dynlab.network import Network
from dynlab.probes.base import Probe
from dynlab.recording import as_probes
from dynlab.recording_store import RecordingStore

if TYPE_CHECKING:
    import xarray as xr

BUDGET = 100_000_000
"""Bytes of records, uncompressed; our choice."""

LOG_DENSITY = 10
"""Records a decade of steps, where they are log-spaced; our choice."""


class Grid:
    """The steps to record at: multiples of ``every``, or 0 and ``LOG_DENSITY`` a decade; thinned by ``stride``."""

    def __init__(self, every: int | Literal["log"], stride: int = 1) -> None:
        if every != "log":
            _check.integer("every", every, "Recorder")
        self.every, self.stride = every, stride

    def __contains__(self, step: int) -> bool:
        if self.every != "log":
            return step % (self.every * self.stride) == 0
        if step == 0:
            return True
        # The nearest point of the grid; a thinner grid is a part of a denser one.
        nearest = round(LOG_DENSITY * np.log10(step) / self.stride) * self.stride
        near = (nearest - self.stride, nearest, nearest + self.stride)
        return any(round(10 ** (index / LOG_DENSITY)) == step for index in near if index >= 0)


class Recorder:
    """Records gradients, weights and probes every so many steps, without disturbing the training.

    In a loop of one's own::

        with dynlab.Recorder("run.zarr", network, held_inputs, every=100) as recorder:
            for inputs, target in batches:
                with recorder.watching():
                    loss = criterion(network.read(inputs), target)
                optimizer.zero_grad()
                loss.backward()
                recorder.step(loss)  # after backward, before the optimizer's step
                optimizer.step()
        data = dynlab.open_recording("run.zarr")

    In Lightning, ``Trainer(callbacks=[dynlab.Recorder("run.zarr", inputs=held_inputs)])``: without a model it is a
    callback that takes the LightningModule's ``network``.

    A record belongs to the parameters as they are after ``step`` updates, and has

    - ``loss``, of the live batch;
    - ``log_live_gradient_norm (layer, live_time 0..T)``: natural logarithm of the Euclidean norm, over batch and
      state, of dL/d state_t of the live batch, out of the training's own backward pass;
    - ``weight_norm``, ``weight_max``, ``parameter_gradient_norm (parameter)``: Euclidean norm and largest entry of
      each parameter (for a vector its infinity norm, UnICORNN Fig. 7), and the norm of its gradient;
    - what ``probes`` measure on ``inputs``, and ``time_step`` of cells that have one: see ``TimeSteps``.

    Random generators, training mode, gradients and parameters stay as they are. Records are on disk when ``step``
    returns; a killed training loses at most the one being written. Beyond ``budget`` every second record goes, and the
    interval doubles.

    Arguments:
        path: of the Zarr store. model: a cell or a network of cells.
        inputs: a held batch (time, batch, f) for the probes. probes: as ``dynlab.record`` takes them; none without
            inputs, ``GradientNorm`` with them unless told otherwise.
        every: steps between records, or "log" for 10 a decade.
        of: "state" or "hidden", the part of dL/d state_t whose norm is taken.
        budget: bytes of all records before compression; None for no bound.
        resume: go on with the store at ``path``; records of steps that come again are taken away.
        attrs: further attributes of the dataset.

    Raises:
        FileExistsError: if there is something at ``path``, without ``resume``.
    """

    def __new__(cls, path: Any = None, model: Any = None, *arguments: Any, **options: Any) -> Self:
        # Lightning takes seconds to import: only those who use it wait.
        if cls is Recorder and (model is None or "lightning.pytorch" in sys.modules):
            from dynlab.training.recording import RecorderCallback

            return super().__new__(RecorderCallback)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Cell | None = None,
        inputs: Tensor | None = None,
        probes: Sequence[Probe | str] | None = None,
        every: int | Literal["log"] = 100,
        *,
        of: Literal["state", "hidden"] = "state",
        budget: int | None = BUDGET,
        resume: bool = False,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        where = "Recorder"
        if model is not None and not isinstance(model, Cell):
            raise TypeError(
                f"{where}: expected a dynlab cell or Network (dynlab.as_cell makes one), got {_check.describe(model)}"
            )
        if probes and inputs is None:
            raise ValueError(f"{where}: expected inputs, a held batch, for the probes to measure on; got none")
        self.model, self.inputs = model, inputs
        default = ("GradientNorm",) if inputs is not None else ()
        self.probes = as_probes(default if probes is None else probes)
        self.of = _check.choice("of", of, ("state", "hidden"), where)
        self.budget = None if budget is None else _check.integer("budget", budget, where)
        self.attrs = dict(attrs or {})
        self.store = RecordingStore(path)
        if self.store.group is not None and not resume:
            raise FileExistsError(
                f"{where}: there is a recording at {self.store.path}; pass resume=True to go on with it, or choose "
                "another path"
            )
        self.grid = Grid(every, self.store.attribute("stride", 1))
        if self.store.attribute("every", every) != every:
            raise ValueError(
                f"{where}: expected every={self.store.attribute('every', every)!r} as in the recording at "
                f"{self.store.path}, got {every!r}"
            )
        steps = self.store.steps
        self.next_step = steps[-1] + 1 if steps else 0
        self._adjoints: Adjoints | None = None
        self._versions: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what was watched; every record is on disk already."""
        self._adjoints = None

    # ---- a loop of one's own ---------------------------------------------------------------------------------------

    @contextmanager
    def watching(self, step: int | None = None) -> Iterator[None]:
        """Around the forward pass; where a record is due, its backward pass hands out dL/d state_t.

        Arguments:
            step: updates made so far, where the recorder is not to count them itself.
        """
        self.begin(self.next_step if step is None else step)
        if not self.due:
            yield
            return
        with watch_adjoints() as self._adjoints:
            yield

    def begin(self, step: int) -> None:
        """Start on a step: forget what was recorded for it, or after it, by a training that was interrupted."""
        _check.integer("step", step, "Recorder", least=0)
        steps = self.store.steps if self._first else []
        if steps and step <= steps[-1]:
            self.store.truncate(step)
        self._first = False
        self.next_step, self._adjoints = step, None
        self._versions = self._seen()

    _first = True

    @property
    def due(self) -> bool:
        """Whether the next ``step`` makes a record."""
        return self.next_step in self.grid

    def step(self, loss: Tensor | float) -> None:
        """Record if it is time; call it between ``loss.backward()`` and the optimizer's step.

        Raises:
            ValueError: if the parameters have been changed since the forward pass, or it ran through no scan of the
                model's cells.
        """
        if self.due:
            if self._versions and self._versions != self._seen():
                raise ValueError(
                    f"Recorder: step {self.next_step}: expected step(loss) before the optimizer changes parameters, "
                    "got it after"
                )
            with _undisturbed():
                self.store.append(self._record(loss), self.next_step)
            self._thin()
        self._adjoints, self._versions = None, []
        self.next_step += 1
        self._first = False

    def _seen(self) -> list[int]:
        return [] if self.model is None else [parameter._version for parameter in self.model.parameters()]

    # ---- a record --------------------------------------------------------------------------------------------------

    def _record(self, loss: Tensor | float) -> xr.Dataset:
        import xarray as xr

        from dynlab import recorded

        model = self.model
        if model is None:
            raise TypeError(
                "Recorder: expected a model, got none; without one it is a callback for Lightning's Trainer"
            )
        parts = [recorded.loss(loss), recorded.parameters(model)]
        if self._adjoints is not None:
            layers = model.layers if isinstance(model, Network) else [model]
            parts.append(recorded.live_gradients(self._adjoints, layers, self.of, self.next_step))
        probes = recorded.with_time_steps(self.probes, model)
        if self.inputs is not None and probes:
            reference = next(model.parameters(), self.inputs)
            held = self.inputs.to(reference.device, reference.dtype)
            parts.append(recorded.held(model, held, probes, self.store.template))
        merged = xr.merge(parts, combine_attrs="no_conflicts", join="exact", compat="no_conflicts")
        stride = {"every": self.grid.every, "stride": self.grid.stride}
        return merged.assign_attrs({**merged.attrs, **self.attrs, **stride})

    def _thin(self) -> None:
        while self.budget is not None and self.store.bytes > self.budget and len(self.store.steps) > 2:
            self.grid.stride *= 2
            self.store.thin(self.grid.__contains__, stride=self.grid.stride)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The random generators as they were, and none of dynlab's own warnings about overflow, which is in the record."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "(?s).*left the range", RuntimeWarning)
        yield
