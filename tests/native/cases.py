"""Cells that have native code, each beside its reference, and data for them."""

import copy
import math

import pytest
import torch

from dynlab.cells import AntisymmetricRNN, IncrementalRNN, IndRNN, UnICORNN
from dynlab.native import build as kernels
from dynlab.native import library


def cpu_library():
    """The CPU library. Skips the test only where there is no compiler to make it with."""
    try:
        kernels.compiler()
    except kernels.BuildError as error:
        pytest.skip(str(error))
    return library.load("cpu")


def rand(*shape, seed=0, dtype=torch.float64):
    """Normal numbers; those of float32 are those of float64, rounded."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def stirred(cell, seed=0):
    """The cell in float64 with parameters of both signs, neither vanishing nor exploding within some steps."""
    cell = cell.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            normal = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.startswith("weight_ih"):
                parameter.copy_(normal / math.sqrt(max(1, cell.input_size)))
            elif name == "weight_hh":
                parameter.copy_(normal.clamp(-1.2, 1.2))
            elif name.startswith("weight"):
                parameter.copy_(0.7 * normal / math.sqrt(cell.hidden_size))
            elif name == "eta":
                parameter.copy_(0.2 + 0.1 * normal)
            else:
                parameter.copy_(0.5 * normal)
    return cell


def on(cell, backend, dtype=None):
    """A copy of the cell on a backend, perhaps in another dtype."""
    made = copy.deepcopy(cell).to(dtype)
    made.backend = backend
    return made


# One of each kind of native code.
CELLS = {
    "unicornn": lambda f, d: UnICORNN(f, d, dt=0.6, alpha=1.3),
    "unicornn_reconstruct": lambda f, d: UnICORNN(f, d, dt=0.6, alpha=1.3, memory="reconstruct"),
    "indrnn_relu": lambda f, d: IndRNN(f, d),
    "indrnn_tanh": lambda f, d: IndRNN(f, d, nonlinearity="tanh"),
    "indrnn_sigmoid": lambda f, d: IndRNN(f, d, nonlinearity="sigmoid"),
    "antisymmetric": lambda f, d: AntisymmetricRNN(f, d, epsilon=0.3, gamma=0.2),
    "gated_antisymmetric": lambda f, d: AntisymmetricRNN(f, d, epsilon=0.3, gamma=0.2, gated=True),
    "unstructured": lambda f, d: AntisymmetricRNN(f, d, epsilon=0.3, structured=False),
    "gated_unstructured": lambda f, d: AntisymmetricRNN(f, d, epsilon=0.3, gated=True, structured=False),
    "irnn": lambda f, d: IncrementalRNN(f, d, K=1),
    "irnn_tanh": lambda f, d: IncrementalRNN(f, d, K=3, nonlinearity="tanh", alpha=0.7),
    "irnn_sigmoid": lambda f, d: IncrementalRNN(f, d, K=2, nonlinearity="sigmoid", start="zero"),
    "irnn_minus": lambda f, d: IncrementalRNN(f, d, K=3, nonlinearity="tanh", sign=-1, start="zero"),
    "irnn_low_rank": lambda f, d: IncrementalRNN(f, d, K=2, recurrent="identity_plus_low_rank", rank=2),
    "irnn_projected": lambda f, d: IncrementalRNN(f, d, K=2, nonlinearity="tanh", projection=True),
    "irnn_eta_steps": lambda f, d: IncrementalRNN(
        f, d, K=2, nonlinearity="tanh", recurrent="identity_plus_low_rank", rank=1, projection=True, eta_steps=40
    ),
}
SMOOTH = [name for name in CELLS if name not in ("indrnn_relu", "irnn", "irnn_low_rank")]


def build(name, input_size, hidden_size, backend="native", dtype=torch.float64, seed=0):
    """A cell of ``CELLS`` with parameters that depend on the seed alone."""
    return on(stirred(CELLS[name](input_size, hidden_size), seed), backend, dtype)


def differentiated(cell, inputs, state, keep="states", cotangent=None, cast=lambda tensor: tensor):
    """Name -> tensor: the output of a scan, and its gradient in the inputs, the state and all parameters.

    Arguments:
        cotangent: what arrives at the output; normal numbers by default.
        cast: what becomes of the inputs and the state before the scan (views of another layout).
    """
    inputs = inputs.detach().clone().requires_grad_()
    leaves = {"inputs": inputs}
    if state is not None:
        leaves["state"] = state.detach().clone().requires_grad_()
    leaves |= {name: parameter for name, parameter in cell.named_parameters() if parameter.requires_grad}
    out = cell.scan(cast(leaves["inputs"]), leaves.get("state"), keep=keep)
    if cotangent is None:
        cotangent = rand(*out.shape, seed=99, dtype=out.dtype)
    gradients = torch.autograd.grad(out, list(leaves.values()), cotangent, allow_unused=True)
    found = {"output": out.detach()}
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        found[name] = torch.zeros_like(leaf) if gradient is None else gradient
    return found


def assert_close(found, expected, relative=1e-12, absolute=1e-13):
    """Every tensor within ``relative`` of its largest entry; ``absolute`` is for sums that cancel."""
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        have = found[name]
        assert have.shape == want.shape, f"{name}: {tuple(have.shape)} and {tuple(want.shape)}"
        if want.numel() == 0:
            continue
        error, scale = float((have.double() - want).abs().max()), float(want.abs().max())
        assert error <= relative * scale + absolute, f"{name}: error {error:.3g}, largest entry {scale:.3g}"


def assert_equal(found, expected):
    """The same bits."""
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        assert torch.equal(found[name], want), f"{name}: {int((found[name] != want).sum())} numbers differ"
