"""Every preset can be measured as it stands, and says where its numbers are from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynlab.training.presets import all_presets
from dynlab.widgets.laboratory import Laboratory
from dynlab.widgets.presets import FIGURES, starts


@pytest.mark.parametrize("start", starts().values(), ids=lambda start: start.name)
def test_it_can_be_measured(start):
    short = replace(start.comparison, steps=4, batch_size=2, hidden_size=min(32, start.comparison.hidden_size))
    for one in Laboratory().compute(short, lambda share: None):
        assert one.problem == "" and one.dataset is not None


def test_there_is_one_for_every_preset_of_training():
    found = starts()
    assert len(found) == len(FIGURES) + len(all_presets())
    one = found["dynlab train --preset unicornn-mnist_permuted-128"].comparison
    assert one.cells == ("unicornn:dt=0.482,alpha=12.53",) and (one.steps, one.hidden_size, one.features) == (
        784,
        128,
        1,
    )
    assert found["dynlab train --preset irnn-har2-K5"].comparison.features == 9


def test_theorem_1s_preset_goes_from_plus_one_through_zero_to_minus_one():
    (start,) = (one for one in FIGURES if "Theorem 1" in one.name)
    wanted = replace(start.comparison, steps=3, hidden_size=8, batch_size=1, scale=0.0, probes=("EndToEndSpectrum",))
    found = Laboratory().compute(wanted, lambda share: None)
    for one, eta in zip(found, (0.01, 0.1, 0.5, 1.0), strict=True):
        expected = 3 * np.log(abs(2 * (1 - eta) - 1)) if eta != 0.5 else -np.inf
        modulus = one.dataset.log_end_to_end_modulus.values
        if np.isfinite(expected):
            np.testing.assert_allclose(modulus, expected, atol=0.05)  # U is small and not zero
        else:
            assert modulus.max() < np.log(1e-3)
