"""The settings of UnICORNN's Table 6."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from dynlab import _check
from dynlab._specs import parse_spec
from dynlab.training.presets import find_preset


@dataclass(frozen=True)
class Setting:
    """A row of Table 6.

    Attributes:
        dt, alpha: of all layers; first_dt: of the first one where appendix A gives it another, else None.
        layers: L. steps: N, the length of the task's sequences. source: of N.
    """

    name: str
    dt: float
    alpha: float
    layers: int
    steps: int
    source: str
    first_dt: float | None = None

    @property
    def layer_dts(self) -> list[float]:
        """dt of each layer, bottom first."""
        return [self.first_dt or self.dt, *[self.dt] * (self.layers - 1)]


def _from_preset(name: str, preset: str, steps: int, source: str) -> Setting:
    values = find_preset(preset).values
    cell = parse_spec(values["cell"])[1]
    first = parse_spec(values["first_cell"])[1]["dt"] if "first_cell" in values else None
    return Setting(name, cell["dt"], cell["alpha"], values["layers"], steps, source, first)


@cache
def table_6() -> dict[str, Setting]:
    """All rows of Table 6 by name."""
    section = "UnICORNN section 4"
    rows = (
        _from_preset("cifar10", "unicornn-cifar10", 1000, section),
        _from_preset("psmnist-128", "unicornn-mnist_permuted-128", 784, section),
        _from_preset("psmnist-256", "unicornn-mnist_permuted-256", 784, section),
        Setting("imdb", 0.205, 0.0, 2, 250, "our choice, about a review's length; the paper gives none", 6.6e-3),
        _from_preset("eigenworms", "unicornn-eigenworms", 17984, section),
        Setting("healthcare-rr", 1.1e-2, 9.0, 3, 4000, section),
        Setting("healthcare-hr", 4.6e-2, 10.0, 3, 4000, section),
    )
    return {row.name: row for row in rows}


def find_setting(setting: str | Setting, where: str) -> Setting:
    """A row of Table 6 by its name, or a setting of one's own."""
    if isinstance(setting, Setting):
        return setting
    return table_6()[_check.choice("setting", setting, tuple(table_6()), where)]
