"""The CUDA sources, compiled as C++ and run by ``cuda_on_cpu.h``, against autograd through plain loops in float64.

Where there is a CUDA device, also as they are on that.

Index conventions: t time, b batch, d unit, k inner step, r rank.
"""

import ctypes
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dynlab.native import arguments
from dynlab.native.arguments import PHI, Arguments
from dynlab.native.build import cuda_library
from dynlab.native.compilers import BuildError, Compiler, compiler

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5}
ROOMY = (3, 227 * 1024)  # multiprocessors, bytes of shared memory


def gcc() -> Compiler:
    try:
        found = compiler()
    except BuildError as error:
        pytest.skip(str(error))
    if sys.platform != "linux" or "Free Software Foundation" not in found.version:
        pytest.skip("cuda_on_cpu.h needs g++ on Linux")
    return found


def compiled(source: Path, target: Path, *flags: str) -> Path:
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", *flags]
    headers = ["-include", str(HERE / "cuda_on_cpu.h"), "-I", str(KERNELS / "include"), "-I", str(KERNELS / "cuda")]
    command = [*gcc().command, *options, *headers, "-x", "c++", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("g++ has no sanitizers here")
    assert done.returncode == 0, done.stderr
    return target


class Machine:
    """Where the kernels run: their library, and where it expects its tensors."""

    def __init__(self, library: ctypes.CDLL, place: str) -> None:
        self.library, self.place = library, torch.device(place)

    def try_call(self, direction: str, dtype: torch.dtype, made: Arguments, device: tuple[int, int] = ROOMY) -> int:
        stream = None
        if self.place.type == "cpu":
            self.library.emulated_device(*device)
        elif device != ROOMY:
            pytest.skip("a real device has the shared memory it has")
        else:
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        suffix = {torch.float32: "f32", torch.float64: "f64"}[dtype]
        name = f"dynlab_cuda_{made.recurrence}_{direction}_{suffix}"
        code: int = getattr(self.library, name)(ctypes.byref(made), stream)
        return code

    def call(self, direction: str, dtype: torch.dtype, made: Arguments, device: tuple[int, int] = ROOMY) -> None:
        assert self.try_call(direction, dtype, made, device) == 0


@pytest.fixture(scope="session", params=["emulated", "device"] if torch.cuda.is_available() else ["emulated"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    if request.param == "device":
        return Machine(ctypes.CDLL(str(cuda_library())), "cuda")
    path = tmp_path_factory.mktemp("cuda") / "libdynlab_cuda_on_cpu.so"
    source = KERNELS / "cuda" / "recurrences.cu"
    return Machine(ctypes.CDLL(str(compiled(source, path, "-shared", "-fPIC", "-fvisibility=hidden"))), "cpu")


class Case:
    """Draws the inputs and the options of a call, and keeps all its tensors alive."""

    def __init__(self, machine: Machine, seed: int, dtype: torch.dtype) -> None:
        self.place = machine.place
        self.choose = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.outside: list[Tensor] = []

    def yes(self) -> bool:
        return self.choose.random() < 0.5

    def sequence(self, steps: int, batch: int, units: int) -> Tensor:
        """An uninitialised (t, b, d) in one of the layouts a caller may have."""
        kind = self.choose.choice(("plain", "batch first", "interleaved"))
        if kind == "plain":
            return self.empty(steps, batch, units)
        if kind == "batch first":
            return self.empty(batch, steps, units).transpose(0, 1)
        both = self.empty(steps, batch, 2 * units)
        self.outside.append(both[..., units:])
        return both[..., :units]

    def random(self, *shape: int, scale: float = 1.0) -> Tensor:
        drawn = torch.randn(shape, generator=self.generator, dtype=self.dtype).to(self.place) * scale
        return self.sequence(*shape).copy_(drawn) if len(shape) == 3 else drawn

    def maybe(self, tensor: Tensor) -> Tensor | None:
        return tensor if self.yes() else None

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(shape, generator=self.generator, dtype=self.dtype).to(self.place)
        return low + (high - low) * drawn

    def empty(self, *shape: int) -> Tensor:
        return torch.full(shape, torch.nan, dtype=self.dtype, device=self.place)

    def agree(self, **pairs: tuple[Tensor | None, Tensor]) -> None:
        for name, (actual, expected) in pairs.items():
            if actual is None:
                continue
            assert actual.shape == expected.shape, name
            error = (actual.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-3)
            assert error <= TOLERANCE[self.dtype], f"{name}: {error:.1e}"
        for rest in self.outside:
            assert rest.isnan().all(), "something was written beside a sequence"


def exact(*tensors: Tensor) -> list[Tensor]:
    """Float64 leaves."""
    return [tensor.double().detach().clone().requires_grad_() for tensor in tensors]


def pull(loss: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Gradients, zeros where there is no path."""
    grads = torch.autograd.grad(loss, tensors, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(grads, tensors, strict=True)]


def inner(gradient: Tensor | None, value: Tensor) -> Tensor:
    return value.new_zeros(()) if gradient is None else (gradient.double() * value).sum()


# Pipelines are 4 or 8 steps deep; a warp has 32 lanes; registers hold 128 columns (float32).
SHAPES = [(1, 1, 1), (2, 1, 3), (9, 3, 33), (20, 1, 128), (3, 3, 130), (17, 4, 5), (8, 2, 32), (16, 3, 31), (5, 2, 129)]
DTYPES = (torch.float32, torch.float64)
PHIS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (40, 3, 260)], ids=str)
@pytest.mark.parametrize("reconstruct", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_unicornn(
    machine: Machine, dtype: torch.dtype, shape: tuple[int, int, int], reconstruct: bool, seed: int
) -> None:
    case, (steps, batch, units) = Case(machine, seed, dtype), shape
    alpha = 0.5
    x, w, state = case.random(*shape), case.random(units), case.random(batch, 2 * units)
    h = case.uniform(0.05, 0.35, units)
    y = None if reconstruct else case.sequence(*shape)
    z, last = case.maybe(case.sequence(*shape)), case.empty(batch, 2 * units)
    common: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "units": units,
        "alpha": alpha,
        "w": w,
        "h": h,
        "state": state,
        "x": x,
    }
    machine.call("forward", dtype, arguments.Unicornn.of(**common, last=last, y=y, z=z))

    exact_x, exact_w, exact_h, first = exact(x, w, h, state)
    states = [first]
    for row in exact_x.unbind(0):
        old_y, old_z = states[-1].chunk(2, dim=-1)
        new_z = old_z - exact_h * (torch.tanh(exact_w * old_y + row) + alpha * old_y)
        states.append(torch.cat([old_y + exact_h * new_z, new_z], dim=-1))
    rollout = torch.stack(states[1:])
    case.agree(y=(y, rollout[..., :units]), z=(z, rollout[..., units:]), last=(last, states[-1]))

    grad_y, grad_z = case.maybe(case.random(*shape)), case.maybe(case.random(*shape))
    grad_last = case.random(batch, 2 * units) if case.yes() or grad_y is None else None
    loss = inner(grad_y, rollout[..., :units]) + inner(grad_z, rollout[..., units:]) + inner(grad_last, states[-1])
    expected_x, grad_w, grad_h, *adjoints = pull(loss, exact_x, exact_w, exact_h, *states)
    grad_x, adjoint = case.sequence(*shape), case.maybe(case.sequence(steps + 1, batch, 2 * units))
    out_w, out_h, out_state = case.empty(batch, units), case.empty(batch, units), case.empty(batch, 2 * units)
    made = arguments.Unicornn.of(
        **common,
        last=last,
        y=y,
        grad_y=grad_y,
        grad_z=grad_z,
        grad_last=grad_last,
        grad_x=grad_x,
        grad_w=out_w,
        grad_h=out_h,
        grad_state=out_state,
        adjoint=adjoint,
    )
    machine.call("backward", dtype, made)
    case.agree(
        grad_x=(grad_x, expected_x),
        grad_w=(out_w.sum(0), grad_w),
        grad_h=(out_h.sum(0), grad_h),
        grad_state=(out_state, adjoints[0]),
        adjoint=(adjoint, torch.stack(adjoints)),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("phi", PHIS)
def test_indrnn(machine: Machine, dtype: torch.dtype, shape: tuple[int, int, int], phi: str) -> None:
    case, (steps, batch, units) = Case(machine, len(phi), dtype), shape
    x, u, state = case.random(*shape), case.random(units), case.random(batch, units)
    h, last = case.sequence(*shape), case.empty(batch, units)
    common: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "units": units,
        "phi": PHI[phi],
        "u": u,
        "state": state,
        "x": x,
        "h": h,
    }
    machine.call("forward", dtype, arguments.Indrnn.of(**common, last=last))

    exact_x, exact_u, first = exact(x, u, state)
    states = [first]
    for row in exact_x.unbind(0):
        states.append(PHIS[phi](exact_u * states[-1] + row))
    rollout = torch.stack(states[1:])
    case.agree(h=(h, rollout), last=(last, states[-1]))

    last_only = arguments.Indrnn.of(**(common | {"h": None}), last=(again := case.empty(batch, units)))
    machine.call("forward", dtype, last_only)
    assert torch.equal(again, last)

    grad, grad_last = case.maybe(case.random(*shape)), case.random(batch, units)
    expected_x, grad_u, *adjoints = pull(inner(grad, rollout) + inner(grad_last, states[-1]), exact_x, exact_u, *states)
    grad_x, adjoint = case.sequence(*shape), case.maybe(case.sequence(steps + 1, batch, units))
    out_u, out_state = case.empty(batch, units), case.empty(batch, units)
    made = arguments.Indrnn.of(
        **common,
        last=last,
        grad_h=grad,
        grad_last=grad_last,
        grad_x=grad_x,
        grad_u=out_u,
        grad_state=out_state,
        adjoint=adjoint,
    )
    machine.call("backward", dtype, made)
    case.agree(
        grad_x=(grad_x, expected_x),
        grad_u=(out_u.sum(0), grad_u),
        grad_state=(out_state, adjoints[0]),
        adjoint=(adjoint, torch.stack(adjoints)),
    )


# With less shared memory, some weights are read from memory in every round; with little, inputs are not read ahead.
WIDE = [
    *((shape, ROOMY) for shape in [*SHAPES, (3, 4, 260), (2, 7, 140)]),
    *(((4, 2, 150), (processors, kilobytes * 1024)) for processors in (1, 2) for kilobytes in (7, 40)),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "device"), WIDE, ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_antisymmetric(
    machine: Machine, dtype: torch.dtype, shape: tuple[int, int, int], device: tuple[int, int], gated: bool
) -> None:
    case, (steps, batch, units) = Case(machine, sum(shape) + gated, dtype), shape
    epsilon, width = 0.3, 2 * units if gated else units
    x, state = case.random(steps, batch, width), case.random(batch, units)
    # Not antisymmetric, so that M and its transpose are not mistaken for each other.
    matrix = case.random(units, units, scale=units**-0.5)
    h, last = case.maybe(case.sequence(*shape)), case.empty(batch, units)
    pre = case.sequence(steps, batch, width)
    common: dict[str, Any] = {"steps": steps, "batch": batch, "units": units, "gated": int(gated), "epsilon": epsilon}
    common |= {"matrix": matrix, "state": state}
    machine.call("forward", dtype, arguments.Antisymmetric.of(**common, x=x, last=last, h=h, pre=pre), device)

    exact_x, exact_matrix, first = exact(x, matrix, state)
    states, activations = [first], []
    for row in exact_x.unbind(0):
        product = states[-1] @ exact_matrix.T
        activations.append(torch.cat([product] * (width // units), dim=-1) + row)
        parts = activations[-1].split(units, dim=-1)
        change = torch.tanh(parts[0]) * (torch.sigmoid(parts[1]) if gated else 1)
        states.append(states[-1] + epsilon * change)
    rollout = torch.stack(states[1:])
    case.agree(h=(h, rollout), pre=(pre, torch.stack(activations)), last=(last, states[-1]))

    grad = case.maybe(case.random(*shape))
    grad_last = case.random(batch, units) if case.yes() or grad is None else None
    loss = inner(grad, rollout) + inner(grad_last, states[-1])
    expected_x, grad_matrix, *adjoints = pull(loss, exact_x, exact_matrix, *states)
    grad_x, adjoint = case.sequence(steps, batch, width), case.maybe(case.sequence(steps + 1, batch, units))
    delta, out_state = case.sequence(*shape) if gated else None, case.empty(batch, units)
    made = arguments.Antisymmetric.of(
        **common,
        pre=pre,
        grad_h=grad,
        grad_last=grad_last,
        grad_x=grad_x,
        delta=delta,
        grad_state=out_state,
        adjoint=adjoint,
    )
    machine.call("backward", dtype, made, device)
    through = (grad_x if delta is None else delta).double()
    case.agree(
        grad_x=(grad_x, expected_x),
        grad_state=(out_state, adjoints[0]),
        adjoint=(adjoint, torch.stack(adjoints)),
        grad_matrix=(torch.einsum("tbi,tbj->ij", through, torch.stack(states[:-1])), grad_matrix),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "device"), WIDE, ids=str)
@pytest.mark.parametrize(("inner_steps", "rank"), [(1, 0), (3, 0), (1, 3), (3, 3)])
def test_incremental(
    machine: Machine,
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    device: tuple[int, int],
    inner_steps: int,
    rank: int,
) -> None:
    case, (steps, batch, units) = Case(machine, sum(shape) + 10 * inner_steps + rank, dtype), shape
    alpha, phi, sign, zero = 0.7, case.choose.choice(list(PHIS)), case.choose.choice((1, -1)), case.yes()
    time_varying = case.yes()
    x, state = case.random(*shape), case.random(batch, units)
    left, right = case.random(units, rank, scale=0.3), case.random(rank, units, scale=units**-0.5)
    weight = case.random(units, units, scale=units**-0.5) if rank == 0 else None
    eta = case.uniform(0.1, 0.3, steps, inner_steps)
    eta = eta if time_varying else eta[0].clone()
    h, last = case.sequence(*shape), case.empty(batch, units)
    pre = case.empty(steps, inner_steps, batch, units)
    common: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "units": units,
        "inner": inner_steps,
        "rank": rank,
        "phi": PHI[phi],
    }
    common |= {"sign": sign, "zero": int(zero), "alpha": alpha, "weight": weight, "left": left, "right": right}
    common |= {"eta": eta, "eta_time": inner_steps if time_varying else 0, "state": state}
    machine.call("forward", dtype, arguments.Incremental.of(**common, x=x, h=h, last=last, pre=pre), device)

    exact_x, exact_eta, first, *factors = exact(x, eta, state, *((weight,) if weight is not None else (left, right)))
    full = factors[0] if weight is not None else torch.eye(units).to(factors[0]) + factors[0] @ factors[1]
    states, sums, activations = [first], [], []
    for t, row in enumerate(exact_x.unbind(0)):
        g = torch.zeros_like(first) if zero else states[-1]
        for k in range(inner_steps):
            sums.append(g + sign * states[-1])
            activations.append(sums[-1] @ full.T + row)
            step = exact_eta[t, k] if time_varying else exact_eta[k]
            g = g + step * (PHIS[phi](activations[-1]) - alpha * sums[-1])
        states.append(g)
    rollout = torch.stack(states[1:])
    by_step = (steps, inner_steps, batch, units)
    case.agree(h=(h, rollout), pre=(pre, torch.stack(activations).view(by_step)), last=(last, states[-1]))

    grad = case.maybe(case.random(*shape))
    grad_last = case.random(batch, units) if case.yes() or grad is None else None
    loss = inner(grad, rollout) + inner(grad_last, states[-1])
    expected_x, grad_eta, *rest = pull(loss, exact_x, exact_eta, *factors, *states, *activations)
    grad_factors, rest = rest[: len(factors)], rest[len(factors) :]
    adjoints, deltas = rest[: steps + 1], rest[steps + 1 :]
    grad_x, adjoint = case.sequence(*shape), case.maybe(case.sequence(steps + 1, batch, units))
    delta, out_sums, out_state = case.empty(*by_step), case.empty(*by_step), case.empty(batch, units)
    out_eta = case.empty(batch, steps, inner_steps)
    made = arguments.Incremental.of(
        **common,
        h=h,
        pre=pre,
        grad_h=grad,
        grad_last=grad_last,
        grad_x=grad_x,
        delta=delta,
        sums=out_sums,
        grad_eta=out_eta,
        grad_state=out_state,
        adjoint=adjoint,
    )
    machine.call("backward", dtype, made, device)
    product = torch.einsum("tkbi,tkbj->ij", delta.double(), out_sums.double())
    through = [product] if weight is not None else [product @ factors[1].T, factors[0].T @ product]
    case.agree(
        grad_x=(grad_x, expected_x),
        delta=(delta, torch.stack(deltas).view(by_step)),
        sums=(out_sums, torch.stack(sums).view(by_step)),
        grad_eta=(out_eta.sum(0) if time_varying else out_eta.sum((0, 1)), grad_eta),
        grad_state=(out_state, adjoints[0]),
        adjoint=(adjoint, torch.stack(adjoints)),
        **{f"factor {i}": pair for i, pair in enumerate(zip(through, grad_factors, strict=True))},
    )


def test_refuses_what_it_cannot_do(machine: Machine) -> None:
    machine.library.dynlab_cuda_error.restype = ctypes.c_char_p
    refused = [
        arguments.Unicornn.of(steps=0, batch=1, units=1),
        arguments.Indrnn.of(steps=1, batch=1, units=1, phi=3),
        arguments.Antisymmetric.of(steps=1, batch=1, units=10**6),  # its vectors fit no shared memory
        arguments.Incremental.of(steps=1, batch=1, units=1, inner=0, rank=0, phi=0),
    ]
    for made in refused:
        code = machine.try_call("forward", torch.float32, made)
        assert code != 0
        assert machine.library.dynlab_cuda_error(code) in (b"an emulated failure", b"invalid argument")


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_memory_and_races(tmp_path: Path, sanitizer: str) -> None:
    """Nothing outside its buffers, no undefined behaviour, no race, and the same bits in every order of the threads."""
    flags = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    program = compiled(HERE / "cuda_exercise.cpp", tmp_path / "exercise", *flags)
    done = subprocess.run([program], capture_output=True, text=True, timeout=600)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("this kernel's address space is too random for g++'s thread sanitizer")
    assert done.returncode == 0, done.stderr
