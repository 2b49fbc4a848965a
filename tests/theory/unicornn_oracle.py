"""UnICORNN written out from Eqs. (6), (75) and (76), as what the propositions' tests compare with."""

import torch
from torch import Tensor

from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network


def weights(network: Network) -> list[dict[str, Tensor]]:
    """Copies of w, V, b, c and Lambda of each layer, which can be differentiated by."""
    found = []
    for index, layer in enumerate(network.layers):
        named = {"w": layer.weight_hh, "V": layer.weight_ih, "b": layer.bias, "c": layer.c}
        if str(index) in network.skips:
            named["skip"] = network.skips[str(index)]
        found.append({name: value.detach().clone().requires_grad_() for name, value in named.items()})
    return found


def by_hand(
    network: Network, inputs: Tensor, own: list[dict[str, Tensor]] | None = None, first_w: list[Tensor] | None = None
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """y and z by [time 0..N][layer], from rest; the first layer's w at step k from ``first_w`` if given."""
    own = weights(network) if own is None else own
    batch, S = inputs.shape[1], network.residual
    y = [[torch.zeros(batch, layer.hidden_size, dtype=inputs.dtype) for layer in network.layers]]
    z = [list(y[0])]
    for n, u in enumerate(inputs):
        below = [u]  # y_n^0, y_n^1, ...
        y_new, z_new = [], []
        for index, (layer, one) in enumerate(zip(network.layers, own, strict=True)):
            w = one["w"] if first_w is None or index else first_w[n]
            A = w * y[-1][index] + below[index] @ one["V"].T + one["b"]
            level = index + 1
            if S is not None and level > S:
                A = A + below[level - S - 1] @ one["skip"].T
            h = layer.dt / (1 + torch.exp(-one["c"]))
            z_new.append(z[-1][index] - h * (torch.tanh(A) + layer.alpha * y[-1][index]))
            y_new.append(y[-1][index] + h * z_new[-1])
            below.append(y_new[-1])
        y.append(y_new)
        z.append(z_new)
    return y, z


def stack(
    count: int, dt: float = 0.1, alpha: float = 1.0, units: int = 3, features: int = 2, residual: int | None = None
) -> Network:
    """Layers with every parameter drawn, so that none is at its initial 0."""
    torch.manual_seed(count)
    cells = [UnICORNN(units if index else features, units, dt=dt, alpha=alpha) for index in range(count)]
    network = Network(cells, residual=residual).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return network


def noise(steps: int, batch: int = 2, features: int = 2, size: float = 1.0) -> Tensor:
    """Standard normal times ``size``, (time, batch, f)."""
    return size * torch.randn(steps, batch, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Damped(UnICORNN):
    """Not UnICORNN: z is shrunk by ``factor`` after each kick; above 1 it is driven, below 0 reflected."""

    factor = 0.9

    def advance(self, term: Tensor, state: Tensor) -> Tensor:
        y, z = state.chunk(2, -1)
        h = self.effective_time_step()
        z = self.factor * (z - h * (torch.tanh(self.weight_hh * y + term) + self.alpha * y))
        return torch.cat([y + h * z, z], -1)


class Driven(Damped):
    """Gains energy at every step."""

    factor = 1.002


class Reflected(Damped):
    """Keeps volume and turns it over."""

    factor = -1.0
