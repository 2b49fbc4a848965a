"""AntisymmetricRNN (Chang, Chen, Haber & Chi, ICLR 2019), section 4.

The paper's text at hand gives grids and sizes, not the values that were chosen: learning rates, batch sizes, lengths
and the gamma grid are our choice throughout.
"""

from __future__ import annotations

from dynlab.training.presets import OURS, Preset, Sourced

_GRIDS = (
    f"{OURS} within the paper's grids, eps from 0.01, 0.1, 1 and sigma_w from 0, 1, 2, 4, 8, 16; gamma 0.01 as in iRNN "
    "section 4.2"
)
_LENGTH = f"{OURS}; the paper's is not at hand"


def _row(task: str, gated: bool, units: int, epsilon: float, published: str, source: str) -> Preset:
    key = "gated_antisymmetric" if gated else "antisymmetric"
    return Preset(
        f"antisymmetric-{task}{'-gated' if gated else ''}",
        f"{task}, {'gated' if gated else 'plain'}, {units} units; published accuracy {published} % ({source})",
        {
            "task": Sourced(task, "AntisymmetricRNN section 4"),
            "cell": Sourced(f"{key}:epsilon={epsilon},gamma=0.01", _GRIDS),
            "hidden_size": Sourced(units, f"AntisymmetricRNN {source}"),
            "batch": Sourced(128, _LENGTH),
            "optimizer": Sourced("adagrad", "AntisymmetricRNN section 4: SGD with momentum and Adagrad were tried"),
            "lr": Sourced(0.1, _LENGTH),
            "epochs": Sourced(100, _LENGTH),
            "schedule": Sourced("constant", _LENGTH),
            "select": Sourced("best", _LENGTH),
        },
    )


_TABLE = "its table of accuracies"

PRESETS = tuple(
    _row(task, gated, units, epsilon, published, _TABLE)
    for task, units, epsilon, plain, gate in (
        ("mnist_pixel", 128, 0.01, "98.0", "98.8"),
        ("mnist_permuted", 128, 0.01, "95.8", "93.1"),
        ("cifar10_pixel", 256, 0.01, "58.7", "62.2"),
        ("cifar10", 256, 0.01, "48.3", "54.7"),
    )
    for gated, published in ((False, plain), (True, gate))
)
