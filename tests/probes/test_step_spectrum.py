"""Eigenvalues of each step against NumPy."""

import numpy as np
import pytest
import torch

from dynlab import Network, StepSpectrum, as_cell, record, registry


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name):
    torch.manual_seed(6)
    if name == "function":
        return as_cell(lambda x, s: torch.sin(1.5 * s.roll(1, -1) + x[:, :1]), input_size=3, state_size=4)
    if name == "layers":
        cell = Network([registry["unicornn"](3, 2), registry["gru"](2, 3)])
    else:
        cell = registry[name](3, 4)
    return cell.double()


@pytest.mark.parametrize(
    "name", ["unicornn", "antisymmetric", "gated_antisymmetric", "irnn", "lstm", "indrnn", "function", "layers"]
)
@pytest.mark.parametrize("every", [1, 3])
def test_against_numpy(name, every):
    cell, inputs = build(name), rand(7, 2, 3, seed=1)
    state = rand(2, cell.state_size, seed=2)
    found = record(cell, inputs, [StepSpectrum(every=every)], state).step_eigenvalue
    assert found.dims == ("transition", "batch", "mode")
    assert found.transition.values.tolist() == list(range(1, 8, every))
    states = cell.scan(inputs, state).detach()
    for t in found.transition.values.tolist():
        step = torch.stack(
            [
                torch.func.jacrev(lambda s, b=b, t=t: cell(inputs[t - 1, b : b + 1], s[None], t)[0])(states[t - 1, b])
                for b in range(2)
            ]
        ).detach()
        expected = np.linalg.eigvals(step.numpy())
        values = found.sel(transition=t).values
        modulus = np.sort(np.abs(expected), -1)[:, ::-1]
        np.testing.assert_allclose(np.abs(values), modulus, rtol=1e-6, atol=1e-7)
        for power in (1, 2):
            np.testing.assert_allclose((values**power).sum(-1), (expected**power).sum(-1), atol=1e-9)
        assert (np.diff(np.abs(values), axis=-1) <= 1e-12).all()


def test_antisymmetric_cell_has_imaginary_parts_of_proposition_2():
    # With gamma = 0 and slope one (at rest) the step is I + eps W, W antisymmetric: real parts exactly 1.
    cell = registry["antisymmetric"](1, 4, epsilon=0.3, gamma=0.0).double()
    with torch.no_grad():
        cell.bias.zero_()
    found = record(cell, torch.zeros(3, 1, 1, dtype=torch.float64), [StepSpectrum()]).step_eigenvalue.values
    np.testing.assert_allclose(found.real, 1, atol=1e-12)
    assert (np.abs(found.imag) > 0).any()


def test_bad_argument():
    with pytest.raises(ValueError, match="StepSpectrum: expected every >= 1, got 0"):
        StepSpectrum(every=0)


def test_of_the_hidden_part():
    torch.manual_seed(0)
    cell = registry["lstm"](3, 4).double()
    inputs = torch.randn(5, 2, 3, dtype=torch.float64)
    data = record(cell, inputs, [StepSpectrum(of="hidden"), "Trajectory"])
    states = cell.scan(inputs).detach()
    block = cell.step_jacobian(inputs[2], states[2]).to_dense()[:, :4, :4].numpy()
    expected = np.sort(np.abs(np.linalg.eigvals(block)), axis=-1)[:, ::-1]
    np.testing.assert_allclose(np.abs(data.step_eigenvalue.sel(transition=3).values), expected, rtol=1e-9)
