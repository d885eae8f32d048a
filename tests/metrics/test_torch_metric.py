from __future__ import annotations

import sys

import pytest
import torch
import torchmetrics
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

from lamina import metrics
from lamina.errors import ArgumentError, LoadError, WeightsError
from lamina.metrics.torch_metric import is_torch_metric


def test_predictions_go_before_labels_and_in_one_shape() -> None:
    metric = metrics.as_metric(torchmetrics.MeanAbsolutePercentageError())
    metric.update_state([[2.0], [4.0]], [1.0, 5.0])
    assert metric.result().item() == pytest.approx((0.5 + 0.25) / 2)
    assert metric.name == "mean_absolute_percentage_error" and metric.direction == "down"


def test_reset_forgets() -> None:
    metric = metrics.as_metric(torchmetrics.MeanSquaredError())
    metric.update_state([1.0], [5.0])
    metric.reset_state()
    assert metric([1.0], [2.0]) == 1.0


def test_float_and_column_labels_do_for_classification() -> None:
    metric = metrics.as_metric(MulticlassAccuracy(3, average="micro"))
    assert metric(torch.tensor([[0.0], [2.0]]), torch.eye(3)[[0, 1]]) == 0.5
    assert metrics.as_metric(BinaryAccuracy())(torch.tensor([1.0, 0.0]), torch.tensor([[0.9], [0.8]])) == 0.5


def test_a_collection_gives_a_dict() -> None:
    metric = metrics.as_metric(
        torchmetrics.MetricCollection([torchmetrics.MeanSquaredError(), torchmetrics.MeanAbsoluteError()])
    )
    assert metric([0.0], [3.0]) == {"MeanSquaredError": 9.0, "MeanAbsoluteError": 3.0}
    state = metric.state_dict()
    metric.reset_state()
    metric.load_state_dict(state)
    assert metric.result() == {"MeanSquaredError": 9.0, "MeanAbsoluteError": 3.0}


def test_a_class_is_made_first() -> None:
    assert metrics.as_metric(torchmetrics.MeanSquaredError)([0.0], [2.0]) == 4.0


@pytest.mark.filterwarnings("ignore:Metric .SpearmanCorrcoef. will save")
def test_lists_of_tensors_are_saved_and_gone_on_from() -> None:
    metric, again = (metrics.as_metric(torchmetrics.SpearmanCorrCoef()) for _ in range(2))
    metric.update_state([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    again.load_state_dict(metric.state_dict())
    torch.testing.assert_close(again.result(), metric.result())
    with pytest.raises(WeightsError, match="not the state of metric 'spearman_corr_coef'"):
        again.load_state_dict({"x": torch.zeros(1)})


def test_sample_weights_are_refused() -> None:
    with pytest.raises(ArgumentError, match="MeanSquaredError of torchmetrics takes no sample weights"):
        metrics.as_metric(torchmetrics.MeanSquaredError())([1.0], [1.0], sample_weight=[1.0])


def test_what_is_no_metric_of_torchmetrics_is_refused() -> None:
    with pytest.raises(ArgumentError, match="This is no metric of torchmetrics"):
        metrics.TorchMetric(3)


def test_its_config_says_what_it_was_and_that_it_cannot_be_made_again() -> None:
    config = metrics.serialize(torchmetrics.MeanSquaredError())
    assert config["config"]["metric"] == "MeanSquaredError"
    with pytest.raises(LoadError, match="'MeanSquaredError' is one of torchmetrics(.|\n)*compile with the metric"):
        metrics.deserialize(config)


def test_state_moves_with_the_metric() -> None:
    metric = metrics.as_metric(torchmetrics.MeanSquaredError())
    assert metric.to("meta").metric.device.type == "meta"


def test_lamina_recognises_torchmetrics_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchmetrics")
    assert not is_torch_metric(torchmetrics.MeanSquaredError())
    assert metrics.as_metric("mse").name == "mse" and "torchmetrics" not in sys.modules
