"""``Cell``: one step of a recurrence, and what can be asked of it.

Index conventions: t time, b batch, f input feature, p component of the input term, d hidden unit, n state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.adjoints import watched
from dynlab.backend import Backend, checked, runs_native, runs_whole
from dynlab.jacobian.autodiff import linearize_by_autodiff
from dynlab.jacobian.drive import Linearization, detached
from dynlab.jacobian.step import StepJacobian

Keep = Literal["states", "hidden", "last"]

# What no machine can hold; beyond it sizes overflow.
MOST_NUMBERS = 2**48

# Derived weights of the rollout under way; a context variable, since widgets compute on threads of their own.
_DERIVED: ContextVar[dict[tuple[int, str], tuple[object, Tensor]] | None] = ContextVar(
    "dynlab_derived_weights", default=None
)


@contextmanager
def derive_once() -> Iterator[None]:
    """Within this context, ``Cell.derived`` builds each derived weight once, not at every step."""
    if torch.compiler.is_compiling() or _DERIVED.get() is not None:
        yield
        return
    token = _DERIVED.set({})
    try:
        yield
    finally:
        _DERIVED.reset(token)


class TimeStep(NamedTuple):
    """Effective time-steps: ``values`` with one of "time", "batch", "k", "unit" a dimension in ``dims``.

    ``meaning`` says what the number is, for instance "dt * sigmoid(c), UnICORNN Eq. (6)".
    """

    values: Tensor
    dims: tuple[str, ...]
    meaning: str


class Kept(NamedTuple):
    """What a scan leaves: ``sequence`` as ``keep`` names it, None for "last", and the final state (batch, n)."""

    sequence: Tensor | None
    last: Tensor


def needs_backward(*tensors: Tensor | None) -> bool:
    """Whether a backward pass through an operation on these tensors may come."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def kept_for_backward(keep: Keep, *tensors: Tensor | None) -> Keep:
    """What a native recurrence keeps so that its backward pass, should one come, finds every hidden state."""
    return "hidden" if keep == "last" and needs_backward(*tensors) else keep


class CellType(type):
    """Gives every cell, a user's own too, the keyword ``backend`` without its constructor passing it on."""

    def __call__(cls, *args: Any, backend: Backend = "auto", **options: Any) -> Any:
        cell = super().__call__(*args, **options)
        cell.backend = backend
        return cell


class Cell(nn.Module, metaclass=CellType):
    """One time step of a recurrence, ``state_t = cell(x_t, state_{t-1})``.

    A cell of your own defines ``forward(x, state) -> state`` and nothing else; its Jacobians then come from
    ``torch.func``. The cells of dynlab split the step instead, so that all inputs can be projected at once and
    the Jacobian keeps its structure:

    - ``input_term(inputs)``: what depends on the input alone, any leading axes, (..., f) -> (..., p);
    - ``advance(term, state)``: the step, given that term, (..., p), (..., n) -> (..., n);
    - ``linearize(term, states)``: the closed-form Jacobians, any leading axes;
    - ``time_steps(inputs, states)``: the effective time-step of each unit.

    A cell whose parameters differ from step to step sets ``time_varying``; its ``input_term`` then takes
    ``first``, the index of the first input in its sequence, and its terms carry what varies.

    Arguments:
        input_size: f, number of input features; 0 for an autonomous map.
        hidden_size: d, what the next layer and the readout see.
        state_size: n, length of the flat state; ``hidden_size`` unless given.
        backend: what runs ``scan``. "native": the compiled recurrence, where the cell has one; "reference": the
            loop over ``advance``; "auto": native where it can be had, DYNLAB_BACKEND permitting. The LSTM, the GRU,
            the plain RNN and coRNN have no kernels: with "native" by name they run a sequence in one call (torch's
            own; coRNN's adjoint is written out), faster than the loop and rounded otherwise, except where all states
            of the LSTM or adjoints are asked for; "auto" is the loop, so that what is watched is what is trained.

    Attributes:
        hyperparameters: what the cell was built with, for the attributes of datasets.
        reference: paper and equation.
        bibtex: keys of ``dynlab.references``.
        batch_first: inputs of ``scan`` and ``record`` come as (batch, time, feature). States never do.
    """

    reference: ClassVar[str] = "user-defined"
    bibtex: ClassVar[tuple[str, ...]] = ()
    has_native: ClassVar[bool] = False
    has_whole: ClassVar[bool] = False
    batch_first: bool = False
    time_varying: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("step_jacobian", "input_jacobian"):
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}: expected closed-form Jacobians from linearize(term, states), which all that "
                    f"measures reads; got {name} of its own, which nothing would call"
                )

    def __init__(self, input_size: int, hidden_size: int, state_size: int | None = None) -> None:
        super().__init__()
        where = type(self).__name__
        self.input_size = _check.integer("input_size", input_size, where, least=0)
        self.hidden_size = _check.integer("hidden_size", hidden_size, where)
        self.state_size = _check.integer("state_size", hidden_size if state_size is None else state_size, where)
        self.hyperparameters: dict[str, Any] = {}

    @property
    def backend(self) -> Backend:
        """What runs ``scan``, see the class."""
        return self.__dict__.get("_backend", "auto")

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self.__dict__["_backend"] = checked(backend, type(self).__name__)

    # ---- what a cell defines -------------------------------------------------------------------------------

    def forward(self, x: Tensor, state: Tensor, step: int = 1) -> Tensor:
        """One step: x (batch, input_size), state (batch, state_size) -> state (batch, state_size).

        Arguments:
            step: which transition 1 .. T this is; only time-varying cells read it.

        Raises:
            TypeError, ValueError: for tensors of another shape, dtype or device.
        """
        self.check_step(x, state)
        return self.advance(self.terms(x, step - 1), state)

    def input_term(self, inputs: Tensor) -> Tensor:
        """What the step needs of the input, (..., f) -> (..., p): the input itself unless a cell projects it."""
        return inputs

    def input_weight(self) -> Tensor | None:
        """d term / d input, (p, f); None where the term is the input itself."""
        return None

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        """The step from an input term; leading axes are free."""
        if type(self).forward is Cell.forward:
            raise TypeError(f"{type(self).__name__}: define forward(x, state), the step of the recurrence")
        return self.forward(term, state)

    def linearize(self, term: Tensor, states: Tensor) -> Linearization:
        """The step from ``states`` under input terms ``term``, linearised in both.

        Arguments:
            term: (..., p), states: (..., n) with the same leading axes, any number of them.

        Returns:
            Its linearisation; by ``torch.func`` unless the cell has a closed form.
        """
        return linearize_by_autodiff(self.advance, term, states, self.input_weight())

    def time_steps(self, inputs: Tensor | None = None, states: Tensor | None = None) -> TimeStep:
        """The effective time-step of each unit.

        Arguments:
            inputs: (time, batch, f) and states: (time, batch, n), each input's state before it; needed by
                cells whose time-step depends on them (gates).

        Raises:
            ValueError: if the cell defines none, or needs inputs and states and got none.
        """
        raise ValueError(
            f"{type(self).__name__} defines no time-step: expected a method "
            "time_steps(inputs, states) -> dynlab.TimeStep"
        )

    @property
    def title(self) -> str:
        """What datasets and tables call the cell: its class, or the name of a function made into a cell."""
        return type(self).__name__

    @property
    def hidden_slice(self) -> slice:
        """Where the hidden part stands in the state."""
        return slice(0, self.hidden_size)

    # ---- what can be asked of it ---------------------------------------------------------------------------

    def hidden(self, state: Tensor) -> Tensor:
        """The part of the state that the next layer and the readout see, (..., n) -> (..., d)."""
        return state[..., self.hidden_slice]

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """The zero state, (batch_size, state_size), in the cell's dtype and on its device unless told."""
        _check.integer("batch_size", batch_size, f"{type(self).__name__}.initial_state")
        like = self._reference_tensor()
        if like is not None:
            dtype, device = dtype or like.dtype, device or like.device
        return torch.zeros(batch_size, self.state_size, dtype=dtype, device=device)

    def step_jacobian(self, x: Tensor, state: Tensor, step: int = 1) -> StepJacobian:
        """d new state / d state at one step: x (batch, f), state (batch, n); ``.to_dense()`` is (batch, n, n).

        Detached: it is measured, not trained through.
        """
        self.check_step(x, state)
        return self.linearization(x, state, step - 1).jacobian

    def input_jacobian(self, x: Tensor, state: Tensor, step: int = 1) -> Tensor:
        """d new state / d x at one step, (batch, n, f), detached."""
        self.check_step(x, state)
        return self.linearization(x, state, step - 1).drive.to_dense()

    @torch.no_grad()
    def linearization(self, inputs: Tensor, states: Tensor, first: int = 0) -> Linearization:
        """d state_t / d state_{t-1} and d state_t / d x_t, detached.

        Arguments:
            inputs: (..., f), states: (..., n), the state before each input; the same leading axes.
            first: where in its sequence the first input stands; only time-varying cells read it.
        """
        return detached(self.linearize(self.terms(inputs, first), states))

    def terms(self, inputs: Tensor, first: int = 0) -> Tensor:
        """``input_term`` of inputs that stand at ``first``, ``first`` + 1, ... of a sequence."""
        if self.time_varying:
            return self.input_term(inputs, first)  # type: ignore[call-arg]
        return self.input_term(inputs)

    def derived(self, name: str, build: Callable[[], Tensor]) -> Tensor:
        """A weight computed from parameters (an exponential, a low-rank product), once a rollout."""
        # A traced graph builds equal weights once by itself, and cannot look into context variables.
        cache = None if torch.compiler.is_compiling() else _DERIVED.get()
        if cache is None:
            return build()
        key = (id(self), name)
        if key not in cache:
            # The cell stays alive with its weight, so that no other gets its id.
            cache[key] = (self, build())
        return cache[key][1]

    def scan(self, inputs: Tensor, state: Tensor | None = None, keep: Keep = "states") -> Tensor:
        """Run the recurrence over a sequence.

        Arguments:
            inputs: (time, batch, f), or (batch, time, f) if ``batch_first``; at least one step.
            state: the initial state (batch, n), zeros by default.
            keep: what to return.

        Returns:
            "states": all T + 1 states, (time + 1, batch, n), row 0 the initial one, row t after input t - 1;
            "hidden": the hidden part after each input, (time, batch, d); "last": the final state, (batch, n).

        Raises:
            TypeError, ValueError: wrong shape, dtype, device, an empty sequence, NaN or infinite inputs or
                parameters, or a user's step that returns another shape.
            NativeUnavailableError: if backend="native" cannot be had.
        """
        where = f"{type(self).__name__}.scan"
        _check.choice("keep", keep, ("states", "hidden", "last"), where)
        inputs = self.check_inputs(inputs, where)
        if inputs.shape[0] * inputs.shape[1] * max(self.state_size, self.input_size) > MOST_NUMBERS:
            raise ValueError(f"{where}: expected a rollout of at most 2**48 numbers, got {_check.describe(inputs)}")
        if state is None:
            state = self.initial_state(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
        self.check_state(state, inputs, where)
        self._check_parameters(where)
        with derive_once():
            kept = self._run(self.terms(inputs), state, keep, self.backend)
        return kept.last if kept.sequence is None else kept.sequence

    def _run(self, terms: Tensor, state: Tensor, keep: Keep, backend: Backend) -> Kept:
        """The recurrence over input terms (t, b, p), on what ``backend`` asks for."""
        watch = watched(self, terms.shape[0], state)
        if self.has_whole and backend == "native":
            whole = self._whole(terms, state, keep) if watch is None and runs_whole() else None
            return whole or self._loop(terms, state, keep, watch)
        if runs_native(backend, self.has_native, type(self).__name__, terms, state):
            return self._native(terms, state, keep, watch)
        return self._loop(terms, state, keep, watch)

    def _whole(self, terms: Tensor, state: Tensor, keep: Keep) -> Kept | None:
        """The call of a cell that ``has_whole``; None where it cannot give what ``keep`` asks for."""
        raise NotImplementedError(f"{type(self).__name__} has no call for a whole sequence")

    def _native(self, terms: Tensor, state: Tensor, keep: Keep, watch: Tensor | None) -> Kept:
        """The compiled recurrence of a cell that ``has_native``; ``watch`` as in ``dynlab.adjoints``."""
        raise NotImplementedError(f"{type(self).__name__} has no native code")

    def _loop(self, terms: Tensor, state: Tensor, keep: Keep, watch: Tensor | None) -> Kept:
        zeros = None if watch is None else watch.unbind(0)
        if zeros is not None:
            state = state + zeros[0]
        kept = [state] if keep == "states" else []
        expected = state.shape
        for step, term in enumerate(terms.unbind(0), 1):
            state = self.advance(term, state)
            if not isinstance(state, Tensor) or state.shape != expected:
                raise ValueError(
                    f"{type(self).__name__}: expected the step to return a state of shape {tuple(expected)}, "
                    f"got {_check.describe(state)}"
                )
            if zeros is not None:
                state = state + zeros[step]
            if keep != "last":
                kept.append(state if keep == "states" else self.hidden(state))
        return Kept(torch.stack(kept) if keep != "last" else None, state)

    # ---- checks --------------------------------------------------------------------------------------------

    def _floating_tensors(self) -> Iterator[Tensor]:
        yield from (parameter for parameter in self.parameters() if parameter.is_floating_point())
        yield from (buffer for buffer in self.buffers() if buffer.is_floating_point())

    def _reference_tensor(self) -> Tensor | None:
        return next(self._floating_tensors(), None)

    def check_inputs(self, inputs: Any, where: str) -> Tensor:
        """Inputs as (time, batch, feature), or the error that says what is wrong with them."""
        _check.floating("inputs", inputs, where)
        axes = ("batch", "time") if self.batch_first else ("time", "batch")
        _check.shaped("inputs", inputs, (*axes, self.input_size), where)
        if inputs.shape[0] == 0 or inputs.shape[1] == 0:
            raise ValueError(f"{where}: expected at least one time step and one sample, got {_check.describe(inputs)}")
        _check.matching("inputs", inputs, self._reference_tensor(), "the cell's parameters", where)
        if inputs.numel() <= MOST_NUMBERS and _check.may_look(inputs):
            _check.finite("inputs", inputs.detach(), where)
        return inputs.transpose(0, 1) if self.batch_first else inputs

    def _check_parameters(self, where: str) -> None:
        for name, parameter in self.named_parameters():
            if parameter.is_floating_point() and _check.may_look(parameter):
                _check.finite(name, parameter.detach(), where)

    def check_state(self, state: Any, inputs: Tensor, where: str) -> Tensor:
        """A state that fits time-first ``inputs``, or the error that says what is wrong with it."""
        _check.floating("state", state, where)
        _check.shaped("state", state, (inputs.shape[-2], self.state_size), where)
        return _check.matching("state", state, inputs, "the inputs", where)

    def check_step(self, x: Any, state: Any) -> None:
        """The checks of one step."""
        where = type(self).__name__
        _check.floating("x", x, where)
        _check.shaped("x", x, ("batch", self.input_size), where)
        _check.matching("x", x, self._reference_tensor(), "the cell's parameters", where)
        self.check_state(state, x, where)

    def extra_repr(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.hyperparameters.items())
        return f"{self.input_size}, {self.hidden_size}{given}"
