from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamina import metrics
from lamina.engine.masking import set_mask
from lamina.errors import ShapeError
from lamina.metrics.reduction import FunctionMetric, weigh


def test_a_mean_counts_exactly_beyond_what_float32_can() -> None:
    mean, total = metrics.Mean(), metrics.Sum()
    for metric in (mean, total):
        metric.update_state(torch.ones(()), sample_weight=float(2**25))
        for _ in range(3):
            metric.update_state(torch.ones(1))
    assert mean.count.item() == mean.total.item() == total.total.item() == 2**25 + 3


def test_an_empty_mean_is_zero() -> None:
    assert metrics.Mean().result() == 0


def test_axes_after_the_first_are_averaged() -> None:
    mean = metrics.Mean()
    mean.update_state(torch.tensor([[1.0, 3.0], [5.0, 7.0]]))
    mean.update_state(torch.tensor([10.0]))
    assert mean.count.item() == 3 and mean.result().item() == pytest.approx((2 + 6 + 10) / 3)


def test_a_number_weighs_a_whole_batch() -> None:
    mean = metrics.Mean()
    mean.update_state(0.5, sample_weight=32)
    mean.update_state(torch.tensor(2.0), sample_weight=16)
    assert mean.result().item() == pytest.approx(1.0) and mean.count.item() == 48
    mean.update_state([1.0, 3.0], sample_weight=2)
    assert mean.count.item() == 50


def test_one_value_for_the_batch_may_be_weighed_by_samples() -> None:
    mean = metrics.Mean()
    mean.update_state(torch.tensor(3.0), sample_weight=torch.tensor([1.0, 1.0, 2.0]))
    assert mean.count.item() == 4 and mean.result() == 3.0


def test_the_result_is_no_view_of_the_state() -> None:
    for metric in (metrics.Mean(dtype="float64"), metrics.Sum(dtype="float64")):
        metric.update_state([2.0])
        before = metric.result()
        metric.reset_state()
        assert before == 2.0


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="sample weights do not fit"):
        metrics.Mean().update_state(torch.ones(3, 4), sample_weight=torch.ones(4))
    with pytest.raises(ShapeError, match="sample weights do not fit"):
        metrics.MeanSquaredError()(torch.ones(3, 4), torch.ones(3, 4), sample_weight=torch.ones(3, 4))


def test_a_mask_on_values_is_folded_into_weights() -> None:
    values = set_mask(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    weighted, weights = weigh(values, torch.tensor([3.0, 3.0]))
    assert weighted.tolist() == [3.0, 0.0] and weights.tolist() == [3.0, 0.0]


def test_a_mask_on_predictions_leaves_steps_out() -> None:
    y_pred = set_mask(torch.tensor([[[0.9, 0.1], [0.9, 0.1]]]), torch.tensor([[True, False]]))
    metric = metrics.SparseCategoricalAccuracy()
    assert metric([[0, 1]], y_pred) == 1.0
    assert metric([[1, 0]], y_pred) == 0.5


def test_booleans_and_short_floats_add_up_without_loss() -> None:
    total = metrics.Sum()
    total.update_state(torch.ones(1000, dtype=torch.bfloat16) * 0.5 + 0.001953125)
    assert total.result().item() == pytest.approx(500.0, abs=2.0)
    total.update_state(torch.ones(300, dtype=torch.bool))
    assert total.result().item() == pytest.approx(800.0, abs=2.0)


def test_a_function_metric_passes_its_attributes_on() -> None:
    class Within(FunctionMetric):
        fn = staticmethod(lambda y_true, y_pred, margin=1.0: (y_true - y_pred).abs() <= margin)

        def __init__(self, margin: float = 1.0) -> None:
            super().__init__()
            self.margin = margin

    y_true, y_pred = torch.zeros(4), torch.tensor([0.5, 1.5, 2.5, 0.0])
    assert Within()(y_true, y_pred) == 0.5 and Within(2.0)(y_true, y_pred) == 0.75
    assert Within().name == "within"


def test_predictions_in_short_floats_are_measured_in_float32() -> None:
    seen: list[torch.dtype] = []

    class Spy(FunctionMetric):
        @staticmethod
        def fn(y_true: Tensor, y_pred: Tensor) -> Tensor:
            seen.append(y_pred.dtype)
            return y_pred

    Spy().update_state(torch.zeros(2), torch.zeros(2, dtype=torch.float16))
    assert seen == [torch.float32]
