from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import fbeta_score

from lamina import metrics
from lamina.errors import ArgumentError, ShapeError


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_scores_are_those_of_scikit_learn(average: Any, beta: float) -> None:
    labels, scores, weight = np.random.randint(0, 4, 60), np.random.rand(60, 4), np.random.rand(60)
    metric = metrics.FBetaScore(average, beta=beta)
    for part in (slice(0, 25), slice(25, 60)):
        metric.update_state(np.eye(4)[labels[part]], scores[part], sample_weight=weight[part])
    expected = fbeta_score(labels, scores.argmax(-1), beta=beta, average=average, sample_weight=weight)
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-4)


def test_a_threshold_lets_several_classes_be_positive() -> None:
    y_true, y_pred = np.random.randint(0, 2, (30, 3)), np.random.rand(30, 3)
    expected = fbeta_score(y_true, y_pred > 0.4, beta=1, average="macro")
    assert metrics.F1Score("macro", threshold=0.4)(y_true, y_pred).item() == pytest.approx(expected, rel=1e-4)


def test_f1_has_no_beta_to_set() -> None:
    assert metrics.F1Score("micro").get_config() == {
        "average": "micro", "threshold": None, "name": "f1_score", "dtype": "float32"
    }  # fmt: skip


def test_predictions_of_nothing_choose_nothing() -> None:
    assert metrics.F1Score("micro")(torch.eye(2), torch.zeros(2, 2)) == 0
    assert metrics.F1Score().result() == 0


def test_arguments_and_shapes_without_sense_are_refused() -> None:
    with pytest.raises(ArgumentError, match="An F-score has no such average(.|\n)*'micro'"):
        metrics.F1Score("mean")
    for beta in (0, -1.0, "1"):
        with pytest.raises(ArgumentError, match="An F-score has no such beta"):
            metrics.FBetaScore(beta=beta)  # type: ignore[arg-type]
    for threshold in (0.0, 1.5):
        with pytest.raises(ArgumentError, match="An F-score has no such threshold"):
            metrics.F1Score(threshold=threshold)
    with pytest.raises(ShapeError, match="F1Score takes labels and predictions with one column(.|\n)*to_categorical"):
        metrics.F1Score()(torch.zeros(4), torch.zeros(4, 3))
