"""Jacobians and drives of stacks against autodiff."""

import pytest
import torch

from dynlab.adapt import as_cell
from dynlab.cells import registry
from dynlab.jacobian.autodiff import linearize_by_autodiff
from dynlab.jacobian.layered import LayeredDrive, LayeredJacobian
from dynlab.network import Network

TIGHT = {"rtol": 1e-11, "atol": 1e-12}
STACKS = {
    "one layer": lambda: Network([registry["gru"](3, 4)]),
    "unlike layers": lambda: Network([registry["lstm"](3, 4), registry["unicornn"](4, 3), registry["elman"](3, 2)]),
    "residual": lambda: Network(
        [registry["unicornn"](3, 2), registry["lstm"](2, 4), registry["irnn"](4, 3, K=2), registry["unicornn"](3, 2)],
        residual=2,
    ),
    "residual over three": lambda: Network(
        [registry["unicornn"](3, 2), *(registry["antisymmetric"](2, 2) for _ in range(4))], residual=3
    ),
    "gated residual": lambda: Network([registry["gated_antisymmetric"](2, 2) for _ in range(4)], residual=2),
    "a function inside": lambda: Network(
        [as_cell(lambda x, s: torch.sin(s) + x, input_size=3, state_size=3), registry["indrnn"](3, 2)]
    ),
    "a network inside": lambda: Network(
        [Network([registry["elman"](3, 2), registry["gru"](2, 3)]), registry["cornn"](3, 2)]
    ),
}


def build(name):
    torch.manual_seed(1)
    cell = STACKS[name]().double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


def data(cell, *lead):
    torch.manual_seed(2)
    return (torch.randn(*lead, size, dtype=torch.float64) for size in (cell.input_size, cell.state_size))


@pytest.mark.parametrize("name", list(STACKS))
@pytest.mark.parametrize("lead", [(2,), (3, 2)])
def test_against_autodiff(name, lead):
    cell = build(name)
    inputs, states = data(cell, *lead)
    found = cell.linearization(inputs, states)
    expected = linearize_by_autodiff(cell.advance, cell.terms(inputs).detach(), states)
    matrix, by_input = expected.jacobian.to_dense(), expected.drive.to_dense()
    assert isinstance(found.jacobian, LayeredJacobian) is (name != "one layer")
    assert isinstance(found.drive, LayeredDrive)
    torch.testing.assert_close(found.jacobian.to_dense(), matrix, **TIGHT)
    torch.testing.assert_close(found.drive.to_dense(), by_input, **TIGHT)
    rows = torch.randn(*lead, 5, cell.state_size, dtype=torch.float64)
    columns = torch.randn(*lead, cell.state_size, 5, dtype=torch.float64)
    features = torch.randn(*lead, cell.input_size, 5, dtype=torch.float64)
    before = rows.clone()
    torch.testing.assert_close(found.jacobian.left(rows), rows @ matrix, **TIGHT)
    torch.testing.assert_close(found.jacobian.right(columns), matrix @ columns, **TIGHT)
    torch.testing.assert_close(found.drive.left(rows), rows @ by_input, **TIGHT)
    torch.testing.assert_close(found.drive.right_term(features), by_input @ features, **TIGHT)
    assert torch.equal(rows, before)
    assert found.jacobian.size == cell.state_size
    assert tuple(found.jacobian.batch_shape) == lead
    if len(lead) == 2:
        for index, step in enumerate(found.unbind()):
            torch.testing.assert_close(step.jacobian.to_dense(), matrix[index], **TIGHT)
            torch.testing.assert_close(step.drive.to_dense(), by_input[index], **TIGHT)


def test_lower_triangular_in_the_layers():
    cell = build("unlike layers")
    matrix = cell.linearization(*data(cell, 2)).jacobian.to_dense()
    for index, where in enumerate(cell.layer_slices):
        assert not matrix[:, where, slice(where.stop, None)].any()
        assert matrix[:, where, where].abs().sum() > 0
        if index:
            assert matrix[:, where, cell.layer_slices[index - 1]].abs().sum() > 0


def test_bytes_of_all_layers():
    cell = build("unlike layers")
    found = cell.linearization(*data(cell, 2)).jacobian
    assert found.nbytes() >= sum(layer.jacobian.nbytes() for layer in found.layers) > 0
