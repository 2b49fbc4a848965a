"""Cells whose numbers can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

import dynlab
from dynlab.compare import seeded_cell


def _rotation(omega: float, epsilon: float = 0.1, gamma: float = 0.0, spec: str = "antisymmetric"):
    """Two units, A = [[0, omega], [-omega, 0]], V = I: with zero inputs the state stays 0 and D = I."""
    cell = dynlab.build_cell(f"{spec}:epsilon={epsilon},gamma={gamma}", 2, 2).double()
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.zero_() if name.startswith("bias") else parameter.copy_(torch.eye(2)) if "ih" in name else None
        cell.weight_packed.fill_(omega)
    return cell


def _linear(c: float, K: int = 5, eta: float = 0.05, **options):
    """iRNN with U = c I and a bias so large that ReLU is the identity: the inner step is linear."""
    given = "".join(f",{name}={value}" for name, value in options.items())
    cell = dynlab.build_cell(f"irnn:K={K},eta={eta},recurrent=full{given}", 2, 4).double()
    with torch.no_grad():
        cell.weight_full.copy_(c * torch.eye(4, dtype=torch.float64))
        cell.bias.fill_(20.0)
        cell.eta.fill_(eta)  # again, in double precision
    return cell


def _seeded(spec: str, inputs: int, units: int, seed: int = 0):
    return seeded_cell(spec, inputs, units, seed).double()


@pytest.fixture
def rotation():
    return _rotation


@pytest.fixture
def linear():
    return _linear


@pytest.fixture
def seeded():
    return _seeded


@pytest.fixture
def noise():
    def draw(steps: int, features: int, scale: float = 1.0, batch: int = 1, seed: int = 7):
        generator = torch.Generator().manual_seed(seed)
        return scale * torch.randn(steps, batch, features, generator=generator, dtype=torch.float64)

    return draw
