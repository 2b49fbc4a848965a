"""The native recurrences as operators of PyTorch: tracing, compiling, modes, and derivatives of derivatives.

Index conventions: t time, b batch, d hidden unit, n state.
"""

import copy
import threading
import warnings

import pytest
import torch
from torch.autograd import forward_ad

from dynlab import Network
from dynlab.backend import NativeUnavailableError
from dynlab.native.antisymmetric import antisymmetric, antisymmetric_backward
from dynlab.native.incremental import incremental, incremental_backward
from dynlab.native.indrnn import indrnn, indrnn_backward
from dynlab.native.unicornn import unicornn, unicornn_backward

from .cases import CELLS, assert_close, assert_equal, build, differentiated, on, rand

pytestmark = pytest.mark.usefixtures("native")

T, B, D, K, R = 4, 3, 5, 2, 2


def leaf(*shape, seed=0):
    return rand(*shape, seed=seed).requires_grad_()


def forward_calls():
    """Name -> (operator, arguments); those that a model trains require gradients."""
    x, state, vector, matrix = leaf(T, B, D), leaf(B, D, seed=1), leaf(D, seed=2), leaf(D, D, seed=3)
    pair, h = leaf(B, 2 * D, seed=4), (0.2 + rand(D, seed=5) ** 2).requires_grad_()
    left, right, eta = leaf(D, R, seed=6), leaf(R, D, seed=7), leaf(K, seed=8)
    calls = {}
    for keep in ("states", "hidden", "last"):
        calls[f"unicornn, {keep}"] = unicornn, (x, vector, h, pair, None, 0.7, keep, keep == "last")
    for keep in ("states", "hidden"):
        calls[f"indrnn, {keep}"] = indrnn, (x, vector, state, None, "tanh", keep)
        calls[f"antisymmetric, {keep}"] = antisymmetric, (x, matrix, state, None, 0.3, keep, True)
        calls[f"incremental, {keep}"] = (
            incremental,
            (x, matrix, None, None, eta, state, None, 0.7, "relu", 1, False, keep, True),
        )
    calls["unicornn, watched"] = unicornn, (x, vector, h, pair, leaf(T + 1, B, 2 * D), 0.7, "states", False)
    calls["indrnn, watched"] = indrnn, (x, vector, state, leaf(T + 1, B, D), "relu", "hidden")
    calls["antisymmetric, gated and watched"] = (
        antisymmetric,
        (leaf(T, B, 2 * D), matrix, state, leaf(T + 1, B, D), 0.3, "hidden", True),
    )
    calls["incremental, low rank and watched"] = (
        incremental,
        (x, None, left, right, leaf(T, K), state, leaf(T + 1, B, D), 0.7, "tanh", -1, True, "hidden", True),
    )
    for operator, arguments in (
        (indrnn, (x, vector, state, None, "sigmoid", "last")),
        (antisymmetric, (x, matrix, state, None, 0.3, "last", False)),
        (incremental, (x, matrix, None, None, eta, state, None, 0.7, "sigmoid", 1, True, "last", False)),
    ):
        calls[f"{operator._name}, without a backward pass"] = operator, detached(arguments)
    return calls


def detached(arguments):
    return tuple(argument.detach() if isinstance(argument, torch.Tensor) else argument for argument in arguments)


def backward_calls():
    """The backward operators, on what the forward ones saved; their own derivative is refused, so none is asked for."""
    x, state, vector, matrix = rand(T, B, D), rand(B, D, seed=1), rand(D, seed=2), rand(D, D, seed=3)
    pair, h, eta = rand(B, 2 * D, seed=4), 0.2 + rand(D, seed=5) ** 2, rand(K, seed=8)
    left, right, times = rand(D, R, seed=6), rand(R, D, seed=7), rand(T, K, seed=8)
    calls = {}
    # With adjoints and without.
    for keep, rows, adjoint in (("states", T + 1, False), ("hidden", T, True)):
        sequence, last = unicornn(x, vector, h, pair, None, 0.7, keep, False)
        calls[f"unicornn, {keep}"] = (
            unicornn_backward,
            (rand(*sequence.shape), rand(B, 2 * D), x, vector, h, pair, sequence, last, 0.7, keep, adjoint),
        )
        sequence, _ = indrnn(x, vector, state, None, "tanh", keep)
        calls[f"indrnn, {keep}"] = (
            indrnn_backward,
            (rand(rows, B, D), None, x, vector, state, sequence, "tanh", keep, adjoint),
        )
        sequence, _, pre = antisymmetric(rand(T, B, 2 * D), matrix, state, None, 0.3, keep, True)
        calls[f"antisymmetric, {keep}"] = (
            antisymmetric_backward,
            (rand(rows, B, D), rand(B, D), matrix, state, sequence, pre, 0.3, keep, adjoint),
        )
        options = (0.7, "relu", 1, False, keep)
        sequence, _, pre = incremental(x, matrix, None, None, eta, state, None, *options, True)
        calls[f"incremental, {keep}"] = (
            incremental_backward,
            (None, rand(B, D), matrix, None, None, eta, state, sequence, pre, *options, adjoint),
        )
        sequence, _, pre = incremental(x, None, left, right, times, state, None, *options, True)
        calls[f"incremental, low rank, {keep}"] = (
            incremental_backward,
            (rand(rows, B, D), None, None, left, right, times, state, sequence, pre, *options, adjoint),
        )
    _, last = unicornn(x, vector, h, pair, None, 0.7, "last", True)
    calls["unicornn, reconstructed"] = (
        unicornn_backward,
        (None, rand(B, 2 * D), x, vector, h, pair, x.new_empty(0), last, 0.7, "last", True),
    )
    return calls


FORWARD = (
    [f"unicornn, {keep}" for keep in ("states", "hidden", "last")]
    + [f"{name}, {keep}" for name in ("indrnn", "antisymmetric", "incremental") for keep in ("states", "hidden")]
    + ["unicornn, watched", "indrnn, watched"]
    + ["antisymmetric, gated and watched", "incremental, low rank and watched"]
    + [f"{name}, without a backward pass" for name in ("indrnn", "antisymmetric", "incremental")]
)
BACKWARD = [
    f"{name}, {keep}"
    for name in ("unicornn", "indrnn", "antisymmetric", "incremental", "incremental, low rank")
    for keep in ("states", "hidden")
] + ["unicornn, reconstructed"]


@pytest.mark.parametrize("name", FORWARD)
def test_opcheck_forward(name):
    operator, arguments = forward_calls()[name]
    torch.library.opcheck(operator, arguments)


@pytest.mark.parametrize("name", BACKWARD)
def test_opcheck_backward(name):
    operator, arguments = backward_calls()[name]
    torch.library.opcheck(operator, arguments)


def test_every_operator_is_checked():
    """All that ``dynlab`` registers, and every named case."""
    registered = {name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("dynlab::")}
    checked = {operator._name for operator, _ in (*forward_calls().values(), *backward_calls().values())}
    assert checked == registered
    assert (set(forward_calls()), set(backward_calls())) == (set(FORWARD), set(BACKWARD))


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fake_outputs_have_the_shapes_of_real_ones(name, dtype):
    operator, arguments = forward_calls()[name]
    arguments = [a.to(dtype) if isinstance(a, torch.Tensor) else a for a in detached(arguments)]
    real = operator(*arguments)
    fake = operator(*(a.to("meta") if isinstance(a, torch.Tensor) else a for a in arguments))
    for found, expected in zip(fake, real, strict=True):
        assert (found.shape, found.stride(), found.dtype) == (expected.shape, expected.stride(), expected.dtype)


# ---- torch.compile --------------------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    """No graphs of other tests; torch warns of its own affairs while it compiles."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
    torch._dynamo.reset()


def stack(backend="native"):
    layers = [build("irnn_tanh", 4, 5), build("unicornn", 5, 6), build("gated_antisymmetric", 6, 3)]
    return on(Network(layers), backend)


@pytest.mark.parametrize(
    ("name", "keep"),
    [(name, "states") for name in CELLS if name not in ("indrnn_sigmoid", "irnn_tanh", "irnn_sigmoid", "irnn_minus")]
    + [(name, keep) for name in ("unicornn", "irnn_low_rank") for keep in ("hidden", "last")]
    + [("network", keep) for keep in ("states", "hidden", "last")],
)
def test_compiled_is_eager(name, keep, fresh):
    cell = stack() if name == "network" else build(name, 4, 6)
    inputs, state = rand(6, 3, 4), rand(3, cell.state_size, seed=1)
    expected = differentiated(cell, inputs, state, keep)
    compiled = copy.deepcopy(cell)
    compiled.scan = torch.compile(compiled.scan, fullgraph=True, backend="aot_eager")
    assert_close(differentiated(compiled, inputs, state, keep), expected, 1e-14, 1e-14)


def test_compiled_with_other_sizes(fresh):
    """One graph, then one of free sizes; none that was made for the sizes before."""
    cell = build("unicornn", 4, 6)
    compiled = copy.deepcopy(cell)
    compiled.scan = torch.compile(compiled.scan, fullgraph=True, backend="aot_eager")
    for steps, batch in ((6, 3), (9, 2), (1, 1), (4, 7)):
        inputs, state = rand(steps, batch, 4), rand(batch, 12, seed=1)
        assert_close(differentiated(compiled, inputs, state), differentiated(cell, inputs, state), 1e-14, 1e-14)


@pytest.mark.parametrize(("variable", "native"), [("auto", True), ("native", True), ("reference", False)])
def test_compiled_code_calls_the_operator(variable, native, fresh, monkeypatch):
    """Which backend runs is decided while the graph is traced."""
    monkeypatch.setenv("DYNLAB_BACKEND", variable)
    called = []

    def backend(graph, inputs):
        called.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compile(build("unicornn", 4, 6, "auto").scan, fullgraph=True, backend=backend)(rand(3, 2, 4))
    assert any("dynlab.unicornn" in target for target in called) == native


def test_compiled_without_gradients(fresh):
    cell, inputs = build("irnn_low_rank", 4, 6), rand(6, 3, 4)
    with torch.no_grad():
        compiled = torch.compile(cell.scan, fullgraph=True, backend="aot_eager")(inputs, keep="last")
        assert torch.equal(compiled, cell.scan(inputs, keep="last"))


# ---- modes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("keep", ["states", "hidden", "last"])
def test_without_gradients(name, mode, keep):
    cell, inputs = build(name, 4, 6), rand(6, 3, 4)
    expected = cell.scan(inputs, keep=keep)
    with mode():
        found = cell.scan(inputs, keep=keep)
    assert expected.requires_grad and not found.requires_grad
    assert torch.equal(found, expected)


def test_inference_tensors_in_training():
    """Inputs made in inference mode are no obstacle where nobody wants their gradient."""
    cell = build("unicornn", 4, 6)
    with torch.inference_mode():
        inputs = rand(6, 3, 4)
    with pytest.raises(RuntimeError, match="[Ii]nference tensors cannot be saved"):
        cell.scan(inputs)
    assert_equal(differentiated(cell, inputs.clone(), None), differentiated(cell, rand(6, 3, 4), None))


# ---- derivatives ----------------------------------------------------------------------------------------------


def leaves_of(cell, inputs):
    return [inputs, *cell.parameters()]


@pytest.mark.parametrize("name", CELLS)
def test_a_second_backward_pass_is_refused(name):
    cell, inputs = build(name, 4, 6), rand(6, 3, 4).requires_grad_()
    first = torch.autograd.grad(cell.scan(inputs).square().sum(), leaves_of(cell, inputs), create_graph=True)
    with pytest.raises(NotImplementedError, match='backend="reference"'):
        torch.autograd.grad(first[0].square().sum(), inputs)


@pytest.mark.parametrize("name", CELLS)
def test_a_graph_for_a_second_pass_does_no_harm(name):
    cell, inputs = build(name, 4, 6), rand(6, 3, 4).requires_grad_()
    pair = [
        torch.autograd.grad(cell.scan(inputs).square().sum(), leaves_of(cell, inputs), create_graph=kept)
        for kept in (False, True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))


def test_the_reference_has_second_derivatives():
    """What the message promises."""
    cell, inputs = build("unicornn", 2, 3, "reference"), rand(4, 2, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: cell.scan(x, keep="last"), (inputs,))


@pytest.mark.parametrize("name", CELLS)
def test_a_retained_graph_gives_the_same_bits(name):
    cell, inputs = build(name, 4, 6), rand(6, 3, 4).requires_grad_()
    out = cell.scan(inputs)
    arriving = rand(*out.shape, seed=9)
    first, again, last = (
        torch.autograd.grad(out, leaves_of(cell, inputs), arriving, retain_graph=keep) for keep in (True, True, False)
    )
    for a, b, c in zip(first, again, last, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(out, inputs, arriving)


# Reconstruction reads nothing of what it returned.
@pytest.mark.parametrize("name", [name for name in CELLS if name != "unicornn_reconstruct"])
@pytest.mark.parametrize("keep", ["states", "hidden"])
def test_a_changed_output_is_noticed(name, keep):
    """The backward pass reads what the forward pass returned: a caller that writes to it gets an error, not NaN."""
    cell, inputs = build(name, 4, 6), rand(6, 3, 4).requires_grad_()
    out = cell.scan(inputs, keep=keep)
    total = out.sum()
    with torch.no_grad():
        out.fill_(7.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_gradients_add_up_over_scans():
    cell, inputs = build("irnn_tanh", 4, 6), rand(6, 3, 4)
    once = differentiated(cell, inputs, None)
    out = torch.stack([cell.scan(inputs), cell.scan(inputs)])
    arriving = rand(7, 3, 6, seed=99)
    found = torch.autograd.grad(out, list(cell.parameters()), torch.stack([arriving, arriving]))
    for (name, _), gradient in zip(cell.named_parameters(), found, strict=True):
        torch.testing.assert_close(gradient, 2 * once[name], rtol=1e-13, atol=1e-14)


def test_checkpointing_gives_the_same_bits():
    cell, inputs = build("unicornn", 4, 6), rand(6, 3, 4).requires_grad_()
    expected = torch.autograd.grad(cell.scan(inputs).square().sum(), leaves_of(cell, inputs))
    out = torch.utils.checkpoint.checkpoint(cell.scan, inputs, use_reentrant=False)
    found = torch.autograd.grad(out.square().sum(), leaves_of(cell, inputs))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_backward_on_a_thread_of_its_own(name):
    """Autograd runs backward passes of other devices on threads; a user may as well."""
    cell, inputs, found = build(name, 4, 6), rand(6, 3, 4), {}
    expected = differentiated(cell, inputs, None)
    thread = threading.Thread(target=lambda: found.update(differentiated(cell, inputs, None)))
    thread.start()
    thread.join()
    assert_equal(found, expected)


# ---- torch.func -----------------------------------------------------------------------------------------------


@pytest.fixture
def auto(monkeypatch):
    """Cells decide by themselves, whatever the environment of the tests says."""
    monkeypatch.delenv("DYNLAB_BACKEND", raising=False)


# torch.jit is what torch's own rules for the forward mode are written in.
forward_mode = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
TRANSFORMED = ["unicornn", "indrnn_tanh", "gated_antisymmetric", "irnn_tanh", "irnn_low_rank"]


@pytest.mark.parametrize("name", TRANSFORMED)
def test_jacrev(name, auto):
    cell, inputs = build(name, 2, 3, "auto"), rand(4, 2, 2)
    found = torch.func.jacrev(lambda x: cell.scan(x, keep="last"))(inputs)
    plain = torch.autograd.functional.jacobian(lambda x: on(cell, "reference").scan(x, keep="last"), inputs)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-13)
    # By rows through the native code itself.
    leaf = inputs.clone().requires_grad_()
    out = on(cell, "native").scan(leaf, keep="last")
    for number, row in zip(out.flatten(), plain.flatten(0, 1), strict=True):
        found = torch.autograd.grad(number, leaf, retain_graph=True)[0]
        torch.testing.assert_close(found, row, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_vmap(name, auto):
    cell, inputs = build(name, 2, 3, "auto"), rand(5, 4, 2, 2)
    found = torch.func.vmap(cell.scan)(inputs)
    torch.testing.assert_close(found, torch.stack([cell.scan(x) for x in inputs]), rtol=1e-12, atol=1e-13)


@forward_mode
@pytest.mark.parametrize("name", TRANSFORMED)
def test_jvp(name, auto):
    cell, inputs, tangent = build(name, 2, 3, "auto"), rand(4, 2, 2), rand(4, 2, 2, seed=1)
    value, found = torch.func.jvp(cell.scan, (inputs,), (tangent,))
    plain = torch.autograd.functional.jacobian(on(cell, "reference").scan, inputs)
    torch.testing.assert_close(found, torch.tensordot(plain, tangent, dims=3), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(value, cell.scan(inputs), rtol=1e-12, atol=1e-13)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(cell.scan(forward_ad.make_dual(inputs, tangent)))
    torch.testing.assert_close(dual.tangent, found, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_gradients_of_parameters_by_torch_func(name, auto):
    cell, inputs = build(name, 2, 3, "auto"), rand(4, 2, 2)

    def loss(parameters):
        return torch.func.functional_call(Scan(cell), {f"cell.{key}": p for key, p in parameters.items()}, inputs).sum()

    parameters = {key: parameter.detach() for key, parameter in cell.named_parameters()}
    found = torch.func.grad(loss)(parameters)
    native = on(cell, "native")
    native.scan(inputs).sum().backward()
    assert_close(found, {key: parameter.grad for key, parameter in native.named_parameters()})


class Scan(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, inputs):
        return self.cell.scan(inputs)


@forward_mode
@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.jacrev, torch.func.jacfwd])
def test_transforms_of_native_by_name_are_refused(transform):
    with pytest.raises(NativeUnavailableError, match="torch.func transforms"):
        transform(build("unicornn", 2, 3).scan)(rand(*((5,) if transform is torch.func.vmap else ()), 4, 2, 2))


def test_transforms_fall_back_without_a_word(auto, recwarn):
    """They are no fault of the machine's."""
    torch.func.vmap(build("unicornn", 2, 3, "auto").scan)(rand(4, 4, 2, 2))
    assert not [warning for warning in recwarn if "dynlab" in str(warning.message)]
