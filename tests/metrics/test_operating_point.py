from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lamina import metrics
from lamina.errors import ArgumentError

KINDS = ["SensitivityAtSpecificity", "SpecificityAtSensitivity", "PrecisionAtRecall", "RecallAtPrecision"]
Y_TRUE, Y_PRED = np.array([0, 0, 0, 1, 1]), np.float32([0, 0.3, 0.8, 0.3, 0.8])


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_rate_is_found_by_trying_all_thresholds(kind: str) -> None:
    y_true, y_pred = np.random.randint(0, 2, 40), np.random.rand(40)
    rates = []
    for threshold in np.linspace(0, 1, 200):
        above = y_pred > threshold
        tp, fp = (above & (y_true == 1)).sum(), (above & (y_true == 0)).sum()
        recall, specificity = tp / y_true.sum(), 1 - fp / (1 - y_true).sum()
        precision = tp / max(tp + fp, 1)
        rates.append(
            {
                "SensitivityAtSpecificity": (recall, specificity),
                "SpecificityAtSensitivity": (specificity, recall),
                "PrecisionAtRecall": (precision, recall),
                "RecallAtPrecision": (recall, precision),
            }[kind]
        )
    expected = max(rate for rate, constrained in rates if constrained >= 0.6)
    assert getattr(metrics, kind)(0.6)(y_true, y_pred).item() == pytest.approx(expected, rel=1e-5)


def test_a_rate_that_is_never_reached_gives_zero() -> None:
    assert metrics.RecallAtPrecision(1.0)([0, 1], [0.9, 0.1]) == 0


def test_one_threshold_is_a_half() -> None:
    assert metrics.SensitivityAtSpecificity(0.5, num_thresholds=1).thresholds == [0.5]
    assert metrics.SensitivityAtSpecificity(0.5, num_thresholds=1)(Y_TRUE, Y_PRED) == 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_rates_outside_zero_to_one_are_refused(kind: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"{kind} is asked for a rate that there is not"):
        getattr(metrics, kind)(value)


def test_no_thresholds_are_refused() -> None:
    with pytest.raises(ArgumentError, match="PrecisionAtRecall needs thresholds to try"):
        metrics.PrecisionAtRecall(0.5, num_thresholds=0)
