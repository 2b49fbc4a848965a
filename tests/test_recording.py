"""``record``: one rollout, one sweep of each kind, one dataset with everything on it."""

import json
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dynlab
from dynlab import (
    EndToEndJacobian,
    EndToEndSpectrum,
    GradientNorm,
    InputGradient,
    LossGradient,
    LyapunovSpectrum,
    Network,
    SingularValues,
    StepSpectrum,
    TimeSteps,
    Trajectory,
    as_cell,
    record,
    recording,
    registry,
    verdict,
)
from dynlab.probes import PROBES
from dynlab.trace import StateOverflow

STEPS, BATCH = 6, 3


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def build(name, dtype=torch.float64):
    torch.manual_seed(6)
    if name == "function":
        return as_cell(lambda x, s: torch.sin(1.5 * s.roll(1, -1)) + x[:, :1], input_size=2, state_size=3, name="mine")
    if name == "layers":
        return Network([registry["unicornn"](2, 3), registry["gru"](3, 2)]).to(dtype)
    return registry[name](2, 3).to(dtype)


def every_probe():
    return [
        GradientNorm(),
        InputGradient(values=True),
        EndToEndJacobian(),
        EndToEndSpectrum(),
        StepSpectrum(),
        SingularValues(times=3),
        LyapunovSpectrum(),
        LossGradient(lambda hidden: hidden.square().sum()),
        Trajectory(),
    ]


CELLS = ("unicornn", "irnn", "gated_antisymmetric", "elman", "lstm", "gru", "cornn", "indrnn", "function", "layers")


# ---- the dataset ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_everything_is_labelled(name):
    cell = build(name)
    data = record(cell, rand(STEPS, BATCH, 2), every_probe(), attrs={"seed": 4, "task": "noise"})
    assert isinstance(data, xr.Dataset)
    for variable in data.variables:
        assert data[variable].attrs["units"], variable
    for variable in data.data_vars:
        assert data[variable].attrs["long_name"], variable
        assert set(data[variable].dims) <= set(data.coords)
    assert data.time.values.tolist() == list(range(STEPS + 1))
    assert data.transition.values.tolist() == list(range(1, STEPS + 1))
    assert data.batch.values.tolist() == list(range(BATCH))
    assert data.time.attrs["units"] == data.transition.attrs["units"] == "step"
    expected = {
        "cell": "mine" if name == "function" else type(cell).__name__,
        "input_size": 2,
        "hidden_size": cell.hidden_size,
        "state_size": cell.state_size,
        "parameters": sum(parameter.numel() for parameter in cell.parameters()),
        "T": STEPS,
        "requested_T": STEPS,
        "overflow_step": 0,
        "dtype": "float64",
        "seed": 4,
        "task": "noise",
        "dynlab_version": dynlab.__version__,
        "reference": cell.reference,
    }
    assert {key: data.attrs[key] for key in expected} == expected
    assert json.loads(data.attrs["hyperparameters"]).keys() == cell.hyperparameters.keys()
    assert data.overflow_step.values.tolist() == [0] * BATCH
    for variable in ("log_gradient_norm", "lyapunov_exponent", "log_singular_value", "log_input_gradient_norm"):
        assert not np.isnan(data[variable]).any()


def test_seed_that_was_not_given_says_so():
    assert record(build("elman"), rand(3, 1, 2)).attrs["seed"] == "not given"


def test_attributes_of_any_kind_become_plain():
    data = record(build("elman"), rand(3, 1, 2), attrs={"path": None, "shape": (1, 2), "rates": [0.1, 0.2]})
    assert data.attrs["path"] == "None"
    assert data.attrs["shape"] == "(1, 2)"
    assert data.attrs["rates"] == [0.1, 0.2]


@pytest.mark.parametrize("name", CELLS)
def test_determinism(name):
    inputs = rand(STEPS, BATCH, 2)
    probes = [*every_probe()[1:], GradientNorm(vectors=4)]
    first, second = (record(build(name), inputs, probes) for _ in range(2))
    assert first.identical(second)


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), sample=st.integers(0, BATCH - 1), steps=st.integers(1, 9))
def test_samples_do_not_influence_one_another(name, seed, sample, steps):
    cell = build(name)
    inputs, state = rand(steps, BATCH, 2, seed=seed), rand(BATCH, cell.state_size, seed=seed + 1)
    probes = [GradientNorm(), InputGradient(), SingularValues(), LyapunovSpectrum(), StepSpectrum()]
    together = record(cell, inputs, probes, state).isel(batch=[sample])
    alone = record(cell, inputs[:, [sample]], probes, state[[sample]])
    for variable in alone.data_vars:
        found, expected = together[variable].values, alone[variable].values
        if np.iscomplexobj(found):
            # Conjugates have the same modulus, hence no order.
            found, expected = np.abs(found), np.abs(expected)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=variable)


def test_default_probe_and_names():
    cell, inputs = build("lstm"), rand(STEPS, BATCH, 2)
    assert record(cell, inputs).identical(record(cell, inputs, [GradientNorm()]))
    named = record(cell, inputs, ["GradientNorm", "LyapunovSpectrum"])
    assert named.identical(record(cell, inputs, [GradientNorm(), LyapunovSpectrum()]))
    assert record(cell, inputs, "GradientNorm").identical(record(cell, inputs, GradientNorm()))
    assert record(cell, inputs, [GradientNorm]).identical(record(cell, inputs, [GradientNorm()]))
    assert set(record(cell, inputs, []).data_vars) == {"overflow_step"}
    assert set(PROBES) >= {"GradientNorm", "LyapunovSpectrum", "Trajectory"}


def test_grids_that_differ_keep_their_own_names():
    data = record(build("elman"), rand(STEPS, BATCH, 2), [GradientNorm(), Trajectory(every=2)])
    assert data.log_gradient_norm.dims == ("time", "batch")
    (other,) = set(data.sizes) - {"time", "batch", "unit"}
    assert data[other].values.tolist() == [0, 2, 4, 6]
    assert data[other].attrs["units"] == "step"


def test_times_of_singular_values_count_steps():
    data = record(build("elman"), rand(STEPS, BATCH, 2), [SingularValues(times=3)])
    assert data.singular_time.attrs["units"] == "step"


# ---- the model is left as it was ------------------------------------------------------------------------------


def test_eval_mode_is_restored():
    inner = registry["gru"](3, 2).eval()
    network = Network([registry["unicornn"](2, 3), inner], dropout=0.5)
    network.train()
    inner.eval()
    before = [module.training for module in network.modules()]
    assert True in before
    assert False in before
    inputs = rand(STEPS, BATCH, 2, dtype=torch.float32)
    first, second = record(network, inputs), record(network, inputs)
    assert first.identical(second)
    assert [module.training for module in network.modules()] == before
    with pytest.raises(ValueError, match="transient"):
        record(network, inputs, [LyapunovSpectrum(transient=99)])
    assert [module.training for module in network.modules()] == before


@pytest.mark.parametrize("name", CELLS)
def test_another_dtype_measures_a_copy(name):
    cell = build(name, torch.float32)
    before = {key: value.clone() for key, value in cell.state_dict().items()}
    inputs = rand(STEPS, BATCH, 2, dtype=torch.float32)
    state = rand(BATCH, cell.state_size, seed=1, dtype=torch.float32)
    single = record(cell, inputs, [GradientNorm(), Trajectory()], state)
    double = record(cell, inputs, [GradientNorm(), Trajectory()], state, dtype=torch.float64)
    assert (single.attrs["dtype"], double.attrs["dtype"]) == ("float32", "float64")
    np.testing.assert_allclose(single.log_gradient_norm, double.log_gradient_norm, atol=1e-4)
    assert inputs.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in cell.parameters())
    for key, value in cell.state_dict().items():
        assert torch.equal(value, before[key])


def test_gradients_are_left_alone():
    cell = build("lstm")
    inputs = rand(STEPS, BATCH, 2).requires_grad_()
    record(cell, inputs, every_probe())
    assert inputs.grad is None
    assert all(parameter.grad is None and parameter.requires_grad for parameter in cell.parameters())
    assert torch.is_grad_enabled()


def test_batch_first():
    torch.manual_seed(0)
    layer = nn.GRU(2, 3, batch_first=True)
    turned = nn.GRU(2, 3)
    turned.load_state_dict(layer.state_dict())
    inputs = rand(STEPS, BATCH, 2, dtype=torch.float32)
    first = record(layer, inputs.transpose(0, 1), [GradientNorm(), InputGradient()])
    second = record(turned, inputs, [GradientNorm(), InputGradient()])
    xr.testing.assert_allclose(first, second)
    assert first.sizes["batch"] == BATCH


def test_several_models_make_a_tree():
    cells = {"first": build("unicornn"), "second": build("function"), "third": nn.LSTM(2, 3).double()}
    inputs = rand(STEPS, BATCH, 2)
    tree = record(cells, inputs, [GradientNorm()], attrs={"seed": 1})
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == ["first", "second", "third"]
    for name, cell in cells.items():
        assert tree[name].to_dataset().identical(record(cell, inputs, [GradientNorm()], attrs={"seed": 1}))
    with pytest.raises(ValueError, match="expected no state with several models"):
        record(cells, inputs, state=torch.zeros(BATCH, 3))


# ---- one rollout and one sweep of each kind -------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    calls = {"rollout": 0, "adjoint_sweep": 0, "graded_sweep": 0}

    def count(name):
        original = getattr(recording, name)

        def counting(*args, **kwargs):
            calls[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(recording, name, counting)

    for name in calls:
        count(name)
    return calls


@pytest.mark.parametrize("name", ["unicornn", "lstm", "layers"])
def test_probes_share_their_sweeps(name, counted):
    probes = [
        GradientNorm(of="state"),
        InputGradient(of="hidden"),
        EndToEndSpectrum(of="state"),
        EndToEndJacobian(of="hidden"),
        LyapunovSpectrum(k=2),
        SingularValues(times=3),
        StepSpectrum(),
    ]
    record(build(name), rand(STEPS, BATCH, 2), probes)
    assert counted == {"rollout": 1, "adjoint_sweep": 1, "graded_sweep": 1}


def test_sweeps_nobody_asked_for_do_not_run(counted):
    record(build("gru"), rand(STEPS, BATCH, 2), [StepSpectrum(), Trajectory()])
    assert counted == {"rollout": 1, "adjoint_sweep": 0, "graded_sweep": 0}


def test_other_ranges_and_vectors_have_sweeps_of_their_own(counted):
    probes = [GradientNorm(vectors=4), EndToEndSpectrum(), EndToEndJacobian(2, 4)]
    record(build("gru"), rand(STEPS, BATCH, 2), probes)
    assert counted == {"rollout": 1, "adjoint_sweep": 3, "graded_sweep": 0}


def test_tick_counts_the_steps_of_all_sweeps():
    ticks = []
    record(build("gru"), rand(STEPS, BATCH, 2), [GradientNorm(), LyapunovSpectrum()], tick=ticks.append)
    assert sum(ticks) == 2 * STEPS


# ---- states that leave the float range ------------------------------------------------------------------------


def tripling(dtype=torch.float32):
    return as_cell(lambda x, s: 3 * s + x, input_size=1, state_size=1, name="tripling")


def test_an_exploding_state_ends_the_record_one_step_before():
    state = torch.tensor([[1.0], [0.0]])
    with pytest.warns(RuntimeWarning, match="tripling: the state left the range of torch.float32 at step 81 of 200"):
        data = record(tripling(), torch.zeros(200, 2, 1), [GradientNorm(), LyapunovSpectrum(), Trajectory()], state)
    assert (data.attrs["overflow_step"], data.attrs["T"], data.attrs["requested_T"]) == (81, 80, 200)
    assert data.overflow_step.values.tolist() == [81, 0]
    assert data.time.values[-1] == 80
    assert all(np.isfinite(data[name]).all() for name in data.data_vars)
    np.testing.assert_allclose(data.log_gradient_norm[0], 80 * np.log(3), rtol=1e-6)
    assert verdict(float(data.log_gradient_ratio[0]), data.attrs["overflow_step"]) == "exploding"


def test_float64_goes_further():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = record(tripling(), torch.zeros(200, 1, 1), state=torch.ones(1, 1), dtype=torch.float64)
    assert data.attrs["T"] == 200


def test_overflow_at_the_first_step():
    with pytest.raises(StateOverflow, match="left the range of torch.float32 at the first step; nothing to record"):
        record(tripling(), torch.zeros(5, 1, 1), state=torch.full((1, 1), 2e38))


def test_a_record_cut_to_one_step_has_no_ratio():
    with pytest.warns(RuntimeWarning, match="at step 2 of 5"):
        data = record(tripling(), torch.zeros(5, 1, 1), state=torch.full((1, 1), 1e38))
    assert "log_gradient_ratio" not in data
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match="expected at least 2 time steps .* got T = 1"):
        record(tripling(), torch.zeros(5, 1, 1), [GradientNorm(ratio=True)], torch.full((1, 1), 1e38))


# ---- bad input ------------------------------------------------------------------------------------------------

NAN = torch.zeros(4, 1, 2)
NAN[2, 0, 1] = float("nan")
INF = torch.zeros(4, 1, 2)
INF[0, 0, 0] = float("inf")


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        (torch.zeros(4, 1, 3), {}, ValueError, r"\(time, batch, 2\), got .*\(4, 1, 3\)"),
        (torch.zeros(0, 1, 2), {}, ValueError, r"at least one time step and one sample, got .*\(0, 1, 2\)"),
        (NAN, {}, ValueError, r"finite inputs, got nan at index \(2, 0, 1\)"),
        (INF, {}, ValueError, r"finite inputs, got inf at index \(0, 0, 0\)"),
        (torch.zeros(4, 1, 2, dtype=torch.long), {}, TypeError, "floating dtype, got a torch.int64 tensor"),
        (
            torch.zeros(4, 1, 2, dtype=torch.long),
            {"dtype": torch.float64},
            TypeError,
            "floating dtype, got a torch.int64",
        ),
        (torch.zeros(4, 1, 2).double(), {}, ValueError, "torch.float32, cpu.*got a torch.float64 tensor"),
        (torch.zeros(4, 1, 2, device="meta"), {}, ValueError, "torch.float32, cpu.* on meta"),
        (torch.zeros(1, 1, 2), {"probes": [GradientNorm(ratio=True)]}, ValueError, "at least 2 time steps .* T = 1"),
        (
            torch.zeros(4, 1, 2),
            {"probes": ["Nonsense"]},
            ValueError,
            "expected a probe among .*GradientNorm.*; got 'Nonsense'",
        ),
        (torch.zeros(4, 1, 2), {"probes": [3]}, TypeError, r"expected probes such as .*, got 3 \(int\)"),
        (torch.zeros(4, 1, 2), {"state": torch.zeros(2, 3)}, ValueError, r"state of shape \(1, 3\), got .*\(2, 3\)"),
        (torch.zeros(4, 1, 2), {"probes": [LyapunovSpectrum(k=4)]}, ValueError, "k <= state_size = 3, got 4"),
        (torch.zeros(4, 1, 2), {"probes": [LyapunovSpectrum(transient=4)]}, ValueError, "transient < T = 4, got 4"),
        (torch.zeros(4, 1, 2), {"probes": [EndToEndJacobian(3, 9)]}, ValueError, "start = 3, stop = 9"),
        (
            torch.zeros(4, 1, 2),
            {"probes": [GradientNorm(), GradientNorm(of="hidden")]},
            ValueError,
            "expected each variable from one probe, got log_gradient_norm, log_gradient_ratio from two",
        ),
    ],
)
def test_bad_input(inputs, options, error, message):
    with pytest.raises(error, match=message) as caught:
        record(registry["gru"](2, 3), inputs, **options)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("model", [3, "gru", nn.LSTM, None])
def test_bad_models(model):
    with pytest.raises(TypeError, match="as_cell: expected"):
        record(model, torch.zeros(4, 1, 2))


def test_a_cell_of_ones_own_that_returns_another_shape():
    cell = as_cell(lambda x, s: s[:, :2], input_size=2, state_size=3, name="narrow")
    with pytest.raises(ValueError, match=r"narrow: expected the step to return .*\(1, 3\).*, got .*\(1, 2\)"):
        record(cell, torch.zeros(4, 1, 2))


def test_a_quantity_the_cell_does_not_have():
    with pytest.raises(ValueError, match="mine|StepCell"):
        record(build("function"), rand(4, 1, 2), [TimeSteps()])


def test_a_step_that_returns_a_tuple_is_described_in_one_line():
    class Pair(dynlab.Cell):
        def forward(self, x, state):
            return state, state

    with pytest.raises(ValueError, match=r"got a tuple of a torch.float32 tensor of shape \(4, 2\)") as caught:
        dynlab.record(Pair(3, 2), torch.zeros(5, 4, 3))
    assert "\n" not in str(caught.value)
