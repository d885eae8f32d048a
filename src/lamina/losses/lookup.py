"""From a name, a config, a function or a torch module to a loss, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lamina.errors import ArgumentError
from lamina.losses.base import Loss
from lamina.losses.torch_loss import TorchLoss
from lamina.losses.wrapper import LossFunctionWrapper
from lamina.registry import LOSSES

_BY_SHAPES = ("crossentropy", "ce")


def get(identifier: Any) -> Any:
    """The loss that `identifier` stands for.

    Args:
        identifier: `None`; a name such as `"mse"`; a loss, or the class of one; what `serialize` gave; a
            function of labels and predictions; or a loss module of `torch.nn`.

    Returns:
        A `Loss` for a name, a class or a config; functions and modules as they are; `None` for `None`.

    Raises:
        UnknownNameError: no loss has that name.
        DtypeError: `identifier` is nothing of the kind.

    Example:
        >>> get("mse")
        <MeanSquaredError name='mean_squared_error' reduction='sum_over_batch_size'>
    """
    return LOSSES.get(identifier)


def as_loss(
    identifier: Any,
    y_true_shape: Sequence[int | None] | None = None,
    y_pred_shape: Sequence[int | None] | None = None,
) -> Loss:
    """A `Loss`, whatever `identifier` is.

    Args:
        identifier: what `get` takes, except `None`; also `"crossentropy"` or `"ce"`, which means the binary,
            the sparse or the categorical one as the shapes say.
        y_true_shape: the shape of the labels, for `"crossentropy"`.
        y_pred_shape: the shape of the predictions, for `"crossentropy"`.

    Returns:
        The loss; a function wrapped in `LossFunctionWrapper`, a torch module in `TorchLoss`.

    Raises:
        UnknownNameError: no loss has that name.
        DtypeError: `identifier` is nothing of the kind.
        ArgumentError: `"crossentropy"` is asked for without shapes, or what was given cannot be a loss.

    Example:
        >>> as_loss(nn.L1Loss).name, as_loss("ce", (32,), (32, 10)).name
        ('l1_loss', 'sparse_categorical_crossentropy')
    """
    if isinstance(identifier, str) and identifier.lower() in _BY_SHAPES:
        identifier = {
            "binary": "BinaryCrossentropy",
            "class_index": "SparseCategoricalCrossentropy",
            "one_hot": "CategoricalCrossentropy",
        }[kind_of_labels(identifier, y_true_shape, y_pred_shape)]
    found = get(identifier)
    if isinstance(found, Loss):
        return found
    if isinstance(found, nn.Module):
        return TorchLoss(found)
    if found is None:
        raise ArgumentError(
            "There is no loss here.",
            expected="a name, a loss, a function or a torch loss module",
            received="None",
            fix="pass a name such as 'mse'",
        )
    return LossFunctionWrapper(found)


def kind_of_labels(
    identifier: str, y_true_shape: Sequence[int | None] | None, y_pred_shape: Sequence[int | None] | None
) -> str:
    """Which of its variants a name such as `"accuracy"` means on labels and predictions of these shapes.

    Args:
        identifier: the name, for the message.
        y_true_shape: the shape of the labels.
        y_pred_shape: the shape of the predictions.

    Returns:
        `"binary"` for predictions of one unit, `"class_index"` for labels of fewer axes or of one column,
        `"one_hot"` for others.

    Raises:
        ArgumentError: a shape is missing.

    Example:
        >>> kind_of_labels("accuracy", (32,), (32, 1)), kind_of_labels("accuracy", (32, 1), (32, 10))
        ('binary', 'class_index')
    """
    if y_true_shape is None or y_pred_shape is None:
        raise ArgumentError(
            f"What {identifier!r} means depends on the shapes of labels and predictions, which are not known here.",
            expected="y_true_shape and y_pred_shape",
            received=f"y_true_shape={y_true_shape}, y_pred_shape={y_pred_shape}",
            fix="name the variant, such as 'sparse_categorical_crossentropy' or 'sparse_categorical_accuracy'",
        )
    if len(y_pred_shape) < 2 or y_pred_shape[-1] == 1:
        return "binary"
    fewer = len(y_true_shape) < len(y_pred_shape)
    return "class_index" if fewer or y_true_shape[-1] == 1 else "one_hot"


def serialize(loss: Any) -> Any:
    """`class_name` and `config` of a loss, or the name of a function, as plain data.

    Args:
        loss: what `get` or `as_loss` gave.

    Returns:
        A dict or a string, for `deserialize`.

    Example:
        >>> serialize(get("log_cosh"))["config"]
        {'reduction': 'sum_over_batch_size', 'name': 'log_cosh', 'dtype': 'float32'}
    """
    return LOSSES.serialize(TorchLoss(loss) if isinstance(loss, nn.Module) else loss)


def deserialize(config: Any) -> Any:
    """The loss that `serialize` described.

    Args:
        config: a name, or a dict with `class_name` and `config`.

    Returns:
        A loss, or a registered function.

    Raises:
        UnknownNameError: no loss has that name.
        DtypeError: `config` is no such data.

    Example:
        >>> deserialize({"class_name": "Huber", "config": {"delta": 2.0}}).delta
        2.0
    """
    return LOSSES.deserialize(config)
