"""AntisymmetricRNN's eigenvalue criteria against autodiff, NumPy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynlab.theory.antisymmetric import eigenvalues, euler_criterion, gated_real_parts, ode_criterion


def jacobians(cell, inputs):
    """(step Jacobian - I) / eps along the rollout of the first sample, by autodiff of the step, NumPy."""
    states = cell.scan(inputs)
    step = [
        torch.func.jacrev(lambda h, x=x: cell(x[:1], h[None])[0])(state[0])
        for x, state in zip(inputs, states[:-1], strict=True)
    ]
    return ((torch.stack(step) - torch.eye(cell.hidden_size)) / cell.epsilon).detach().numpy()


@pytest.mark.parametrize("spec", ["antisymmetric:gamma=0.1", "gated_antisymmetric:gamma=0.1", "antisymmetric_ablation"])
def test_prop_1_measures_the_eigenvalues_of_the_autodiff_jacobian(spec, seeded, noise):
    cell, inputs = seeded(f"{spec}{',' if ':' in spec else ':'}sigma_w=2.0", 3, 9), noise(12, 3, scale=1.5)
    found = ode_criterion(cell, inputs)
    values = np.linalg.eigvals(jacobians(cell, inputs))
    np.testing.assert_allclose(found["measured"].values[:, 0], values.real.max(-1), atol=1e-9)
    np.testing.assert_allclose(found["real_part_size"].values[:, 0], abs(values.real).max(-1), atol=1e-9)


def test_prop_1_holds_at_gamma_0_and_its_damping_bound_with_diffusion(seeded, noise):
    for gamma in (0.0, 0.3):
        found = ode_criterion(seeded(f"antisymmetric:gamma={gamma},sigma_w=4.0", 3, 12), noise(20, 3, scale=2.0))
        assert found.attrs["verdict"] == "holds"
        assert (found["measured"] <= found["damping_bound"] + found.attrs["tolerance"]).all()
    assert float(found["measured"].max()) < -1e-5


def test_prop_1_fails_for_the_unstructured_ablation(seeded, noise):
    assert ode_criterion(seeded("antisymmetric_ablation", 3, 12), noise(5, 3)).attrs["verdict"] == "fails"


def test_eigenvalues_of_saturated_units_are_those_of_the_others():
    matrix = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slopes = torch.tensor([1.0, -0.5, 0.0, 1e-200, 0.3, 2.0], dtype=torch.float64)
    kept = [0, 1, 4, 5]
    expected = np.linalg.eigvals((slopes[:, None] * matrix)[kept][:, kept].numpy())
    found = eigenvalues(slopes, matrix).numpy()
    largest = found[abs(found).argsort()[2:]]
    np.testing.assert_allclose(np.sort_complex(largest), np.sort_complex(expected), atol=1e-12)
    np.testing.assert_allclose(abs(found)[abs(found).argsort()[:2]], 0, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.4])
def test_prop_2_of_a_rotation_has_a_closed_form(gamma, rotation):
    epsilon, omega = 0.1, 2.5
    found = euler_criterion(rotation(omega, epsilon, gamma), torch.zeros(4, 1, 2, dtype=torch.float64))
    expected = math.hypot(1 - epsilon * gamma, epsilon * omega)
    np.testing.assert_allclose(found["measured"].values, expected, rtol=1e-13)
    # gamma >= (1 - sqrt(1 - (eps omega)^2)) / eps = 0.3175 is what it takes.
    assert found.attrs["verdict"] == ("holds" if gamma > 0.3175 else "fails")


def test_prop_2_measures_the_step_jacobian(seeded, noise):
    cell, inputs = seeded("gated_antisymmetric:epsilon=0.5,gamma=0.2,sigma_w=2.0", 3, 8), noise(10, 3, scale=2.0)
    found = euler_criterion(cell, inputs)
    step = np.eye(8) + 0.5 * jacobians(cell, inputs)
    np.testing.assert_allclose(found["measured"].values[0, :, 0], abs(np.linalg.eigvals(step)).max(-1), rtol=1e-10)


def test_prop_2_rolls_the_cell_out_anew_at_each_gamma(seeded, noise):
    cell, inputs = seeded("antisymmetric:gamma=0.5,epsilon=0.3", 3, 8), noise(10, 3)
    both = euler_criterion(cell, inputs, gammas=(0.0, 0.5))["measured"]
    np.testing.assert_array_equal(both.sel(gamma=0.5), euler_criterion(cell, inputs)["measured"].sel(gamma=0.5))
    assert cell.gamma == 0.5
    with pytest.raises(ValueError, match="antisymmetric-2: expected at least one of gammas"):
        euler_criterion(cell, inputs, gammas=())


def test_the_gated_cell_leaves_the_axis_where_its_d_changes_sign(seeded, noise):
    cell = seeded("gated_antisymmetric:gamma=0.0", 3, 9)
    still = gated_real_parts(cell, noise(10, 3, scale=0.01))
    assert still.attrs["verdict"] == "holds" and still["one_signed"].all()
    driven = noise(10, 3, scale=3.0)
    found = gated_real_parts(cell, driven)
    assert found.attrs["verdict"] == "fails" and not found["one_signed"].all()
    values = np.linalg.eigvals(jacobians(cell, driven))
    ratio = abs(values.real).max(-1) / abs(values).max(-1)
    np.testing.assert_allclose(found["measured"].values[0, :, 0], ratio, atol=1e-9)


def test_a_d_of_two_signs_gives_real_eigenvalues(rotation):
    """D = diag(p, -q): D A has the eigenvalues +-sqrt(p q) omega."""
    cell = rotation(2.0, spec="gated_antisymmetric")
    # sigmoid tanh' + tanh sigmoid' at a = c: positive at 2, negative at -2.
    inputs = torch.tensor([[[2.0, -2.0]]], dtype=torch.float64)
    found = gated_real_parts(cell, inputs)
    assert found["measured"].item() == pytest.approx(1.0, abs=1e-12)
    assert not found["one_signed"].item()


def test_the_gated_claim_is_not_about_plain_cells(seeded):
    with pytest.raises(TypeError, match="antisymmetric-gated: expected a gated, structured AntisymmetricRNN"):
        gated_real_parts(seeded("antisymmetric", 2, 4))
