from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from lamina import metrics
from lamina.errors import ArgumentError, ShapeError


def test_root_mean_squared_error_is_the_root_over_all_batches() -> None:
    metric = metrics.RootMeanSquaredError()
    metric.update_state([0.0, 0.0], [[3.0], [0.0]])
    metric.update_state([0.0], [4.0])
    assert metric.result().item() == pytest.approx(np.sqrt(25 / 3))


def test_cosine_similarity_is_one_for_parallel_vectors() -> None:
    assert metrics.CosineSimilarity()([[1.0, 2.0]], [[2.0, 4.0]]).item() == pytest.approx(1.0)


def test_labels_and_predictions_that_do_not_pair_are_refused() -> None:
    for name in ("RootMeanSquaredError", "MeanSquaredError"):
        with pytest.raises(ShapeError, match="compares each label with one prediction"):
            getattr(metrics, name)()(torch.zeros(3), torch.zeros(3, 2))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("uniform_average", "uniform_average"), ("variance_weighted_average", "variance_weighted")]
)
def test_r2_is_that_of_scikit_learn(outputs: int, ours: str, theirs: str) -> None:
    y_true = np.random.randn(40, outputs) * [1, 5, 0.1][:outputs] + 1e4
    y_pred = y_true + 0.3 * np.random.randn(40, outputs)
    weight = np.random.rand(40)
    metric = metrics.R2Score(ours)
    for part in (slice(0, 15), slice(15, 40)):
        metric.update_state(y_true[part], y_pred[part], sample_weight=weight[part])
    expected = r2_score(y_true, y_pred, sample_weight=weight, multioutput=theirs)
    assert metric.result().item() == pytest.approx(expected, rel=1e-5)


def test_r2_adjusts_for_the_number_of_inputs_where_it_can() -> None:
    y_true, y_pred = torch.randn(10, 1), torch.randn(10, 1)
    plain = metrics.R2Score()(y_true, y_pred).item()
    assert metrics.R2Score(num_regressors=3)(y_true, y_pred).item() == pytest.approx(1 - (1 - plain) * 9 / 6, rel=1e-5)
    for too_many in (9, 12):
        assert metrics.R2Score(num_regressors=too_many)(y_true, y_pred).item() == pytest.approx(plain)


def test_r2_of_labels_without_spread_is_zero() -> None:
    assert metrics.R2Score()([[3.0], [3.0]], [[1.0], [2.0]]) == 0


def test_r2_before_any_batch_is_zero() -> None:
    assert metrics.R2Score().result() == 0


def test_r2_refuses_arguments_and_shapes_that_mean_nothing() -> None:
    with pytest.raises(ArgumentError, match="no such aggregation of outputs"):
        metrics.R2Score("median")
    with pytest.raises(ArgumentError, match="cannot have fewer than no inputs"):
        metrics.R2Score(num_regressors=-1)
    with pytest.raises(ShapeError, match="R2Score takes labels and predictions with one column an output"):
        metrics.R2Score()(torch.zeros(4), torch.zeros(4))
