"""The motions of planar recurrences, against loops in NumPy that share nothing with the cells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from dynlab.figures import discover, planar
from dynlab.widgets import planar_stability as stability
from dynlab.widgets.planar import GRID, MOST_STARTS, PlanarModel, compute, dataset
from dynlab.widgets.planar_kinds import KINDS
from dynlab.widgets.planar_presets import FIG1, PRESETS

W = ((0.7, -1.3), (1.1, -0.4))
BIAS = (0.2, -0.3)
EXAMPLES = {
    "elman": PlanarModel("elman", W, BIAS),
    "feedback": PlanarModel("feedback", W, BIAS, {"epsilon": 0.3, "gamma": 0.2}),
    "antisymmetric": PlanarModel("antisymmetric", W, BIAS, {"epsilon": 0.3, "gamma": 0.2}),
    "fastrnn": PlanarModel("fastrnn", W, BIAS, {"alpha": -1.0, "beta": 2.0}),
    "irnn": PlanarModel("irnn", W, BIAS, {"K": 3, "eta": 0.2, "alpha": 0.8}),
    "irnn from zero": PlanarModel("irnn", W, BIAS, {"K": 4, "eta": 0.2, "start": "zero"}),
    "unicornn": PlanarModel("unicornn", W, BIAS, {"dt": 0.5, "alpha": 2.0}),
}


def step(model: PlanarModel, h: np.ndarray) -> np.ndarray:
    """One step of (..., 2) by the papers' equations."""
    W, b, o = np.array(model.W), np.array(model.bias), model.options
    logistic = {name: 1 / (1 + math.exp(-o[name])) for name in ("alpha", "beta") if name in o}
    match model.kind:
        case "elman":
            return np.tanh(h @ W.T + b)
        case "feedback":
            return h + o["epsilon"] * np.tanh(h @ (W - o["gamma"] * np.eye(2)).T + b)
        case "antisymmetric":
            return h + o["epsilon"] * np.tanh(h @ (W - W.T - o["gamma"] * np.eye(2)).T + b)
        case "fastrnn":
            return logistic["beta"] * h + logistic["alpha"] * np.tanh(h @ W.T + b)
        case "irnn":
            g = h if o["start"] == "previous" else 0 * h
            for _ in range(o["K"]):
                g = g + o["eta"] * (np.tanh((g + h) @ W.T + b) - o["alpha"] * (g + h))
            return g
        case "unicornn":
            y, z = h[..., 0], h[..., 1]
            z = z - o["dt"] / 2 * (np.tanh(W[0, 0] * y + b[0]) + o["alpha"] * y)
            return np.stack([y + o["dt"] / 2 * z, z], axis=-1)
    raise AssertionError(model.kind)


def loop(model: PlanarModel) -> np.ndarray:
    states = [np.array(model.starts)]
    for _ in range(model.steps):
        states.append(step(model, states[-1]))
    return np.array(states)


def jacobian(model: PlanarModel, h: np.ndarray) -> np.ndarray:
    """By central differences, (..., 2, 2)."""
    shift = 1e-6 * np.eye(2)
    return np.stack([(step(model, h + e) - step(model, h - e)) / 2e-6 for e in shift], axis=-1)


@pytest.mark.parametrize("name", EXAMPLES)
def test_trajectories_are_those_of_a_loop(name):
    model = EXAMPLES[name]
    found = compute(model)
    assert found.overflow is None
    np.testing.assert_allclose(found.states, loop(model), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_step_eigenvalues_have_the_trace_and_determinant_of_the_step(name):
    model = EXAMPLES[name]
    found = compute(model)
    J = jacobian(model, loop(model)[:-1])
    np.testing.assert_allclose(found.step_eigenvalues.sum(-1), np.trace(J, axis1=-2, axis2=-1), atol=1e-8)
    np.testing.assert_allclose(found.step_eigenvalues.prod(-1), np.linalg.det(J), atol=1e-8)
    moduli = np.abs(found.step_eigenvalues)
    assert (moduli[..., 0] >= moduli[..., 1]).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_growth_is_what_the_step_does_at_the_origin(name):
    model = replace(EXAMPLES[name], bias=(0.0, 0.0))
    expected = np.sort(np.abs(np.linalg.eigvals(jacobian(model, np.zeros(2)))))
    if model.kind == "unicornn":
        expected = expected[[1, 1]]
    np.testing.assert_allclose(np.sort(compute(model).growth), expected, atol=1e-8)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_field_is_the_displacement_of_a_step(name):
    found = compute(EXAMPLES[name], 2.0)
    line = np.linspace(-2, 2, GRID)
    x, y = np.meshgrid(line, line)
    states = np.stack([x, y], axis=-1)
    np.testing.assert_allclose(found.line, line)
    np.testing.assert_allclose(found.flow, step(EXAMPLES[name], states) - states, atol=1e-12)


def test_eigenvalues_of_two_by_two_matrices():
    a, b = 0.3, 1.7
    rotation = PlanarModel("feedback", ((a, -b), (b, a)), options={"epsilon": 0.1, "gamma": 0.5})
    np.testing.assert_allclose(compute(rotation).eigenvalues, [a - 0.5 + 1j * b, a - 0.5 - 1j * b])
    triangular = PlanarModel("elman", ((1.5, 4.0), (0.0, -2.0)))
    np.testing.assert_allclose(compute(triangular).eigenvalues, [1.5, -2.0])
    skew = PlanarModel("antisymmetric", ((5.0, 2.0), (0.5, -7.0)), options={"gamma": 0.2})
    np.testing.assert_allclose(compute(skew).eigenvalues, [-0.2 + 1.5j, -0.2 - 1.5j])
    oscillator = PlanarModel("unicornn", ((1.0, 0.0), (0.0, 0.0)), options={"alpha": 3.0})
    np.testing.assert_allclose(compute(oscillator).eigenvalues, [2j, -2j], atol=1e-15)


# ---- the region ------------------------------------------------------------------------------------------------


@given(epsilon=st.floats(1e-3, 2), angle=st.floats(-3.14, 3.14), radius=st.floats(0, 2))
def test_the_region_of_euler_is_a_disc(epsilon, angle, radius):
    model = PlanarModel("feedback", options={"epsilon": epsilon})
    corners = stability.region(model)
    np.testing.assert_allclose(np.abs(corners + 1 / epsilon), 1 / epsilon)
    point = (radius * np.exp(1j * angle) - 1) / epsilon
    np.testing.assert_allclose(stability.growth(model, np.array([point])), radius, atol=1e-9)


@settings(max_examples=25)
@given(
    kind=st.sampled_from(["elman", "feedback", "fastrnn", "irnn"]), K=st.integers(1, 7), eta=st.floats(0.05, 1),
    start=st.sampled_from(["previous", "zero"]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_inside_of_the_region_a_step_contracts(kind, K, eta, start, seed):
    model = PlanarModel(kind, options={"K": K, "eta": eta, "start": start} if kind == "irnn" else {})
    corners = stability.region(model)
    np.testing.assert_allclose(stability.growth(model, corners), 1, atol=1e-6)
    random = np.random.default_rng(seed)
    low, high = corners.real.min(), corners.real.max()
    points = random.uniform(1.2 * low, high + 0.2 * abs(low), 200) + 1j * random.uniform(-1, 1, 200) * abs(low)
    growth = stability.growth(model, points)
    clear = np.abs(growth - 1) > 0.05  # a polygon is not quite a circle
    inside = Path(np.column_stack([corners.real, corners.imag])).contains_points(
        np.column_stack([points.real, points.imag])
    )
    assert (inside == (growth <= 1))[clear].all()
    assert inside.any() or not (growth[clear] < 1).any()


def test_the_region_of_the_symplectic_step_ends_at_two_over_h():
    model = PlanarModel("unicornn", options={"dt": 0.8, "alpha": 1.0})  # h = 0.4
    np.testing.assert_allclose(sorted(stability.region(model).imag), [-5, 5])
    np.testing.assert_allclose(stability.growth(model, np.array([4.99j, 5.01j])) <= 1 + 1e-9, [True, False])


# ---- presets ---------------------------------------------------------------------------------------------------


def test_the_panels_of_figure_1():
    script = discover.load("antisymmetric_fig1")
    drawn = {name: matrix for name, (_, matrix) in script.choose(0, 400).items()}
    wanted = {**drawn, "b": np.eye(2), **script.MATRICES}
    panels = {name[len(FIG1) + 1]: preset for name, preset in PRESETS.items() if name.startswith(FIG1)}
    assert sorted(panels) == sorted(wanted) == list("abcdefgh")
    for name, preset in panels.items():
        model = preset.model()
        np.testing.assert_array_equal(np.array(model.W), wanted[name])
        assert preset.window == script.WINDOW[name]
        plain = planar.vanilla(model.W) if name in "abcd" else planar.feedback(model.W, script.EPSILON)
        expected = planar.paths(plain, script.STEPS)["trajectory"]
        np.testing.assert_allclose(compute(model).states, expected, rtol=1e-12, atol=1e-14)


def test_what_the_presets_say():
    found = {name: compute(preset.model(), preset.window) for name, preset in PRESETS.items()}
    h = found[FIG1 + "(h)"]
    assert h.growth.max() == pytest.approx(math.hypot(1 - 0.015, 0.2)) and f"{h.growth.max():.3f}" == "1.005"
    raised = compute(h.model.changed("gamma", 0.06).changed("steps", 500))
    assert raised.growth.max() < 1 and np.abs(raised.states[-1]).max() < 0.5 * np.abs(raised.states[0]).max()
    met = found["AntisymmetricRNN Prop. 2"]
    assert met.growth.max() < 1 < compute(met.model.changed("gamma", 0.202)).growth.max()
    assert compute(met.model.changed("gamma", 0.203)).growth.max() < 1
    oscillator = found["UnICORNN oscillator"]
    np.testing.assert_allclose(np.abs(oscillator.step_eigenvalues), 1, atol=1e-12)
    assert (oscillator.model.options["dt"], oscillator.model.options["alpha"]) == (0.126, 13.0)
    long = found["UnICORNN, step too long"]
    assert np.abs(long.step_eigenvalues).max() > 1.2 > 1.01 > np.abs(long.step_eigenvalues[..., 0]).min()
    np.testing.assert_allclose(long.step_eigenvalues.prod(-1), 1)
    far = compute(replace(long.model, steps=500)).states
    assert np.abs(far).max() < PRESETS["UnICORNN, step too long"].window
    irnn = found["iRNN Fig. 2"]
    np.testing.assert_allclose(np.abs(irnn.step_eigenvalues), 0.9, atol=0.02)
    end = irnn.states[-1, 0]
    np.testing.assert_allclose(np.tanh(np.array(irnn.model.W) @ (2 * end) + irnn.model.bias), 2 * end, atol=1e-6)
    nearer = compute(irnn.model.changed("eta", 0.002)).step_eigenvalues
    assert np.abs(nearer).min() > 0.97


def test_the_irnn_preset_makes_the_first_step_of_the_figure():
    shown = discover.load("irnn_fig2").trajectories(0, 6)["trajectory"].sel(shown="iRNN")
    np.testing.assert_allclose(compute(PRESETS["iRNN Fig. 2"].model()).states[:2, 0], shown[:2], rtol=1e-7)
    # No closer: the figure's eta is 0.01 in float32.


# ---- taking home -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_code_makes_the_same_numbers(name):
    model = replace(EXAMPLES[name], steps=12, starts=((0.1, 1 / 3), (-0.7, 0.2)))
    names: dict[str, object] = {}
    exec(model.code(), names)
    found = dataset(model)
    for variable in ("trajectory", "step_eigenvalue"):
        xr.testing.assert_identical(names["data"][variable], found[variable])
    shown = compute(model)
    np.testing.assert_array_equal(found["trajectory"], shown.states)
    np.testing.assert_allclose(found["step_eigenvalue"], shown.step_eigenvalues, rtol=1e-12, atol=1e-14)
    assert all("units" in variable.attrs for variable in found.variables.values())
    assert PlanarModel.from_json(found.attrs["model"]) == model


@given(numbers=st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6), kind=st.sampled_from(sorted(KINDS)))
def test_json_keeps_everything(numbers, kind):
    a, b, c, d, e, f = numbers
    model = PlanarModel(kind, ((a, b), (c, d)), (e, f), starts=((a, f),), steps=7)
    assert PlanarModel.from_json(model.to_json()) == model


@pytest.mark.parametrize("text", ["", "[]", '{"kinds": "elman"}', '{"kind": "gru"}', '{"W": [[1, 2]]}', '{"W": 3}'])
def test_json_of_something_else_is_refused(text):
    with pytest.raises(ValueError, match="phase explorer: expected"):
        PlanarModel.from_json(text)


# ---- changing and bad input ------------------------------------------------------------------------------------


def test_one_number_is_changed():
    model = EXAMPLES["irnn"]
    assert model.changed("W12", 9.0).W == ((0.7, 9.0), (1.1, -0.4))
    assert model.changed("W21", 9.0).W == ((0.7, -1.3), (9.0, -0.4))
    assert model.changed("b2", 9.0).bias == (0.2, 9.0)
    assert model.changed("K", 9).options["K"] == 9 and model.options["K"] == 3
    assert model.changed("steps", 9).steps == 9
    for name in ("W12", "b1", "K", "steps"):
        assert model.changed(name, model.number(name)) == model
    assert EXAMPLES["feedback"].changed("kind", "antisymmetric").options == {"epsilon": 0.3, "gamma": 0.2}
    assert EXAMPLES["fastrnn"].changed("kind", "unicornn").options == {"dt": 0.126, "alpha": 13.0}


def test_starts_are_added_apart():
    model = replace(PlanarModel(), starts=((0.0, 0.0),)).with_starts(MOST_STARTS)
    assert len(set(model.starts)) == MOST_STARTS and model.with_starts(1).starts == ((0.0, 0.0),)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epsilon", 0.0), ("epsilon", math.nan), ("gamma", -1.0), ("W11", math.inf), ("b1", "1"), ("steps", 0),
     ("steps", 501), ("kind", "gru"), ("eta", 0.1), ("starts", ()), ("starts", ((0.0, 0.0),) * (MOST_STARTS + 1)),
     ("starts", (1.0, 2.0)), ("W", ((1.0, 2.0),)), ("options", {"K": 3})],
)  # fmt: skip
def test_impossible_numbers_are_refused(name, value):
    with pytest.raises((ValueError, TypeError), match="expected"):
        PlanarModel().changed(name, value)


@pytest.mark.parametrize(("name", "value"), [("K", 0), ("K", 2.5), ("eta", 0.0), ("alpha", -1.0), ("start", "now")])
def test_impossible_numbers_of_an_irnn_are_refused(name, value):
    with pytest.raises((ValueError, TypeError), match="expected"):
        EXAMPLES["irnn"].changed(name, value)


def test_a_state_that_leaves_the_float_range_ends_the_trajectories():
    model = PlanarModel("irnn", W, options={"K": 3, "eta": 2.0, "alpha": 2.0}, steps=500)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = loop(model)
    first = int(np.argmin(np.isfinite(expected).all((1, 2))))
    assert 100 < first < 400
    found = compute(model)
    assert found.overflow == first and len(found.states) == first
    np.testing.assert_allclose(found.states, expected[:first], rtol=1e-8)
    data = dataset(model)
    assert data.attrs["overflow_step"] == first and data.sizes["time"] == first


def test_a_first_step_out_of_the_float_range_is_an_error():
    model = PlanarModel("irnn", W, options={"alpha": 1e308}, starts=((4.0, 4.0),))
    with pytest.raises(ValueError, match="left the range"):
        compute(model)


def test_huge_weights_saturate():
    found = compute(PlanarModel("feedback", ((1e300, -1e300), (1e300, 1e300)), steps=5))
    assert np.isfinite(found.states).all() and np.isfinite(found.flow).all()
