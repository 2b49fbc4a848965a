"""Widgets for Jupyter: state in traitlets, computation in plain functions, pictures drawn without pyplot."""

from dynlab._lazy import lazy

_ORIGIN = {
    "Compare": "dynlab.widgets.compare",
    "PhaseExplorer": "dynlab.widgets.phase_explorer",
    "Spectrum": "dynlab.widgets.spectrum",
    "TrainingMonitor": "dynlab.widgets.training_monitor",
}
__all__ = sorted(_ORIGIN)
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
