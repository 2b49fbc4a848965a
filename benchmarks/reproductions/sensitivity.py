"""Why cells learn the adding problem or do not, from what dynlab measures on them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

import dynlab
from benchmarks.reproductions.experiment import Outcome, best_of, differing
from dynlab.checkpoint import load_checkpoint
from dynlab.network import Network
from dynlab.tasks import get_task
from dynlab.training import build_network

STEPS = 200
SEQUENCES = 512
BINS = 20
FITTED = 4000


class Response(NamedTuple):
    """d answer / d number of a trained network on sequences it has not seen; a perfect one has 1 at marks, else 0.

    Attributes:
        times: middles of the bins. mean, spread: at marked steps of a bin, over sequences.
        elsewhere: root mean square at steps without a mark.
    """

    times: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    elsewhere: float


def response(network: Network, task: str) -> Response:
    """How the answer changes with the number at each step."""
    samples = get_task(task).dataset("test", seed=0, size=SEQUENCES)
    inputs, _ = get_task(task).collate([samples[index] for index in range(SEQUENCES)])
    inputs.requires_grad_()
    (gradient,) = torch.autograd.grad(network.read(inputs).sum(), inputs)
    slopes, marked = gradient[..., 0].numpy(), inputs.detach()[..., 1].numpy() == 1
    steps = len(slopes)
    edges = np.linspace(0, steps, BINS + 1)
    bins = np.digitize(np.arange(steps), edges) - 1
    found = [slopes[bins == index][marked[bins == index]] for index in range(BINS)]
    return Response(
        (edges[:-1] + edges[1:]) / 2,
        np.array([part.mean() for part in found]),
        np.array([part.std() for part in found]),
        float(np.sqrt(np.square(slopes[~marked]).mean())),
    )


def gradient_ratio(network: Network, task: str) -> float:
    """log10 of |d state_T / d state_1| over |d state_T / d state_{T-1}|, the mean over four sequences."""
    data = dynlab.record(network, _first_inputs(task), probes=["GradientNorm"])
    return float(data.log_gradient_ratio.mean()) / math.log(10)


class Coherence(NamedTuple):
    """How an untrained network's last state answers the numbers of a sequence, the mean over four sequences.

    Attributes:
        direction: norm of the mean over t of the unit vectors along d h_T / d number_t, in [0, 1]: 1 if a number
            moves the last state the same way whenever it is read, about T^(-1/2) if in a direction of its own at
            every t. A linear readout of h_T sums numbers as far as this is near 1.
        ratio: log10 of |d h_T / d number_1| over |d h_T / d number_T|.
    """

    direction: float
    ratio: float


def coherence(network: Network, task: str) -> Coherence:
    """By reverse-mode differentiation of every entry of h_T, one a batch member."""
    found = []
    for sequence in _first_inputs(task).unbind(1):
        copies = sequence[:, None].repeat(1, _hidden_size(network), 1).requires_grad_()
        last = network.scan(copies, keep="hidden")[-1]
        (gradient,) = torch.autograd.grad(last.diagonal().sum(), copies)
        slopes = gradient[..., 0].double()
        norms = slopes.norm(dim=1)
        directions = torch.nn.functional.normalize(slopes, dim=1, eps=1e-300)
        found.append((float(directions.mean(0).norm()), float((norms[0] / norms[-1]).log10())))
    return Coherence(*np.mean(found, 0))


def decodable(network: Network, task: str, ridge: float) -> float:
    """Mean squared error of the best linear readout of h_T, fitted by least squares to the untrained network.

    Fitted on ``FITTED`` sequences in float64, measured on as many others.

    Arguments:
        ridge: of the largest eigenvalue of the states' second moments. Directions in which states vary by less than
            the square root of that, relative to the strongest, do not count.
    """
    parts = []
    for split in ("train", "test"):
        samples = get_task(task).dataset(split, seed=1, size=FITTED)
        inputs, targets = get_task(task).collate([samples[index] for index in range(FITTED)])
        with torch.no_grad():
            last = network.hidden(network.scan(inputs, keep="last")).double()
        parts.append((torch.cat([last, torch.ones(FITTED, 1, dtype=torch.float64)], 1), targets.double().flatten()))
    (features, wanted), (others, expected) = parts
    gram = features.T @ features
    damping = ridge * torch.linalg.eigvalsh(gram)[-1] * torch.eye(len(gram), dtype=torch.float64)
    weights = torch.linalg.solve(gram + damping, features.T @ wanted)
    return float((others @ weights - expected).square().mean())


def _hidden_size(network: Network) -> int:
    return len(range(*network.hidden_slice.indices(network.state_size)))


def _first_inputs(task: str) -> torch.Tensor:
    """Four test sequences, (T, 4, f)."""
    samples = get_task(task).dataset("test", seed=0, size=4)
    return get_task(task).collate([samples[index] for index in range(4)])[0]


def response_section(outcomes: list[Outcome], folder: Path) -> list[str]:
    """What the best network of every row does with a marked number, and how iRNN's gradients went while it learned."""
    lines = ["## What the trained networks do with a marked number", ""]
    lines += [
        f"d answer / d number on {SEQUENCES} test sequences, by reverse-mode differentiation through the whole "
        "sequence: 1 at both marks, wherever they are, and 0 elsewhere solves the problem. The ratio is dynlab's "
        "`GradientNorm`, log10 of |d state_T / d state_1| over |d state_T / d state_(T-1)|.",
        "",
        "| | test MSE | at marks, mean | at marks in the first quarter | in the last quarter | elsewhere, rms | "
        "log10 gradient ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    drawn: list[tuple[str, Response]] = []
    rows = {id(outcome.row): outcome.row for outcome in outcomes}
    for row in rows.values():
        best = best_of((one for one in outcomes if one.row is row), sign=-1)
        if best is None or best.test is None:
            continue
        cell, _ = load_checkpoint(best.folder / "model.pt")
        assert isinstance(cell, Network)
        measured = response(cell.eval(), best.settings.task)
        quarter = BINS // 4
        numbers = measured.mean.mean(), measured.mean[:quarter].mean(), measured.mean[-quarter:].mean()
        shown = " | ".join(f"{value:+.2f}" for value in numbers)
        ratio = gradient_ratio(cell, best.settings.task)
        lines.append(f"| {row.title} | {best.test:.4f} | {shown} | {measured.elsewhere:.3f} | {ratio:+.2f} |")
        drawn.append((row.title, measured))
    _draw(drawn, folder / "adding_response.png")
    lines += ["", "![Response to a marked number, against its time](adding_response.png)", ""]
    return lines + _coherence_section(outcomes) + _recorded_section(outcomes)


def _draw(drawn: list[tuple[str, Response]], path: Path) -> None:
    columns = 4
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * rows + 0.4), layout="constrained")
    for axes, (title, one) in zip(
        figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat, drawn, strict=False
    ):
        axes.axhline(1, color="0.6", lw=1, ls=(0, (4, 3)))
        axes.fill_between(one.times, one.mean - one.spread, one.mean + one.spread, alpha=0.3, lw=0)
        axes.plot(one.times, one.mean, lw=1.5)
        axes.set_title(title, fontsize="small")
        axes.set_ylim(-1, 2)
    for axes in figure.axes[len(drawn) :]:
        axes.set_axis_off()
    figure.supxlabel("time of the mark", fontsize="medium")
    figure.supylabel("d answer / d marked number", fontsize="medium")
    figure.savefig(path, dpi=110)


def _coherence_section(outcomes: list[Outcome]) -> list[str]:
    lines = [
        "## Which way the last state answers, before training",
        "",
        "Coherence: the norm of the mean over t of the unit vectors along d h_T / d number_t, for the network as each "
        "row's best setting starts. 1: a number moves the last state the same way whenever it is read, so that a "
        f"linear readout adds numbers up; {STEPS**-0.5:.2f}: in a direction of its own at every step. Beside it, log10 "
        "of |d h_T / d number_1| over |d h_T / d number_T|; and the error of the best linear readout of the untrained "
        f"network's h_T, fitted to {FITTED:,} sequences: with all of h_T's directions (ridge 1e-9), and with the "
        "strong ones, in which h_T varies by more than a thousandth of the strongest (ridge 1e-6). The product of "
        "number and mark is in the first if the nonlinearity makes it at all, and in the second if gradient descent "
        "can see it.",
        "",
        "| | setting | coherence | log10 ratio | linear readout | of strong directions | test MSE after training |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in {id(outcome.row): outcome.row for outcome in outcomes}.values():
        best = best_of((one for one in outcomes if one.row is row), sign=-1)
        if best is None or best.test is None:
            continue
        torch.manual_seed(best.settings.seed)
        network, task = build_network(best.settings, get_task(best.settings.task)), best.settings.task
        found = coherence(network, task)
        errors = " | ".join(f"{decodable(network, task, ridge):.4f}" for ridge in (1e-9, 1e-6))
        lines.append(
            f"| {row.title} | `{best.settings.cell}` | {found.direction:.2f} | {found.ratio:+.1f} | {errors} | "
            f"{best.test:.4f} |"
        )
    return [*lines, ""]


def _recorded_section(outcomes: list[Outcome]) -> list[str]:
    """The gradient ratio along the trainings that were recorded."""
    lines = [
        "## iRNN's gradients while it learns",
        "",
        "log10 gradient ratio of the recorded trainings (the `Recorder`, two held sequences) at the first record, at "
        "the middle one and at the last; above 2 dynlab says exploding, below -2 vanishing.",
        "",
        "| | setting | first | middle | last | at update | outcome, validation MSE |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for outcome in outcomes:
        place = outcome.folder / "recording.zarr"
        if outcome.settings.record_every is None or outcome.settings.seed or not place.exists():
            continue
        data = dynlab.open_recording(place)
        ratio = data.log_gradient_ratio
        values = ratio.mean([dim for dim in ratio.dims if dim != "step"]).values / math.log(10)
        shown = " | ".join(f"{values[index]:+.2f}" for index in (0, len(values) // 2, -1))
        setting = differing(outcome.settings, [one.settings for one in outcomes if one.row is outcome.row])
        ended = f"{outcome.validation:.4f}" if outcome.validation is not None else "not finite"
        lines.append(f"| {outcome.row.title} | {setting} | {shown} | {int(data.step[-1]):,} | {ended} |")
    return [*lines, ""]
