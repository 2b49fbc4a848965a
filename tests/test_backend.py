"""Which code runs a recurrence: keyword, attribute, environment variable; and what happens without a compiler."""

import contextlib
import copy
import importlib
import pickle
import warnings

import numpy as np
import pytest
import torch

from dynlab import Cell, EndToEndJacobian, GradientNorm, Network, as_cell, backend, record, registry
from dynlab.backend import NativeUnavailableError, NativeUnavailableWarning
from dynlab.cells import UnICORNN
from dynlab.native import library

from .native.cases import CELLS, build, cpu_library, on, rand

NATIVE = [key for key, entry in registry.items() if entry.cls.has_native]


class Mine(Cell):
    """A cell of one's own whose constructor knows nothing of backends."""

    def __init__(self, input_size=2, size=3):
        super().__init__(input_size, size)
        self.weight = torch.nn.Parameter(torch.eye(size))

    def forward(self, x, state):
        return torch.tanh(state @ self.weight + x.sum(-1, keepdim=True))


@pytest.fixture(scope="session")
def native():
    return cpu_library()


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """No backend in the environment, and nothing said yet."""
    monkeypatch.delenv(backend.VARIABLE, raising=False)
    monkeypatch.setattr(backend, "_said", set())


@pytest.fixture
def ran(monkeypatch):
    """What has run since it was last cleared: "native" or "loop" for each scan."""
    found = []

    def spied(kind, original):
        def run(self, *arguments):
            found.append(kind)
            return original(self, *arguments)

        return run

    bases = {base for key in NATIVE for base in registry[key].cls.__mro__ if "_native" in vars(base)}
    for cls in bases - {Cell}:
        monkeypatch.setattr(cls, "_native", spied("native", cls._native))
    monkeypatch.setattr(Cell, "_loop", spied("loop", Cell._loop))
    return found


# ---- the keyword and the attribute ----------------------------------------------------------------------------


def test_cells_with_native_code():
    assert {"unicornn", "irnn", "sirnn", "antisymmetric", "gated_antisymmetric", "indrnn"} <= set(NATIVE)
    assert not Mine.has_native and not Network.has_native


@pytest.mark.parametrize("key", registry)
def test_every_cell_has_a_backend(key):
    entry = registry[key]
    assert entry(2, 3).backend == "auto"
    for chosen in ("auto", "reference", "native"):
        assert entry(2, 3, backend=chosen).backend == chosen
        assert entry.cls(2, 3, **entry.defaults, backend=chosen).backend == chosen
        cell = entry(2, 3)
        cell.backend = chosen
        assert cell.backend == chosen
    assert "backend" not in cell.hyperparameters and "_backend" not in cell.state_dict()


def test_every_other_cell_has_one_too():
    assert (Mine().backend, Mine(backend="reference").backend, Mine(2, 3, backend="native").backend) == (
        "auto",
        "reference",
        "native",
    )
    cells = [Mine(), Mine(3, 3, backend="reference")]
    network = Network(cells, backend="native")
    assert (network.backend, *(cell.backend for cell in network.layers)) == ("native", "auto", "reference")
    assert as_cell(torch.nn.GRUCell(2, 3)).backend == "auto"


@pytest.mark.parametrize("make", [Mine, lambda **options: registry["lstm"](2, 3, **options), UnICORNN])
@pytest.mark.parametrize("wrong", ["cuda", "NATIVE", "", None, 3, True, b"native"])
def test_another_value_is_an_error(make, wrong):
    sizes = (2, 3) if make is UnICORNN else ()
    with pytest.raises(ValueError, match=r"expected backend to be one of 'auto', 'reference', 'native', got"):
        make(*sizes, backend=wrong)
    cell = make(*sizes)
    with pytest.raises(ValueError, match=f"{type(cell).__name__}: expected backend"):
        cell.backend = wrong
    assert cell.backend == "auto"
    with pytest.raises(ValueError, match="Network: expected backend"):
        Network([cell], backend=wrong)


def test_copies_keep_it():
    cell = UnICORNN(2, 3, backend="reference")
    assert copy.deepcopy(cell).backend == pickle.loads(pickle.dumps(cell)).backend == "reference"
    assert cell.double().backend == "reference"


# ---- what runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", NATIVE)
@pytest.mark.parametrize(
    ("chosen", "variable", "expected"),
    [
        ("auto", None, "native"),
        ("auto", "", "native"),
        ("auto", "auto", "native"),
        ("auto", "native", "native"),
        ("auto", "reference", "loop"),
        ("native", None, "native"),
        ("native", "reference", "native"),
        ("reference", None, "loop"),
        ("reference", "native", "loop"),
    ],
)
def test_what_runs(key, chosen, variable, expected, native, ran, monkeypatch):
    if variable is not None:
        monkeypatch.setenv("DYNLAB_BACKEND", variable)
    registry[key](2, 3, backend=chosen).scan(torch.randn(4, 2, 2))
    assert ran == [expected]


@pytest.mark.parametrize("key", ["lstm", "elman", "unicornn"])
@pytest.mark.parametrize("chosen", ["auto", "native", "reference"])
def test_garbage_in_the_variable(key, chosen, monkeypatch, native):
    monkeypatch.setenv("DYNLAB_BACKEND", "gpu")
    cell = registry[key](2, 3, backend=chosen)
    if chosen == "auto":
        with pytest.raises(ValueError, match="variable DYNLAB_BACKEND: expected backend to be one of .*, got 'gpu'"):
            cell.scan(torch.zeros(4, 2, 2))
    elif chosen == "reference" or key == "unicornn":
        cell.scan(torch.zeros(4, 2, 2))


@pytest.mark.parametrize("make", [Mine, lambda **options: registry["fastrnn"](2, 3, **options)])
def test_native_code_that_does_not_exist(make, monkeypatch):
    cell = make(backend="native")
    with pytest.raises(NativeUnavailableError, match=f"{type(cell).__name__} has no native code"):
        cell.scan(torch.zeros(4, 2, 2))
    # The variable is for the cells that have some.
    monkeypatch.setenv("DYNLAB_BACKEND", "native")
    assert make().scan(torch.zeros(4, 2, 2)).shape[0] == 5


def test_a_step_never_runs_natively(ran):
    """Nothing is gained there, and probes differentiate it."""
    cell = UnICORNN(2, 3, backend="native")
    cell(torch.zeros(2, 2), torch.zeros(2, 6))
    cell.step_jacobian(torch.zeros(2, 2), torch.zeros(2, 6))
    assert ran == []


# ---- networks -------------------------------------------------------------------------------------------------


def network_of(*backends, **options):
    torch.manual_seed(0)
    layers = [UnICORNN(2, 3), registry["fastrnn"](3, 4), registry["irnn"](4, 2)]
    for layer, chosen in zip(layers, backends, strict=True):
        layer.backend = chosen
    return Network(layers, **options)


@pytest.mark.parametrize(
    ("layers", "network", "variable", "expected"),
    [
        (("auto", "auto", "auto"), "auto", None, ["native", "loop", "native"]),
        (("auto", "auto", "auto"), "reference", None, ["loop", "loop", "loop"]),
        (("auto", "auto", "auto"), "auto", "reference", ["loop", "loop", "loop"]),
        (("auto", "reference", "auto"), "native", None, ["native", "loop", "native"]),
        (("auto", "reference", "reference"), "native", None, ["native", "loop", "loop"]),
        (("native", "auto", "auto"), "reference", None, ["native", "loop", "loop"]),
        (("auto", "auto", "native"), "auto", "reference", ["loop", "loop", "native"]),
        (("auto", "auto", "auto"), "auto", "native", ["native", "loop", "native"]),
    ],
)
def test_networks_pass_theirs_on(layers, network, variable, expected, native, ran, monkeypatch):
    if variable is not None:
        monkeypatch.setenv("DYNLAB_BACKEND", variable)
    model, inputs = network_of(*layers, backend=network), torch.randn(5, 2, 2)
    for keep in ("states", "hidden", "last"):
        ran.clear()
        found = model.scan(inputs, keep=keep)
        assert ran == expected
        model.backend, before = "reference", model.backend
        torch.testing.assert_close(found, model.scan(inputs, keep=keep), rtol=1e-5, atol=1e-6)
        model.backend = before


def test_networks_within_networks(native, ran):
    inner = Network([UnICORNN(2, 3), UnICORNN(3, 3, backend="native")])
    outer = Network([inner, UnICORNN(3, 2)], backend="reference")
    outer.scan(torch.randn(4, 2, 2))
    assert ran == ["loop", "native", "loop"]
    inner.backend = "native"
    ran.clear()
    outer.scan(torch.randn(4, 2, 2))
    assert ran == ["native", "native", "loop"]


def test_a_network_of_a_layer_without_native_code():
    """ "native" by name means every layer that does not say otherwise."""
    with pytest.raises(NativeUnavailableError, match="FastRNN has no native code"):
        network_of("auto", "auto", "auto", backend="native").scan(torch.zeros(4, 2, 2))


# ---- no compiler ----------------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """A compiler that compiles nothing, and an empty cache."""
    monkeypatch.setenv("CXX", "/bin/false")
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path))
    library.forget()
    yield
    library.forget()


def of_dynlab(caught):
    return [str(warning.message) for warning in caught if issubclass(warning.category, NativeUnavailableWarning)]


def test_without_a_compiler_the_loops_run_and_say_so_once(broken, ran):
    inputs = rand(5, 2, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in CELLS:
            for keep in ("states", "hidden", "last"):
                found = build(name, 3, 4, "auto").scan(inputs, keep=keep)
                assert torch.equal(found, build(name, 3, 4, "reference").scan(inputs, keep=keep))
        Network([UnICORNN(3, 4), UnICORNN(4, 4)]).scan(inputs.float())
    (message,) = of_dynlab(caught)
    assert "many times slower" in message and "/bin/false" in message and "failed with exit status 1" in message
    assert "dynlab kernels status" in message and "\n" not in message
    assert set(ran) == {"loop"}


def test_without_a_compiler_gradients_are_right(broken):
    cell, inputs = build("unicornn", 3, 4, "auto"), rand(5, 2, 3).requires_grad_()
    with pytest.warns(NativeUnavailableWarning):
        found = torch.autograd.grad(cell.scan(inputs).square().sum(), inputs)[0]
    expected = torch.autograd.grad(on(cell, "reference").scan(inputs).square().sum(), inputs)[0]
    assert torch.equal(found, expected)


def test_without_a_compiler_native_by_name_is_an_error(broken, monkeypatch):
    with pytest.raises(NativeUnavailableError, match='UnICORNN: backend="native" cannot be had: .*/bin/false'):
        UnICORNN(2, 3, backend="native").scan(torch.zeros(4, 2, 2))
    monkeypatch.setenv("DYNLAB_BACKEND", "native")
    with pytest.raises(NativeUnavailableError, match="/bin/false"):
        UnICORNN(2, 3).scan(torch.zeros(4, 2, 2))


def test_without_a_compiler_the_reference_says_nothing(broken, monkeypatch, recwarn):
    UnICORNN(2, 3, backend="reference").scan(torch.zeros(4, 2, 2))
    registry["lstm"](2, 3).scan(torch.zeros(4, 2, 2))
    monkeypatch.setenv("DYNLAB_BACKEND", "reference")
    UnICORNN(2, 3).scan(torch.zeros(4, 2, 2))
    assert not of_dynlab(recwarn)


def test_without_a_compiler_probes_measure(broken):
    cell = build("unicornn", 2, 3, "auto")
    with pytest.warns(NativeUnavailableWarning):
        found = record(cell, rand(6, 2, 2), probes=[GradientNorm()])
    expected = record(on(cell, "reference"), rand(6, 2, 2), probes=[GradientNorm()])
    np.testing.assert_array_equal(found.log_gradient_norm, expected.log_gradient_norm)


def test_a_read_only_cache(monkeypatch, tmp_path, native):
    """A file where the folder should be: nobody can write there, not even root."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "file"))
    library.forget()
    with pytest.warns(NativeUnavailableWarning, match="cannot be written to .* set DYNLAB_CACHE_DIR"):
        UnICORNN(2, 3).scan(torch.zeros(4, 2, 2))
    library.forget()


# ---- dtypes and devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs_the_loop_and_says_so_once(dtype, native, ran):
    cell, inputs = build("irnn_tanh", 2, 3, "auto", dtype), rand(4, 2, 2, dtype=dtype)
    with pytest.warns(NativeUnavailableWarning, match=f"float32 and float64, got {dtype}") as caught:
        found = [cell.scan(inputs) for _ in range(3)]
    assert len(of_dynlab(caught)) == 1 and ran == ["loop"] * 3
    assert found[0].dtype == dtype and torch.equal(found[0], on(cell, "reference").scan(inputs))
    with pytest.raises(NativeUnavailableError, match=f"got {dtype}"):
        on(cell, "native").scan(inputs)


def test_mixed_dtypes_run_the_loop_and_say_so_once(native, ran):
    """Autocast computes the input terms in half precision, and the state stays what it is."""
    cell, inputs = build("unicornn", 2, 3, "auto", torch.float32), rand(4, 2, 2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.warns(NativeUnavailableWarning, match=r"got torch.bfloat16, torch.float32") as caught:
            found = [cell.scan(inputs, keep="last") for _ in range(2)]
        expected = on(cell, "reference").scan(inputs, keep="last")
        with pytest.raises(NativeUnavailableError, match="bfloat16"):
            on(cell, "native").scan(inputs)
    assert len(of_dynlab(caught)) == 1 and ran == ["loop"] * 3
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_devices_are_named(dtype):
    cell = UnICORNN(2, 3, backend="native").to(device="meta", dtype=dtype)
    with pytest.raises((NativeUnavailableError, RuntimeError)):
        cell.scan(torch.zeros(4, 2, 2, device="meta", dtype=dtype))


# ---- the sweeps of the probes ---------------------------------------------------------------------------------


@pytest.fixture
def sweeps(monkeypatch):
    """Counts the calls of the native sweep."""
    shears, found = importlib.import_module("dynlab.native.shears"), []
    original = shears.shear_products

    def spied(*arguments):
        found.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(shears, "shear_products", spied)
    return found


def recorded(cell, inputs, chosen, probes):
    return record(on(cell, chosen), inputs, probes=probes)


def compare(found, expected, most):
    for name in expected.data_vars:
        a, b = found[name].values, expected[name].values
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.array_equal(np.isfinite(a), np.isfinite(b)), name
        a, b = a[np.isfinite(b)], b[np.isfinite(b)]
        # Logarithms: an absolute error of one is a relative one of the norm.
        assert np.max(np.abs(a - b), initial=0) <= most * max(1, np.max(np.abs(b), initial=0)), name


SWEPT = {
    "frobenius": GradientNorm(),
    "frobenius, hidden": GradientNorm(of="hidden"),
    "spectral": GradientNorm(norm="spectral"),
    "spectral, hidden": GradientNorm(norm="spectral", of="hidden"),
    "end to end": EndToEndJacobian(),
    "between, hidden": EndToEndJacobian(start=3, stop=17, of="hidden"),
}
PRECISIONS = [(torch.float64, 1e-12), (torch.float32, 3e-5)]


@pytest.mark.parametrize("probe", SWEPT)
@pytest.mark.parametrize(("dtype", "most"), PRECISIONS)
def test_the_adjoint_sweep_is_the_references(probe, dtype, most, native, sweeps):
    cell, inputs = on(build("unicornn", 3, 33), "auto", dtype), rand(23, 5, 3, dtype=dtype)
    found = recorded(cell, inputs, "native", [SWEPT[probe]])
    assert sweeps
    sweeps.clear()
    compare(found, recorded(cell, inputs, "reference", [SWEPT[probe]]), most)
    assert not sweeps


@pytest.mark.parametrize("probe", SWEPT)
@pytest.mark.parametrize(("dtype", "most"), PRECISIONS)
def test_long_exploding_sweeps_are_rescaled_alike(probe, dtype, most, native, sweeps):
    """h^2 (w + alpha) > 4 at rest: the state stays 0 and the gradient grows by a factor of its own in each unit."""
    torch.manual_seed(0)
    cell = UnICORNN(1, 5, dt=1.0, alpha=20.0).to(dtype)
    with torch.no_grad():
        cell.c.copy_(torch.linspace(-0.2, 1.0, 5))
    inputs = torch.zeros(1500, 2, 1, dtype=dtype)
    found = recorded(cell, inputs, "native", [SWEPT[probe]])
    compare(found, recorded(cell, inputs, "reference", [SWEPT[probe]]), most)
    if probe != "between, hidden":
        assert len(sweeps) > 1, "the products are rescaled between the calls"
    if isinstance(SWEPT[probe], GradientNorm):
        assert found.log_gradient_norm[0].min() > 1000  # far beyond the float range


def test_the_sweep_over_shapes(native, sweeps):
    for batch, units in ((1, 1), (1, 130), (3, 1030), (70, 2)):
        cell, inputs = build("unicornn", 2, units), rand(6, batch, 2)
        compare(*(recorded(cell, inputs, chosen, [GradientNorm()]) for chosen in ("native", "reference")), 1e-12)
    assert len(sweeps) >= 4


def test_the_sweep_is_the_same_on_any_number_of_threads(native):
    cell, inputs = build("unicornn", 2, 67), rand(9, 31, 2)
    before, found = torch.get_num_threads(), []
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, before)
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(recorded(cell, inputs, "native", [EndToEndJacobian()]).end_to_end_jacobian.values)
    assert all(np.array_equal(found[0], other) for other in found)


@pytest.mark.parametrize("name", CELLS)
def test_records_do_not_depend_on_the_backend(name, native):
    cell, inputs = build(name, 2, 4), rand(8, 2, 2)
    probes = [GradientNorm(), EndToEndJacobian()]
    compare(*(recorded(cell, inputs, chosen, probes) for chosen in ("native", "reference")), 1e-11)
