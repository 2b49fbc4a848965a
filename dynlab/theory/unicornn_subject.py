"""What the UnICORNN propositions are evaluated on: a setting of Table 6, or a cell of the user's.

Index conventions: l layer, t or n time step, b batch, f input feature, d unit.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dynlab
from dynlab import _check
from dynlab.cell import Cell
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.base import Hypothesis
from dynlab.theory.unicornn_settings import Setting, find_setting

CELLS = ("unicornn",)


def layers_of(network: Network) -> list[UnICORNN]:
    """The layers of a network of UnICORNN, bottom first."""
    return [layer for layer in network.layers if isinstance(layer, UnICORNN)]


@dataclass(frozen=True)
class Subject:
    """What a proposition is evaluated on, in float64.

    Attributes:
        network: the user's layers, or those of a setting; copies. A single cell is a network of one layer.
        inputs: (time, batch, f). attrs: where both are from, for the finding.
    """

    network: Network
    inputs: Tensor
    attrs: dict[str, Any]

    @property
    def layers(self) -> list[UnICORNN]:
        """The layers, bottom first."""
        return layers_of(self.network)


def subject(
    cell: Cell | None,
    inputs: Tensor | None,
    *,
    where: str,
    seed: int,
    setting: str | Setting = "cifar10",
    steps: int | None = None,
    layers: int | None = None,
    residual: int | None = None,
    hidden_size: int = 16,
    batch: int = 2,
) -> Subject:
    """The user's cell, or one of a setting with the initial values of appendix A; and its inputs.

    Arguments:
        cell: a UnICORNN, or a Network of them; None for the setting's. inputs: (time, batch, f); by default standard
            normal noise, one feature: our choice.
        steps: N of the default inputs; the setting's unless given. layers: L of the default cell; the setting's unless
            given. residual, hidden_size: of the default cell, where the width is reduced (the paper's are 32 to 256).

    Raises:
        TypeError: for a cell of another kind.
    """
    row = find_setting(setting, where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = 1 if inputs is None else _check.floating("inputs", inputs, where).shape[-1]
        given = cell is not None
        if cell is None:
            row = row if layers is None else replace(row, layers=_check.integer("layers", layers, where))
            cell = build(row.layer_dts, row.alpha, features, hidden_size, residual)
        network = _as_network(cell, where)
        if inputs is None:
            count = row.steps if steps is None else _check.integer("steps", steps, where)
            inputs = torch.randn(count, batch, cell.input_size, dtype=torch.float64)
            source = "standard normal, our choice"
        else:
            like = next(cell.parameters())
            inputs = cell.check_inputs(inputs.to(like.dtype).to(like.device), where).to("cpu", torch.float64)
            source = "given"
    attrs = {
        "cell": cell.title,
        "hyperparameters": json.dumps(cell.hyperparameters, default=str),
        "setting": "given" if given else f"UnICORNN Table 6, {row.name}; width {hidden_size} (reduced)",
        "inputs": source,
        "T": inputs.shape[0],
        "seed": seed,
        "dynlab_version": dynlab.__version__,
    }
    return Subject(network, inputs, attrs)


def build(dts: Sequence[float], alpha: float, features: int, hidden_size: int, residual: int | None = None) -> Network:
    """Layers with these time-steps, initial values from the global generator, in float64."""
    sizes = [features, *[hidden_size] * (len(dts) - 1)]
    cells = [UnICORNN(size, hidden_size, dt=dt, alpha=alpha) for size, dt in zip(sizes, dts, strict=True)]
    return Network(cells, residual=residual).double()


def _as_network(cell: Cell, where: str) -> Network:
    layers = cell.layers if isinstance(cell, Network) else [cell]
    if not all(isinstance(layer, UnICORNN) for layer in layers):
        kinds = ", ".join(dict.fromkeys(type(layer).__name__ for layer in layers))
        what = f"a Network of {kinds}" if isinstance(cell, Network) else kinds
        raise TypeError(f"{where}: expected a UnICORNN or a Network of UnICORNN layers, got {what}")
    cell = copy.deepcopy(cell).to("cpu", torch.float64).eval()
    cell.batch_first = False
    network = cell if isinstance(cell, Network) else Network([cell])
    for parameter in network.parameters():
        parameter.requires_grad_()
    for layer in network.layers:
        # The native recurrence is UnICORNN's own; a subclass is measured by the step that it defines.
        if type(layer).advance is not UnICORNN.advance:
            layer.backend = "reference"
    return network


def refined(network: Network, factor: int) -> Network:
    """A copy with every dt divided by ``factor``."""
    network = copy.deepcopy(network)
    for layer in network.layers:
        layer.dt = layer.dt / factor  # type: ignore[assignment, operator]
    return network


def held(inputs: Tensor, factor: int) -> Tensor:
    """Each input ``factor`` times: the same signal, constant between its samples, on a finer grid."""
    return inputs.repeat_interleave(factor, dim=0)


def stiffness(layers: Sequence[UnICORNN]) -> float:
    """The largest h^2 (alpha + max(w, 0)): below 4 the step is stable at every y, whatever sigma' is."""
    found = [step_sizes(layer) ** 2 * (layer.alpha + layer.weight_hh.detach().clamp(min=0)) for layer in layers]
    return max(float(one.max()) for one in found)


def step_sizes(layer: UnICORNN) -> Tensor:
    """h = dt sigmoid(c) of each unit, (d,), detached."""
    return layer.effective_time_step().detach()


def first_layers(network: Network, count: int) -> Network:
    """The lowest ``count`` layers, with their residual connections; they share the network's parameters."""
    with torch.random.fork_rng(devices=[]):  # Network draws skips, which are replaced
        part = Network(network.layers[:count], residual=network.residual)
    part.skips = nn.ParameterDict({key: skip for key, skip in network.skips.items() if int(key) < count})
    return part


def listed(values: Iterable[float], form: str = ".3g") -> str:
    """Numbers in a note."""
    return ", ".join(format(float(value), form) for value in values)


def missed(hypotheses: Sequence[Hypothesis]) -> str:
    """The beginning of a note: the first hypothesis that does not hold, left vs right side; "" if all do."""
    lacking = [one for one in hypotheses if not one.holds]
    if not lacking:
        return ""
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"missed: {lacking[0].name} ({lacking[0].value:.4g} vs {lacking[0].limit:.4g}){more}; "


def order(dts: Sequence[float], values: Sequence[float], where: str, points: int = 3) -> float:
    """The slope of log value against log dt over the ``points`` smallest dt."""
    chosen = np.argsort(dts)[:points]
    sizes = np.asarray(values, dtype=float)[chosen]
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError(f"{where}: expected finite quantities other than 0, to see how they shrink, got {sizes}")
    return float(np.polyfit(np.log(np.asarray(dts, dtype=float)[chosen]), np.log(sizes), 1)[0])
