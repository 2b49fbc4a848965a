"""Comparisons to begin with: the settings of the papers' figures and tables. No widget is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from dynlab.tasks import get_task
from dynlab.training.presets import Preset, all_presets
from dynlab.widgets.comparison import PAPERS, Comparison


@dataclass(frozen=True)
class Start:
    """A comparison with a name.

    Attributes:
        name: short. says: what to look at, and the source of the settings.
    """

    name: str
    says: str
    comparison: Comparison


LONGEST = 2000
"""Steps that a training preset is shown at, at most."""

FIGURES = (
    Start("The three papers", "UnICORNN, iRNN and AntisymmetricRNN as their papers initialise them.", Comparison()),
    Start(
        "README's demo",
        "Digits by rows, then noise up to T = 1000: the plain RNN and the LSTM lose the gradient, iRNN's explodes.",
        Comparison((*PAPERS, "elman", "lstm"), 1000, 128, inputs="digits"),
    ),
    Start(
        "AntisymmetricRNN Fig. 2: diffusion",
        "Without diffusion (gamma 0) Euler's steps leave the unit circle, with too much of it the gradient vanishes.",
        Comparison(
            ("antisymmetric:gamma=0", "antisymmetric:gamma=0.01", "antisymmetric:gamma=0.1", "antisymmetric:gamma=1"),
            1000, 64, inputs="digits",
        ),
    ),
    Start(
        "AntisymmetricRNN Fig. 5: noise in the plane",
        "Two units, standard Gaussian input: a plain RNN forgets where it began, the cell with feedback circles on.",
        Comparison(("elman", "antisymmetric:epsilon=0.1,gamma=0", "antisymmetric:epsilon=0.1,gamma=0.1"), 200, 2),
    ),
    Start(
        "iRNN Fig. 2: two units on a random walk",
        "Increments of variance 10 over 1000 steps. Look at the phase portraits: the RNN jumps between corners.",
        Comparison(("elman", "fastrnn", "irnn:K=5"), 1000, 2, 1, inputs="random_walk", scale=100.0),
    ),
    Start(
        "iRNN Fig. 3: inner steps",
        "K = 1, 5, 10 inner steps of size 0.01 at T = 200, beside an RNN and FastRNN.",
        Comparison(("irnn:K=1", "irnn:K=5", "irnn:K=10", "elman", "fastrnn"), 200, 128),
    ),
    Start(
        "iRNN Theorem 1: from +I through zero to -I",
        "With U small a step is (2 (1 - eta)^K - 1) I: eta 0.01 is near +I, 0.5 loses all at once, 1 is -I.",
        Comparison(
            tuple(f"irnn:K=1,eta={eta},recurrent=full" for eta in (0.01, 0.1, 0.5, 1)), 200, 64
        ),
    ),
    Start(
        "UnICORNN Table 6: its time-steps",
        "dt and alpha of permuted MNIST, noise-padded CIFAR-10 and EigenWorms: effective time-steps differ by decades.",
        Comparison(
            ("unicornn:dt=0.482,alpha=12.53", "unicornn:dt=0.126,alpha=13.0", "unicornn:dt=0.0343,alpha=0"), 784, 128
        ),
    ),
    Start(
        "LSTM: its forget gate",
        "The bias of the forget gate sets how long an untrained LSTM remembers.",
        Comparison(("lstm:forget_bias=0", "lstm:forget_bias=1", "lstm:forget_bias=3", "lstm:forget_bias=5"), 500, 64),
    ),
)  # fmt: skip


def starts() -> dict[str, Start]:
    """All of them by name: the figures', then every preset of ``dynlab train``, as initialised."""
    trained = [_of_training(preset) for preset in all_presets().values()]
    return {one.name: one for one in (*FIGURES, *trained)}


def _of_training(preset: Preset) -> Start:
    values = preset.values
    task = get_task(values["task"])
    comparison = Comparison(
        (values["cell"],), min(task.length, LONGEST), values["hidden_size"], features=task.input_size
    )
    return Start(
        f"dynlab train --preset {preset.name}",
        f"{preset.summary}. Its first layer's cell as initialised, on noise of the task's width.",
        comparison,
    )
