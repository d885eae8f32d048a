"""Labels of each form beside their predictions, and what the cross-entropies share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina import config
from lamina.losses.alignment import as_float, as_tensor, float_pair
from lamina.losses.targets import check_shapes


def probabilities(y_pred: Tensor) -> Tensor:
    """`y_pred` kept `config.epsilon()` away from 0 and 1, so that its logarithms are finite.

    Args:
        y_pred: probabilities.

    Returns:
        A tensor like `y_pred`.

    Example:
        >>> probabilities(torch.tensor([0.5, 0.0])).log()
        tensor([ -0.6931, -16.1181])
    """
    return y_pred.clamp(config.epsilon(), 1.0 - config.epsilon())


def binary_values(y_true: Tensor, y_pred: Tensor, from_logits: bool, reduction: str = "none") -> Tensor:
    """The binary cross-entropy of each element.

    Args:
        y_true: labels from 0 to 1, of the shape of `y_pred`.
        y_pred: probabilities, or logits.
        from_logits: whether `y_pred` are logits.
        reduction: `"none"`, or `"mean"` for one number.

    Returns:
        A tensor like `y_pred`, or one without axes.

    Example:
        >>> binary_values(torch.tensor([1.0]), torch.tensor([0.0]), from_logits=True)
        tensor([0.6931])
    """
    if from_logits:
        return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction=reduction)
    # Under CUDA's autocast torch refuses this function, for fear of float16; the inputs here have their dtype.
    if y_pred.device.type == "cuda" and torch.is_autocast_enabled("cuda"):
        with torch.autocast("cuda", enabled=False):
            return F.binary_cross_entropy(probabilities(y_pred), y_true, reduction=reduction)
    return F.binary_cross_entropy(probabilities(y_pred), y_true, reduction=reduction)


def binary_pair(y_true: Any, y_pred: Any, label_smoothing: float, name: str) -> tuple[Tensor, Tensor]:
    """Labels, smoothed towards one half, and predictions of one shape.

    Args:
        y_true: labels from 0 to 1.
        y_pred: one prediction a label.
        label_smoothing: how much of each label is replaced by 0.5.
        name: the function, for the message.

    Returns:
        `y_true` and `y_pred`.

    Raises:
        TargetError: there is one label a sample for several predictions.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> binary_pair([1.0], torch.zeros(1), 0.5, "bce")[0]
        tensor([0.7500])
    """
    y_true, y_pred = float_pair(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        check_shapes("binary", name, y_true.shape, y_pred.shape)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return y_true, y_pred


def one_hot_pair(y_true: Any, y_pred: Any, label_smoothing: float, axis: int, name: str) -> tuple[Tensor, Tensor]:
    """One-hot labels, smoothed towards equal shares, and predictions of one shape.

    Args:
        y_true: one-hot labels, or probabilities of the classes.
        y_pred: one prediction a class.
        label_smoothing: how much of each label is spread evenly over the classes.
        axis: the class axis.
        name: the function, for the message.

    Returns:
        `y_true` and `y_pred`.

    Raises:
        TargetError: the labels are class numbers.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> one_hot_pair([[1.0, 0.0]], torch.zeros(1, 2), 0.5, -1, "cce")[0]
        tensor([[0.7500, 0.2500]])
    """
    y_pred = as_float(y_pred)
    y_true = as_tensor(y_true).to(device=y_pred.device, dtype=y_pred.dtype)
    if y_true.shape != y_pred.shape:
        check_shapes("one_hot", name, y_true.shape, y_pred.shape, axis)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[axis]
    return y_true, y_pred


def class_index_pair(y_true: Any, y_pred: Any, axis: int, name: str) -> tuple[Tensor, Tensor]:
    """Class numbers, without an axis for the classes, and predictions with one.

    Args:
        y_true: class numbers; an axis of size 1 in the place of the classes is dropped.
        y_pred: one prediction a class.
        axis: the class axis.
        name: the function, for the message.

    Returns:
        `y_true` as 64-bit integers, and `y_pred`.

    Raises:
        TargetError: the labels are one-hot.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> class_index_pair([[2], [0]], torch.zeros(2, 3), -1, "sparse")[0]
        tensor([2, 0])
    """
    y_pred = as_float(y_pred)
    y_true = as_tensor(y_true).to(device=y_pred.device, dtype=torch.int64)
    if y_true.ndim == y_pred.ndim and y_true.shape[axis] == 1:
        y_true = y_true.squeeze(axis)
    axis = axis % y_pred.ndim
    if y_true.shape != y_pred.shape[:axis] + y_pred.shape[axis + 1 :]:
        check_shapes("class_index", name, y_true.shape, y_pred.shape, axis)
    return y_true, y_pred
