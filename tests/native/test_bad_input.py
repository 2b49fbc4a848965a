"""What a recurrence cannot run on: a Python exception, before any native code does; never a crash, never a hang.

Index conventions: t time, b batch, f input feature, d hidden unit, k inner step, r rank.
"""

import importlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from dynlab import Network
from dynlab.native.antisymmetric import antisymmetric, antisymmetric_backward
from dynlab.native.incremental import incremental, incremental_backward
from dynlab.native.indrnn import indrnn, indrnn_backward
from dynlab.native.unicornn import unicornn, unicornn_backward

from .cases import CELLS, build, rand

pytestmark = pytest.mark.usefixtures("native")

# One cell of each recurrence.
KINDS = ["unicornn", "indrnn_tanh", "gated_antisymmetric", "irnn_tanh", "irnn_low_rank", "irnn_eta_steps"]


@pytest.fixture
def untouched(monkeypatch):
    """Fails the test if native code is called in it."""
    called = []
    for name in ("unicornn", "indrnn", "antisymmetric", "incremental"):
        module = importlib.import_module(f"dynlab.native.{name}")
        monkeypatch.setattr(module, "call", lambda *arguments: called.append(arguments))
    yield
    assert not called, "native code was called"


# ---- scans ----------------------------------------------------------------------------------------------------


def spoilt(value, *shape):
    tensor = torch.zeros(*shape)
    tensor[(-1,) * len(shape)] = value
    return tensor


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (torch.zeros(5, 2, 4), ValueError, r"inputs of shape \(time, batch, 3\), got .*\(5, 2, 4\)"),
        (torch.zeros(5, 2), ValueError, r"inputs of shape \(time, batch, 3\)"),
        (torch.zeros(5, 2, 3, 1), ValueError, r"inputs of shape \(time, batch, 3\)"),
        (torch.zeros(0, 2, 3), ValueError, "at least one time step"),
        (torch.zeros(5, 0, 3), ValueError, "at least one time step and one sample"),
        (torch.zeros(5, 2, 3).double(), ValueError, "dtype"),
        (torch.zeros(5, 2, 3).half(), ValueError, "dtype"),
        (torch.zeros(5, 2, 3).long(), TypeError, "floating"),
        (torch.zeros(5, 2, 3).bool(), TypeError, "floating"),
        (torch.zeros(5, 2, 3).cfloat(), TypeError, "floating"),
        (torch.zeros(5, 2, 3, device="meta"), ValueError, "meta"),
        (spoilt(math.nan, 5, 2, 3), ValueError, r"finite inputs, got nan at index \(4, 1, 2\)"),
        (spoilt(math.inf, 5, 2, 3), ValueError, "finite inputs, got inf"),
        (np.zeros((5, 2, 3), dtype=np.float32), TypeError, "torch.Tensor, got ndarray"),
        ([[[0.0, 0.0, 0.0]]], TypeError, "torch.Tensor, got list"),
        (None, TypeError, "torch.Tensor, got NoneType"),
    ],
)
def test_bad_inputs(name, inputs, error, message, untouched):
    with pytest.raises(error, match=message):
        build(name, 3, 4, dtype=torch.float32).scan(inputs)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda state: state[:1], ValueError),
        (lambda state: state[:, 1:], ValueError),
        (lambda state: state[0], ValueError),
        (lambda state: state[None], ValueError),
        (lambda state: state.repeat(2, 1), ValueError),
        (lambda state: state.double(), ValueError),
        (lambda state: state.to("meta"), ValueError),
        (lambda state: state.long(), TypeError),
        (lambda state: state.numpy(), TypeError),
        (lambda state: state.tolist(), TypeError),
        (lambda state: (state, state), TypeError),
    ],
    ids=str,
)
def test_bad_states(name, change, error, untouched):
    cell = build(name, 3, 4, dtype=torch.float32)
    with pytest.raises(error, match="state"):
        cell.scan(torch.zeros(5, 2, 3), change(torch.zeros(2, cell.state_size)))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_bad_parameters(name, value, untouched):
    for parameter, _ in build(name, 3, 4).named_parameters():
        cell = build(name, 3, 4)
        with torch.no_grad():
            dict(cell.named_parameters())[parameter].view(-1)[-1] = value
        for keep in ("states", "last"):
            with pytest.raises(ValueError, match=f"finite {parameter}"), torch.no_grad():
                cell.scan(rand(5, 2, 3), keep=keep)
        with pytest.raises(ValueError, match=f"finite cells.0.{parameter}"):
            Network([cell]).scan(rand(5, 2, 3))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("keep", ["all", "", None, 3, True, ["states"], "State"])
def test_bad_keep(name, keep, untouched):
    with pytest.raises(ValueError, match="keep to be one of 'states', 'hidden', 'last'"):
        build(name, 3, 4).scan(rand(5, 2, 3), keep=keep)


@pytest.mark.parametrize("backend", ["cuda", "Native", "", None, 1, ["native"]])
def test_bad_backend(backend, untouched):
    with pytest.raises(ValueError, match="backend to be one of 'auto', 'reference', 'native'"):
        build("unicornn", 3, 4, backend)


def test_more_steps_than_etas(untouched):
    with pytest.raises(ValueError, match="at most eta_steps = 40 time steps, got a step 41"):
        build("irnn_eta_steps", 3, 4).scan(rand(41, 2, 3))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value[..., :-1],
        lambda value: torch.cat([value] * 2),
        lambda value: value[None],
        lambda value: value[0],
        lambda value: value.float(),
        lambda value: value.to("meta"),
    ],
    ids=["shorter", "narrower", "longer", "one axis more", "one axis less", "of float32", "on another device"],
)
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_parameters_set_by_hand(name, change, request, monkeypatch):
    """Past every check of the constructor: what the loop cannot run on, native code does not run on either."""
    for parameter, value in build(name, 3, 4).named_parameters():
        cell = build(name, 3, 4, "reference")
        setattr(cell, parameter, torch.nn.Parameter(change(value.detach().clone())))
        inputs = rand(5, 2, 3, dtype=next(cell.parameters()).dtype)
        try:
            cell.scan(inputs)
        except (ValueError, TypeError, RuntimeError, IndexError):
            request.getfixturevalue("untouched")
            cell.backend = "native"
            with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)):
                cell.scan(inputs)


def test_a_state_that_is_only_marked_as_negated():
    """Torch keeps some tensors as the negative of what stands in memory; the operators see what they mean."""
    cell, inputs, state = build("unicornn", 3, 4), rand(5, 2, 3), rand(2, 8, seed=1)
    marked = torch._neg_view(-state)
    assert marked.is_neg()
    assert torch.equal(cell.scan(inputs, marked), cell.scan(inputs, state))


# ---- operators ------------------------------------------------------------------------------------------------

T, B, D, K, R = 4, 3, 5, 2, 2
OPTIONS = {"alpha": 0.7, "phi": "tanh", "sign": 1, "zero": False, "keep": "states"}
ALL = ["unicornn", "indrnn", "antisymmetric", "incremental", "incremental, low rank", "incremental, eta of each step"]
ALL += [f"{name}, backward" for name in ALL]


@pytest.fixture(scope="module")
def calls(native):
    """Name -> (operator, arguments by name that it takes)."""
    x, vector, matrix, state = rand(T, B, D), rand(D, seed=1), rand(D, D, seed=2), rand(B, D, seed=3)
    pair, h, eta = rand(B, 2 * D, seed=4), 0.3 + rand(D, seed=5) ** 2, rand(K, seed=6)
    dense = {"x": x, "weight": matrix, "left": None, "right": None, "eta": eta, "state": state, **OPTIONS}
    low_rank = {**dense, "weight": None, "left": rand(D, R, seed=7), "right": rand(R, D, seed=8)}
    forward = {
        "unicornn": (unicornn, {"x": x, "w": vector, "h": h, "state": pair, "alpha": 0.7, "keep": "states"}),
        "indrnn": (indrnn, {"x": x, "u": vector, "state": state, "phi": "tanh", "keep": "states"}),
        "antisymmetric": (antisymmetric, {"x": x, "matrix": matrix, "state": state, "epsilon": 0.3, "keep": "states"}),
        "incremental": (incremental, dense),
        "incremental, low rank": (incremental, low_rank),
        "incremental, eta of each step": (incremental, {**dense, "eta": rand(T, K, seed=9)}),
    }
    more = {unicornn: {"reconstruct": False}, indrnn: {}, antisymmetric: {"save": True}, incremental: {"save": True}}
    back = {unicornn: unicornn_backward, indrnn: indrnn_backward}
    back |= {antisymmetric: antisymmetric_backward, incremental: incremental_backward}
    found = {}
    for name, (operator, arguments) in forward.items():
        found[name] = operator, {**arguments, "watch": None, **more[operator]}
        sequence, last, *pre = operator(**found[name][1])
        saved = {"sequence": sequence, "grad_sequence": rand(*sequence.shape), "grad_last": rand(*last.shape)}
        saved |= {"pre": pre[0]} if pre else {}
        saved |= {"last": last} if operator is unicornn else {}
        kept = {key: value for key, value in arguments.items() if not (pre and key == "x")}
        found[f"{name}, backward"] = back[operator], {**kept, **saved, "adjoint": True}
    return found


# What it makes of a good argument. Every tensor of every operator is put through all of them.
SPOILERS = {
    "one shorter at the end": lambda tensor: tensor[..., :-1],
    "one longer at the end": lambda tensor: torch.cat([tensor, tensor[..., :1]], dim=-1),
    "one shorter at the start": lambda tensor: tensor[1:],
    "one longer at the start": lambda tensor: torch.cat([tensor, tensor[:1]]),
    "one axis more": lambda tensor: tensor[None],
    "one axis less": lambda tensor: tensor[0],
    "no axis": lambda tensor: tensor.flatten()[0],
    "empty": lambda tensor: tensor[..., :0],
    "of float32": lambda tensor: tensor.float(),
    "of integers": lambda tensor: tensor.long(),
}
# These set the sizes: what does not fit them is named instead.
SETTING = {"x", "pre", "eta", "left", "right", "matrix"}


def fits(name, argument, spoiler):
    """Whether the spoilt argument is as good as the other one."""
    forward, start = not name.endswith("backward"), spoiler.endswith("at the start")
    if argument == "x" and forward:
        return start and "each step" not in name  # a longer or a shorter sequence
    if argument == "eta":
        each_step = "each step" in name
        if forward and (spoiler.endswith("at the end") or (start and not each_step)):
            return True  # more or fewer inner steps
        return spoiler == "one axis less" and each_step
    return argument == "sequence" and spoiler == "empty" and name.startswith("unicornn")  # to reconstruct


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("name", ALL)
def test_operators_refuse_tensors_that_do_not_fit(name, spoiler, calls, untouched):
    operator, arguments = calls[name]
    for argument, value in arguments.items():
        if not isinstance(value, torch.Tensor) or fits(name, argument, spoiler):
            continue
        with pytest.raises(ValueError) as caught:
            operator(**{**arguments, argument: SPOILERS[spoiler](value)})
        message = str(caught.value)
        assert message.startswith(f"dynlab::{operator._name}: expected "), message
        assert argument in SETTING or f"{argument} " in message, message


@pytest.mark.parametrize("name", ALL)
def test_operators_take_what_fits(name, calls):
    """So that the test above refuses for the reason that it names."""
    operator, arguments = calls[name]
    assert all(torch.isfinite(tensor).all() for tensor in operator(**arguments))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("keep", ["all", "", "State"])
def test_operators_refuse_another_keep(name, keep, calls, untouched):
    operator, arguments = calls[name]
    with pytest.raises(ValueError, match="keep to be one of"):
        operator(**{**arguments, "keep": keep})


@pytest.mark.parametrize("name", [name for name in ALL if "backward" in name and "unicornn" not in name])
def test_backward_passes_need_the_sequence(name, calls, untouched):
    operator, arguments = calls[name]
    gone = {"keep": "last", "sequence": rand(0), "grad_sequence": None}
    with pytest.raises(ValueError, match="sequence"):
        operator(**{**arguments, **gone})


@pytest.mark.parametrize("name", [name for name in ALL if "unicornn" not in name and "antisymmetric" not in name])
def test_operators_refuse_another_activation(name, calls, untouched):
    operator, arguments = calls[name]
    with pytest.raises(ValueError, match="phi to be one of"):
        operator(**{**arguments, "phi": "gelu"})


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("incremental")])
def test_operators_refuse_other_options_of_irnn(name, calls, untouched):
    operator, arguments = calls[name]
    with pytest.raises(ValueError, match="sign to be one of 1, -1"):
        operator(**{**arguments, "sign": 2})
    other = {"weight": None, "left": rand(D, R), "right": rand(R, D)}
    if arguments["weight"] is None:
        other = {"weight": rand(D, D), "left": None, "right": None}
    for key, value in other.items():
        if value is not None or arguments[key] is not None:
            with pytest.raises(ValueError, match="weight"):  # both, or half of a pair
                operator(**{**arguments, key: value})


@pytest.mark.parametrize("name", [name for name in ALL if name.endswith("low rank") or "low rank, " in name])
def test_operators_refuse_a_rank_of_zero(name, calls, untouched):
    operator, arguments = calls[name]
    with pytest.raises(ValueError, match="left|rank"):
        operator(**{**arguments, "left": rand(D, 0), "right": rand(0, D)})


def test_operators_refuse_sequences_of_four_axes(untouched):
    x = rand(2, B, D, D)
    with pytest.raises(ValueError, match="sequence"):
        unicornn(x, rand(D), rand(D), rand(B, 2 * D), None, 0.7, "states", False)
    with pytest.raises(ValueError, match="sequence"):
        indrnn(x, rand(D), rand(B, D), None, "tanh", "states")
    with pytest.raises(ValueError, match="sequence|x of shape"):
        antisymmetric(x, rand(D, D), rand(B, D), None, 0.3, "states", True)
    with pytest.raises(ValueError, match="sequence"):
        incremental(x, rand(D, D), None, None, rand(K), rand(B, D), None, **OPTIONS, save=True)


@pytest.mark.parametrize("name", ALL)
def test_operators_refuse_tensors_of_two_devices(name, calls, untouched):
    operator, arguments = calls[name]
    tensors = [key for key, value in arguments.items() if isinstance(value, torch.Tensor)]
    for key in tensors:
        with pytest.raises((ValueError, RuntimeError)):
            operator(**{**arguments, key: arguments[key].to("meta")})


@pytest.mark.parametrize("name", ALL)
def test_operators_refuse_what_is_no_tensor(name, calls):
    operator, arguments = calls[name]
    for key, value in arguments.items():
        if isinstance(value, torch.Tensor):
            for other in (value.numpy(), value.tolist(), 3, "x", value.to_sparse(), value.to(torch.complex128)):
                with pytest.raises((ValueError, TypeError, RuntimeError)):
                    operator(**{**arguments, key: other})


@pytest.mark.parametrize("name", [name for name in ALL if "backward" in name])
def test_backward_operators_read_any_layout(name, calls):
    """Of what was saved, too: hooks on saved tensors may bring it back in another."""
    operator, arguments = calls[name]
    expected = operator(**arguments)
    for key, value in arguments.items():
        if isinstance(value, torch.Tensor) and value.dim() > 1:
            other = value.mT.contiguous().mT
            pairs = zip(operator(**{**arguments, key: other}), expected, strict=True)
            assert all(torch.allclose(found, want, rtol=1e-13, atol=1e-13) for found, want in pairs), key


# ---- the worst, in a process of their own ---------------------------------------------------------------------

SETUP = """
import json, resource, sys, time
import torch
from dynlab.cells import AntisymmetricRNN, IncrementalRNN, IndRNN, UnICORNN
from dynlab.native.incremental import incremental
from dynlab.native.indrnn import indrnn
from dynlab.native.unicornn import unicornn

torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))  # no test may take the machine's memory
native = {"backend": "native"}
CELLS = {
    "unicornn": UnICORNN(1, 1, **native),
    "indrnn": IndRNN(1, 1, **native),
    "antisymmetric": AntisymmetricRNN(1, 1, **native),
    "irnn": IncrementalRNN(1, 1, K=2, **native),
}


def wide(*shape):
    return torch.zeros(1, 1, 1).expand(*shape)


for name, code in json.loads(sys.argv[1]).items():
    print(json.dumps({"name": name}), flush=True)
    start = time.perf_counter()
    try:
        eval(code)
        outcome = "nothing was raised"
    except Exception as error:
        outcome = type(error).__name__
    print(json.dumps({"outcome": outcome, "seconds": time.perf_counter() - start}), flush=True)
"""

SIZES = {
    "all": (2**40, 2**20, 1),
    "time": (2**47, 1, 1),
    "time, less": (2**40, 1, 1),
    "batch": (1, 2**47, 1),
    "batch, less": (1, 2**40, 1),
    "time and batch": (2**31, 2**31, 1),
    "a little more than 32 bits": (2**32 + 1, 2**16, 1),
}
WORST = {
    f"{cell}, {size}": f"CELLS[{cell!r}].scan(wide(*{shape}))"
    for cell in ("unicornn", "indrnn", "antisymmetric", "irnn")
    for size, shape in SIZES.items()
    if cell == "unicornn" or size == "all"
}
WORST |= {
    "features": "UnICORNN(2**40, 1, **native)",
    "units": "UnICORNN(1, 2**45, **native)",
    "units squared": "AntisymmetricRNN(1, 2**31, **native)",
    "units squared, irnn": "IncrementalRNN(1, 2**31, K=1, **native)",
    "last only": "CELLS['unicornn'].scan(wide(2**40, 2**20, 1), keep='last')",
    "operator": "unicornn(wide(2**40, 2**20, 1), *3 * [torch.zeros(1)], None, 1.0, 'states', False)",
    "operator, fitting state": "unicornn(wide(2**31, 2**31, 1), torch.zeros(1), torch.zeros(1), "
    "torch.zeros(1, 1).expand(2**31, 2), None, 1.0, 'last', False)",
    "operator, much to keep": "indrnn(wide(2**40, 1, 1), torch.zeros(1), torch.zeros(1, 1), None, 'tanh', 'hidden')",
    "operator, many inner steps": "incremental(wide(2, 1, 1), torch.zeros(1, 1), None, None, "
    "torch.zeros(1).expand(2**60), torch.zeros(1, 1), None, 1.0, 'tanh', 1, False, 'states', True)",
    "operator, high rank": "incremental(wide(2, 1, 1), None, torch.zeros(1, 1).expand(1, 2**60), "
    "torch.zeros(1, 1).expand(2**60, 1), torch.zeros(1), torch.zeros(1, 1), None, 1.0, 'relu', 1, True, 'last', True)",
    "operator, rank of zero": "incremental(wide(2, 1, 1), None, torch.zeros(1, 0), torch.zeros(0, 1), torch.zeros(1), "
    "torch.zeros(1, 1), None, 1.0, 'tanh', 1, False, 'states', True)",
    "operator, no units": "unicornn(torch.zeros(2, 3, 0), torch.zeros(0), torch.zeros(0), torch.zeros(3, 0), None, "
    "1.0, 'states', False)",
}
SECONDS = 10


@pytest.fixture(scope="module")
def outcomes(native):
    """Name -> what became of it; a process that crashes or hangs is followed by another for the rest."""
    left, found = dict(WORST), {}
    while left:
        command = [sys.executable, "-c", SETUP, json.dumps(left)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, _ = process.communicate(timeout=SECONDS * 3)
            end = f"it ended with exit status {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            end = "it hangs"
        lines = [json.loads(line) for line in output.splitlines()]
        for started, ended in zip(lines[::2], [*lines[1::2], None], strict=False):
            found[started["name"]] = ended or {"outcome": end, "seconds": math.inf}
            del left[started["name"]]
        assert lines, "the process did not start"
    return found


@pytest.mark.parametrize("name", WORST)
def test_sizes_that_nothing_can_hold(name, outcomes):
    """An exception, and soon: no crash, no hang, no attempt to fill the memory."""
    outcome, seconds = outcomes[name]["outcome"], outcomes[name]["seconds"]
    assert outcome in ("ValueError", "RuntimeError", "MemoryError", "OverflowError"), outcome
    assert seconds < SECONDS
