"""dynlab: how gradients travel through recurrent networks, measured exactly.

A sequence goes into a cell, the cell leaves a trace, probes read the trace, the result is a labelled dataset,
and plots draw datasets.
"""

from dynlab._lazy import lazy

__version__ = "0.1.0"

_ORIGIN = {
    "Cell": "dynlab.cell",
    "TimeStep": "dynlab.cell",
    "as_cell": "dynlab.adapt",
    "Network": "dynlab.network",
    "Readout": "dynlab.network",
    "registry": "dynlab.cells",
    "build_cell": "dynlab.cells",
    "Trace": "dynlab.trace",
    "rollout": "dynlab.trace",
    "record": "dynlab.recording",
    "Probe": "dynlab.probes",
    "GradientNorm": "dynlab.probes",
    "InputGradient": "dynlab.probes",
    "EndToEndJacobian": "dynlab.probes",
    "StepSpectrum": "dynlab.probes",
    "EndToEndSpectrum": "dynlab.probes",
    "SingularValues": "dynlab.probes",
    "LyapunovSpectrum": "dynlab.probes",
    "TimeSteps": "dynlab.probes",
    "PhasePortrait": "dynlab.probes",
    "Equilibrium": "dynlab.probes",
    "Energy": "dynlab.probes",
    "LossGradient": "dynlab.probes",
    "Trajectory": "dynlab.probes",
    "watch_adjoints": "dynlab.adjoints",
    "Recorder": "dynlab.recorder",
    "open_recording": "dynlab.recording_store",
    "save_dataset": "dynlab.store",
    "open_dataset": "dynlab.store",
    "save_checkpoint": "dynlab.checkpoint",
    "load_checkpoint": "dynlab.checkpoint",
    "verdict": "dynlab.verdicts",
    "cite": "dynlab.references",
    "cells": "dynlab.cells",
    "plots": "dynlab.plots",
    "probes": "dynlab.probes",
    "tasks": "dynlab.tasks",
    "train": "dynlab.training",
    "training": "dynlab.training",
}
__all__ = [*sorted(_ORIGIN), "__version__"]  # noqa: PLE0604
__getattr__, __dir__ = lazy(__name__, _ORIGIN)

# ``import dynlab`` brings torch and NumPy; everything else is imported when it is used.
from dynlab import cell as _cell  # noqa: E402, F401
