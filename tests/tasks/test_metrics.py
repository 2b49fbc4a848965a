import math

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

from dynlab.tasks.metrics import METRICS


def test_against_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (50,), generator=generator)
    values = torch.randn(50, 4, generator=generator, dtype=torch.float64)

    def score(name, targets):
        numerator, denominator = METRICS[name].parts(outputs, targets)
        return METRICS[name].of(torch.stack([numerator.double(), denominator]))

    assert score("accuracy", labels) == accuracy_score(labels, outputs.argmax(-1))
    assert score("cross-entropy", labels) == pytest.approx(log_loss(labels, outputs.softmax(-1)), rel=1e-12)
    mse = mean_squared_error(values, outputs)
    assert score("MSE", values) == pytest.approx(mse, rel=1e-12)
    assert score("NRMSE", values) == pytest.approx(math.sqrt(mse / values.square().mean()), rel=1e-12)


def test_which_way_is_better():
    assert {name: metric.better for name, metric in METRICS.items()} == {
        "accuracy": "higher",
        "cross-entropy": "lower",
        "MSE": "lower",
        "NRMSE": "lower",
    }


def test_nothing_to_divide_by():
    with pytest.raises(ValueError, match="expected a denominator > 0, got 0.0"):
        METRICS["NRMSE"].of(torch.zeros(2))
