from __future__ import annotations

import pytest

from lamina import losses, metrics
from lamina.errors import ArgumentError, DtypeError, UnknownNameError
from lamina.metrics.base import Metric

SHAPES = {"binary": ((8,), (8, 1)), "sparse": ((8, 1), (8, 10)), "categorical": ((8, 10), (8, 10))}


def test_every_kind_of_identifier_becomes_a_metric() -> None:
    instance = metrics.Precision(0.3)
    assert metrics.as_metric(instance) is instance
    for identifier in ("precision", "Precision", metrics.Precision, {"class_name": "Precision", "config": {}}):
        assert type(metrics.as_metric(identifier)) is metrics.Precision
    for identifier in (metrics.huber, losses.Huber, losses.Huber(), "huber", lambda y_true, y_pred: y_pred):
        assert isinstance(metrics.as_metric(identifier), Metric)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("written", "family"), [("acc", "accuracy"), ("accuracy", "accuracy"), ("ce", "crossentropy")])
def test_shapes_say_what_a_short_name_means_and_the_name_stays(kind: str, written: str, family: str) -> None:
    true, pred = SHAPES[kind]
    metric = metrics.as_metric(written, y_true_shape=true, y_pred_shape=pred)
    full = {"binary": "binary", "sparse": "sparse_categorical", "categorical": "categorical"}[kind] + "_" + family
    assert type(metric) is type(metrics.get(full)) and metric.name == written


def test_the_loss_says_what_accuracy_means_where_shapes_do_not() -> None:
    for loss, kind in [
        (losses.BinaryCrossentropy(), metrics.BinaryAccuracy),
        (losses.SparseCategoricalCrossentropy(), metrics.SparseCategoricalAccuracy),
        (losses.CategoricalCrossentropy(), metrics.CategoricalAccuracy),
    ]:
        assert type(metrics.as_metric("accuracy", loss)) is kind
        assert type(metrics.as_metric("accuracy", loss, (8,), (8, 10))) is metrics.SparseCategoricalAccuracy


def test_without_shapes_and_loss_accuracy_means_nothing() -> None:
    for loss in (None, losses.MeanSquaredError()):
        with pytest.raises(ArgumentError, match="What 'accuracy' means depends on the shapes"):
            metrics.as_metric("accuracy", loss)


def test_names_are_as_the_user_wrote_them() -> None:
    for identifier, name in [("mse", "mse"), ("MSE", "MSE"), (metrics.MeanSquaredError, "mean_squared_error")]:
        assert metrics.as_metric(identifier).name == name


def test_metrics_that_need_arguments_say_which() -> None:
    words = r"IoU cannot be made by its name or class alone(.|\n)*pass IoU\(num_classes=..., target_class_ids=...\)"
    for identifier in ("IoU", metrics.IoU):
        with pytest.raises(ArgumentError, match=words):
            metrics.as_metric(identifier)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no metric named 'precison'(.|\n)*did you mean 'precision'"):
        metrics.as_metric("precison")


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(DtypeError, match="Cannot make a metric"):
        metrics.as_metric(3)
    with pytest.raises(ArgumentError, match="There is no metric here"):
        metrics.as_metric(None)


def test_what_is_serialized_comes_back() -> None:
    metric = metrics.deserialize(metrics.serialize(metrics.Precision([0.2, 0.4], class_id=1, name="p")))
    assert (metric.thresholds, metric.class_id, metric.name) == ([0.2, 0.4], 1, "p")
    assert metrics.get(None) is None and metrics.get(metrics.huber) is metrics.huber
