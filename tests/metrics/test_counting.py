from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError, ShapeError, TargetError
from lamina.metrics.counting import ThresholdMetric, check_thresholds, prepare, spaced_evenly


def counted(
    thresholds: list[float], y_true: Any, y_pred: Any, weights: Any = None, labels: int | None = None
) -> ThresholdMetric:
    metric = ThresholdMetric(thresholds)
    metric.make_state(labels)
    metric.count(torch.as_tensor(y_true), torch.as_tensor(y_pred), weights)
    return metric


@pytest.mark.parametrize("thresholds", [[0.5], [0.3, 0.6], [0.9, 0.1, 0.5], list(np.linspace(0, 1, 200))])
@pytest.mark.parametrize("weighted", [False, True])
def test_counts_are_those_of_numpy(thresholds: list[float], weighted: bool) -> None:
    y_true, y_pred = np.random.randint(0, 2, 300), np.float32(np.random.randint(0, 11, 300) / 10)
    weights = np.random.rand(300) if weighted else np.ones(300)
    metric = counted(thresholds, y_true, y_pred, torch.tensor(weights) if weighted else None)
    above = y_pred[None] > np.float32(thresholds)[:, None]
    for name, label, side in [
        ("true_positives", 1, above), ("false_positives", 0, above),
        ("true_negatives", 0, ~above), ("false_negatives", 1, ~above),
    ]:  # fmt: skip
        expected = (weights * side * (y_true == label)).sum(axis=1)
        np.testing.assert_allclose(getattr(metric, name), expected, rtol=1e-12, err_msg=name)


def test_labels_can_be_counted_apart() -> None:
    y_true, y_pred = torch.randint(0, 2, (50, 3)), torch.rand(50, 3)
    apart = counted([0.2, 0.5], y_true, y_pred, labels=3)
    for column in range(3):
        alone = counted([0.2, 0.5], y_true[:, column], y_pred[:, column])
        torch.testing.assert_close(apart.true_positives[:, column], alone.true_positives)
        torch.testing.assert_close(apart.false_negatives[:, column], alone.false_negatives)


def test_any_label_that_is_not_zero_is_true() -> None:
    assert counted([0.5], [0.0, 2.0, -1.0], [1.0, 1.0, 1.0]).true_positives.tolist() == [2.0]


def test_clipped_predictions_do_not_pass_the_last_threshold() -> None:
    metric = ThresholdMetric([0.0, 0.5, 1.0], clip=True)
    metric.make_state()
    metric.count(torch.tensor([1, 1]), torch.tensor([7.0, -7.0]), None)
    assert metric.true_positives.tolist() == [1.0, 1.0, 0.0]


def test_thresholds_outside_zero_to_one_are_refused() -> None:
    assert check_thresholds(np.array([0.5])) == [0.5] and check_thresholds(None, top_k=3)[0] < -1e9
    for wrong in (1.5, [0.5, -0.1], [None]):
        with pytest.raises(ArgumentError, match="A threshold is out of range(.|\n)*from 0 to 1"):
            check_thresholds(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="There is no threshold"):
        check_thresholds([])


def test_even_spacing_is_seen_from_three_thresholds_on() -> None:
    assert spaced_evenly([0.0, 0.25, 0.5, 0.75, 1.0])
    assert not spaced_evenly([0.0, 1.0]) and not spaced_evenly([0.1, 0.5, 0.9])


def test_a_class_that_is_not_there_is_refused() -> None:
    for shape in [(4,), (4, 3)]:
        with pytest.raises(ShapeError, match=r"Precision is asked for class 3(.|\n)*more than 3 classes"):
            prepare("Precision", torch.zeros(shape), torch.zeros(shape), None, class_id=3)


def test_one_label_a_sample_for_several_predictions_is_refused() -> None:
    with pytest.raises(TargetError, match="Precision compares each of 3 outputs with a label of its own"):
        prepare("Precision", torch.zeros(4), torch.zeros(4, 3), None)


def test_weights_of_samples_weigh_every_label() -> None:
    _, _, weights = prepare("Recall", torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([1.0, 2.0]), class_id=1)
    assert weights is not None and weights.tolist() == [1.0, 2.0]
