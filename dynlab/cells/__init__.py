"""Recurrent cells, one recurrence a file."""

from dynlab._lazy import lazy

_ORIGIN = {
    "UnICORNN": "dynlab.cells.unicornn",
    "IncrementalRNN": "dynlab.cells.incremental",
    "SiRNN": "dynlab.cells.incremental",
    "AntisymmetricRNN": "dynlab.cells.antisymmetric",
    "CTRNN": "dynlab.cells.ctrnn",
    "Elman": "dynlab.cells.elman",
    "LSTM": "dynlab.cells.lstm",
    "GRU": "dynlab.cells.gru",
    "FastRNN": "dynlab.cells.fastrnn",
    "FastGRNN": "dynlab.cells.fastrnn",
    "CoRNN": "dynlab.cells.cornn",
    "ExpRNN": "dynlab.cells.exprnn",
    "IndRNN": "dynlab.cells.indrnn",
    "LipschitzRNN": "dynlab.cells.lipschitz",
    "UGRNN": "dynlab.cells.ugrnn",
    "registry": "dynlab.cells._registry",
    "parse_cell": "dynlab.cells._registry",
    "build_cell": "dynlab.cells._registry",
}
__all__ = sorted(_ORIGIN)
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
