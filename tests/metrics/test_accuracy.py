from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina import metrics
from lamina.errors import ShapeError, TargetError

SCORES = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]


def test_the_largest_prediction_is_the_one_that_counts() -> None:
    for labels in ([1, 0, 0], [[1], [0], [0]], np.float64([1, 0, 0]), np.uint8([1, 0, 0])):
        assert metrics.SparseCategoricalAccuracy()(labels, SCORES).item() == pytest.approx(2 / 3)
    assert metrics.CategoricalAccuracy()(torch.eye(3)[[1, 0, 0]], SCORES).item() == pytest.approx(2 / 3)


def test_functions_give_one_float_a_sample() -> None:
    assert metrics.sparse_categorical_accuracy([1, 0, 0], SCORES).tolist() == [1.0, 1.0, 0.0]
    assert metrics.categorical_accuracy(torch.eye(3), SCORES).tolist() == [0.0, 0.0, 1.0]
    assert metrics.binary_accuracy([[1, 0]], [[0.7, 0.7]]).tolist() == [[1.0, 0.0]]
    assert metrics.top_k_categorical_accuracy(torch.eye(3), SCORES, k=2).tolist() == [0.0, 1.0, 1.0]


def test_a_prediction_on_the_threshold_is_a_zero() -> None:
    assert metrics.BinaryAccuracy()([0.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5]) == 0.75
    assert metrics.BinaryAccuracy(threshold=0.0)([1.0, 0.0], [0.3, -0.1]) == 1.0


def test_ties_count_among_the_top_k_and_nan_does_not() -> None:
    assert metrics.sparse_top_k_categorical_accuracy([0, 1, 2], torch.ones(3, 3), k=1).tolist() == [1.0, 1.0, 1.0]
    nan = torch.full((1, 3), float("nan"))
    assert metrics.sparse_top_k_categorical_accuracy([0], nan, k=2).tolist() == [0.0]


def test_more_than_all_classes_are_always_right() -> None:
    assert metrics.SparseTopKCategoricalAccuracy(k=5)([0, 1, 2], SCORES) == 1.0


def test_sorted_ids_are_class_numbers_best_first() -> None:
    metric = metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)
    assert metric([3, 1], [[5, 3, 1], [0, 2, 1]]) == 0.5


WRONG: list[tuple[str, Any, Any, type[Exception], str]] = [
    ("SparseCategoricalAccuracy", (8, 3), (8, 3), TargetError, "takes class numbers(.|\n)*use CategoricalAccuracy"),
    ("CategoricalAccuracy", (8,), (8, 3), TargetError, "takes one-hot labels(.|\n)*use SparseCategoricalAccuracy"),
    ("TopKCategoricalAccuracy", (8,), (8, 3), TargetError, "use SparseTopKCategoricalAccuracy"),
    ("SparseTopKCategoricalAccuracy", (8, 3), (8, 3), TargetError, "use TopKCategoricalAccuracy"),
    ("BinaryAccuracy", (8,), (8, 3), TargetError, "compares each of 3 outputs(.|\n)*use SparseCategoricalAccuracy"),
    ("Accuracy", (8,), (8, 3), ShapeError, "Accuracy compares each prediction with a label of its own"),
    ("SparseCategoricalAccuracy", (7,), (8, 3), ShapeError, "There are 7 labels for 8 predictions"),
]


@pytest.mark.parametrize(("name", "true", "pred", "error", "words"), WRONG)
def test_labels_of_another_form_are_refused(name: str, true: Any, pred: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        getattr(metrics, name)()(torch.zeros(true), torch.rand(pred))


def test_predictions_changed_in_place_are_looked_at_again() -> None:
    one_hot, predictions = torch.eye(3), torch.eye(3)
    metric = metrics.CategoricalAccuracy()
    metric.update_state(one_hot, predictions)
    assert metric.result() == 1.0
    metric.reset_state()
    metric.update_state(one_hot, predictions.neg_())
    assert metric.result() == 0.0
