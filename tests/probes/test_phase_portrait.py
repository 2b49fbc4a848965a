"""Phase portraits against linear maps, whose flow and smoothed flow are known."""

import numpy as np
import pytest
import torch

from dynlab.cell import Cell
from dynlab.cells.antisymmetric import AntisymmetricRNN
from dynlab.cells.unicornn import UnICORNN
from dynlab.probes.phase_portrait import PhasePortrait
from dynlab.trace import Trace, rollout


class Affine(Cell):
    """state -> A state + x."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__(len(matrix), len(matrix))
        self.matrix = torch.nn.Parameter(matrix)

    def forward(self, x, state):
        return state @ self.matrix.T + x


def observed(trace: Trace, **arguments) -> dict:
    return {variable.name: variable for variable in PhasePortrait(**arguments).observe(trace).variables()}


def grid(flow) -> torch.Tensor:
    """The grid points, (row, column, 2), from the coordinates of the dataset."""
    across, up = np.meshgrid(flow.coords["column"], flow.coords["row"])
    return torch.from_numpy(np.stack([across, up], -1))


@pytest.mark.parametrize("given", [None, (0.5, -2.0)])
def test_exact_flow_of_a_linear_map(given):
    matrix = torch.tensor([[0.9, -0.4], [0.3, 0.8]], dtype=torch.float64)
    trace = rollout(Affine(matrix), torch.randn(10, 3, 2, dtype=torch.float64))
    found = observed(trace, grid=7, input=given)
    assert set(found) == {"trajectory_plane", "flow"}
    assert torch.equal(found["trajectory_plane"].values, trace.states)
    x = trace.inputs.mean((0, 1)) if given is None else torch.tensor(given, dtype=torch.float64)
    expected = grid(found["flow"]) @ (matrix - torch.eye(2)).T + x
    assert found["flow"].values.shape == (7, 7, 2)
    torch.testing.assert_close(found["flow"].values, expected)
    low, high = trace.states.amin((0, 1)), trace.states.amax((0, 1))
    for axis, name in enumerate(("column", "row")):
        lines = found["flow"].coords[name]
        torch.testing.assert_close(lines[0], low[axis] - 0.1 * (high - low)[axis])
        torch.testing.assert_close(lines[-1], high[axis] + 0.1 * (high - low)[axis])
    assert found["flow"].attrs["flow"] == "exact"


def test_antisymmetric_figure_1():
    """Fig. 1 (g): W = [[0, -2], [2, 0]] turns states about the origin; the flow is eps tanh(W s)."""
    cell = AntisymmetricRNN(0, 2, epsilon=0.1, gamma=0.0).double()
    with torch.no_grad():
        cell.weight_packed.fill_(-2.0)
    start = torch.tensor([[0.0, 0.5], [-0.5, -0.5], [0.5, -0.75]], dtype=torch.float64)
    found = observed(rollout(cell, torch.zeros(50, 3, 0, dtype=torch.float64), start))
    turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found["flow"].values, 0.1 * torch.tanh(grid(found["flow"]) @ turn.T))


def test_an_oscillator_is_its_own_plane():
    trace = rollout(UnICORNN(2, 1), torch.randn(9, 2, 2))
    assert observed(trace, of="state")["flow"].attrs["flow"] == "exact"
    with pytest.raises(ValueError, match='at least 2 hidden components.*of="state"'):
        observed(trace)


def test_projected_flow_of_a_planar_motion():
    """A rotation inside a plane of five dimensions: the smoothed flow near the orbit is the rotation's velocity."""
    torch.manual_seed(3)
    basis = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64)).Q
    angle = 0.05
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float64)
    start = torch.linspace(0.2, 1.0, 40, dtype=torch.float64)[:, None] * basis[:, 0]
    cell = Affine(basis @ turn @ basis.T)
    trace = rollout(cell, torch.zeros(126, 40, 5, dtype=torch.float64), start)
    found = observed(trace, bandwidth=0.03, grid=21)
    plane = found["plane"].values
    torch.testing.assert_close(plane.T @ plane, basis @ basis.T)
    torch.testing.assert_close(found["explained_variance_ratio"].values.sum(), torch.tensor(1.0, dtype=torch.float64))
    rebuilt = found["trajectory_plane"].values @ plane + found["plane_mean"].values
    torch.testing.assert_close(rebuilt, trace.states)
    points = grid(found["flow"]) @ plane + found["plane_mean"].values
    radius = points.norm(dim=-1)
    inside = (radius > 0.3) & (radius < 0.9)
    expected = (points @ cell.matrix.detach().T - points) @ plane.T
    torch.testing.assert_close(found["flow"].values[inside], expected[inside], rtol=0, atol=5e-4)
    assert float(found["flow_weight"].values[inside].min()) > 1
    corner = found["flow_weight"].values[0, 0]
    assert float(corner) < 1e-10


def test_smoothing_by_hand():
    trace = rollout(AntisymmetricRNN(2, 6, epsilon=0.5), torch.randn(12, 3, 2))
    found = observed(trace, grid=5, samples=2)
    paths = found["trajectory_plane"].values
    assert paths.shape == (13, 3, 2)
    starts, velocities = paths[:-1, :2].reshape(-1, 2), paths[:, :2].diff(dim=0).reshape(-1, 2)
    bandwidth = torch.tensor(found["flow"].attrs["bandwidth"], dtype=torch.float64)
    lines = found["flow"].coords
    spacing = torch.stack([lines["column"].diff()[0], lines["row"].diff()[0]])
    expected = torch.maximum(starts.std(0, correction=0) * 24 ** (-1 / 6), spacing / 2)
    torch.testing.assert_close(bandwidth, expected)
    far = (grid(found["flow"])[:, :, None] - starts) / bandwidth
    weights = (-(far**2).sum(-1) / 2).exp()
    torch.testing.assert_close(found["flow_weight"].values, weights.sum(-1))
    torch.testing.assert_close(found["flow"].values, weights @ velocities / weights.sum(-1, keepdim=True))
    # The plane is that of the two samples.
    centred = trace.states[:, :2].double().reshape(-1, 6)
    centred = centred - centred.mean(0)
    leading = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    torch.testing.assert_close((found["plane"].values @ leading.T).abs(), torch.eye(2, dtype=torch.float64))


def test_no_data_no_arrow():
    trace = rollout(AntisymmetricRNN(2, 6, epsilon=0.5), torch.randn(12, 3, 2))
    found = observed(trace, bandwidth=1e-4, grid=5)
    empty = found["flow_weight"].values == 0
    assert bool(empty.any())
    assert float(found["flow"].values[empty].abs().max()) == 0


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("value", [0.0, 1e-30, 7.0, 1e20])
def test_states_that_do_not_move(size, value):
    trace = rollout(Affine(torch.eye(size)), torch.zeros(4, 2, size), torch.full((2, size), value))
    found = observed(trace)
    for variable in found.values():
        assert bool(torch.isfinite(variable.values).all()), variable.name
        for lines in variable.coords.values():
            assert bool((lines.diff() > 0).all())
    assert float(found["flow"].values.abs().max()) == 0


def test_one_step_one_sample():
    found = observed(rollout(UnICORNN(2, 3), torch.randn(1, 1, 2)))
    assert all(bool(torch.isfinite(variable.values).all()) for variable in found.values())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"of": "output"}, ValueError, "expected of"),
        ({"grid": 1}, ValueError, "grid >= 2"),
        ({"margin": -0.1}, ValueError, "margin >= 0"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth > 0"),
        ({"samples": 0}, ValueError, "samples >= 1"),
        ({"backend": "numpy"}, ValueError, "backend"),
        ({"input": 1.0}, TypeError, "sequence of numbers"),
        ({"input": (1.0, float("nan"))}, ValueError, "each of input"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        PhasePortrait(**arguments)


def test_what_the_cell_does_not_have():
    small = rollout(AntisymmetricRNN(3, 2), torch.randn(4, 2, 3))
    large = rollout(AntisymmetricRNN(3, 5), torch.randn(4, 2, 3))
    with pytest.raises(ValueError, match="input of length 3, got 1 numbers"):
        observed(small, input=(1.0,))
    with pytest.raises(ValueError, match="input only for states of 2 components"):
        observed(large, input=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="at most 2 samples"):
        observed(large, samples=3)
