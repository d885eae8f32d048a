from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from lamina import metrics
from lamina.errors import ArgumentError, ShapeError


def test_the_mean_over_classes_is_that_of_scikit_learn() -> None:
    y_true, y_pred, weight = np.random.randint(0, 4, 80), np.random.randint(0, 4, 80), np.random.rand(80)
    metric = metrics.MeanIoU(4)
    for part in (slice(0, 30), slice(30, 80)):
        metric.update_state(y_true[part], y_pred[part], sample_weight=weight[part])
    expected = jaccard_score(y_true, y_pred, average="macro", sample_weight=weight)
    assert metric.result().item() == pytest.approx(expected, rel=1e-5)


def test_weights_may_be_fractions_and_belong_to_whole_maps() -> None:
    y_true, y_pred = torch.randint(0, 2, (3, 4, 4)), torch.randint(0, 2, (3, 4, 4))
    weighted = metrics.IoU(2, [1])(y_true, y_pred, sample_weight=[0.5, 0.0, 0.5])
    torch.testing.assert_close(weighted, metrics.IoU(2, [1])(y_true[[0, 2]], y_pred[[0, 2]]))


def test_ignored_and_unknown_classes_count_for_nothing() -> None:
    y_true, y_pred = torch.tensor([0, 1, 2, 1, 9, -1]), torch.tensor([0, 1, 1, 0, 1, 1])
    expected = metrics.MeanIoU(2)([0, 1, 1], [0, 1, 0])
    torch.testing.assert_close(metrics.MeanIoU(2)(y_true, y_pred), expected)
    with_ignored = metrics.MeanIoU(3, ignore_class=2)
    torch.testing.assert_close(with_ignored(y_true, y_pred), expected)


def test_classes_that_never_occur_are_left_out_of_the_mean() -> None:
    assert metrics.MeanIoU(5)([0, 1], [0, 1]).item() == pytest.approx(1.0)


def test_one_hot_labels_and_scores_are_reduced_along_the_class_axis() -> None:
    labels, scores = torch.randint(0, 3, (2, 5)), torch.rand(2, 5, 3)
    one_hot = torch.eye(3)[labels]
    expected = metrics.MeanIoU(3)(labels, scores.argmax(-1))
    torch.testing.assert_close(metrics.OneHotMeanIoU(3)(one_hot, scores), expected)
    first = metrics.OneHotMeanIoU(3, axis=1)(one_hot.movedim(-1, 1), scores.movedim(-1, 1))
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(
        metrics.OneHotIoU(3, [0, 1, 2], sparse_y_pred=True)(one_hot, scores.argmax(-1)), expected
    )


def test_a_prediction_that_reaches_the_threshold_is_class_one() -> None:
    assert metrics.BinaryIoU([1], threshold=0.5)([1, 0], [0.5, 0.4]).item() == pytest.approx(1.0)


def test_classes_that_there_are_not_are_refused() -> None:
    for ids in ([3], [-1], []):
        with pytest.raises(ArgumentError, match="IoU is asked for classes that there are not(.|\n)*from 0 to 2"):
            metrics.IoU(3, ids)


def test_labels_with_an_axis_too_many_are_refused() -> None:
    with pytest.raises(ShapeError, match="MeanIoU compares class numbers place by place(.|\n)*sparse_y_pred"):
        metrics.MeanIoU(3)(torch.zeros(4), torch.zeros(4, 3))
