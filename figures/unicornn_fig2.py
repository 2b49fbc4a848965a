"""UnICORNN Fig. 2: seconds of a forward and backward pass, N = 1000 and 2000, batches of 128.

What the paper says one sees, on a GeForce RTX 2080 Ti: "while the cuDNN LSTM is relatively slow, the SRU, IndRNN and
the UnICORNN perform similarly fast"; and besides "UnICORNN is about 30 - 40 times faster per combined forward and
backward pass, when compared to recently developed RNNs such as expRNN and coRNN". Here on the CPU, or on a GPU where
torch finds one; only the order can be compared. SRU is not among dynlab's cells and is not timed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from dynlab.cells import CoRNN, ExpRNN, IndRNN, UnICORNN
from dynlab.figures.base import Claim, Item, Measured, Run, one_by_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"lengths": [20, 40], "batch": 4, "hidden_size": 8, "rounds": 2},
    "laptop": {"lengths": [1000, 2000], "batch": 128, "hidden_size": 128, "rounds": 5},
    "paper": {"lengths": [1000, 2000], "batch": 128, "hidden_size": 128, "rounds": 100},
}
FEATURES = 1
LABELS = {
    "unicornn": "UnICORNN, 2 layers",
    "indrnn": "IndRNN, 2 layers",
    "lstm": "LSTM, torch.nn",
    "gru": "GRU, torch.nn",
    "unicornn loop": "UnICORNN, loop",
    "cornn": "coRNN, loop",
    "exprnn": "expRNN, loop",
}


# ---- contenders ------------------------------------------------------------------------------------------------------


class Stack(nn.Module):
    """Two UnICORNN or IndRNN layers: dynlab's compiled recurrences; after each IndRNN layer batch normalisation."""

    def __init__(self, cell: type[UnICORNN] | type[IndRNN], hidden_size: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList([cell(FEATURES, hidden_size), cell(hidden_size, hidden_size)])
        normal = [nn.BatchNorm1d(hidden_size) for _ in self.cells] if cell is IndRNN else [nn.Identity()] * 2
        self.normal = nn.ModuleList(normal)

    def forward(self, x: Tensor) -> Tensor:
        """(time, batch, f) -> (time, batch, d)."""
        for cell, normal in zip(self.cells, self.normal, strict=True):
            x = cell.scan(x, keep="hidden")
            x = normal(x.flatten(0, 1)).view_as(x)
        return x


def unicornn_loop(stack: Stack, inputs: Tensor) -> Tensor:
    """``Stack`` of UnICORNN, step by step in PyTorch."""
    for cell in stack.cells:
        y = z = inputs.new_zeros(inputs.shape[1], cell.hidden_size)
        w, h, outputs = cell.weight_hh.expand_as(y), cell.effective_time_step().expand_as(y), []
        for term in cell.input_term(inputs).unbind(0):
            z = torch.addcmul(z, h, torch.addcmul(term, w, y).tanh().add(y, alpha=cell.alpha), value=-1)
            y = torch.addcmul(y, h, z)
            outputs.append(y)
        inputs = torch.stack(outputs)
    return inputs


def cornn_loop(cell: CoRNN, inputs: Tensor) -> Tensor:
    """``CoRNN``, step by step in PyTorch."""
    module = cell.module
    y = z = inputs.new_zeros(inputs.shape[1], cell.hidden_size)
    weight, outputs = torch.cat([module.weight_hh, module.weight_ch], dim=1).T, []
    bias = module.bias_ih + module.bias_hh + module.bias_ch
    for term in nn.functional.linear(inputs, module.weight_ih, bias).unbind(0):
        force = torch.addmm(term, torch.cat([y, z], dim=1), weight).tanh()
        z = z + module.dt * (force - module.gamma * y - module.epsilon * z)
        y = y + module.dt * z
        outputs.append(y)
    return torch.stack(outputs)


def exprnn_loop(cell: ExpRNN, inputs: Tensor) -> Tensor:
    """``ExpRNN``, step by step in PyTorch; its exponential once a pass."""
    h = inputs.new_zeros(inputs.shape[1], cell.hidden_size)
    weight, outputs = cell.weight_hh.T, []
    for term in cell.input_term(inputs).unbind(0):
        total = torch.addmm(term, h, weight)
        h = torch.sign(total) * torch.relu(total.abs() + cell.bias)
        outputs.append(h)
    return torch.stack(outputs)


def contenders(hidden_size: int, device: str) -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Modules, and what makes their hidden sequences, by the keys of ``LABELS``."""
    stack, other = Stack(UnICORNN, hidden_size).to(device), Stack(IndRNN, hidden_size).to(device)
    lstm, gru = nn.LSTM(FEATURES, hidden_size).to(device), nn.GRU(FEATURES, hidden_size).to(device)
    cornn, exprnn = CoRNN(FEATURES, hidden_size).to(device), ExpRNN(FEATURES, hidden_size).to(device)
    return {
        "unicornn": (stack, stack),
        "indrnn": (other, other),
        "lstm": (lstm, lambda x: lstm(x)[0]),
        "gru": (gru, lambda x: gru(x)[0]),
        "unicornn loop": (stack, lambda x: unicornn_loop(stack, x)),
        "cornn": (cornn, lambda x: cornn_loop(cornn, x)),
        "exprnn": (exprnn, lambda x: exprnn_loop(exprnn, x)),
    }


# ---- times -----------------------------------------------------------------------------------------------------------


def time_all(length: int, batch: int, hidden_size: int, rounds: int, device: str, seed: int) -> xr.Dataset:
    """Seconds of each contender: one round to warm up, then ``rounds`` in which each runs once, interleaved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inputs = torch.randn(length, batch, FEATURES).to(device)
        cotangent = torch.randn(length, batch, hidden_size).to(device)
        running = contenders(hidden_size, device)
    seconds = np.empty((1 + rounds, len(running)))
    with _no_collection():
        for taken in seconds:
            gc.collect()
            taken[:] = [_pass(*contender, inputs, cotangent) for contender in running.values()]
    return xr.Dataset(
        {
            "seconds": (
                ("contender", "round"),
                seconds[1:].T,
                {"units": "s", "long_name": "forward and backward pass"},
            )
        },
        {
            "contender": ("contender", list(running), {"units": "1"}),
            "round": ("round", np.arange(rounds), {"units": "1"}),
        },
        {"threads": torch.get_num_threads(), "native": _native(device)},
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python looks for garbage when it is told to, not while something is timed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _pass(module: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor, cotangent: Tensor) -> float:
    """Seconds of the hidden sequence and of the gradients of all parameters."""
    _wait(inputs)
    begin = time.perf_counter()
    torch.autograd.grad(forward(inputs), list(module.parameters()), cotangent)
    _wait(inputs)
    return time.perf_counter() - begin


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def _native(device: str) -> bool:
    """Whether dynlab's compiled recurrences run."""
    from dynlab.backend import asked
    from dynlab.native import library

    return asked("auto") != "reference" and library.status("cuda" if device == "cuda" else "cpu").available


def compute(scale: str, seed: int = 0, run: Run = one_by_one) -> xr.Dataset:
    """Times and their medians over that of UnICORNN. Seconds are not the same from call to call."""
    settings = dict(SCALES[scale])
    lengths = settings.pop("lengths")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pieces = run(time_all, [{"length": length, "device": device, "seed": seed, **settings} for length in lengths])
    data = xr.concat(pieces, "length", combine_attrs="override")
    data = data.assign_coords(length=("length", lengths, {"units": "step", "long_name": "N"}))
    medians = data["seconds"].median("round")
    return data.assign(
        ratio=(medians / medians.sel(contender="unicornn", drop=True)).assign_attrs(
            units="1", long_name="median seconds over UnICORNN's"
        )
    ).assign_attrs(
        {
            "scale": scale,
            "seed": seed,
            **settings,
            "input_size": FEATURES,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "reference": "UnICORNN Fig. 2",
        }
    )


# ---- claims ----------------------------------------------------------------------------------------------------------


def _ratios(data: xr.Dataset, *names: str) -> str:
    return "; ".join(
        f"{LABELS[name]} " + ", ".join(f"{value:.1f}" for value in data["ratio"].sel(contender=name).values)
        for name in names
    )


def _judged(data: xr.Dataset, holds: bool, *names: str) -> Measured:
    at = " and ".join(str(int(length)) for length in data["length"])
    value = f"times UnICORNN's at N = {at}: {_ratios(data, *names)}"
    if not data.attrs["native"]:
        return Measured(value, None, "dynlab's compiled recurrences are not available here: its loops were timed")
    return Measured(value, holds, f"on {data.attrs['device']}, {data.attrs['threads']} thread(s)")


def slow_lstm(data: xr.Dataset) -> Measured:
    """The LSTM takes more than 1.5 times as long as UnICORNN and as IndRNN."""
    slower = data["ratio"].sel(contender="lstm") / data["ratio"].sel(contender=["unicornn", "indrnn"])
    return _judged(data, bool((slower > 1.5).all()), "lstm", "indrnn")


def fast_indrnn(data: xr.Dataset) -> Measured:
    """IndRNN's time is UnICORNN's to a factor of two."""
    ratio = data["ratio"].sel(contender="indrnn")
    return _judged(data, bool(((ratio < 2) & (ratio > 0.5)).all()), "indrnn")


def faster_than_loops(data: xr.Dataset) -> Measured:
    """expRNN and coRNN take longer."""
    return _judged(data, bool((data["ratio"].sel(contender=["exprnn", "cornn"]) > 1).all()), "exprnn", "cornn")


# ---- the figure ------------------------------------------------------------------------------------------------------


def draw(dataset: xr.Dataset) -> Figure:
    """A panel a length: medians, and the range over rounds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    from dynlab.plots.style import cell_look, style

    names = [str(name) for name in dataset["contender"].values]
    colours = [cell_look(name)["color"] for name in names]
    places = np.arange(len(names))
    with style():
        figure = Figure(figsize=(7, 2.6), layout="constrained")
        panels = figure.subplots(1, dataset.sizes["length"], sharey=True, sharex=True)
        for axes, length in zip(panels, dataset["length"].values, strict=True):
            seconds = dataset["seconds"].sel(length=length)
            medians = seconds.median("round").values
            ends = np.abs(np.stack([seconds.min("round"), seconds.max("round")]) - medians)
            # Points: on a logarithmic axis a bar has no honest beginning.
            axes.errorbar(medians, places, xerr=ends, fmt="none", ecolor="0.2", elinewidth=0.8)
            axes.scatter(medians, places, color=colours, s=36, zorder=3)
            ratios = dataset["ratio"].sel(length=length).values
            for place, end, ratio in zip(places, medians + ends[1], ratios, strict=True):
                axes.annotate(
                    f"{ratio:.1f}x", (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
                )
            axes.set(xscale="log", title=f"N = {length}", xlabel="seconds, forward and backward")
            axes.margins(x=0.15)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        panels[0].set_yticks(places, [LABELS[name] for name in names])
        panels[0].invert_yaxis()
    return figure


_RANGE = "the order only: seconds depend on the machine, the paper's are of a GPU"

ITEM = Item(
    paper="UnICORNN",
    number="Fig. 2",
    title="Time of a forward and backward pass",
    protocol="Mean over 100 batches of 128 sequences, N = 1000 and 2000, on a GeForce RTX 2080 Ti; cuDNN's LSTM of one "
    "layer, SRU, IndRNN (with batch normalisation) and UnICORNN of two (section 4).",
    claims=(
        Claim(
            "The LSTM is slow beside UnICORNN and IndRNN.",
            slow_lstm,
            tolerance=f"more than 1.5 times as long at both lengths; {_RANGE}",
            scales=("laptop", "paper"),
        ),
        Claim(
            "IndRNN and UnICORNN perform similarly fast.",
            fast_indrnn,
            tolerance="a factor of two either way",
            scales=("laptop", "paper"),
        ),
        Claim(
            "UnICORNN is about 30 to 40 times faster than expRNN and coRNN.",
            faster_than_loops,
            published="30 - 40, on a GPU",
            tolerance=f"faster at both lengths; {_RANGE}",
            scales=("laptop", "paper"),
        ),
    ),
    choices=(
        "128 units and one input a step: the paper gives neither.",
        "Medians of interleaved rounds, so that a slow spell of the machine falls on all.",
        "expRNN, coRNN and a third UnICORNN are loops over the steps in PyTorch, as their authors publish them; GRU is "
        "added, SRU left out.",
        "On a CPU a product of matrices is as fast a step at a time as all at once, so loops lose less there.",
    ),
)
