"""Cells whose step is another package's module."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell, Keep, Kept
from dynlab.jacobian.drive import Drive, GainDrive

GATE_DIMS = ("time", "batch", "unit")
"""Dimensions of a time-step that is a gate."""

GATE_MEANING = "a gate read as the time-step of a leaky integrator (Tallec & Ollivier 2018)"


def needs(cell: Cell, inputs: Tensor | None, states: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both, or the error that says why ``time_steps`` needs them."""
    if inputs is None or states is None:
        raise ValueError(f"{type(cell).__name__}: expected inputs and states, which the gate's time-step depends on")
    return inputs, states


def in_one_call(recurrence: Callable[..., tuple[Tensor, ...]], cell: ModuleCell, terms: Tensor, *state: Tensor) -> Any:
    """One of torch's recurrences over sequences, such as torch.gru, with the weights of the cell's module.

    Arguments:
        terms: the inputs, (t, b, f). state: its initial parts, (b, d) each.

    Returns:
        the hidden parts (t, b, d), then the final parts (b, d).
    """
    first: Any = [part.unsqueeze(0).contiguous() for part in state]
    with warnings.catch_warnings():
        # cuDNN would have the weights in one piece of memory; it copies them, once a call.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk", UserWarning)
        # Its backward pass asks for "training", which stands for nothing else where there is no dropout.
        outputs, *last = recurrence(
            terms, first if len(first) > 1 else first[0], cell._weights(), cell.module.bias, 1, 0.0,
            torch.is_grad_enabled(), False, False,
        )  # fmt: skip
    return outputs, *(part[0] for part in last)


def whole_states(
    recurrence: Callable[..., tuple[Tensor, ...]], cell: ModuleCell, terms: Tensor, state: Tensor, keep: Keep
) -> Kept:
    """``in_one_call`` for cells whose state is what they show."""
    outputs, last = in_one_call(recurrence, cell, terms, state)
    sequence = {"states": lambda: torch.cat([state.unsqueeze(0), outputs]), "hidden": lambda: outputs}.get(keep)
    return Kept(sequence() if sequence else None, last)


@dataclass(frozen=True)
class InputDrive(Drive):
    """Gains (..., s, g, d) on pre-activations ``matrix @ x + ...`` that the module makes from the input itself.

    The term of such a cell is x, so ``weight`` is None and ``matrix`` (g * d, f) stands inside the term's slope.
    """

    gains: Tensor
    matrix: Tensor
    weight: None = None
    shared = ("matrix", "weight")

    def left_term(self, rows: Tensor) -> Tensor:
        return GainDrive(self.gains, None).left_term(rows) @ self.matrix

    def right_term(self, columns: Tensor) -> Tensor:
        return GainDrive(self.gains, None).right_term(self.matrix @ columns)

    def term_to_dense(self) -> Tensor:
        return GainDrive(self.gains, None).term_to_dense() @ self.matrix


class ModuleCell(Cell):
    """A cell whose step is ``self.module``, with weights named as torch.nn and torchrecurrent name them.

    The parts of the state (h, or h and c) stand one after the other in the flat state.

    Attributes:
        module: what computes the step. Its weight_ih is (g * d, f), its weight_hh (g * d, d).
        parts: number of tensors that the module's state consists of.
    """

    parts: ClassVar[int] = 1
    module: Any

    def __init__(self, module: Any, **hyperparameters: Any) -> None:
        super().__init__(module.input_size, module.hidden_size, self.parts * module.hidden_size)
        self.module = module
        self.hyperparameters = hyperparameters

    @classmethod
    def _checked(cls, input_size: int, hidden_size: int) -> tuple[int, int]:
        """The sizes, or dynlab's error for them: modules have none, or their own."""
        where = cls.__name__
        return _check.integer("input_size", input_size, where, least=0), _check.integer(
            "hidden_size", hidden_size, where
        )

    @classmethod
    def wrap(cls, module: Any) -> Self:
        """The cell around an existing ``module``, whose parameters it shares."""
        cell = cls.__new__(cls)
        ModuleCell.__init__(cell, module, **cls._options(module))
        return cell

    @classmethod
    def _options(cls, module: Any) -> dict[str, Any]:
        """Hyperparameters that can be read off a module."""
        return {}

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        # The modules take (batch, f) and (batch, d) only.
        leading = state.shape[:-1]
        x, flat = (tensor.unsqueeze(0) if tensor.dim() == 1 else tensor.flatten(0, -2) for tensor in (term, state))
        new = self.module(x, flat) if self.parts == 1 else torch.cat(self.module(x, flat.chunk(self.parts, -1)), -1)
        return new.view(*leading, self.state_size)

    def _weights(self) -> list[Tensor]:
        """Weights and biases in the order in which torch's recurrences over sequences take them."""
        biases = [self.module.bias_ih, self.module.bias_hh] if self.module.bias else []
        return [self.module.weight_ih, self.module.weight_hh, *biases]

    def _bias(self, name: str) -> Tensor | None:
        """A bias of the module, None where it was built without."""
        bias = getattr(self.module, name, None)
        return bias if isinstance(bias, Tensor) else None

    def _from_input(self, inputs: Tensor) -> Tensor:
        """W_ih x + b_ih, (..., g * d)."""
        return nn.functional.linear(inputs, self.module.weight_ih, self._bias("bias_ih"))

    def _from_hidden(self, hidden: Tensor) -> Tensor:
        """W_hh h + b_hh, (..., g * d)."""
        return nn.functional.linear(hidden, self.module.weight_hh, self._bias("bias_hh"))

    def _preactivations(self, inputs: Tensor, states: Tensor) -> tuple[Tensor, ...]:
        """W_ih x + b_ih + W_hh h + b_hh, one (..., d) a gate."""
        return (self._from_input(inputs) + self._from_hidden(self.hidden(states))).split(self.hidden_size, dim=-1)

    def _unit_steps(self, value: float | Tensor) -> Tensor:
        """One time-step for all units, (d,)."""
        return torch.ones_like(self.module.weight_hh[0]) * value
