from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamina import losses, metrics
from lamina.engine.masking import set_mask
from lamina.errors import ArgumentError, ShapeError, UnknownNameError
from lamina.metrics.wrapper import LossMetric
from lamina.registry import METRICS


def biggest_gap(y_true: Tensor, y_pred: Tensor, power: float = 1.0) -> Tensor:
    return (y_true - y_pred).abs().amax(dim=-1) ** power


Y_TRUE, Y_PRED = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0], [0.0, 3.0]])


def test_a_function_is_averaged_over_all_samples() -> None:
    metric = metrics.MeanMetricWrapper(biggest_gap, power=2.0)
    metric.update_state(Y_TRUE, Y_PRED)
    metric.update_state(Y_TRUE[:1], Y_PRED[1:], sample_weight=[2.0])
    assert metric.name == "biggest_gap" and metric.result().item() == pytest.approx((4 + 9 + 2 * 9) / 4)


def test_a_function_that_compares_all_with_all_is_refused() -> None:
    with pytest.raises(ShapeError, match="'lambda' compared every label with every prediction"):
        metrics.MeanMetricWrapper(lambda t, p: (t.reshape(-1) - p) ** 2)(torch.zeros(3), torch.zeros(3, 1))


def test_labels_meet_predictions_in_one_shape() -> None:
    metric = metrics.MeanMetricWrapper(lambda y_true, y_pred: (y_true - y_pred).abs())
    assert metric(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [2.0]])) == 0


def test_functions_of_torch_are_refused_since_they_take_predictions_first() -> None:
    with pytest.raises(ArgumentError, match="l1_loss takes predictions first"):
        metrics.MeanMetricWrapper(torch.nn.functional.l1_loss)


def test_a_registered_function_comes_back_from_its_config() -> None:
    with pytest.raises(UnknownNameError, match="no metric named 'biggest_gap'"):
        metrics.deserialize(metrics.serialize(metrics.MeanMetricWrapper(biggest_gap)))
    METRICS.register()(biggest_gap)
    try:
        again = metrics.deserialize(metrics.serialize(metrics.MeanMetricWrapper(biggest_gap, power=2.0)))
        assert again(Y_TRUE, Y_PRED) == 6.5
        assert metrics.as_metric("biggest_gap")(Y_TRUE, Y_PRED) == 2.5
    finally:
        METRICS._objects.pop("biggest_gap")
        METRICS._names.pop("biggest_gap")


def test_a_loss_is_averaged_over_samples_whatever_its_reduction() -> None:
    metric = metrics.as_metric(losses.MeanAbsoluteError(reduction="sum"))
    assert isinstance(metric, LossMetric) and metric.name == "mean_absolute_error" and metric.direction == "down"
    metric.update_state(Y_TRUE, Y_PRED)
    metric.update_state(Y_TRUE[:1], Y_PRED[:1])
    assert metric.result().item() == pytest.approx((1.5 + 1.5 + 1.5) / 3)


def test_masks_act_on_a_loss_as_a_metric() -> None:
    y_pred = set_mask(Y_PRED.clone(), torch.tensor([True, False]))
    assert metrics.as_metric("mean_absolute_error")(Y_TRUE, y_pred) == 1.5
    assert LossMetric("huber", name="h").get_config()["loss"]["class_name"] == "Huber"


def test_a_loss_of_torch_can_be_followed() -> None:
    metric = metrics.as_metric(torch.nn.L1Loss)
    assert metric.name == "l1_loss" and metric(Y_TRUE, Y_PRED) == 1.5
