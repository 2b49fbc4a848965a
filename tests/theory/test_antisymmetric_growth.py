"""Growth of perturbations against own integrators; and inputs under which bounded eigenvalues do not bound it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynlab.theory.antisymmetric_growth import euler_growth, ode_growth


def runge_kutta(cell, inputs, steps=50):
    """log |Phi| at times 0..T by the classical Runge-Kutta method, ``steps`` to an input; the first sample."""
    matrix, size, h = cell.recurrent_matrix().detach().numpy(), cell.hidden_size, cell.epsilon / steps
    weight, bias = cell.weight_ih.detach().numpy(), cell.bias.detach().numpy()

    def field(state, flow, x):
        change = np.tanh(matrix @ state + weight @ x + bias)
        return change, (1 - change**2)[:, None] * (matrix @ flow)

    state, flow, logs = np.zeros(size), np.eye(size), [0.0]
    for x in inputs[:, 0].numpy():
        for _ in range(steps):
            k = [field(state, flow, x)]
            for part in (h / 2, h / 2, h):
                k.append(field(state + part * k[-1][0], flow + part * k[-1][1], x))
            state, flow = (
                now + h / 6 * (k[0][i] + 2 * k[1][i] + 2 * k[2][i] + k[3][i]) for i, now in enumerate((state, flow))
            )
        logs.append(math.log(np.linalg.norm(flow, 2)))
    return np.array(logs)


def switching(cell, saturation, turns):
    """Inputs that saturate one unit for a quarter of the ellipse's turn, then the other; of alternating sign.

    With one unit's D = delta and the other's 1, J turns the plane along an ellipse of axes 1 and sqrt(delta), at
    omega sqrt(delta); whenever it changes, the ellipse stands across: the norm grows by 1 / sqrt(delta) each quarter.
    What the state adds to the preactivations is taken away, so that they are the wanted ones.
    """
    delta, matrix = 1 / math.cosh(saturation) ** 2, cell.recurrent_matrix().detach()
    quarter = 2 * round(math.pi / 4 / (float(matrix[0, 1]) * math.sqrt(delta)) / cell.epsilon)
    state, inputs = torch.zeros(2, dtype=torch.float64), []
    for step in range(2 * turns * quarter):
        wanted = torch.zeros(2, dtype=torch.float64)
        wanted[step // quarter % 2] = saturation * (-1) ** step
        inputs.append(wanted - matrix @ state)
        state = state + cell.epsilon * torch.tanh(wanted)
    return torch.stack(inputs).unsqueeze(1)


def test_the_tangent_flow_is_that_of_another_integrator(seeded, noise):
    cell, inputs = seeded("antisymmetric:epsilon=1.0,gamma=0.0", 1, 5), noise(40, 1)
    found = ode_growth(cell, inputs, scales=(0.1,))
    for scale in (1.0, 0.1):
        expected = runge_kutta(cell, scale * inputs)
        np.testing.assert_allclose(found["log_growth"].sel(input_scale=scale), expected, atol=2e-5)
        rate = (expected[-1] - expected[20]) / 20
        assert float(found["measured"].sel(input_scale=scale)) == pytest.approx(rate, abs=2e-6)


def test_at_rest_the_flow_turns_and_keeps_every_length(rotation):
    found = ode_growth(rotation(1.0, epsilon=0.5), torch.zeros(40, 1, 2, dtype=torch.float64))
    assert found.attrs["verdict"] == "holds"
    np.testing.assert_allclose(found["log_growth"], 0, atol=1e-5)
    np.testing.assert_allclose(found["frozen_growth"], 0, atol=1e-12)


def test_prop_1_does_not_bound_the_flow_under_inputs_that_switch(rotation):
    """One factor changed: J held in the middle of the same trace leaves the flow bounded."""
    cell, turns = rotation(1.0, epsilon=0.05), 6
    inputs = switching(cell, 1.2, turns)
    found = ode_growth(cell, inputs, scales=())
    assert found["hypothesis_holds"].all() and found.attrs["verdict"] == "fails"
    logs = runge_kutta(cell, inputs, steps=4)
    assert float(found["log_growth"][-1, 0]) == pytest.approx(logs[-1], abs=1e-3)
    # 1 / sqrt(delta) = cosh(1.2) a quarter, but for what the state moves within a step; a bounded flow shows it once.
    assert logs[-1] == pytest.approx(2 * turns * math.log(math.cosh(1.2)), rel=0.1)
    assert float(found["frozen_growth"].max()) < float(found["bound"].max())


def test_prop_1_is_not_applicable_where_its_criterion_fails(seeded, noise):
    found = ode_growth(seeded("antisymmetric_ablation", 1, 4), noise(10, 1))
    assert found.attrs["verdict"] == "not applicable"


def product_rate(cell, inputs):
    """Largest Lyapunov exponent of the second half, from products of autodiff Jacobians, nats a step."""
    states = cell.scan(inputs)
    half, log = len(inputs) // 2, 0.0
    flow = np.eye(cell.hidden_size)
    marks = []
    for t, (x, state) in enumerate(zip(inputs, states[:-1], strict=True)):
        if t == half:
            marks.append(log)
        flow = torch.func.jacrev(lambda h, x=x: cell(x, h[None])[0])(state[0]).detach().numpy() @ flow
        norm = np.linalg.norm(flow[:, 0])
        log, flow = log + math.log(norm), flow / norm
    return (log - marks[0]) / (len(inputs) - half)


def test_prop_2_keeps_the_product_bounded_under_noise(seeded, noise):
    cell, inputs = seeded("antisymmetric:epsilon=0.1,gamma=0.3", 1, 5), noise(400, 1)
    found = euler_growth(cell, inputs)
    assert found.attrs["verdict"] == "holds"
    assert found["measured"].item() == pytest.approx(product_rate(cell, inputs), abs=0.01)


def test_prop_2_does_not_bound_it_under_inputs_that_switch(rotation):
    """gamma is what Prop. 2 asks for at D = I, more than at the D that occur; the growth is larger than its damping."""
    omega, epsilon = 1.0, 0.1
    cell = rotation(omega, epsilon, gamma=1.01 * (1 - math.sqrt(1 - (epsilon * omega) ** 2)) / epsilon)
    inputs = switching(cell, 1.5, turns=8)
    found = euler_growth(cell, inputs)
    assert found["hypothesis_holds"].all() and found.attrs["verdict"] == "fails"
    assert found["measured"].item() == pytest.approx(product_rate(cell, inputs), rel=0.05)
    assert found["measured"].item() > 5 * found["bound"].item() > 0


def test_prop_2_is_not_applicable_without_diffusion(seeded, noise):
    found = euler_growth(seeded("antisymmetric:gamma=0.0", 1, 4), noise(20, 1))
    assert found.attrs["verdict"] == "not applicable"
