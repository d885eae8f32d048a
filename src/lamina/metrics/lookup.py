"""From a name, a config, a function, a loss or a torchmetrics metric to a metric, and back."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from lamina.errors import ArgumentError
from lamina.losses.base import Loss
from lamina.losses.lookup import kind_of_labels
from lamina.metrics.base import Metric
from lamina.metrics.torch_metric import TorchMetric, is_torch_metric
from lamina.metrics.wrapper import LossMetric, MeanMetricWrapper
from lamina.registry import LOSSES, METRICS

_BY_SHAPES = {
    "accuracy": {
        "binary": "BinaryAccuracy",
        "class_index": "SparseCategoricalAccuracy",
        "one_hot": "CategoricalAccuracy",
    },
    "crossentropy": {
        "binary": "BinaryCrossentropy",
        "class_index": "SparseCategoricalCrossentropy",
        "one_hot": "CategoricalCrossentropy",
    },
}
_BY_SHAPES["acc"] = _BY_SHAPES["accuracy"]
_BY_SHAPES["ce"] = _BY_SHAPES["crossentropy"]


def get(identifier: Any) -> Any:
    """The metric that `identifier` stands for.

    Args:
        identifier: `None`; a name such as `"auc"`; a metric, or the class of one; what `serialize` gave; or a
            function of labels and predictions.

    Returns:
        A `Metric` for a name, a class or a config; a function as it is; `None` for `None`.

    Raises:
        UnknownNameError: no metric has that name.
        DtypeError: `identifier` is nothing of the kind.
        ArgumentError: the metric cannot be made without arguments.

    Example:
        >>> get("mse")
        <MeanSquaredError name='mean_squared_error'>
    """
    kind = METRICS[identifier] if isinstance(identifier, str) else identifier
    if inspect.isclass(kind) and issubclass(kind, Metric):
        parameters = inspect.signature(kind).parameters.values()
        needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        if needed:
            raise ArgumentError(
                f"{kind.__name__} cannot be made by its name or class alone.",
                expected=f"an object with its {' and '.join(needed)}",
                received=repr(identifier),
                fix=f"pass {kind.__name__}({', '.join(f'{name}=...' for name in needed)})",
            )
    return METRICS.get(identifier)


def as_metric(
    identifier: Any,
    loss: Any = None,
    y_true_shape: Sequence[int | None] | None = None,
    y_pred_shape: Sequence[int | None] | None = None,
) -> Metric:
    """A `Metric`, whatever `identifier` is, named as the user wrote it.

    `"accuracy"` and `"acc"`, `"crossentropy"` and `"ce"` mean the kind that the shapes call for: binary for
    predictions of one unit, sparse for labels that are class numbers, categorical for one-hot ones.

    Args:
        identifier: what `get` takes, except `None`; also a loss or its name, or a metric of torchmetrics.
        loss: the loss of the same output, which says what `"accuracy"` means when the shapes are not known.
        y_true_shape: the shape of the labels.
        y_pred_shape: the shape of the predictions.

    Returns:
        The metric itself, if it is one; a new one else.

    Raises:
        UnknownNameError: no metric and no loss has that name.
        DtypeError: `identifier` is nothing of the kind.
        ArgumentError: neither shapes nor loss say what a name means, or what was given cannot be a metric.

    Example:
        >>> as_metric("acc", y_true_shape=(32,), y_pred_shape=(32, 10))
        <SparseCategoricalAccuracy name='acc'>
        >>> as_metric("mse").name, as_metric("huber").name
        ('mse', 'huber')
    """
    if isinstance(identifier, str):
        return _named(identifier, loss, y_true_shape, y_pred_shape)
    if isinstance(identifier, Metric):
        return identifier
    if inspect.isclass(identifier) and issubclass(identifier, (Loss, nn.Module)):
        identifier = identifier()
    if is_torch_metric(identifier):
        return TorchMetric(identifier)
    if isinstance(identifier, (Loss, nn.Module)):
        return LossMetric(identifier)
    found = get(identifier)
    if isinstance(found, Metric):
        return found
    if found is None:
        raise ArgumentError(
            "There is no metric here.",
            expected="a name, a metric, a function, a loss or a metric of torchmetrics",
            received="None",
            fix="pass a name such as 'accuracy'",
        )
    return MeanMetricWrapper(found)


def _named(
    name: str, loss: Any, y_true_shape: Sequence[int | None] | None, y_pred_shape: Sequence[int | None] | None
) -> Metric:
    """The metric of that name, which it keeps."""
    kinds = _BY_SHAPES.get(name.lower())
    if kinds is not None:
        form = getattr(loss, "target_form", None)
        known = y_true_shape is not None and y_pred_shape is not None
        kind = form if form in kinds and not known else kind_of_labels(name, y_true_shape, y_pred_shape)
        metric = METRICS[kinds[kind]]()
    elif name not in METRICS and name in LOSSES:
        metric = LossMetric(name)
    else:
        metric = get(name)
    if not isinstance(metric, Metric):
        metric = MeanMetricWrapper(metric)
    metric.name = name
    return metric


def serialize(metric: Any) -> Any:
    """`class_name` and `config` of a metric, or the name of a function, as plain data.

    Args:
        metric: what `get` or `as_metric` gave.

    Returns:
        A dict or a string, for `deserialize`.

    Example:
        >>> serialize(get("auc"))["class_name"]
        'AUC'
    """
    return METRICS.serialize(TorchMetric(metric) if is_torch_metric(metric) else metric)


def deserialize(config: Any) -> Any:
    """The metric that `serialize` described.

    Args:
        config: a name, or a dict with `class_name` and `config`.

    Returns:
        A metric, or a registered function.

    Raises:
        UnknownNameError: no metric has that name.
        DtypeError: `config` is no such data.

    Example:
        >>> deserialize({"class_name": "Precision", "config": {"thresholds": 0.7}}).thresholds
        [0.7]
    """
    return METRICS.deserialize(config)
