"""Training on Lightning: a command, ``train``, and the modules it is made of for trainers of one's own."""

from dynlab._lazy import lazy

_ORIGIN = {
    "train": "dynlab.training.run",
    "Result": "dynlab.training.run",
    "Settings": "dynlab.training.settings",
    "Machine": "dynlab.training.settings",
    "Preset": "dynlab.training.presets",
    "all_presets": "dynlab.training.presets",
    "find_preset": "dynlab.training.presets",
    "Learner": "dynlab.training.module",
    "NonFiniteError": "dynlab.training.finite",
    "build_network": "dynlab.training.network",
    "TaskData": "dynlab.training.data",
    "learning_rate_factor": "dynlab.training.schedule",
}
__all__ = sorted(_ORIGIN)  # noqa: PLE0605
# Lightning takes seconds to import: only what trains imports it.
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
