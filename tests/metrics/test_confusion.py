from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_score, recall_score

from lamina import metrics
from lamina.errors import ArgumentError

Y_TRUE, Y_PRED = [0, 1, 1, 1, 0], [0.9, 0.2, 0.8, 0.7, 0.1]


def test_the_four_counts_add_up_to_the_batch() -> None:
    names = ["TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"]
    assert [getattr(metrics, n)()(Y_TRUE, Y_PRED).item() for n in names] == [2, 1, 1, 1]


def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    y_true, y_pred, weight = np.random.randint(0, 2, 50), np.random.rand(50), np.random.rand(50)
    for metric, score in ((metrics.Precision(0.4), precision_score), (metrics.Recall(0.4), recall_score)):
        expected = score(y_true, y_pred > 0.4, sample_weight=weight)
        assert metric(y_true, y_pred, sample_weight=weight).item() == pytest.approx(expected, rel=1e-5)


def test_several_thresholds_give_one_value_each_in_their_order() -> None:
    metric = metrics.Recall(thresholds=[0.75, 0.1])
    np.testing.assert_allclose(metric(Y_TRUE, Y_PRED), [1 / 3, 1.0], rtol=1e-6)
    assert metric.get_config()["thresholds"] == [0.75, 0.1] and metric.thresholds == [0.75, 0.1]


def test_nothing_predicted_gives_zero_and_not_nan() -> None:
    assert metrics.Precision()([1, 0], [0.0, 0.0]) == 0 and metrics.Recall()([0, 0], [1.0, 0.0]) == 0


def test_top_k_counts_the_largest_predictions_whatever_their_size() -> None:
    y_pred = [[0.01, 0.03, 0.02], [0.3, 0.2, 0.1]]
    assert metrics.Precision(top_k=2)([[0, 1, 0], [0, 1, 1]], y_pred) == 0.5
    assert metrics.Recall(top_k=1)([[0, 1, 0], [0, 1, 1]], y_pred).item() == pytest.approx(1 / 3)
    assert metrics.Precision(top_k=2).get_config()["thresholds"] is None


def test_one_column_can_be_counted_alone() -> None:
    y_true, y_pred = torch.randint(0, 2, (30, 3)), torch.rand(30, 3)
    alone = metrics.Precision()(y_true[:, 2], y_pred[:, 2])
    torch.testing.assert_close(metrics.Precision(class_id=2)(y_true, y_pred), alone)


def test_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(ArgumentError, match="A threshold is out of range"):
        metrics.Precision(thresholds=[0.5, 1.5])
