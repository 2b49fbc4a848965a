"""Adjoint sweeps against ``torch.func`` through the whole rollout."""

import pytest
import torch

import dynlab.trace
from dynlab.adapt import as_cell
from dynlab.cells import registry
from dynlab.jacobian import product as products
from dynlab.jacobian.product import BlockProduct, DenseProduct
from dynlab.jacobian.sweep import adjoint_sweep, safe_steps
from dynlab.network import Network
from dynlab.trace import rollout

pytestmark = pytest.mark.usefixtures("form")

INPUT, HIDDEN, STEPS, BATCH = 3, 4, 7, 2
CELLS = (
    *("unicornn", "irnn", "antisymmetric", "gated_antisymmetric", "elman", "lstm", "gru", "cornn", "indrnn"),
    *("function", "two_layers", "residual", "varying_layers"),
)


def mixing(x, state):
    return torch.tanh(1.3 * state.roll(1, -1) - 0.5 * state * x.sum(-1, keepdim=True))


def build(name):
    torch.manual_seed(3)
    make = {
        "function": lambda: as_cell(mixing, input_size=INPUT, state_size=HIDDEN),
        "two_layers": lambda: Network([registry["lstm"](INPUT, 3), registry["unicornn"](3, 2)]),
        "residual": lambda: Network(
            [
                registry["unicornn"](INPUT, 2),
                registry["elman"](2, 3),
                registry["unicornn"](3, 2),
                registry["indrnn"](2, 2),
            ],
            residual=2,
        ),
        "varying_layers": lambda: Network([registry["irnn"](INPUT, 3, K=2, eta_steps=STEPS), registry["indrnn"](3, 2)]),
    }.get(name, lambda: registry[name](INPUT, HIDDEN))
    cell = make().double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return cell


def trace_of(cell, steps=STEPS, batch=BATCH):
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(steps, batch, cell.input_size, generator=generator, dtype=torch.float64)
    state = torch.randn(batch, cell.state_size, generator=generator, dtype=torch.float64)
    return rollout(cell, inputs, state)


def by_autodiff(trace, start, stop):
    """d state_stop / d state_start of every sample, by reverse mode through all the steps."""

    def run(state, sample):
        for t in range(start, stop):
            state = trace.cell(trace.inputs[t, sample : sample + 1], state[None], t + 1)[0]
        return state

    jacobians = [
        torch.func.jacrev(run)(trace.states[start, sample], sample).detach() for sample in range(trace.batch_size)
    ]
    return torch.stack(jacobians)


class Collect:
    def __init__(self):
        self.found = {}
        self.steps = {}

    def visit(self, first, product, linearization):
        held = product.entries.shape[1] if isinstance(product, BlockProduct) else 1
        for index in range(held):
            one = product.at(index) if isinstance(product, BlockProduct) else product
            matrix, log_scale = one.to_dense()
            assert first + index not in self.found
            self.found[first + index] = matrix * log_scale.exp()[:, None, None]
        if linearization is not None:
            steps = linearization.unbind() if isinstance(product, BlockProduct) else [linearization]
            assert len(steps) == held
            self.steps.update(enumerate((step.jacobian.to_dense().clone() for step in steps), first))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("rows", ["state", "hidden"])
def test_all_times_against_autodiff(name, rows):
    trace = trace_of(build(name))
    seen = Collect()
    last = adjoint_sweep(trace, [seen], rows)
    assert sorted(seen.found) == list(range(STEPS + 1))
    assert sorted(seen.steps) == list(range(1, STEPS + 1))
    which = slice(None) if rows == "state" else trace.cell.hidden_slice
    for t in range(STEPS + 1):
        expected = by_autodiff(trace, t, STEPS)[:, which]
        torch.testing.assert_close(seen.found[t], expected, rtol=1e-11, atol=1e-12)
    for t in range(1, STEPS + 1):
        torch.testing.assert_close(seen.steps[t], by_autodiff(trace, t - 1, t), rtol=1e-12, atol=1e-13)
    matrix, log_scale = last.to_dense()
    torch.testing.assert_close(matrix * log_scale.exp()[:, None, None], seen.found[0], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["unicornn", "indrnn", "gru", "irnn", "function", "residual", "varying_layers"])
@pytest.mark.parametrize("span", [(0, 5), (2, 7), (3, 4)])
@pytest.mark.parametrize("length", [1, 3])
def test_inside_across_chunks_with_rescaling(name, span, length, monkeypatch):
    trace = trace_of(build(name))
    size = trace.linearize(0, 1).nbytes()
    monkeypatch.setattr(dynlab.trace, "CHUNK_BYTES", length * size)
    monkeypatch.setitem(products.HEADROOM, torch.float64, 1.2)
    assert trace.chunk == length
    seen = Collect()
    last = adjoint_sweep(trace, [seen], "state", *span)
    assert sorted(seen.found) == list(range(span[0], span[1] + 1))
    for t, found in seen.found.items():
        torch.testing.assert_close(found, by_autodiff(trace, t, span[1]), rtol=1e-11, atol=1e-12)
    assert bool((last.log_scale != 0).any())


@pytest.mark.parametrize("name", ["unicornn", "lstm", "two_layers"])
def test_rows_of_ones_own(name):
    trace = trace_of(build(name))
    rows = torch.randn(BATCH, 3, trace.cell.state_size, dtype=torch.float64)
    before = rows.clone()
    product = adjoint_sweep(trace, [], rows)
    assert isinstance(product, DenseProduct)
    found = product.matrix * product.log_scale.exp()[:, None, None]
    torch.testing.assert_close(found, before @ by_autodiff(trace, 0, STEPS), rtol=1e-11, atol=1e-12)
    assert torch.equal(rows, before)


def test_independent_units_stay_blocks():
    assert isinstance(adjoint_sweep(trace_of(build("unicornn")), []), BlockProduct)
    assert isinstance(adjoint_sweep(trace_of(build("indrnn")), []), BlockProduct)
    assert isinstance(adjoint_sweep(trace_of(build("lstm")), []), DenseProduct)


@pytest.mark.parametrize("name", ["unicornn", "gru"])
def test_tick_counts_every_step_once(name, monkeypatch):
    monkeypatch.setattr(dynlab.trace, "CHUNK_BYTES", 1)
    ticks = []
    adjoint_sweep(trace_of(build(name)), [], start=1, stop=6, tick=ticks.append)
    assert sum(ticks) == 5


def test_safe_steps_keep_products_in_range():
    trace = trace_of(build("unicornn"))
    jacobian = trace.linearize(0, STEPS).jacobian
    steps = safe_steps(jacobian)
    singular = torch.linalg.svdvals(jacobian.to_dense())
    worst = max(float(singular.max()), 1 / float(singular.min()))
    assert 1 < worst**steps <= products.HEADROOM[torch.float64] * (1 + 1e-9)


@pytest.mark.parametrize("name", ["elman", "indrnn", "unicornn", "two_layers"])
def test_memory_of_the_visited_product_does_not_leak_between_times(name, monkeypatch):
    # Buffers are used again: what a visitor copied must be what a sweep that stops there gives.
    trace = trace_of(build(name))
    seen = Collect()
    adjoint_sweep(trace, [seen, Collect()], "state")
    for t in (0, 3, STEPS - 1):
        matrix, log_scale = adjoint_sweep(trace, [], "state", t).to_dense()
        torch.testing.assert_close(matrix * log_scale.exp()[:, None, None], seen.found[t], rtol=1e-12, atol=1e-13)
