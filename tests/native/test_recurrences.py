"""The native recurrences against the reference loops: outputs and every gradient.

Index conventions: t time, b batch, f input feature, d hidden unit, k inner step, r rank.
"""

import math

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dynlab.cells import AntisymmetricRNN, IncrementalRNN, IndRNN, SiRNN, UnICORNN
from dynlab.native.antisymmetric import antisymmetric
from dynlab.native.incremental import incremental
from dynlab.native.indrnn import indrnn
from dynlab.native.unicornn import unicornn

from .cases import CELLS, SMOOTH, assert_close, build, differentiated, on, rand, stirred

pytestmark = pytest.mark.usefixtures("native")

# ---- drawn cases ----------------------------------------------------------------------------------------------

PHI = st.sampled_from(["relu", "tanh", "sigmoid"])
WIDTHS = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129, 150])
# Several views of an input with the same numbers; the gradient is taken behind the view.
LAYOUTS = {
    "contiguous": lambda x: x,
    "every second feature": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
    "every second step": lambda x: x.repeat_interleave(2, dim=0)[::2],
    "feature first": lambda x: x.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    "batch first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "one sample for all": lambda x: x[:, :1].expand(-1, x.shape[1], -1),
    "one step for all": lambda x: x[:1].expand(x.shape[0], -1, -1),
    "inside a larger one": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1, 1, 0))[1:, 1:-1, 1:-2],
}
# What may arrive at an output of this shape.
COTANGENTS = {
    "normal": lambda shape, draw: draw(*shape),
    "one number": lambda shape, draw: draw(1)[0].expand(shape),
    "one row for all times": lambda shape, draw: draw(1, *shape[1:]).expand(shape),
    "one sample for all": lambda shape, draw: draw(*shape[:-2], 1, shape[-1]).expand(shape),
    "transposed": lambda shape, draw: draw(*reversed(shape)).permute(*reversed(range(len(shape)))),
    "batch first": lambda shape, draw: draw(shape[1], shape[0], *shape[2:]).transpose(0, 1),
    "every second column": lambda shape, draw: draw(*shape[:-1], 2 * shape[-1])[..., ::2],
    "inside a larger one": lambda shape, draw: draw(*shape[:-1], shape[-1] + 3)[..., 1:-2],
    "the last row only": lambda shape, draw: torch.cat([draw(*shape)[:-1] * 0, draw(*shape)[-1:]]),
    "the first row only": lambda shape, draw: torch.cat([draw(*shape)[:1], draw(*shape)[1:] * 0]),
    "the second half of the columns": lambda shape, draw: draw(*shape) * (torch.arange(shape[-1]) >= shape[-1] // 2),
}


@st.composite
def unicornns(draw, f, d):
    return UnICORNN(
        f,
        d,
        dt=draw(st.floats(0.01, 1.0)),
        alpha=draw(st.sampled_from([0.0, 0.5, 3.0])),
        train_time_step=draw(st.booleans()),
        memory=draw(st.sampled_from(["store", "reconstruct"])),
    )


@st.composite
def indrnns(draw, f, d):
    return IndRNN(f, d, nonlinearity=draw(PHI))


@st.composite
def antisymmetrics(draw, f, d):
    return AntisymmetricRNN(
        f,
        d,
        epsilon=draw(st.floats(0.01, 1.0)),
        gamma=draw(st.sampled_from([0.0, 0.3])),
        gated=draw(st.booleans()),
        structured=draw(st.booleans()),
    )


@st.composite
def incrementals(draw, f, d):
    low_rank = draw(st.booleans())
    return IncrementalRNN(
        f,
        d,
        K=draw(st.integers(1, 5)),
        alpha=draw(st.sampled_from([0.0, 1.0, 1.7])),
        nonlinearity=draw(PHI),
        recurrent="identity_plus_low_rank" if low_rank else "full",
        rank=draw(st.integers(1, min(d, 6))) if low_rank else None,
        projection=draw(st.booleans()),
        start=draw(st.sampled_from(["previous", "zero"])),
        sign=draw(st.sampled_from([1, -1])),
        eta_steps=draw(st.sampled_from([None, 9, 12])),
    )


@st.composite
def cases(draw, cells):
    """A cell in float64 on the reference backend, and everything that a scan of it takes."""
    f, d, seed = draw(st.integers(0, 5)), draw(WIDTHS), draw(st.integers(0, 2**20))
    cell = stirred(draw(cells(f, d)), seed)
    steps, batch = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    keep = draw(st.sampled_from(["states", "hidden", "last"]))
    shape = {
        "states": (steps + 1, batch, cell.state_size),
        "hidden": (steps, batch, d),
        "last": (batch, cell.state_size),
    }[keep]
    draws = iter(range(seed + 100, seed + 200))
    return {
        "cell": cell,
        "inputs": rand(steps, batch, f, seed=seed + 1),
        "state": rand(batch, cell.state_size, seed=seed + 2) if draw(st.booleans()) else None,
        "keep": keep,
        "cotangent": draw(st.sampled_from(sorted(COTANGENTS))),
        "arriving": lambda kind: COTANGENTS[kind](shape, lambda *sizes: rand(*sizes, seed=next(draws))),
        "layout": draw(st.sampled_from(sorted(LAYOUTS))),
        "batch_first": draw(st.booleans()),
    }


def both(case, dtype=torch.float64):
    """What the native cell gives in ``dtype``, and what the reference gives in float64."""
    cotangent = case["arriving"](case["cotangent"])
    layout = LAYOUTS[case["layout"]]
    results = []
    for backend, kind in (("native", dtype), ("reference", torch.float64)):
        cell = on(case["cell"], backend, kind)
        cell.batch_first = case["batch_first"]
        given = case["inputs"].to(kind)
        state = None if case["state"] is None else case["state"].to(kind)
        # ``to`` would make the odd strides of a gradient ordinary: it is left alone in float64.
        arriving = cotangent if kind == torch.float64 else cotangent.to(kind)

        def cast(x, cell=cell):
            return layout(x).transpose(0, 1) if cell.batch_first else layout(x)

        results.append(differentiated(cell, given, state, case["keep"], arriving, cast))
    return results


SLOW_MACHINE = [HealthCheck.too_slow]
KINDS = {"unicornn": unicornns, "indrnn": indrnns, "antisymmetric": antisymmetrics, "irnn": incrementals}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_MACHINE)
@given(data=st.data())
def test_outputs_and_gradients_are_the_references(kind, data):
    assert_close(*both(data.draw(cases(KINDS[kind]))))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None, suppress_health_check=SLOW_MACHINE)
@given(data=st.data())
def test_outputs_and_gradients_in_float32(kind, data):
    """Against float64. ReLU is left out: a rounding error may cross its kink, and the gradient then jumps."""
    case = data.draw(cases(KINDS[kind]))
    assume(case["cell"].hyperparameters.get("nonlinearity") != "relu")
    found, expected = both(case, torch.float32)
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    # Sums of some thousand numbers of order one.
    assert_close(found, expected, relative=1e-5, absolute=2e-5)


# ---- named cases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("keep", ["states", "hidden", "last"])
def test_every_cell_over_a_longer_sequence(name, keep):
    inputs, state = rand(40, 3, 4), rand(3, 2 * 17 if "unicornn" in name else 17, seed=1)
    found = differentiated(build(name, 4, 17), inputs, state, keep)
    assert_close(found, differentiated(build(name, 4, 17, "reference"), inputs, state, keep), 1e-11, 1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_in_float32(name):
    inputs, state = rand(12, 3, 4), rand(3, 2 * 17 if "unicornn" in name else 17, seed=1)
    expected = differentiated(build(name, 4, 17, "reference"), inputs, state)
    found = differentiated(build(name, 4, 17, dtype=torch.float32), inputs.float(), state.float())
    assert_close(found, expected, relative=1e-5, absolute=2e-6)


@pytest.mark.parametrize("name", ["unicornn", "unicornn_reconstruct", "indrnn_tanh"])
@pytest.mark.parametrize(("batch", "units"), [(1, 1025), (3, 2050), (5, 700), (1030, 1), (67, 31)])
def test_sizes_around_a_block(name, batch, units):
    inputs = rand(3, batch, 2)
    expected = differentiated(build(name, 2, units, "reference"), inputs, None)
    assert_close(differentiated(build(name, 2, units), inputs, None), expected)


@pytest.mark.parametrize("name", ["antisymmetric", "gated_antisymmetric", "irnn_tanh", "irnn_low_rank"])
@pytest.mark.parametrize(("steps", "batch", "units"), [(70, 33, 5), (3, 600, 2), (260, 2, 3)])
def test_more_rows_than_a_chunk(name, steps, batch, units):
    """The weight's gradient is made from chunks of 512 rows."""
    inputs = 0.5 * rand(steps, batch, 2)
    expected = differentiated(build(name, 2, units, "reference"), inputs, None)
    assert_close(differentiated(build(name, 2, units), inputs, None), expected, 1e-11, 1e-12)


def test_low_rank_above_the_width():
    cell = stirred(IncrementalRNN(2, 3, K=2, recurrent="identity_plus_low_rank", rank=5))
    inputs = rand(6, 2, 2)
    expected = differentiated(on(cell, "reference"), inputs, None)
    assert_close(differentiated(on(cell, "native"), inputs, None), expected)


def test_k_of_one_is_sirnn():
    cell = stirred(SiRNN(2, 5, nonlinearity="tanh"))
    inputs = rand(6, 2, 2)
    expected = differentiated(on(cell, "reference"), inputs, None)
    assert_close(differentiated(on(cell, "native"), inputs, None), expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_keep_modes_are_parts_of_one_run(name):
    cell, inputs = build(name, 3, 6), rand(7, 2, 3)
    states = cell.scan(inputs)
    assert torch.equal(cell.scan(inputs, keep="hidden"), cell.hidden(states[1:]))
    assert torch.equal(cell.scan(inputs, keep="last"), states[-1])
    with torch.no_grad():
        assert torch.equal(cell.scan(inputs), states)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "irnn_eta_steps"])
def test_a_long_sequence_is_its_parts(name):
    cell, inputs = build(name, 3, 6), rand(12, 2, 3)
    states = cell.scan(inputs)
    parts = cell.scan(inputs[:5]), cell.scan(inputs[5:], states[5])
    torch.testing.assert_close(torch.cat([parts[0], parts[1][1:]]), states, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("wanted", ["inputs", "state", "parameters", "bias"])
def test_gradients_of_a_part_of_the_arguments(name, wanted):
    """Whatever else needs none, the gradients that are wanted are the same."""
    inputs, state = rand(5, 2, 3), rand(2, 12 if "unicornn" in name else 6, seed=1)
    whole = differentiated(build(name, 3, 6), inputs, state)
    cell = build(name, 3, 6)
    for key, parameter in cell.named_parameters():
        parameter.requires_grad_(wanted == "parameters" or key == wanted)
    inputs.requires_grad_(wanted == "inputs")
    state.requires_grad_(wanted == "state")
    out = cell.scan(inputs, state)
    out.backward(rand(*out.shape, seed=99))
    leaves = {"inputs": inputs, "state": state, **dict(cell.named_parameters())}
    found = {key: leaf.grad for key, leaf in leaves.items() if leaf.requires_grad}
    assert found and all(gradient is not None for gradient in found.values())
    assert_close(found, {key: whole[key] for key in found}, 1e-14, 1e-14)


def test_a_step_that_overflows_is_the_references():
    """Infinities and NaN appear at the same step; nothing hangs and nothing is cut off."""
    cell = stirred(UnICORNN(1, 3, dt=3.0, alpha=30.0)).float()
    with torch.no_grad():
        cell.c.fill_(2.0)
    inputs = rand(60, 2, 1, dtype=torch.float32)
    found, expected = (on(cell, backend).scan(inputs).detach() for backend in ("native", "reference"))
    finite = [int(torch.isfinite(states).all(-1).all(-1).sum()) for states in (found, expected)]
    assert 5 < finite[0] == finite[1] < 60
    assert torch.equal(found[finite[0] :].isnan().any(), torch.tensor(True))


# ---- the operators by themselves ------------------------------------------------------------------------------

T, B, D = 4, 3, 5


def leaf(*shape, seed, dtype=torch.float64):
    return rand(*shape, seed=seed, dtype=dtype).requires_grad_()


def unicornn_leaves():
    return [
        leaf(T, B, D, seed=1),
        leaf(D, seed=2),
        (0.2 + rand(D, seed=3) ** 2).requires_grad_(),
        leaf(B, 2 * D, seed=4),
    ]


def incremental_leaves(rank, eta_steps):
    weight = None if rank else (0.5 * rand(D, D, seed=2)).requires_grad_()
    left, right = (leaf(D, rank, seed=5), leaf(rank, D, seed=6)) if rank else (None, None)
    eta = (0.3 + 0.1 * rand(*(() if eta_steps is None else (eta_steps,)), 3, seed=3)).requires_grad_()
    return [leaf(T, B, D, seed=1), weight, left, right, eta, leaf(B, D, seed=4)]


@pytest.mark.parametrize("keep", ["states", "hidden", "last"])
@pytest.mark.parametrize("reconstruct", [False, True])
def test_gradcheck_unicornn(keep, reconstruct):
    def run(*leaves):
        outputs = unicornn(*leaves, None, 0.8, keep, reconstruct)
        return outputs[1:] if keep == "last" else outputs

    assert torch.autograd.gradcheck(run, unicornn_leaves())


@pytest.mark.parametrize("keep", ["states", "hidden"])
@pytest.mark.parametrize("phi", ["tanh", "sigmoid", "relu"])
def test_gradcheck_indrnn(keep, phi):
    leaves = [leaf(T, B, D, seed=1), leaf(D, seed=2), leaf(B, D, seed=4)]
    assert torch.autograd.gradcheck(lambda *given: indrnn(*given, None, phi, keep), leaves)


@pytest.mark.parametrize("keep", ["states", "hidden"])
@pytest.mark.parametrize("gated", [False, True])
def test_gradcheck_antisymmetric(keep, gated):
    leaves = [leaf(T, B, D * (1 + gated), seed=1), leaf(D, D, seed=2), leaf(B, D, seed=4)]
    assert torch.autograd.gradcheck(lambda *given: antisymmetric(*given, None, 0.3, keep, True)[:2], leaves)


@pytest.mark.parametrize(
    ("phi", "keep"), [("tanh", "states"), ("tanh", "hidden"), ("sigmoid", "states"), ("relu", "hidden")]
)
@pytest.mark.parametrize(
    ("rank", "eta_steps", "sign", "zero"),
    [(0, None, 1, False), (2, T, 1, False), (0, T, -1, True), (2, None, -1, True)],
)
def test_gradcheck_incremental(keep, phi, rank, eta_steps, sign, zero):
    def run(*given):
        return incremental(*given, None, 0.7, phi, sign, zero, keep, True)[:2]

    assert torch.autograd.gradcheck(run, incremental_leaves(rank, eta_steps))


def operators():
    """Name -> (operator on its leaves, the leaves)."""
    return {
        "unicornn": (lambda *given: unicornn(*given, None, 0.8, "states", False), unicornn_leaves()),
        "unicornn, reconstructed": (lambda *given: unicornn(*given, None, 0.8, "hidden", True), unicornn_leaves()),
        "indrnn": (
            lambda *given: indrnn(*given, None, "tanh", "hidden"),
            [leaf(T, B, D, seed=1), leaf(D, seed=2), leaf(B, D, seed=4)],
        ),
        "antisymmetric": (
            lambda *given: antisymmetric(*given, None, 0.3, "states", True)[:2],
            [leaf(T, B, D, seed=1), leaf(D, D, seed=2), leaf(B, D, seed=4)],
        ),
        "antisymmetric, gated": (
            lambda *given: antisymmetric(*given, None, 0.3, "hidden", True)[:2],
            [leaf(T, B, 2 * D, seed=1), leaf(D, D, seed=2), leaf(B, D, seed=4)],
        ),
        "incremental": (
            lambda *given: incremental(*given, None, 0.7, "tanh", 1, False, "states", True)[:2],
            incremental_leaves(0, None),
        ),
        "incremental, low rank, eta of each step": (
            lambda *given: incremental(*given, None, 0.7, "tanh", -1, True, "hidden", True)[:2],
            incremental_leaves(2, T),
        ),
    }


def normal_like(outputs):
    return [rand(*out.shape, seed=50 + index) for index, out in enumerate(outputs)]


def results(run, leaves, arriving=None):
    outputs = run(*leaves)
    present = [leaf for leaf in leaves if leaf is not None]
    gradients = torch.autograd.grad(outputs, present, arriving or normal_like(outputs))
    return {str(index): tensor.detach() for index, tensor in enumerate((*outputs, *gradients))}


VIEWS = {
    "time": lambda tensor: tensor.repeat_interleave(2, dim=0)[::2],
    "columns": lambda tensor: tensor.repeat_interleave(2, dim=-1)[..., ::2],
    "transposed": lambda tensor: tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor,
    "reversed axes": lambda tensor: (
        tensor.permute(*reversed(range(tensor.dim()))).contiguous().permute(*reversed(range(tensor.dim())))
    ),
    "inside": lambda tensor: torch.nn.functional.pad(tensor, (2, 1))[..., 2:-1],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", operators())
def test_operators_take_arguments_of_any_layout(name, view):
    run, leaves = operators()[name]

    def viewed(*given):
        return run(*(None if tensor is None else VIEWS[view](tensor) for tensor in given))

    assert_close(results(viewed, leaves), results(run, leaves), 1e-14, 1e-14)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", operators())
def test_operators_take_gradients_of_any_layout(name, view):
    run, leaves = operators()[name]
    plain = normal_like(run(*leaves))
    found = results(run, leaves, [VIEWS[view](gradient) for gradient in plain])
    assert_close(found, results(run, leaves, plain), 1e-14, 1e-14)


@pytest.mark.parametrize("name", operators())
def test_gradients_that_do_not_arrive_are_zeros(name):
    run, leaves = operators()[name]
    present = [leaf for leaf in leaves if leaf is not None]
    given = normal_like(run(*leaves))
    for index in (0, 1):
        alone = torch.autograd.grad(run(*leaves)[index], present, given[index])
        filled = [gradient if i == index else gradient * 0 for i, gradient in enumerate(given)]
        together = torch.autograd.grad(run(*leaves), present, filled)
        for found, expected in zip(alone, together, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", operators())
def test_arguments_are_left_alone(name):
    """Neither the arguments nor what arrives is written to, although the kernels work in place."""
    run, leaves = operators()[name]
    before = [None if leaf is None else leaf.detach().clone() for leaf in leaves]
    arriving = normal_like(run(*leaves))
    kept = [gradient.clone() for gradient in arriving]
    results(run, leaves, arriving)
    assert all(torch.equal(a, b) for a, b in zip(arriving, kept, strict=True))
    assert all(a is None or torch.equal(a, b) for a, b in zip(leaves, before, strict=True))


# ---- float32 --------------------------------------------------------------------------------------------------

# Contracting or neutral: where a trajectory passes a saddle, one rounding error decides and a ratio means nothing.
ROUNDING = {
    "unicornn": lambda: UnICORNN(3, 32, dt=0.126, alpha=13.0),
    "unicornn, no restoring force": lambda: UnICORNN(3, 32, dt=0.03, alpha=0.0),
    "irnn": lambda: IncrementalRNN(3, 32, K=2, nonlinearity="tanh"),
    "irnn, low rank": lambda: IncrementalRNN(
        3, 32, K=2, nonlinearity="tanh", recurrent="identity_plus_low_rank", alpha=1.3, eta=0.05
    ),
    "antisymmetric": lambda: AntisymmetricRNN(3, 32, epsilon=0.03),
    "gated antisymmetric": lambda: AntisymmetricRNN(3, 32, epsilon=0.03, gated=True),
}


@pytest.mark.parametrize("name", ROUNDING)
def test_float32_rounds_at_most_twice_as_much_as_the_loop(name):
    """The error against float64, in norm and over several seeds.

    Both errors of a gradient of three numbers are one draw of chance each: there the factor is 4.
    """
    squares = {}
    for seed in range(3):
        torch.manual_seed(seed)
        cell, inputs = ROUNDING[name](), rand(500, 4, 3, seed=seed, dtype=torch.float32)
        arriving = rand(501, 4, cell.state_size, seed=seed + 10, dtype=torch.float32)
        exact = differentiated(on(cell, "reference", torch.float64), inputs.double(), None, cotangent=arriving.double())
        for backend in ("native", "reference"):
            found = differentiated(on(cell, backend), inputs, None, cotangent=arriving)
            for key, want in exact.items():
                error = float((found[key] - want).square().sum() / want.square().sum())
                squares[key, backend] = squares.get((key, backend), 0.0) + error / 3
    for key, want in exact.items():
        ours, theirs = (math.sqrt(squares[key, backend]) for backend in ("native", "reference"))
        assert 0 < ours <= (2 if want.numel() > 10 else 4) * theirs < 1e-4, f"{key}: {ours:.3g} against {theirs:.3g}"
