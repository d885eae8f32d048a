from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lamina import metrics
from lamina.errors import ArgumentError, ShapeError


def data(rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    y_true = np.random.randint(0, 2, rows)
    return y_true, np.clip(y_true * 0.3 + np.random.rand(rows) * 0.7, 0, 1)


def test_the_area_is_near_that_of_scikit_learn() -> None:
    y_true, y_pred = data()
    weight = np.random.rand(500)
    roc = metrics.AUC(num_thresholds=2000)(y_true, y_pred, sample_weight=weight).item()
    assert roc == pytest.approx(roc_auc_score(y_true, y_pred, sample_weight=weight), abs=1e-3)
    pr = metrics.AUC(num_thresholds=2000, curve="PR")(y_true, y_pred).item()
    assert pr == pytest.approx(average_precision_score(y_true, y_pred), abs=5e-3)


def test_perfect_and_worthless_predictions_have_the_areas_one_and_a_half() -> None:
    assert metrics.AUC()([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]).item() == pytest.approx(1.0)
    assert metrics.AUC()([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]).item() == pytest.approx(0.5)


def test_the_area_from_below_is_smaller_than_that_from_above() -> None:
    y_true, y_pred = data()
    areas = [
        metrics.AUC(num_thresholds=10, summation_method=m)(y_true, y_pred).item()
        for m in ("minoring", "interpolation", "majoring")
    ]
    assert areas == sorted(areas) and areas[0] < areas[2]


def test_logits_are_put_through_a_sigmoid() -> None:
    y_true, logits = np.array([0, 1, 1, 0]), np.float32([-3, 2, -1, 0.5])
    from_logits = metrics.AUC(from_logits=True)(y_true, logits)
    torch.testing.assert_close(from_logits, metrics.AUC()(y_true, 1 / (1 + np.exp(-logits))))


def test_several_labels_have_the_mean_of_their_areas() -> None:
    y_true, y_pred = torch.randint(0, 2, (60, 3)), torch.rand(60, 3)
    areas = torch.stack([metrics.AUC()(y_true[:, i], y_pred[:, i]) for i in range(3)])
    torch.testing.assert_close(metrics.AUC(multi_label=True)(y_true, y_pred), areas.mean())
    weights = torch.tensor([1.0, 0.0, 3.0])
    weighted = metrics.AUC(multi_label=True, num_labels=3, label_weights=weights.tolist())(y_true, y_pred)
    torch.testing.assert_close(weighted, (areas * weights).sum() / weights.sum())


def test_an_area_before_any_batch_is_zero() -> None:
    assert metrics.AUC(multi_label=True).result() == 0 and metrics.AUC().result() == 0


def test_config_keeps_what_was_given() -> None:
    config = metrics.AUC(thresholds=[0.6, 0.2], curve="pr", summation_method="Majoring").get_config()
    assert config["thresholds"] == [0.2, 0.6] and config["num_thresholds"] == 4
    assert (config["curve"], config["summation_method"]) == ("PR", "majoring")
    assert metrics.AUC().get_config()["thresholds"] is None
    assert len(metrics.AUC.from_config(config).thresholds) == 4


def test_arguments_without_sense_are_refused() -> None:
    with pytest.raises(ArgumentError, match="AUC has no such curve(.|\n)*'ROC' or 'PR' or 'PRGAIN'"):
        metrics.AUC(curve="DET")
    with pytest.raises(ArgumentError, match="AUC has no such summation_method"):
        metrics.AUC(summation_method="simpson")
    with pytest.raises(ArgumentError, match="A curve needs two thresholds or more"):
        metrics.AUC(num_thresholds=1)
    with pytest.raises(ArgumentError, match="num_labels says how many areas there are, and one is computed"):
        metrics.AUC(num_labels=3)
    with pytest.raises(ShapeError, match=r"AUC with multi_label takes(.|\n)*shape \(samples, 3\)"):
        metrics.AUC(multi_label=True, num_labels=3)(torch.zeros(4, 2), torch.zeros(4, 2))
