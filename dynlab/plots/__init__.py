"""Plots: a dataset in, Axes out. Nothing here computes more than a mean over samples."""

from dynlab._lazy import lazy

_ORIGIN = {
    "gradient_norm": "dynlab.plots.gradient",
    "end_to_end_modulus": "dynlab.plots.spectrum",
    "evgp_figure": "dynlab.plots.evgp",
    "cell_look": "dynlab.plots.style",
    "style": "dynlab.plots.style",
}
__all__ = sorted(_ORIGIN)
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
