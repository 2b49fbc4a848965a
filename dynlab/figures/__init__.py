"""Published figures and tables: found, computed, drawn, and set beside what the papers say."""

from dynlab._lazy import lazy

_ORIGIN = {
    "load": "dynlab.figures.discover",
    "names": "dynlab.figures.discover",
    "workspace": "dynlab.figures.workspaces",
    "Claim": "dynlab.figures.base",
    "Item": "dynlab.figures.base",
    "Measured": "dynlab.figures.base",
    "one_by_one": "dynlab.figures.base",
}
__all__ = sorted(_ORIGIN)  # noqa: PLE0605
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
