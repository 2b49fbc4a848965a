"""The same bits again, on any number of threads; the same numbers on any instruction set; and activations to the ulp.

Index conventions: t time, b batch, d hidden unit.
"""

import contextlib
import ctypes
import subprocess
from concurrent.futures import ThreadPoolExecutor

import mpmath
import numpy as np
import pytest
import torch

from dynlab._folders import folder
from dynlab.native import build as kernels
from dynlab.native.indrnn import indrnn
from dynlab.native.unicornn import unicornn

from .cases import CELLS, assert_close, assert_equal, build, differentiated, on, rand

pytestmark = pytest.mark.usefixtures("native")


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---- bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repeated_runs_give_the_same_bits(name, count, dtype):
    cell, inputs = build(name, 4, 33, dtype=dtype), rand(20, 5, 4, dtype=dtype)
    with threads(count):
        first = differentiated(cell, inputs, None)
        for _ in range(3):
            # Other memory, other addresses.
            held = torch.empty(1031)
            assert_equal(differentiated(on(cell, "native"), inputs.clone(), None), first)
            del held


@pytest.mark.parametrize("name", ["unicornn", "indrnn_tanh", "gated_antisymmetric", "irnn_tanh", "irnn_low_rank"])
@pytest.mark.parametrize("count", [1, 2])
def test_scans_on_several_python_threads_do_not_disturb_each_other(name, count):
    """Native code runs without Python's lock, so they really run at the same time."""
    cells = [build(name, 4, 33, seed=seed) for seed in range(4)]
    inputs = [rand(60, 5, 4, seed=seed) for seed in range(4)]
    with threads(count):
        expected = [differentiated(cell, x, None) for cell, x in zip(cells, inputs, strict=True)]
        with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(count,)) as pool:
            for _ in range(5):
                for found, want in zip(pool.map(differentiated, cells, inputs, [None] * 4), expected, strict=True):
                    assert_equal(found, want)


@pytest.mark.parametrize("name", CELLS)
def test_a_sample_does_not_depend_on_its_neighbours(name):
    """Up to what the BLAS does with another number of rows."""
    cell, inputs, state = build(name, 4, 33), rand(20, 5, 4), rand(5, 66 if "unicornn" in name else 33, seed=1)
    together = cell.scan(inputs, state)
    alone = torch.cat([cell.scan(inputs[:, i : i + 1], state[i : i + 1]) for i in range(5)], dim=1)
    torch.testing.assert_close(alone, together, rtol=1e-13, atol=1e-13)


# Not multiples of a vector, more than a block of 1024 columns, fewer columns than threads, more rows than columns.
SHAPES = [
    (7, 1, 1),
    (7, 1, 3),
    (7, 3, 33),
    (7, 5, 31),
    (3, 1, 1023),
    (3, 1, 1025),
    (3, 3, 2051),
    (3, 7, 700),
    (3, 67, 33),
    (2, 1030, 1),
    (2, 333, 7),
    (2, 20_000, 3),
    (2, 40_000, 1),  # so many samples that torch would add their gradients up on several threads
]


def unicornn_run(x, units, state, arriving, keep, reconstruct):
    w, h = rand(units, seed=1, dtype=x.dtype), 0.2 + 0.1 * rand(units, seed=2, dtype=x.dtype) ** 2
    leaves = [x, w, h, torch.cat([state, state.flip(0)], dim=1)]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    outputs = unicornn(*leaves, None, 1.3, keep, reconstruct)
    widths = (2 * units if keep == "states" else units, 2 * units)
    return leaves, outputs, [arriving(out, width) for out, width in zip(outputs, widths, strict=True)]


def indrnn_run(x, units, state, arriving, keep, phi):
    leaves = [x, rand(units, seed=1, dtype=x.dtype).clamp(-1, 1), state]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    outputs = indrnn(*leaves, None, phi, keep)
    return leaves, outputs, [arriving(out, units) for out in outputs]


RUNS = {
    "unicornn": lambda *given: unicornn_run(*given, "states", False),
    "unicornn, hidden": lambda *given: unicornn_run(*given, "hidden", False),
    "unicornn, reconstructed": lambda *given: unicornn_run(*given, "hidden", True),
    "indrnn": lambda *given: indrnn_run(*given, "states", "tanh"),
    "indrnn, relu": lambda *given: indrnn_run(*given, "hidden", "relu"),
    "indrnn, sigmoid": lambda *given: indrnn_run(*given, "hidden", "sigmoid"),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_threads_gives_the_same_bits(name, shape, dtype):
    """Of everything that the recurrence itself makes: outputs and the gradients of x, w, h, u and the state."""
    steps, batch, units = shape
    x, state = rand(*shape, dtype=dtype), rand(batch, units, seed=3, dtype=dtype)

    def arriving(out, width):
        return rand(*out.shape[:-1], width, seed=4, dtype=dtype)

    first = None
    for count in (1, 2, 3, 5):
        with threads(count):
            leaves, outputs, given = RUNS[name](x, units, state, arriving)
            gradients = torch.autograd.grad(outputs, leaves, given)
        found = {str(i): tensor.detach() for i, tensor in enumerate((*outputs, *gradients))}
        first = first or found
        assert_equal(found, first)


@pytest.mark.parametrize("name", CELLS)
def test_more_threads_than_samples(name):
    """Products of the BLAS may differ in the last bits with the number of rows, nothing else."""
    cell, inputs = build(name, 4, 17), rand(15, 3, 4)
    expected = differentiated(cell, inputs, None)
    for count in (2, 3, 5):
        with threads(count):
            assert_close(differentiated(cell, inputs, None), expected, 1e-13, 1e-13)


def test_the_floating_point_mode_is_left_alone():
    """The kernels may flush tiny numbers to zero on the threads that they borrow, and give them back as they were."""
    for count in (1, 2, 3):
        with threads(count):
            differentiated(build("unicornn", 4, 700), rand(3, 5, 4), None)
            differentiated(build("irnn_tanh", 4, 9), rand(3, 5, 4), None)
            tiny = torch.full((100_000,), 2.0**-1040, dtype=torch.float64)
            # As integers: where tiny numbers count as zero, they also compare as such.
            assert set((tiny * 0.5).view(torch.int64).tolist()) == {2 ** (1074 - 1041)}


# ---- instruction sets -----------------------------------------------------------------------------------------


@pytest.fixture
def use(native):
    """Choose an instruction set, False where this machine does not run it; undone afterwards."""
    before = native.dynlab_instruction_set()
    yield lambda name: native.dynlab_use_instruction_set(name.encode()) == 0
    assert native.dynlab_use_instruction_set(before) == 0


def test_the_best_instruction_set_is_taken(native, use):
    best = native.dynlab_instruction_set().decode()
    runs = [name for name in kernels.instruction_sets() if use(name)]
    assert runs[0] == best and "baseline" in runs
    assert native.dynlab_instruction_set() == b"baseline"
    assert not use("avx1024") and native.dynlab_instruction_set() == b"baseline"


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("units", [1, 33, 130])
def test_every_instruction_set_agrees_with_the_reference(name, units, use):
    inputs = rand(9, 3, 4)
    expected = differentiated(build(name, 4, units, "reference"), inputs, None)
    for _ in filter(use, kernels.instruction_sets()):
        assert_close(differentiated(build(name, 4, units), inputs, None), expected)


@pytest.mark.parametrize("name", ["unicornn", "indrnn_sigmoid", "gated_antisymmetric", "irnn_tanh"])
def test_every_instruction_set_in_float32(name, use):
    inputs = rand(9, 3, 4)
    expected = differentiated(build(name, 4, 33, "reference"), inputs, None)
    for _ in filter(use, kernels.instruction_sets()):
        found = differentiated(build(name, 4, 33, dtype=torch.float32), inputs.float(), None)
        assert_close(found, expected, relative=1e-5, absolute=2e-6)


# ---- activations ----------------------------------------------------------------------------------------------

PROGRAM = """
#include "math.h"
template <class Phi, class T>
void at(const T* a, T* value, T* slope, long count) {
    for (long i = 0; i < count; ++i) Phi::at(a[i], value[i], slope[i]);
}
extern "C" {
void tanh_f32(const float* a, float* v, float* s, long n) { at<dynlab::Tanh>(a, v, s, n); }
void tanh_f64(const double* a, double* v, double* s, long n) { at<dynlab::Tanh>(a, v, s, n); }
void sigmoid_f32(const float* a, float* v, float* s, long n) { at<dynlab::Sigmoid>(a, v, s, n); }
void sigmoid_f64(const double* a, double* v, double* s, long n) { at<dynlab::Sigmoid>(a, v, s, n); }
void relu_f32(const float* a, float* v, float* s, long n) { at<dynlab::Relu>(a, v, s, n); }
void relu_f64(const double* a, double* v, double* s, long n) { at<dynlab::Relu>(a, v, s, n); }
}
"""


@pytest.fixture(scope="module")
def activations(native, tmp_path_factory):
    """Instruction set -> function (activation, a) -> (value, slope), for those that this machine runs."""
    before, place = native.dynlab_instruction_set(), tmp_path_factory.mktemp("activations")
    (place / "activations.cpp").write_text(PROGRAM)
    found = {}
    for name, flags in kernels.instruction_sets().items():
        if native.dynlab_use_instruction_set(name.encode()):
            continue
        target = place / f"{name}.so"
        options = [*kernels.CPU_FLAGS, *flags, "-shared", "-I", str(folder("kernels") / "include")]
        options = [option for option in options if option != "-fvisibility=hidden"]
        command = [*kernels.compiler().command, *options, str(place / "activations.cpp"), "-o", str(target)]
        subprocess.run(command, check=True)
        found[name] = evaluator(ctypes.CDLL(str(target)))
    native.dynlab_use_instruction_set(before)
    return found


def evaluator(library):
    def evaluate(name, a):
        value, slope = np.empty_like(a), np.empty_like(a)
        suffix = {"float32": "f32", "float64": "f64"}[a.dtype.name]
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (a, value, slope)]
        getattr(library, f"{name}_{suffix}")(*pointers, ctypes.c_long(a.size))
        return value, slope

    return evaluate


def arguments(dtype, most, count):
    """Of both signs, dense in magnitude from the smallest normal number to ``most``."""
    generator = np.random.default_rng(0)
    magnitude = np.concatenate(
        [
            np.exp(generator.uniform(np.log(np.finfo(dtype).tiny), np.log(1e-3), count // 4)),
            np.exp(generator.uniform(np.log(1e-3), np.log(most), count // 4)),
            generator.uniform(0, 3, count // 4),
            generator.uniform(0, most, count // 4),
        ]
    )
    a = np.clip(magnitude, np.finfo(dtype).tiny, most).astype(dtype)
    return np.ascontiguousarray(np.concatenate([a, -a]))


def exact(name, a):
    """Value and derivative as numbers of 60 digits, none of which is lost in the tails."""
    one = mpmath.mpf(1)
    with mpmath.workdps(60):
        points = [mpmath.mpf(float(number)) for number in a]
        if name == "tanh":
            return [mpmath.tanh(p) for p in points], [mpmath.sech(p) ** 2 for p in points]
        return [one / (one + mpmath.exp(-p)) for p in points], [
            mpmath.exp(-abs(p)) / (one + mpmath.exp(-abs(p))) ** 2 for p in points
        ]


def ulps(found, values):
    """Largest error in units of the last place of the correctly rounded number."""
    with mpmath.workdps(60):
        spacing = np.spacing(np.abs(np.array([float(v) for v in values]).astype(found.dtype)))
        errors = [
            abs(mpmath.mpf(float(f)) - v) / mpmath.mpf(float(s)) for f, v, s in zip(found, values, spacing, strict=True)
        ]
        return float(max(errors))


def relative(found, values):
    with mpmath.workdps(60):
        return float(max(abs(mpmath.mpf(float(f)) / v - 1) for f, v in zip(found, values, strict=True)))


# Largest relative error in the tails in float32, with and without fused multiply-add. That of log2(e), rounded, grows
# with the exponent: 2 |a| = 80 times 1.3e-8.
TAIL = {"avx512": 1.2e-6, "avx2": 1.2e-6, "baseline": 4e-6}


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_to_the_ulp(name, dtype, activations):
    a = arguments(dtype, 40.0, 1600)
    values, slopes = exact(name, a)
    assert "baseline" in activations
    # The sigmoid of a negative number is an exponential, accurate as such.
    near = [i for i, number in enumerate(a) if name == "tanh" or number >= 0]
    for instruction_set, evaluate in activations.items():
        value, slope = evaluate(name, a)
        limit = TAIL[instruction_set] if dtype == np.float32 else 1e-14
        assert ulps(value[near], [values[i] for i in near]) < 5, instruction_set
        assert relative(value, values) < limit, instruction_set
        assert relative(slope, slopes) < limit, instruction_set


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_activations_over_many_floats(name, activations):
    """A dense sample in float32, against double precision of numpy."""
    a = arguments(np.float32, 40.0, 400_000)
    wide = a.astype(np.float64)
    value = np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))
    tail = np.exp(-np.abs(wide) * (2 if name == "tanh" else 1))
    slope = (4 if name == "tanh" else 1) * tail / (1 + tail) ** 2
    for instruction_set, evaluate in activations.items():
        found, found_slope = evaluate(name, a)
        off = np.abs(found - value) / np.spacing(np.abs(value).astype(np.float32))
        assert np.max(off[(name == "tanh") | (a >= 0)]) < 5, instruction_set
        assert np.max(np.abs(found / value - 1)) < TAIL[instruction_set], instruction_set
        assert np.max(np.abs(found_slope / slope - 1)) < TAIL[instruction_set], instruction_set
        assert np.all(np.abs(found) <= 1) and np.all(found_slope >= 0)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_at_the_edges(name, dtype, activations):
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 88.0, -88.0, 750.0, -750.0]
    edges += [np.finfo(dtype).tiny, -np.finfo(dtype).tiny]
    # Repeated, so that the vectorised loop and its remainder both see them.
    a = np.repeat(np.array(edges, dtype=dtype), 37)
    for evaluate in activations.values():
        value, slope = (array.reshape(len(edges), 37) for array in evaluate(name, a))
        assert np.array_equal(value, value[:, :1].repeat(37, axis=1), equal_nan=True)
        assert np.array_equal(slope, slope[:, :1].repeat(37, axis=1), equal_nan=True)
        value, slope = value[:, 0], slope[:, 0]
        middle = {"tanh": 0.0, "sigmoid": 0.5, "relu": 0.0}[name]
        assert value[0] == value[1] == middle
        assert slope[0] == {"tanh": 1.0, "sigmoid": 0.25, "relu": 0.0}[name]
        assert np.isnan(value[4]), "NaN stays NaN"
        if name == "relu":
            assert (value[2], value[3], slope[2], slope[3]) == (np.inf, 0, 1, 0)
            continue
        assert np.isnan(slope[4])
        assert value[2] == value[5] == 1
        assert np.all(slope[[2, 3, 5, 6]] < np.finfo(dtype).tiny * 16)
        assert np.all(slope[[2, 3, 5, 6, 7, 8, 9, 10]] >= 0)
        if name == "tanh":
            assert value[3] == value[6] == -1
            assert not np.signbit(value[0]) and np.signbit(value[1])
            assert value[11] == np.finfo(dtype).tiny == -value[12]
        else:
            assert 0 <= value[3] == value[6] < np.finfo(dtype).tiny * 16
