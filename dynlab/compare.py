"""The main job: how gradients travel through several cells on the same real data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dynlab.cell import Cell
from dynlab.cells import build_cell
from dynlab.probes import EndToEndSpectrum, GradientNorm, LyapunovSpectrum
from dynlab.recording import record
from dynlab.tasks import Task
from dynlab.trace import StateOverflow
from dynlab.verdicts import verdict

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_CELLS = ("unicornn", "irnn:K=5", "antisymmetric", "elman", "lstm")
SWEEPS = 2  # of T steps each: the adjoint and the QR sweep


def split_cells(text: str) -> list[str]:
    """Specifications from one comma-separated string: "irnn:K=5,eta=0.1,lstm" are two."""
    specs: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if "=" in part and ":" not in part and specs:
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    return specs


def make_cell(spec: str, input_size: int, hidden_size: int) -> Cell:
    """The cell of a specification: of the registry, or ``FILE.py:NAME`` for one of your own.

    NAME is a class or function in the file, called with (input_size, hidden_size); what it returns goes through
    ``as_cell``.

    Raises:
        ValueError, TypeError, FileNotFoundError: an unknown cell, option or file, or a value it refuses.
    """
    path, colon, name = spec.rpartition(":")
    if not (colon and path.endswith(".py")):
        return build_cell(spec, input_size, hidden_size)
    import runpy

    from dynlab.adapt import as_cell

    if not Path(path).is_file():
        raise FileNotFoundError(f"{spec}: expected a Python file at {path}, found none")
    names = runpy.run_path(path)
    if name not in names:
        raise ValueError(f"{spec}: expected {name} to be defined in {path}")
    return as_cell(names[name](input_size, hidden_size))


def seeded_cell(spec: str, input_size: int, hidden_size: int, seed: int) -> Cell:
    """The cell with its parameters drawn from ``seed``; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_cell(spec, input_size, hidden_size)


def compare(cells: Sequence[str | tuple[str, Cell]], task: Task, **options: Any) -> xr.DataTree:
    """All of ``compare_each`` as one tree, one group a cell."""
    return as_tree(dict(compare_each(cells, task, **options)))


def as_tree(groups: dict[str, xr.Dataset]) -> xr.DataTree:
    """Datasets by label as one tree; a slash in a label cannot stand in a group's name."""
    import xarray as xr

    return xr.DataTree.from_dict({label.replace("/", "_"): dataset for label, dataset in groups.items()})


def compare_each(
    cells: Sequence[str | tuple[str, Cell]],
    task: Task,
    *,
    hidden_size: int = 128,
    steps: int = 1000,
    batch_size: int = 16,
    seeds: Sequence[int] = (0,),
    dtype: str = "float32",
    tick: Callable[[str, int], None] = lambda label, steps: None,
) -> Iterator[tuple[str, xr.Dataset]]:
    """Measure every cell on the same sequences, one after the other.

    Arguments:
        cells: specifications, or pairs (label, cell) for cells at hand (trained ones), which take no seed.
        steps: T. dtype: "float32" or "float64"; cells at hand are converted in place.
        tick: called with the cell's label and the number of sweep steps done.

    Yields:
        (label, dataset) with GradientNorm, EndToEndSpectrum and the largest Lyapunov exponent along a ``seed``
        dimension. Where a state left the float range the record is shorter: what was not recorded is missing
        there, and ``overflow_step`` says why.
    """
    import xarray as xr

    precision = getattr(torch, dtype)
    for item in cells:
        label = item if isinstance(item, str) else item[0]
        runs = []
        for seed in seeds:
            inputs, _ = task.sequences(batch_size, steps, seed)
            inputs = inputs.to(precision)
            if isinstance(item, str):
                cell = seeded_cell(item, inputs.shape[-1], hidden_size, seed)
            else:
                cell = item[1]
            attrs = {"seed": seed, "spec": label, "task": task.key}
            runs.append(_measure(cell.to(precision), inputs, attrs, partial(tick, label)))
        joined = xr.concat(
            runs, "seed", join="outer", data_vars="all", coords="minimal", compat="override", combine_attrs="override"
        )
        joined = joined.assign_coords(seed=("seed", list(seeds), {"units": "1"}))
        yield label, joined.assign_attrs(seed=[int(seed) for seed in seeds])


def _measure(cell: Cell, inputs: torch.Tensor, attrs: dict[str, Any], tick: Callable[[int], None]) -> xr.Dataset:
    import xarray as xr

    probes = (GradientNorm(), EndToEndSpectrum(), LyapunovSpectrum(k=1))
    try:
        with warnings.catch_warnings():
            # A state that leaves the float range is in the table; it need not be said twice.
            warnings.filterwarnings("ignore", "(?s).*left the range", RuntimeWarning)
            return record(cell, inputs, probes, attrs=attrs, tick=tick)
    except StateOverflow:
        parameters = sum(parameter.numel() for parameter in cell.parameters())
        gone = np.ones(inputs.shape[1], dtype=int)
        return xr.Dataset(
            {"overflow_step": ("batch", gone)},
            {"batch": np.arange(inputs.shape[1])},
            {"cell": cell.title, "parameters": parameters, "T": 0, "overflow_step": 1, **attrs},
        )


# ---- table -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One cell in the table; ratios, moduli in natural logarithms, the exponent in nats a step.

    Each quantity is a mean over samples first; ``_spread`` is the standard deviation over seeds, None for one seed.
    """

    label: str
    parameters: int
    ratio: float | None
    ratio_spread: float | None
    modulus_mean: float | None
    modulus_std: float | None
    exponent: float | None
    exponent_spread: float | None
    overflow_step: int
    verdicts: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The verdict where all seeds agree, else how many seeds say what."""
        kinds = dict.fromkeys(self.verdicts)
        if len(kinds) == 1:
            return self.verdicts[0]
        return ", ".join(f"{kind} {self.verdicts.count(kind)}/{len(self.verdicts)}" for kind in kinds)


def rows(tree: xr.DataTree) -> list[Row]:
    """The table of a comparison."""
    return [_row(dataset.to_dataset()) for dataset in tree.children.values()]


def _row(dataset: xr.Dataset) -> Row:
    overflow = dataset["overflow_step"].values  # (seed, batch)
    first = np.where(overflow > 0, overflow, np.iinfo(int).max).min(-1)
    steps = [int(step) if (overflow[i] > 0).any() else 0 for i, step in enumerate(first)]
    ratios = _per_seed(dataset, "log_gradient_ratio")
    # A seed without a ratio either overflowed or had T = 1, for which there is no verdict.
    verdicts = [
        verdict(ratio if ratio is not None else math.inf, step) if step or ratio is not None else "no ratio"
        for ratio, step in zip(ratios, steps, strict=True)
    ]
    exponents = _per_seed(dataset, "lyapunov_exponent")
    ratio, ratio_spread = _mean_and_spread(ratios)
    exponent, exponent_spread = _mean_and_spread(exponents)
    return Row(
        label=str(dataset.attrs["spec"]),
        parameters=int(dataset.attrs["parameters"]),
        ratio=ratio,
        ratio_spread=ratio_spread,
        modulus_mean=_log_mean(dataset, "log_end_to_end_modulus_mean"),
        modulus_std=_log_mean(dataset, "log_end_to_end_modulus_std"),
        exponent=exponent,
        exponent_spread=exponent_spread,
        overflow_step=min((step for step in steps if step), default=0),
        verdicts=tuple(verdicts),
    )


def _per_seed(dataset: xr.Dataset, name: str) -> list[float | None]:
    """Mean over samples for each seed; None where it was not recorded."""
    if name not in dataset:
        return [None] * dataset.sizes["seed"]
    values = dataset[name].values.reshape(dataset.sizes["seed"], -1)
    return [None if np.isnan(seed).any() else float(seed.mean()) for seed in values]


def _mean_and_spread(values: list[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    if len(known) == 1 or not np.isfinite(known).all():
        return float(np.mean(known)), None
    return float(np.mean(known)), float(np.std(known, ddof=1))


def _log_mean(dataset: xr.Dataset, name: str) -> float | None:
    """log of the mean over seeds and samples of a quantity kept as a logarithm."""
    if name not in dataset:
        return None
    logs = dataset[name].values.ravel()
    logs = logs[~np.isnan(logs)]
    return float(np.logaddexp.reduce(logs) - math.log(len(logs))) if len(logs) else None
