"""``as_cell``: cells of other packages, and steps of your own, as dynlab cells."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.cell import Cell

Step = Callable[[Tensor, Tensor], Tensor]

_ACCEPTED = (
    "a dynlab cell; a torch.nn.RNNCell, LSTMCell or GRUCell; a one-directional torch.nn.RNN, LSTM or GRU; a "
    "torchrecurrent cell or layer; or any module or function (x, state) -> state with input_size and state_size"
)


def as_cell(
    module: nn.Module | Step,
    *,
    input_size: int | None = None,
    state_size: int | None = None,
    hidden_size: int | None = None,
    name: str | None = None,
) -> Cell:
    """A dynlab cell that steps as ``module`` does and shares its parameters.

    Accepted, with the state that comes out:

    - a dynlab cell: itself;
    - torch.nn.RNNCell, LSTMCell, GRUCell: ``Elman``, ``LSTM`` (state [h, c]), ``GRU``, Jacobians in closed form;
    - torch.nn.RNN, LSTM, GRU, one-directional and without projections: the same, and for several layers a
      ``Network`` of them. ``batch_first`` is honoured. In training mode Network's dropout keeps one mask a
      sequence where torch draws one a step;
    - torchrecurrent's cells and layers whose step reads (x, state) and shows the first part of its state: that
      part first, then the other; where dynlab has the same equation, in closed form;
    - any other module or function (x (batch, f), state (batch, n)) -> new state (batch, n), with samples that do
      not influence one another: Jacobians by ``torch.func``. A module with attributes ``input_size`` and
      ``hidden_size`` needs no keywords.

    Arguments:
        module: what to adapt.
        input_size: f, and state_size: n, of a module or function that does not say; 0 input features for an
            autonomous map.
        hidden_size: d, the first d components of the state are what the next layer and the readout see; all of
            them unless told.
        name: what to call a function or module in tables; its own name unless given.

    Raises:
        TypeError: for anything else, or a step of unknown sizes.
        ValueError: for a layer that is no recurrence forward in time, or sizes that contradict the module.
    """
    where = "as_cell"
    if isinstance(module, type) or not callable(module):
        what = (
            f"the class {module.__name__}, not an object of it" if isinstance(module, type) else type(module).__name__
        )
        raise TypeError(f"{where}: expected {_ACCEPTED}; got {what}")
    cell = module if isinstance(module, Cell) else _known(module) if isinstance(module, nn.Module) else None
    if cell is None:
        return _unknown(module, input_size, state_size, hidden_size, name)
    given = {"input_size": input_size, "state_size": state_size, "hidden_size": hidden_size}
    for size, value in given.items():
        if value is not None and value != getattr(cell, size):
            raise ValueError(
                f"{where}: expected {size} = {getattr(cell, size)}, which {type(module).__name__} has, got {value!r}"
            )
    return cell


class StepCell(Cell):
    """A module or function ``(x, state) -> state`` as a cell; Jacobians by ``torch.func``.

    Arguments:
        step: what computes the new state. A module becomes a submodule.
        input_size: f. hidden_size: d. state_size: n.
        name: what to call it; its own name unless given.
    """

    step: Any

    def __init__(
        self, step: nn.Module | Step, input_size: int, hidden_size: int, state_size: int, name: str | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, state_size)
        if hidden_size > state_size:
            raise ValueError(f"as_cell: expected hidden_size <= state_size = {state_size}, got {hidden_size}")
        self.step = step
        if isinstance(step, nn.Module):
            self.training = step.training
        self.name = name or _name(step)
        self.hyperparameters = {"name": self.name}

    @property
    def title(self) -> str:
        """The name."""
        return self.name

    def _call(self, x: Tensor, state: Tensor) -> Any:
        return self.step(x, state)

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        try:
            new = self._call(term, state)
        except Exception as error:
            # The type stays what it is: vmap's own errors tell linearize to take another way.
            error.add_note(
                f"as_cell: {self.name} was called with x of shape {tuple(term.shape)} and a state of shape "
                f"{tuple(state.shape)}, from input_size = {self.input_size} and state_size = {self.state_size}"
            )
            raise
        if not isinstance(new, Tensor):
            remedy = "; concatenate its parts into one state (batch, state_size)" if isinstance(new, tuple) else ""
            raise TypeError(
                f"{self.name}: expected the step to return one state tensor, got {type(new).__name__}{remedy}"
            )
        if new.shape != state.shape or new.dtype != state.dtype or new.device != state.device:
            raise ValueError(
                f"{self.name}: expected the step to return {_check.describe(state)}, the state that it got, "
                f"got {_check.describe(new)}"
            )
        return new


class PartsCell(StepCell):
    """A torchrecurrent cell whose state has parts, one after the other in the flat state.

    Arguments:
        step: the cell. sizes: length of each part of its state, the first is what it shows.
    """

    def __init__(self, step: Any, sizes: tuple[int, ...]) -> None:
        super().__init__(step, step.input_size, sizes[0], sum(sizes))
        self.sizes = sizes
        self.reference = f"torchrecurrent.{type(step).__name__}"  # type: ignore[misc]

    def _call(self, x: Tensor, state: Tensor) -> Tensor:
        if len(self.sizes) == 1:
            return self.step(x, state)
        return torch.cat(self.step(x, state.split(self.sizes, dim=-1)), dim=-1)


def _name(step: Any) -> str:
    return getattr(step, "__name__", None) or type(step).__name__


def _unknown(
    step: nn.Module | Step, input_size: int | None, state_size: int | None, hidden_size: int | None, name: str | None
) -> Cell:
    """A step of which nothing is known but its sizes."""
    if isinstance(step, nn.Module):
        input_size = getattr(step, "input_size", None) if input_size is None else input_size
        hidden_size = getattr(step, "hidden_size", None) if hidden_size is None else hidden_size
        state_size = hidden_size if state_size is None else state_size
    if input_size is None or state_size is None:
        raise TypeError(
            f"as_cell: expected input_size=... and state_size=... for {name or _name(step)}, which has no "
            f"attributes input_size and hidden_size; got input_size={input_size}, state_size={state_size}"
        )
    return StepCell(step, input_size, state_size if hidden_size is None else hidden_size, state_size, name)


def _is(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is one of ``kind`` that steps as ``kind`` does."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _known(module: Any) -> Cell | None:
    """The cell for a module of torch.nn or torchrecurrent, None for any other."""
    from dynlab import cells

    kinds = (
        (nn.RNNCell, nn.RNN, cells.Elman),
        (nn.LSTMCell, nn.LSTM, cells.LSTM),
        (nn.GRUCell, nn.GRU, cells.GRU),
    )
    for cell_kind, layer_kind, ours in kinds:
        if _is(module, cell_kind):
            return ours.wrap(module).train(module.training)
        if _is(module, layer_kind):
            return _stacked(module, [ours.wrap(shared) for shared in _shared_cells(module, cell_kind)])
    base = sys.modules.get("torchrecurrent.base")
    return None if base is None else _torchrecurrent(module, base)


def _shared_cells(layer: Any, kind: type[nn.RNNCellBase]) -> list[nn.RNNCellBase]:
    """One torch.nn cell a layer, with the layer's own Parameters."""
    where = f"as_cell: {type(layer).__name__}"
    if layer.bidirectional:
        raise ValueError(f"{where}: expected bidirectional=False, a recurrence forward in time; got bidirectional=True")
    if layer.proj_size:
        raise ValueError(f"{where}: expected proj_size=0, got proj_size={layer.proj_size}")
    options = {"nonlinearity": layer.nonlinearity} if kind is nn.RNNCell else {}
    shared = []
    for index in range(layer.num_layers):
        # On the meta device nothing is drawn or allocated for weights that are replaced at once.
        cell = kind(
            layer.hidden_size if index else layer.input_size, layer.hidden_size, layer.bias, device="meta", **options
        )
        for own in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if layer.bias else ("weight_ih", "weight_hh"):
            parameter = getattr(layer, f"{own}_l{index}")
            if not isinstance(parameter, nn.Parameter):
                raise ValueError(
                    f"{where}: expected {own}_l{index} to be a Parameter that can be shared, got "
                    f"{type(parameter).__name__}; take its parametrization off, or adapt a cell of each layer"
                )
            setattr(cell, own, parameter)
        shared.append(cell)
    return shared


def _stacked(layer: Any, cells: list[Cell]) -> Cell:
    """One cell, or the Network of several, with the layer's dropout and order of axes."""
    if len(cells) == 1:
        cell = cells[0]
    else:
        from dynlab.network import Network

        cell = Network(cells, dropout=layer.dropout)
    cell.batch_first = layer.batch_first
    return cell.train(layer.training)


def _torchrecurrent(module: Any, base: ModuleType) -> Cell | None:
    """The cell for a torchrecurrent cell or layer, None for a module of another kind."""
    name = type(module).__name__
    if isinstance(module, base.RecurrentLayerBase):
        if not any(
            _is(module, kind) for kind in (base.SingleStateRecurrentLayerBase, base.DoubleStateRecurrentLayerBase)
        ):
            raise ValueError(f"as_cell: torchrecurrent's {name} has a loop of its own; adapt a cell, not the layer")
        return _stacked(module, [as_cell(cell) for cell in module.cells])
    if not isinstance(module, base.RecurrentCellBase):
        return None
    if not isinstance(module, base.SingleStateCellBase | base.DoubleStateCellBase) or name == "tauGRUCell":
        raise ValueError(
            f"as_cell: expected a torchrecurrent cell that reads (x, state) and shows the first part of its state; "
            f"{name} shows something else or reads older states. Give a function (x, state) -> state instead"
        )
    ours = _closed_form(module)
    return PartsCell(module, _part_sizes(module)).train(module.training) if ours is None else ours


def _closed_form(module: Any) -> Cell | None:
    """The dynlab cell of the same equation, if there is one."""
    import torchrecurrent

    from dynlab import cells
    from dynlab.cells._module import ModuleCell
    from dynlab.cells.fastrnn import FAST_ACTIVATIONS

    # The nonlinearity of a FastGRNNCell is that of its gate. None: there is nothing to choose.
    rows: tuple[tuple[type[nn.Module], type[ModuleCell], tuple[type[nn.Module], ...] | None], ...] = (
        (torchrecurrent.FastRNNCell, cells.FastRNN, tuple(FAST_ACTIVATIONS.values())),
        (torchrecurrent.FastGRNNCell, cells.FastGRNN, (nn.Sigmoid,)),
        (torchrecurrent.coRNNCell, cells.CoRNN, None),
        (torchrecurrent.UGRNNCell, cells.UGRNN, None),
    )
    for kind, ours, acts in rows:
        if _is(module, kind) and (acts is None or type(module.act) in acts):
            return ours.wrap(module).train(module.training)
    return None


@torch.no_grad()
def _part_sizes(module: Any) -> tuple[int, ...]:
    """Lengths of the parts of a torchrecurrent cell's state, from one step of zeros."""
    like = next(module.parameters())
    training = module.training
    module.eval()
    try:
        new = module(torch.zeros(1, module.input_size, dtype=like.dtype, device=like.device))
    finally:
        module.train(training)
    return (new.shape[-1],) if isinstance(new, Tensor) else tuple(part.shape[-1] for part in new)
