"""``watch_adjoints``: dL/d state_t of every cell against gradients that a loop of one's own retains.

Index conventions: t time, b batch, n state.
"""

import contextvars
import threading
import weakref

import pytest
import torch

from dynlab import Cell, Network, registry, watch_adjoints
from dynlab.backend import NativeUnavailableError

from .native.cases import CELLS, assert_close, assert_equal, build, cpu_library, on, rand, stirred

T, B, F, D = 7, 3, 4, 5


class Mine(Cell):
    """A cell of one's own."""

    def __init__(self):
        super().__init__(F, D)
        self.weight = torch.nn.Parameter(rand(D, D, seed=7) / 2)

    def forward(self, x, state):
        return torch.tanh(state @ self.weight + x.sum(-1, keepdim=True))


def elman():
    torch.manual_seed(0)
    return registry["elman"](F, D).double()


def two_layers():
    return Network([build("unicornn", F, 3), build("irnn_tanh", 3, D)])


def three_layers():
    """Two with native code and one without between them, and connections that skip."""
    torch.manual_seed(0)
    layers = [
        build("gated_antisymmetric", F, 4, "auto"),
        registry["gru"](4, 3).double(),
        build("unicornn", 3, 3, "auto"),
    ]
    return Network([*layers, build("unicornn", 3, D, "auto")], residual=2).double()


LOOPS = {"elman": elman, "mine": Mine}
MODELS = {name: lambda name=name: build(name, F, D) for name in CELLS}
MODELS |= {**LOOPS, "network": two_layers, "residual network": three_layers}
# Every model on both backends; on "native" the layers without native code run their loop.
CASES = [(name, "reference") for name in MODELS] + [(name, "native") for name in MODELS if name not in LOOPS]


def layers_of(model):
    return model.layers if isinstance(model, Network) else [model]


def made(name, chosen):
    model = MODELS[name]()
    for cell in layers_of(model):
        cell.backend = chosen if cell.has_native else "reference"
    return model


@pytest.fixture(scope="session", autouse=True)
def native():
    """All but a few tests need it; those are no use without it."""
    return cpu_library()


def loss_of(out):
    """Not linear, so that what flows back depends on the states; every row counts, differently."""
    return (out.square() * rand(*out.shape, seed=8)).sum() + (out * rand(*out.shape, seed=9)).sum()


def by_hand(model, inputs, state, keep):
    """The loss, and dL/d state_t for each layer, from a loop over steps and layers; row 0 is the initial state."""
    cells = layers_of(model)
    parts = [list(state.split([cell.state_size for cell in cells], dim=-1))]
    parts[0] = [part.clone().requires_grad_() for part in parts[0]]
    for t in range(len(inputs)):
        below, new = [inputs[t]], []
        for index, cell in enumerate(cells):
            term = cell.terms(below[index], t)
            if isinstance(model, Network) and str(index) in model.skips:  # UnICORNN, Eqs. (75), (76)
                term = term + below[index - model.residual] @ model.skips[str(index)].T
            new.append(cell.advance(term, parts[-1][index]))
            below.append(cell.hidden(new[-1]))
        parts.append(new)
    rows = [torch.cat(row, dim=-1) for row in parts]
    out = {
        "states": lambda: torch.stack(rows),
        "hidden": lambda: torch.stack([model.hidden(row) for row in rows[1:]]),
        "last": lambda: rows[-1],
    }[keep]()
    loss = loss_of(out)
    flat = [part for row in parts for part in row]
    gradients = torch.autograd.grad(loss, flat, allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(flat, gradients, strict=True)]
    return loss, [torch.stack(gradients[index :: len(cells)]) for index in range(len(cells))]


@pytest.mark.parametrize("keep", ["states", "hidden", "last"])
@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_adjoints_are_the_gradients_of_the_states(name, chosen, keep):
    model = made(name, chosen)
    inputs, state = rand(T, B, F), rand(B, model.state_size, seed=1)
    expected_loss, expected = by_hand(model, inputs, state, keep)
    leaf = state.clone().requires_grad_()
    with watch_adjoints() as adjoints:
        loss = loss_of(model.scan(inputs, leaf, keep=keep))
    loss.backward()
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-12)
    assert len(adjoints) == len(layers_of(model))
    for index, cell in enumerate(layers_of(model)):
        found = adjoints[cell]
        assert found.shape == (T + 1, B, cell.state_size) and not found.requires_grad
        assert_close({f"layer {index}": found}, {f"layer {index}": expected[index]})
        assert len(adjoints.of(cell)) == 1 and adjoints.of(cell)[0] is found
    starts = torch.cat([adjoints[cell][0] for cell in layers_of(model)], dim=-1)
    assert_close({"state": starts}, {"state": leaf.grad})


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("steps", "batch", "units"), [(1, 1, 1), (3, 2, 130), (9, 1, 33), (2, 40, 30)])
def test_adjoints_of_native_code_over_sizes(name, steps, batch, units):
    """UnICORNN's kernel joins rows where it may, but not where it hands out adjoints."""
    cell = build(name, F, units)
    inputs, state = rand(steps, batch, F), rand(batch, cell.state_size, seed=1)
    with watch_adjoints() as adjoints:
        loss_of(cell.scan(inputs, state)).backward()
    expected = by_hand(on(cell, "reference"), inputs, state, "states")[1][0]
    assert_close({"adjoint": adjoints[cell]}, {"adjoint": expected})


@pytest.mark.parametrize("name", CELLS)
def test_adjoints_in_float32(name):
    if name in ("indrnn_relu", "irnn", "irnn_low_rank"):
        seed = 3  # no pre-activation is near the kink
    else:
        seed = 0
    cell, inputs = build(name, F, D, dtype=torch.float32), rand(T, B, F, seed=seed, dtype=torch.float32)
    with watch_adjoints() as adjoints:
        loss_of(cell.scan(inputs).double()).backward()
    state = torch.zeros(B, cell.state_size).double()
    expected = by_hand(build(name, F, D, "reference"), inputs.double(), state, "states")[1][0]
    assert adjoints[cell].dtype == torch.float32
    assert_close({"adjoint": adjoints[cell]}, {"adjoint": expected}, 1e-5, 2e-5)


@pytest.mark.parametrize(("name", "chosen"), CASES)
@pytest.mark.parametrize("keep", ["states", "hidden", "last"])
def test_watching_changes_nothing(name, chosen, keep):
    """Not a bit of the loss, the output and the gradients."""
    model = made(name, chosen)
    inputs, state = rand(T, B, F).requires_grad_(), rand(B, model.state_size, seed=1).requires_grad_()
    leaves = {"inputs": inputs, "state": state, **dict(model.named_parameters())}

    def run():
        for leaf in leaves.values():
            leaf.grad = None
        out = model.scan(inputs, state, keep=keep)
        loss = loss_of(out)
        loss.backward()
        found = {key: leaf.grad for key, leaf in leaves.items() if leaf.grad is not None}
        return {"out": out.detach(), "loss": loss.detach(), **found}

    expected = run()
    with watch_adjoints() as adjoints:
        assert_equal(run(), expected)
    assert len(adjoints) == len(layers_of(model))


# ---- what is collected, and when ------------------------------------------------------------------------------

EITHER = pytest.mark.parametrize("chosen", ["native", "reference"])


@EITHER
def test_nothing_is_collected_without_a_backward_pass(chosen):
    cell = build("unicornn", F, D, chosen)
    with watch_adjoints() as adjoints:
        out = cell.scan(rand(T, B, F))
        assert len(adjoints) == 0 and adjoints.of(cell) == []
        with pytest.raises(ValueError, match="expected one scan of UnICORNN .* found 0"):
            adjoints[cell]
    out.sum().backward()  # after the context is as good as in it
    assert len(adjoints) == 1 and adjoints[cell].shape == (T + 1, B, 2 * D)


@EITHER
def test_other_cells_and_networks_have_none(chosen):
    cell, other, network = build("unicornn", F, D, chosen), build("unicornn", F, D, chosen), two_layers()
    with watch_adjoints() as adjoints:
        cell.scan(rand(T, B, F)).sum().backward()
        network.scan(rand(T, B, F)).sum().backward()
    assert adjoints.of(other) == [] and adjoints.of(network) == []
    for missing in (other, network):
        with pytest.raises(ValueError, match="found 0"):
            adjoints[missing]
    assert len(adjoints) == 3


@EITHER
def test_two_scans_are_listed_in_their_order(chosen):
    cell, first, second = build("irnn_tanh", F, D, chosen), rand(T, B, F), rand(T + 2, B, F, seed=1)
    with watch_adjoints() as adjoints:
        outs = [cell.scan(first), cell.scan(second)]
    loss_of(outs[1]).backward()
    assert [found.shape[0] for found in adjoints.of(cell)] == [T + 3]
    assert adjoints[cell].shape[0] == T + 3
    loss_of(outs[0]).backward()
    with pytest.raises(ValueError, match=r"found 2; of\(cell\) lists them all"):
        adjoints[cell]
    for found, inputs in zip(adjoints.of(cell), (first, second), strict=True):
        expected = by_hand(on(cell, "reference"), inputs, torch.zeros(B, D).double(), "states")[1][0]
        assert_close({"adjoint": found}, {"adjoint": expected})


@EITHER
def test_one_scan_after_the_other(chosen):
    """The second starts where the first ended: its adjoint flows on into the first."""
    cell, inputs = build("gated_antisymmetric", F, D, chosen), rand(T, B, F)
    with watch_adjoints() as adjoints:
        middle = cell.scan(inputs[:4], keep="last")
        loss_of(cell.scan(inputs[4:], middle, keep="last")).backward()
    first, second = adjoints.of(cell)
    assert_close({"middle": first[-1]}, {"middle": second[0]}, 1e-14, 1e-14)
    expected = by_hand(on(cell, "reference"), inputs, torch.zeros(B, D).double(), "last")[1][0]
    assert_close({"adjoint": torch.cat([first[:-1], second])}, {"adjoint": expected})


@EITHER
def test_the_last_of_several_backward_passes_counts(chosen):
    cell = build("unicornn", F, D, chosen)
    with watch_adjoints() as adjoints:
        out = cell.scan(rand(T, B, F))
        out.sum().backward(retain_graph=True)
        once = adjoints[cell].clone()
        (3 * out).sum().backward()
    assert len(adjoints) == 1
    assert_close({"adjoint": adjoints[cell]}, {"adjoint": 3 * once}, 1e-14, 1e-14)


@EITHER
def test_nothing_need_be_trained(chosen):
    """Adjoints of a frozen cell, whose output would have no gradient otherwise."""
    cell = build("unicornn", F, D, chosen).requires_grad_(False)
    assert not cell.scan(rand(T, B, F)).requires_grad
    with watch_adjoints() as adjoints:
        loss_of(cell.scan(rand(T, B, F), keep="hidden")).backward()
    expected = by_hand(on(cell, "reference"), rand(T, B, F), torch.zeros(B, 2 * D).double(), "hidden")[1][0]
    assert_close({"adjoint": adjoints[cell]}, {"adjoint": expected})
    assert all(parameter.grad is None for parameter in cell.parameters())


@EITHER
def test_nobody_watches_without_gradients(chosen):
    cell = build("unicornn", F, D, chosen)
    with watch_adjoints() as adjoints, torch.no_grad():
        assert not cell.scan(rand(T, B, F)).requires_grad
    assert len(adjoints) == 0 and not adjoints._scans


def test_an_output_that_the_loss_leaves_out():
    """A scan that no backward pass goes through is none that is counted."""
    cell = build("unicornn", F, D)
    with watch_adjoints() as adjoints:
        used, _ = cell.scan(rand(T, B, F)), cell.scan(rand(T + 1, B, F))
        used.sum().backward()
    assert adjoints[cell].shape[0] == T + 1


# ---- contexts -------------------------------------------------------------------------------------------------


@EITHER
def test_contexts_nest(chosen):
    cell = build("unicornn", F, D, chosen)
    outs = []
    with watch_adjoints() as outer:
        outs.append(cell.scan(rand(2, B, F)))
        with watch_adjoints() as inner:
            outs.append(cell.scan(rand(3, B, F)))
        outs.append(cell.scan(rand(4, B, F)))
    outs.append(cell.scan(rand(5, B, F)))
    sum(out.sum() for out in outs).backward()
    assert [found.shape[0] for found in outer.of(cell)] == [3, 5]
    assert [found.shape[0] for found in inner.of(cell)] == [4]


def test_a_context_ends_with_an_error():
    cell = build("unicornn", F, D)
    with pytest.raises(NativeUnavailableError), watch_adjoints() as adjoints:
        Network([Mine()], backend="native").scan(rand(T, B, F))
    cell.scan(rand(T, B, F)).sum().backward()
    assert len(adjoints) == 0


@EITHER
def test_threads_do_not_see_each_other(chosen):
    """Each watches its own scans, at the same time."""
    cell, barrier, found = build("irnn_tanh", F, D, chosen).requires_grad_(False), threading.Barrier(3), {}

    def work(steps):
        with watch_adjoints() as adjoints:
            barrier.wait(30)
            loss = loss_of(cell.scan(rand(steps, B, F)))
            barrier.wait(30)
            loss.backward()
            barrier.wait(30)
        found[steps] = adjoints.of(cell)

    threads = [threading.Thread(target=work, args=(steps,)) for steps in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [2, 3, 4]
    for steps, (adjoint,) in found.items():
        expected = by_hand(on(cell, "reference"), rand(steps, B, F), torch.zeros(B, D).double(), "states")[1][0]
        assert_close({"adjoint": adjoint}, {"adjoint": expected})


def test_a_thread_is_watched_if_it_takes_the_context_along():
    cell = build("unicornn", F, D)

    def work():
        cell.scan(rand(T, B, F)).sum().backward()

    for taken, count in ((False, 0), (True, 1)):
        with watch_adjoints() as adjoints:
            context = contextvars.copy_context() if taken else contextvars.Context()
            thread = threading.Thread(target=context.run, args=(work,))
            thread.start()
            thread.join()
        assert len(adjoints) == count


def test_compiled_scans_are_not_watched():
    """A graph cannot look into contexts; it runs as if nobody watched."""
    torch._dynamo.reset()
    cell = build("unicornn", F, D)
    compiled = torch.compile(cell.scan, fullgraph=True, backend="eager")
    with watch_adjoints() as adjoints:
        compiled(rand(T, B, F)).sum().backward()
    assert len(adjoints) == 0
    torch._dynamo.reset()


def test_adjoints_hold_no_graph():
    """What was collected outlives the graph, and does not keep it alive."""
    cell = build("unicornn", F, D)
    with watch_adjoints() as adjoints:
        out = cell.scan(rand(T, B, F))
        out.sum().backward()
    gone = weakref.ref(out.grad_fn)
    del out
    assert gone() is None
    assert adjoints[cell].grad_fn is None


def test_the_example_of_the_docstring():
    network = Network([stirred(registry["unicornn"](F, 3)), stirred(registry["irnn"](3, 2))])
    with watch_adjoints() as adjoints:
        loss = network.read(rand(T, B, F)).square().mean()
    loss.backward()
    assert adjoints[network.layers[0]].norm(dim=-1).shape == (T + 1, B)
