"""What ``Spectrum`` looks at: a cell and its inputs as they were given, and the script that makes them again.

No widget is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dynlab import _check
from dynlab.adapt import as_cell
from dynlab.trace import Trace
from dynlab.widgets.between import follow
from dynlab.widgets.signals import FEATURES, signal

STEPS, BATCH = 200, 4
"""Of the Gaussian noise that a cell gets without inputs; our choice."""


@dataclass(frozen=True)
class Subject:
    """A cell on inputs; the arguments are those of ``Spectrum``."""

    cell: str | nn.Module | Callable[..., Any]
    inputs: Tensor | None = None
    hidden_size: int = 64
    seed: int = 0
    dtype: torch.dtype | None = None
    cell_code: str | None = None
    inputs_code: str | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.cell if isinstance(self.cell, str) else str(getattr(self.cell, "title", type(self.cell).__name__))

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of its datasets."""
        return {"spec": self.cell, "seed": self.seed} if isinstance(self.cell, str) else {}

    def follow(self) -> Trace:
        """The rollout.

        Raises:
            TypeError, ValueError: a cell that cannot be built or run, inputs that do not fit it.
        """
        inputs = self.inputs
        if isinstance(self.cell, str):
            from dynlab.compare import seeded_cell

            if inputs is None:
                inputs = self._noise(FEATURES)
            features = _check.floating("inputs", inputs, "Spectrum").shape[-1]
            return follow(seeded_cell(self.cell, features, self.hidden_size, self.seed), inputs, self.dtype)
        cell = as_cell(self.cell)
        return follow(cell, self._noise(cell.input_size) if inputs is None else inputs, self.dtype)

    def _noise(self, features: int) -> Tensor:
        return signal("noise", STEPS, BATCH, features=features, seed=self.seed)

    def code(self, start: int, stop: int, sample: int, radius: str) -> str:
        """A script that measures the product from ``start`` to ``stop`` and draws it."""
        built, noise = isinstance(self.cell, str), self.inputs is None
        lines = [] if built and noise and self.dtype is None else ["import torch", ""]
        lines.append("import dynlab")
        lines += ["from dynlab.compare import seeded_cell"] * built
        lines.append("from dynlab.widgets.between import between")
        lines += ["from dynlab.widgets.signals import signal"] * noise
        lines += ["from dynlab.widgets.spectrum_views import spectrum_figure", ""]
        if not built:
            lines.append(f"cell = {self.cell_code}" if self.cell_code else "# cell: what the widget was given")
        if noise:
            features = FEATURES if built else "dynlab.as_cell(cell).input_size"
            lines.append(f'inputs = signal("noise", {STEPS}, {BATCH}, features={features}, seed={self.seed})')
        else:
            lines.append(f"inputs = {self.inputs_code}" if self.inputs_code else "# inputs: what the widget was given")
        if built:
            lines.append(
                f"cell = seeded_cell({json.dumps(self.cell)}, inputs.shape[-1], {self.hidden_size}, {self.seed})"
            )
        dtype = "" if self.dtype is None else f", dtype={self.dtype}"
        attrs = f", attrs={json.dumps(self.attrs)}" if self.attrs else ""
        lines += [
            f"data = between(cell, inputs, {start}, {stop}, sample={sample}{dtype}{attrs})",
            'dynlab.save_dataset(data, "spectrum.zarr")',
            f'spectrum_figure(data, radius="{radius}").savefig("spectrum.pdf")',
        ]
        return "\n".join([*lines, ""])
