"""What a view of a comparison is."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dynlab.plots.style import variant_look
from dynlab.widgets.laboratory import Measured

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


@dataclass(frozen=True)
class Scene:
    """What all views show at once.

    Attributes:
        measured: the cells. pinned: those of an earlier moment, drawn as ghosts. time: the cursor, 0 .. steps.
        steps: T. finding: of a proposition, for the view of the theory.
    """

    measured: tuple[Measured, ...]
    pinned: tuple[Measured, ...] = ()
    time: int = 0
    steps: int = 1
    finding: xr.Dataset | None = None


class View(ABC):
    """One figure over a comparison's datasets.

    Artists are made by ``build`` for a list of cells and updated in place by ``update``; those of ``moving`` may
    change from one picture to the next, everything else stays until ``fit`` or ``build``.

    Attributes:
        name: of the view, for controls and files. label: a word or two. title: one line.
        probes: names of what it draws. timed: whether the cursor changes anything.
        size: of the figure in inches. figure: where it draws.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    title: ClassVar[str]
    probes: ClassVar[tuple[str, ...]]
    timed: ClassVar[bool] = True
    size: ClassVar[tuple[float, float]] = (4.8, 2.9)

    def __init__(self, figure: Figure | SubFigure) -> None:
        self.figure = figure
        self.moving: list[Artist] = []

    def structure(self, scene: Scene) -> Hashable:
        """What the artists were built for; another value asks for ``build``."""
        return tuple(one.spec.partition(":")[0] for one in scene.measured), tuple(map(id, scene.pinned))

    @abstractmethod
    def build(self, scene: Scene) -> None:
        """Make all artists, in an empty figure; their data come with ``update``."""

    @abstractmethod
    def update(self, scene: Scene) -> None:
        """Give the moving artists the scene's data and cursor."""

    def fit(self, scene: Scene) -> bool:
        """Change limits that do not suit the data any more; whether there were any."""
        return False

    def time_at(self, axes: Axes, x: float) -> int | None:
        """The time that a place on these axes means; None where none is meant."""
        return None

    def sentence(self, scene: Scene) -> str:
        """What the picture shows, in words, for those who cannot see it."""
        return f"{self.title} of {', '.join(one.label for one in scene.measured) or 'no cell'}; t = {scene.time}"


def looks(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Colour and dashes of each cell; cells of a kind differ in shade and dashes."""
    specs = [one.spec for one in measured]
    return [variant_look(spec, occurrence) for spec, occurrence in zip(specs, occurrences(specs), strict=True)]


def occurrences(specs: Sequence[str]) -> list[int]:
    """How many cells of the same kind stand before each."""
    seen: Counter[str] = Counter()
    found = []
    for spec in specs:
        key = spec.partition(":")[0]
        found.append(seen[key])
        seen[key] += 1
    return found


def short(label: str, width: int = 26) -> str:
    """A label that fits over a small panel."""
    return textwrap.shorten(label.replace(",", ", "), width, placeholder=" …").replace(", ", ",")


def at_time(values: xr.DataArray, time: int) -> tuple[xr.DataArray, int | None]:
    """What was measured nearest to a time, and when that was; None for what does not change with time.

    ``record`` gives a dim another name, such as "step_eigenvalue_transition", where two probes have different grids.
    """
    for dim in map(str, values.dims):
        if dim.rpartition("_")[2] in ("time", "transition"):
            here = values.sel({dim: max(time, int(values[dim][0]))}, method="nearest")
            return here, int(here[dim])
    return values, None


def variable(one: Measured, name: str) -> xr.DataArray | None:
    """A variable of a cell's dataset, None where there is none."""
    return None if one.dataset is None or name not in one.dataset else one.dataset[name]
