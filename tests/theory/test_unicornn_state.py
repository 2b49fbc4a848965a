"""Prop. C.1 and the bound in its place, against the recurrence written out and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.unicornn_resonance import resonant_cell, resonant_inputs
from dynlab.theory.unicornn_state import beta, largest_states, linear_growth, proposition_c1, small_step

from .unicornn_oracle import Damped, by_hand, noise, stack


def holding(found) -> dict[str, bool]:
    return dict(zip(found["hypothesis"].values.tolist(), found["hypothesis_holds"].values.tolist(), strict=True))


def test_states_are_those_of_equation_6():
    network, inputs = stack(3), noise(20)
    with torch.no_grad():
        y, z = by_hand(network, inputs)
    expected = [[[one[n][layer].abs().max().item() for n in range(1, 21)] for layer in range(3)] for one in (y, z)]
    np.testing.assert_allclose(largest_states(network, inputs), expected, rtol=1e-12)


def test_beta_is_the_larger_of_the_two():
    assert [beta(alpha) for alpha in (0.0, 0.5, 0.75, 3.0)] == [1, 2, 2.5, 36]


def test_c1_where_all_hypotheses_hold():
    # alpha = 0.5: beta = max(2, 1) = 2; beta T = 0.64.
    found = proposition_c1(stack(2, dt=0.02, alpha=0.5), noise(16))
    assert all(holding(found).values())
    assert found.verdict == "holds"
    t = 0.02 * np.arange(1, 17)
    np.testing.assert_allclose(found["bound"].sel(quantity="y")[0], np.sqrt(2 / 0.5 * (1 + 4 * t)))
    np.testing.assert_allclose(found["bound"].sel(quantity="z")[1], np.sqrt(2 * (1 + 4 * t)))


def test_the_note_of_c1_says_what_is_missed_and_how_near_the_bound_is():
    # beta = max(1 + 26, 4 * 169) = 676, beta dt = 85.176.
    found = proposition_c1(network := stack(1, dt=0.126, alpha=13.0), noise(50))
    sides = f"({50 * math.log1p(85.176):.4g} vs {math.log1p(100 * 85.176):.4g})"
    assert found.note.startswith(f"missed: N log(1 + beta dt) <= log(1 + 2 beta N dt) {sides}; beta T = 4259;")
    z = largest_states(network, noise(50))[1, 0] / np.sqrt(2 * (1 + 2 * 676 * 0.126 * np.arange(1, 51)))
    assert f"{z.max():.2g} (|z|, n = {z.argmax() + 1})" in found.note
    found = proposition_c1(stack(2, dt=1.5, alpha=0.0), noise(5))
    assert found.note.startswith("missed: alpha > 0 (0 vs 0) and 2 more;")
    assert "missed" not in proposition_c1(stack(2, dt=0.02, alpha=0.5), noise(16)).note


def test_c1_is_undefined_at_alpha_0():
    found = proposition_c1(setting="imdb")
    assert found.verdict == "not applicable"
    assert not holding(found)["alpha > 0"]
    assert np.isinf(found["bound"].sel(quantity="y")).all()
    # |z| <= sqrt(2 (1 + 2 t)): beta = 1.
    np.testing.assert_allclose(found["bound"].sel(quantity="z")[1], np.sqrt(2 * (1 + 2 * 0.205 * np.arange(1, 251))))


def test_c1_fails_for_another_recurrence():
    class Strong(UnICORNN):
        def advance(self, term, state):
            y, z = state.chunk(2, -1)
            z = z - self.effective_time_step() * (1e3 * torch.tanh(term) + self.alpha * y)
            return torch.cat([y + self.effective_time_step() * z, z], -1)

    torch.manual_seed(0)
    found = proposition_c1(Strong(1, 4, dt=0.02, alpha=0.5), torch.ones(16, 1, 1))
    assert all(holding(found).values())
    assert found.verdict == "fails"


@pytest.mark.parametrize(("dt", "steps"), [(0.02, 20), (0.02, 40), (0.3, 3), (0.3, 8), (1e-3, 620), (1e-3, 640)])
def test_small_step_is_bernoulli_reversed(dt, steps):
    expected = (1 + 2.0 * dt) ** steps <= 1 + 2 * 2.0 * steps * dt
    assert small_step("beta", dt, steps, 2.0).holds == expected


def test_no_dt_is_small_once_beta_t_is_above_1_256():
    limit = brentq(lambda x: math.exp(x) - 1 - 2 * x, 1, 2)
    assert limit == pytest.approx(1.256, abs=5e-4)
    fine = 1e-6
    assert small_step("beta", fine, round(0.999 * limit / fine), 1.0).holds
    assert not small_step("beta", fine, round(1.001 * limit / fine), 1.0).holds


def test_rest_at_the_start_is_a_hypothesis():
    class Moving(Network):
        def initial_state(self, batch_size, **kinds):
            return super().initial_state(batch_size, **kinds) + 50

    network = Moving([UnICORNN(2, 3, dt=0.02, alpha=0.5)])
    for evaluate in (proposition_c1, linear_growth):
        found = evaluate(network, noise(5))
        assert found.verdict == "not applicable"
        assert not holding(found)["y_0 = z_0 = 0"]
        assert not bool(found["satisfied"].all())


def test_linear_bound_is_reached_at_alpha_0():
    """With tanh saturated z_n = -n h, y_n = -h^2 n (n + 1) / 2: the bound itself."""
    cell = resonant_cell(0.01, 0.0)
    found = linear_growth(cell, resonant_inputs(cell, 200))
    n = np.arange(1, 201)
    np.testing.assert_allclose(found["measured"].sel(quantity="z")[0], n * 0.01, rtol=1e-10)
    np.testing.assert_allclose(found["bound"].sel(quantity="y")[0], 0.01**2 * n * (n + 1) / 2, rtol=1e-10)
    # Rounding alone decides which is larger.
    np.testing.assert_allclose(found["tightness"], 1, rtol=1e-10)


def test_linear_bound_is_reached_up_to_2_over_pi_in_resonance():
    cell = resonant_cell(0.05, 4.0)
    found = linear_growth(cell, resonant_inputs(cell, 20_000))
    assert found.verdict == "holds"
    late = found["tightness"].isel(layer=0, time=slice(-200, None)).max("time")
    np.testing.assert_allclose(late, 2 / math.pi, rtol=0.01)


def test_linear_bound_for_all_rows_of_table_6():
    for setting in ("imdb", "eigenworms", "psmnist-128", "healthcare-hr"):
        assert linear_growth(setting=setting).verdict == "holds"


def test_linear_bound_fails_for_another_recurrence():
    class Driven(Damped):
        factor = 1.1

    cell = Driven(1, 1, dt=0.1, alpha=1.0).double()
    with torch.no_grad():
        cell.c.fill_(40.0)
    assert linear_growth(cell, torch.full((300, 1, 1), 5.0)).verdict == "fails"


def test_linear_bound_needs_a_stable_step():
    cell = UnICORNN(1, 2, dt=2.0, alpha=5.0)
    with torch.no_grad():
        cell.c.fill_(40.0)
    found = linear_growth(cell, torch.ones(20, 1, 1))
    assert found.verdict == "not applicable"
    assert found["hypothesis_value"].values.tolist()[1] == pytest.approx(20.0)
