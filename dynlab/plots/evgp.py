"""The figure of ``dynlab compare``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dynlab.plots.gradient import dress_log_axis, gradient_norm
from dynlab.plots.spectrum import end_to_end_modulus
from dynlab.plots.style import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def evgp_figure(tree: xr.DataTree, title: str = "") -> Figure:
    """Gradient norms against time, and the moduli of the end-to-end eigenvalues, of every cell of a comparison."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(8.2, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        seen: Counter[str] = Counter()
        for node in tree.children.values():
            dataset = node.to_dataset()
            spec = str(dataset.attrs["spec"])
            occurrence = seen[key := spec.partition(":")[0].partition(" ")[0]]
            seen[key] += 1
            if "log_gradient_norm" not in dataset:
                left.plot([], [], label=f"{spec} (state overflow)")
                continue
            gradient_norm(dataset, left, _label(dataset, spec), occurrence)
            end_to_end_modulus(dataset, right, None, occurrence)
        dress_log_axis(left)
        dress_log_axis(right)
        left.set_xlabel("time step t")
        left.set_ylabel(r"$\log_{10}\ \|\partial s_T / \partial s_t\|$")
        left.set_title("gradient of the final state")
        right.set_title("eigenvalues of the end-to-end Jacobian")
        right.set_xscale("log")
        right.set_xlabel("rank (dot: the last one resolved)")
        right.set_ylabel(r"$\log_{10}\ |\lambda(\partial s_T / \partial s_0)|$")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(tree.children), 5))
        left.text(
            0.99, 0.01, "shaded: stable", transform=left.transAxes, ha="right", va="bottom", fontsize=8, color="#555555"
        )
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def _label(dataset: xr.Dataset, spec: str) -> str:
    step = int(dataset["overflow_step"].max())
    return f"{spec} (overflow at {step})" if step else spec
