"""What every cell of the registry must do, whatever its equation."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab.cell import Cell
from dynlab.cells import build_cell, registry
from dynlab.jacobian.autodiff import linearize_by_autodiff

INPUT, HIDDEN = 3, 5
KEYS = list(registry)
GATED = {"gated_antisymmetric", "antisymmetric_ablation", "lstm", "gru", "fastgrnn", "ugrnn"}
# Options away from defaults at which a factor would be one or zero.
VARIED = {
    "unicornn": {"dt": 1.0, "alpha": 0.5},
    "irnn": {"alpha": 0.6, "nonlinearity": "sigmoid", "start": "zero"},
    "antisymmetric": {"epsilon": 0.5, "gamma": 0.3},
    "gated_antisymmetric": {"epsilon": 0.5, "gamma": 0.3},
    "antisymmetric_ablation": {"epsilon": 0.5, "gamma": 0.3},
    "ctrnn": {"dt": 0.6, "tau": 2.0, "alpha": 0.4, "nonlinearity": "sigmoid"},
    "elman": {"nonlinearity": "relu"},
    "fastrnn": {"nonlinearity": "relu"},
    "cornn": {"dt": 0.5, "gamma": 0.8, "epsilon": 1.4},
    "indrnn": {"nonlinearity": "tanh"},
    "lipschitz": {"epsilon": 0.5, "beta": 0.2, "gamma": 0.6, "std": 3.0},
}
PARAMETERS = {
    "unicornn": 15 + 3 * 5,
    "irnn": 15 + 5 + 2 * 5 + 5,
    "sirnn": 15 + 5 + 2 * 5 + 1,
    "antisymmetric": 10 + 15 + 5,
    "gated_antisymmetric": 10 + 2 * (15 + 5),
    "antisymmetric_ablation": 25 + 2 * (15 + 5),
    "ctrnn": 25 + 15 + 5,
    "elman": 25 + 15 + 2 * 5,
    "lstm": 4 * (25 + 15 + 2 * 5),
    "gru": 3 * (25 + 15 + 2 * 5),
    "fastrnn": 25 + 15 + 5 + 2,
    "fastgrnn": 25 + 15 + 2 * 5 + 2,
    "cornn": 2 * 25 + 15 + 5,
    "exprnn": 10 + 15 + 5,
    "indrnn": 5 + 15 + 5,
    "lipschitz": 2 * 25 + 15 + 5,
    "ugrnn": 2 * (25 + 15 + 5),
}


def make(
    key: str, seed: int = 0, dtype: torch.dtype = torch.float64, input_size: int = INPUT, **options: object
) -> Cell:
    """A cell far from its initial values, so that no parameter is zero or one by luck."""
    torch.manual_seed(seed)
    cell = registry[key](input_size, HIDDEN, **options).to(dtype)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


def data(cell: Cell, *leading: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dtype = next(cell.parameters()).dtype
    x = torch.randn(*leading, cell.input_size, generator=generator, dtype=torch.float64)
    state = torch.randn(*leading, cell.state_size, generator=generator, dtype=torch.float64)
    return x.to(dtype), state.to(dtype)


def test_every_key_has_a_parameter_count():
    assert set(PARAMETERS) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("leading", [(7,), (4, 2)])
@pytest.mark.parametrize("varied", [False, True])
def test_linearize_is_the_derivative(key, leading, varied):
    cell = make(key, **VARIED.get(key, {}) if varied else {})
    x, state = data(cell, *leading)
    ours, exact = (
        cell.linearization(x, state),
        linearize_by_autodiff(lambda x, s: cell.advance(cell.input_term(x), s), x, state),
    )
    dense = ours.jacobian.to_dense()
    assert dense.shape == (*leading, cell.state_size, cell.state_size)
    torch.testing.assert_close(dense, exact.jacobian.to_dense().detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.drive.to_dense(), exact.drive.to_dense().detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("key", KEYS)
def test_linearize_in_float32(key):
    cell = make(key, dtype=torch.float32)
    x, state = data(cell, 4, 2)
    ours = cell.linearization(x, state)
    exact = copy.deepcopy(cell).double().linearization(x.double(), state.double())
    assert ours.jacobian.to_dense().dtype == ours.drive.to_dense().dtype == torch.float32
    torch.testing.assert_close(ours.jacobian.to_dense().double(), exact.jacobian.to_dense(), rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(ours.drive.to_dense().double(), exact.drive.to_dense(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("key", KEYS)
def test_products_agree_with_the_dense_matrices(key):
    cell = make(key)
    x, state = data(cell, 3, 2)
    lin = cell.linearization(x, state)
    dense, drive = lin.jacobian.to_dense(), lin.drive.to_dense()
    rows, columns = torch.randn(3, 2, 4, cell.state_size).double(), torch.randn(3, 2, cell.state_size, 4).double()
    torch.testing.assert_close(lin.jacobian.left(rows), rows @ dense)
    torch.testing.assert_close(lin.jacobian.right(columns), dense @ columns)
    torch.testing.assert_close(lin.drive.left(rows), rows @ drive)
    by_term = lin.drive.term_to_dense()
    torch.testing.assert_close(lin.drive.left_term(rows), rows @ by_term)
    terms = torch.randn(3, 2, by_term.shape[-1], 4).double()
    torch.testing.assert_close(lin.drive.right_term(terms), by_term @ terms)
    # The slope by the term belongs to the term that the cell hands to advance.
    assert by_term.shape[-1] == cell.input_term(x).shape[-1]
    weight = cell.input_weight()
    torch.testing.assert_close(drive, (by_term if weight is None else by_term @ weight).detach())
    steps = lin.unbind()
    torch.testing.assert_close(torch.stack([step.jacobian.to_dense() for step in steps]), dense)
    torch.testing.assert_close(torch.stack([step.drive.to_dense() for step in steps]), drive)


@pytest.mark.parametrize("key", KEYS)
def test_single_step_jacobians_match(key):
    cell = make(key)
    x, state = data(cell, 3)
    x.requires_grad_(), state.requires_grad_()
    by_state = torch.autograd.functional.jacobian(lambda s: cell(x, s).sum(0), state).transpose(0, 1)
    by_input = torch.autograd.functional.jacobian(lambda u: cell(u, state).sum(0), x).transpose(0, 1)
    torch.testing.assert_close(cell.step_jacobian(x, state).to_dense(), by_state, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(cell.input_jacobian(x, state), by_input, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("key", KEYS)
def test_scan_is_the_step_repeated(key):
    cell = make(key)
    x, _ = data(cell, 6, 2)
    state = data(cell, 2, seed=5)[1]
    states = cell.scan(x, state)
    assert states.shape == (7, 2, cell.state_size)
    assert torch.equal(states[0], state)
    for t in range(6):
        state = cell(x[t], state, step=t + 1)
        torch.testing.assert_close(states[t + 1], state, rtol=1e-12, atol=1e-13)
    assert torch.equal(cell.scan(x, states[0], keep="last"), states[-1])
    assert torch.equal(cell.scan(x, states[0], keep="hidden"), cell.hidden(states[1:]))
    assert cell.hidden(states).shape == (7, 2, HIDDEN)


@pytest.mark.parametrize("key", KEYS)
def test_scan_backpropagates_to_every_parameter(key):
    cell = make(key)
    cell.scan(data(cell, 4, 2)[0], data(cell, 2)[1]).square().sum().backward()
    for name, parameter in cell.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("key", KEYS)
def test_float32_and_float64_take_the_same_path(key):
    cell = make(key, dtype=torch.float32)
    x, state = data(cell, 5, 2)
    low = cell.scan(x, state[0])
    high = cell.double().scan(x.double(), state[0].double())
    assert low.dtype == torch.float32 and high.dtype == torch.float64
    torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", KEYS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), sample=st.integers(0, 3))
def test_samples_do_not_see_each_other(key, seed, sample):
    cell = make(key)
    x = data(cell, 3, 4, seed=seed)[0]
    state = data(cell, 4, seed=seed)[1]
    alone = cell.scan(x[:, sample : sample + 1], state[sample : sample + 1])
    torch.testing.assert_close(cell.scan(x, state)[:, sample : sample + 1], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("key", KEYS)
def test_state_dict_round_trip(key):
    first, second = make(key, seed=0), make(key, seed=9)
    x = data(first, 4, 2)[0]
    assert not torch.equal(first.scan(x), second.scan(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.scan(x), second.scan(x))
    assert torch.equal(copy.deepcopy(first).scan(x), first.scan(x))


@pytest.mark.parametrize("key", KEYS)
def test_parameter_counts(key):
    assert sum(parameter.numel() for parameter in registry[key](INPUT, HIDDEN).parameters()) == PARAMETERS[key]


@pytest.mark.parametrize(
    ("spec", "sizes", "thousands"),
    [
        ("antisymmetric", (1, 128), 10),
        ("gated_antisymmetric", (1, 128), 10),
        ("antisymmetric", (3, 256), 36),
        ("gated_antisymmetric", (3, 256), 37),
        ("antisymmetric_ablation", (3, 196), 42),
        ("unicornn", (96, 128), 14),
    ],
)
def test_parameter_counts_of_the_papers(spec, sizes, thousands):
    """AntisymmetricRNN's tables, with a readout to ten classes; a UnICORNN layer by hand."""
    readout = 10 * (sizes[1] + 1)
    count = readout + sum(parameter.numel() for parameter in build_cell(spec, *sizes).parameters())
    assert round(count / 1000) == thousands


@pytest.mark.parametrize("key", KEYS)
def test_the_same_seed_gives_the_same_cell(key):
    cells = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        cells.append(registry[key](INPUT, HIDDEN))
    first, same, other = ([p.detach() for p in cell.parameters()] for cell in cells)
    assert all(map(torch.equal, first, same))
    assert not all(map(torch.equal, first, other))
    x = data(cells[0], 4, 2)[0]
    assert torch.equal(cells[0].scan(x), cells[1].scan(x))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.filterwarnings("error")
def test_autonomous(key):
    cell = make(key, input_size=0)
    state = data(cell, 2)[1]
    states = cell.scan(torch.zeros(4, 2, 0, dtype=torch.float64), state)
    assert states.shape == (5, 2, cell.state_size) and not torch.equal(states[-1], states[0])
    assert cell.linearization(torch.zeros(4, 2, 0).double(), states[:-1]).drive.to_dense().shape[-1] == 0


@pytest.mark.parametrize("key", KEYS)
def test_time_steps(key):
    cell = make(key)
    x, state = data(cell, 6, 2)
    step = cell.time_steps(x, state)
    sizes = {"time": 6, "batch": 2, "unit": HIDDEN, "k": getattr(cell, "K", 0)}
    assert step.values.shape == tuple(sizes[name] for name in step.dims)
    assert step.meaning
    if key in GATED:
        assert step.dims == ("time", "batch", "unit")
        assert (step.values > 0).all() and (step.values < 1).all()
        with pytest.raises(ValueError, match="expected inputs and states"):
            cell.time_steps()
    else:
        assert torch.equal(cell.time_steps().values, step.values)


@pytest.mark.parametrize("key", KEYS)
def test_says_what_it_is(key):
    cell = registry[key](INPUT, HIDDEN)
    assert cell.reference != "user-defined" and cell.bibtex
    assert set(cell.hyperparameters) <= set(registry[key].options)
    assert type(cell).__name__ in repr(cell)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("unicornn:dt=0", ValueError),
        ("unicornn:alpha=-1", ValueError),
        ("unicornn:dt='a'", TypeError),
        ("irnn:K=0", ValueError),
        ("irnn:K=1.5", TypeError),
        ("irnn:start=middle", ValueError),
        ("irnn:sign=2", ValueError),
        ("irnn:nonlinearity=sine", ValueError),
        ("irnn:rank=0", ValueError),
        ("irnn:eta=0", ValueError),
        ("antisymmetric:epsilon=0", ValueError),
        ("antisymmetric:gamma=-0.1", ValueError),
        ("ctrnn:dt=0", ValueError),
        ("ctrnn:tau=0", ValueError),
        ("ctrnn:alpha=-1", ValueError),
        ("ctrnn:nonlinearity=sine", ValueError),
        ("elman:nonlinearity=sigmoid", ValueError),
        ("lstm:forget_bias=one", TypeError),
        ("lstm:forget_bias=1e999", ValueError),
        ("fastrnn:alpha=True", TypeError),
        ("fastrnn:nonlinearity=elu", ValueError),
        ("fastgrnn:zeta=None", TypeError),
        ("cornn:dt=-1", ValueError),
        ("cornn:gamma=-1", ValueError),
        ("cornn:epsilon=-1", ValueError),
        ("indrnn:nonlinearity=gelu", ValueError),
        ("lipschitz:epsilon=0", ValueError),
        ("lipschitz:beta=1.5", ValueError),
        ("lipschitz:beta=-0.5", ValueError),
        ("lipschitz:gamma=-1", ValueError),
        ("ugrnn:forget_bias=one", TypeError),
        ("gru:K=3", ValueError),
    ],
)
def test_bad_hyperparameters(spec, error):
    with pytest.raises(error, match="expected"):
        build_cell(spec, INPUT, HIDDEN)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("sizes", "error"), [((-1, 4), ValueError), ((3, 0), ValueError), ((3, 2.0), TypeError), ((True, 4), TypeError)]
)
def test_bad_sizes(key, sizes, error):
    with pytest.raises(error, match="expected"):
        registry[key](*sizes)


@pytest.mark.parametrize("key", KEYS)
def test_wrong_tensors_are_named(key):
    cell = make(key)
    x, state = data(cell, 2)
    with pytest.raises(ValueError, match=r"expected x of shape \(batch, 3\)"):
        cell(x[:, :2], state)
    with pytest.raises(ValueError, match=rf"expected state of shape \(2, {cell.state_size}\)"):
        cell(x, state[:, 1:])
    with pytest.raises(ValueError, match="dtype"):
        cell(x.float(), state.float())
    with pytest.raises(ValueError, match="finite"):
        cell.scan(x[None] / 0)
