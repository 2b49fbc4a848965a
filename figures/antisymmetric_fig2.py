"""AntisymmetricRNN Fig. 2: eigenvalues of the end-to-end Jacobian after training on noise-padded CIFAR-10.

Mean and standard deviation of the moduli of those of d h_T / d h_0 against the number of time steps T, for several
diffusion constants gamma and for an LSTM. What the paper says one sees: AntisymmetricRNN's stay close to 1 and decay
slowly, the faster the larger gamma is; the LSTM's go to 0 quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one
from dynlab.verdicts import THRESHOLD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPSILON = 0.01
LSTM = "lstm"
_RATES: dict[str, dict[str, Any]] = {
    "antisymmetric": {"optimizer": "adagrad", "lr": 0.1},
    LSTM: {"optimizer": "adam", "lr": 3e-3},
}
SCALES: dict[str, dict[str, Any]] = {
    "smoke": {
        "task": "digits:", "gammas": [0.0, 1.0], "steps": [10, 20], "hidden_size": 4, "lstm_size": 4, "batch": 4,
        "iterations": 2, "train_size": 8, "validation_size": 4, "test_size": 4, "samples": 2,
    },
    "laptop": {
        "task": "cifar10:subset=true,", "gammas": [0.0, 0.01, 0.1, 1.0], "steps": [50, 100, 200, 400],
        "hidden_size": 64, "lstm_size": 64, "batch": 32, "iterations": 500, "train_size": None, "validation_size": 100,
        "test_size": 1000, "samples": 8,
    },
    "paper": {
        "task": "cifar10:", "gammas": [0.0, 0.01, 0.1, 1.0], "steps": [100, 200, 400, 700, 1000], "hidden_size": 256,
        "lstm_size": 128, "batch": 128, "iterations": 36_700, "train_size": None, "validation_size": None,
        "test_size": None, "samples": 8,
    },
}  # fmt: skip


def train_and_measure(model: str, gamma: float, steps: int, task: str, samples: int, **settings: Any) -> xr.Dataset:
    """One network at one length: eigenvalues of its state's Jacobian on test sequences, before and after training.

    Arguments:
        task: the start of its specification. settings: of the training.
    """
    import torch

    import dynlab
    from dynlab.figures.training import trained
    from dynlab.tasks import get_task
    from dynlab.training import Settings, build_network

    cell = f"{LSTM}:backend=native" if model == LSTM else f"antisymmetric:epsilon={EPSILON},gamma={gamma:g}"
    settings = {"task": f"{task}T={steps}", "cell": cell, **settings, **_RATES[model]}
    result = trained(**settings)
    padded = get_task(settings["task"])
    inputs, _ = padded.sequences(samples, seed=settings["seed"], split="test")
    networks = {"": result.network, "initial_": build_network(Settings(**settings), padded)}
    variables: dict[str, Any] = {
        "accuracy": ((), result.test, {"units": "1", "long_name": "test accuracy"}),
        "parameters": ((), result.parameters, {"units": "1", "long_name": "parameters"}),
    }
    for prefix, network in networks.items():
        found = dynlab.record(network.cells[0], inputs, [dynlab.EndToEndSpectrum()], dtype=torch.float64)
        when = "after training" if not prefix else "before training"
        for name in ("mean", "std"):
            of = "mean" if name == "mean" else "standard deviation"
            attrs = {"units": "nat", "long_name": f"log {of} of |eigenvalue|, {when}"}
            values = found[f"log_end_to_end_modulus_{name}"].values
            variables[f"{prefix}log_modulus_{name}"] = ("sample", values, attrs)
    return xr.Dataset(variables)


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """A training for every model and length."""
    settings = dict(SCALES[scale])
    gammas, lengths, size = settings.pop("gammas"), settings.pop("steps"), settings.pop("hidden_size")
    lstm_size = settings.pop("lstm_size")
    models = [("antisymmetric", gamma, size) for gamma in gammas] + [(LSTM, 0.0, lstm_size)]
    pieces = run(
        train_and_measure,
        [
            {"model": model, "gamma": gamma, "steps": steps, "hidden_size": units, "seed": seed,
             "evaluate_every": settings["iterations"], **settings}
            for model, gamma, units in models for steps in lengths
        ],
    )  # fmt: skip
    first = pieces[0]
    data = xr.Dataset(
        {
            name: (
                ("model", "steps", *first[name].dims),
                np.stack([piece[name].values for piece in pieces]).reshape(
                    len(models), len(lengths), *first[name].shape
                ),
                first[name].attrs,
            )
            for name in first.data_vars
        },
        {
            "model": ("model", [f"gamma = {gamma:g}" for gamma in gammas] + ["LSTM"]),
            "gamma": ("model", [*gammas, float("nan")], {"units": "1/time"}),
            "steps": ("steps", lengths, {"units": "1", "long_name": "number of time steps T"}),
        },
    )
    named = ("task", "batch", "iterations", "samples")
    return data.assign_attrs(
        {"scale": scale, "seed": seed, **{name: settings[name] for name in named}, "epsilon": EPSILON,
         "hidden_size": size, "lstm_size": lstm_size, "reference": "AntisymmetricRNN, Fig. 2"}
    )  # fmt: skip


# ---- picture ---------------------------------------------------------------------------------------------------------


def mean_and_std(data: xr.Dataset, prefix: str = "") -> tuple[xr.DataArray, xr.DataArray]:
    """Of the modulus over all modes and samples, (model, steps) each."""
    means = np.exp(data[f"{prefix}log_modulus_mean"])
    spreads = np.exp(data[f"{prefix}log_modulus_std"])
    mean = means.mean("sample")
    return mean, ((spreads**2 + means**2).mean("sample") - mean**2).clip(min=0) ** 0.5


def log_mean(data: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """Natural log of the mean modulus over all modes and samples, (model, steps), which may underflow itself."""
    values = data[f"{prefix}log_modulus_mean"]
    top = values.max("sample")
    return top + np.log(np.exp(values - top).mean("sample"))


def draw(dataset: xr.Dataset) -> Figure:
    """Mean and standard deviation; and decades of the mean, before and after training."""
    from matplotlib.figure import Figure

    from dynlab.plots.style import cell_look, style

    greens = ("#a6dba0", "#5aae61", "#009E73", "#00441b")
    with style():
        figure = Figure(figsize=(7.0, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        mean, std = mean_and_std(dataset)
        decades, before = (log_mean(dataset, prefix) / np.log(10) for prefix in ("", "initial_"))
        for index, model in enumerate(dataset["model"].values):
            kind = LSTM if model == "LSTM" else "antisymmetric"
            colour = cell_look(kind)["color"] if kind == LSTM else greens[index % len(greens)]
            marker = "s" if kind == LSTM else "o"
            label = "LSTM" if kind == LSTM else rf"$\gamma = {float(dataset['gamma'][index]):g}$"
            at = dataset["steps"].values
            look = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.2}
            left.errorbar(at, mean[index].values, std[index].values, capsize=2, elinewidth=0.8, label=label, **look)
            right.plot(at, decades[index], **look)
            right.plot(at, before[index], **{**look, "marker": "", "linestyle": (0, (1, 1.5))})
        left.set(ylabel=r"$|\lambda(\partial h_T/\partial h_0)|$, mean $\pm$ std", ylim=(-0.05, None))
        right.set(ylabel=r"$\log_{10}$ of the mean modulus")
        for ax in (left, right):
            ax.set(xlabel="number of time steps T")
            ax.set_xticks(dataset["steps"].values)
            ax.tick_params(labelsize=7)
            ax.xaxis.label.set_size(8)
            ax.yaxis.label.set_size(8)
        right.text(0.03, 0.05, "dotted: before training", transform=right.transAxes, fontsize=7)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(dataset["model"]),
                      fontsize=7.5)  # fmt: skip
    return figure


# ---- claims ----------------------------------------------------------------------------------------------------------


def _table(values: np.ndarray, at: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in np.atleast_1d(values)) + f" at T = {', '.join(map(str, at))}"


def _learned(data: xr.Dataset, chosen: np.ndarray) -> str:
    accuracy = data["accuracy"].values[chosen]
    return f"test accuracy {100 * accuracy.min():.0f} to {100 * accuracy.max():.0f} % (guessing: 10 %)"


def close_to_one(data: xr.Dataset) -> Measured:
    """The antisymmetric networks with little diffusion."""
    small = data["gamma"].values <= 0.01
    logs = log_mean(data).values[small]
    worst = logs.flat[np.abs(logs).argmax()]
    std = mean_and_std(data)[1].values[small].max()
    return Measured(
        f"mean modulus {np.exp(logs.min()):.3f} to {np.exp(logs.max()):.3f} for gamma <= 0.01, standard deviation at "
        f"most {std:.3f}; {_learned(data, small)}",
        bool(abs(worst) < 0.1),
    )


def slow_decay(data: xr.Dataset) -> Measured:
    """In T and in gamma, never faster than the bound of a linear step."""
    antisymmetric = ~np.isnan(data["gamma"].values)
    gamma, steps = data["gamma"].values[antisymmetric], data["steps"].values
    logs = log_mean(data).values[antisymmetric]
    ordered = bool((np.diff(logs, axis=0) < 0).all())
    falling = bool((np.diff(logs[gamma > 0], axis=1) < 0).all())
    linear = steps * np.log(1 - data.attrs["epsilon"] * gamma[-1])
    shown = "; ".join(f"gamma {g:g}: {_table(np.exp(row), steps)}" for g, row in zip(gamma, logs, strict=True))
    why = (
        f"A step with tanh' = 1 would leave (1 - eps gamma)^T, {_table(np.exp(linear), steps)} for gamma = "
        f"{gamma[-1]:g}; inputs that saturate tanh take part of the diffusion away."
    )
    if not (ordered and falling):
        why = (
            f"Larger gamma, smaller mean at every T: {ordered}; with gamma > 0 smaller at larger T: {falling}. Each "
            f"point is a training of its own. {why}"
        )
    return Measured(shown, ordered and falling, why)


def lstm_vanishes(data: xr.Dataset) -> Measured:
    """The LSTM."""
    chosen = np.isnan(data["gamma"].values)
    logs = log_mean(data).values[chosen][0]
    before = log_mean(data, "initial_").values[chosen][0]
    others = log_mean(data).values[~chosen]
    accuracy = data["accuracy"].values[chosen][0]
    value = (
        f"mean modulus {_table(np.exp(logs), data['steps'].values)}; AntisymmetricRNN's smallest is "
        f"{np.exp(others.min()):.2g}"
    )
    why = (
        f"Test accuracy {', '.join(f'{100 * one:.0f}' for one in accuracy)} %: it learns only where its eigenvalues "
        f"have not vanished. Before training: {_table(np.exp(before), data['steps'].values)}."
    )
    vanished = bool(logs[-1] < -THRESHOLD) and bool((np.diff(logs) < 0).all())
    return Measured(value, vanished and bool((logs < others.min(0)).all()), why)


ITEM = Item(
    paper="AntisymmetricRNN",
    number="Fig. 2",
    title="Eigenvalues of the end-to-end Jacobian against the number of time steps, after training",
    protocol="noise-padded CIFAR-10, one image row a step for 32 steps, then Gaussian noise; several gamma and an "
    "LSTM; lengths, gamma and the trainings' settings are not at hand",
    claims=(
        Claim("AntisymmetricRNN: the mean is close to 1", close_to_one,
              tolerance="within a factor of e^0.1 for gamma <= 0.01; eps gamma T, its logarithm for a linear step, is "
              "at most 0.1 up to T = 1000", scales=("laptop", "paper")),
        Claim("It decays slowly, the faster the larger gamma is", slow_decay,
              tolerance="order only", scales=("laptop", "paper")),
        Claim("LSTM: it goes to 0 quickly", lstm_vanishes,
              tolerance="below AntisymmetricRNN's for every gamma at every T, falls with T, and below 1/100 (the "
              "project's verdict) at the largest T", scales=("laptop", "paper")),
    ),
    choices=(
        "A training for every point: the network is trained on sequences of that length, and measured on test "
        "sequences of that length.",
        "Laptop: 10,000 training images (data_batch_1), 64 units, T = 50 to 400, gamma = 0, 0.01, 0.1, 1, eps = 0.01, "
        "500 updates of 32 sequences (1.7 epochs), Adagrad 0.1; the LSTM's optimiser is Adam 0.003, with which it "
        "learned most at T = 50.",
        "Eigenvalues of the whole state's Jacobian, for the LSTM that of [h, c], which is kinder to it than d h_T / d "
        "h_0; mean over modes and 8 test sequences.",
    ),
    needs={"laptop": ("cifar10:subset=true",), "paper": ("cifar10",)},
)  # fmt: skip
