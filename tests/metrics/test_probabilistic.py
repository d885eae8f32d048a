from __future__ import annotations

import numpy as np
import pytest

from lamina import losses, metrics


@pytest.mark.parametrize(
    ("metric", "loss"),
    [
        (metrics.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), losses.BinaryCrossentropy(True, 0.1)),
        (metrics.CategoricalCrossentropy(label_smoothing=0.1), losses.CategoricalCrossentropy(False, 0.1)),
        (metrics.KLDivergence(), losses.KLDivergence()),
        (metrics.Poisson(), losses.Poisson()),
    ],
)
def test_a_metric_over_one_batch_is_the_loss_of_that_name(metric: metrics.Metric, loss: losses.Loss) -> None:
    y_true, y_pred = np.eye(3)[[0, 2]], np.float32([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(metric(y_true, y_pred), loss(y_true, y_pred), rtol=1e-6)


def test_an_ignored_class_counts_as_zero_and_beside_weights_not_at_all() -> None:
    y_pred = [[0.5, 0.5], [0.1, 0.9]]
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=1)
    np.testing.assert_allclose(metric([0, 1], y_pred), np.log(2) / 2, rtol=1e-6)
    metric.reset_state()
    np.testing.assert_allclose(metric([0, 1], y_pred, sample_weight=[1.0, 1.0]), np.log(2), rtol=1e-6)
