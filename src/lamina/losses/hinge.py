"""Hinge losses: labels of -1 and 1, and scores that should lie beyond a margin of 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.losses.alignment import elementwise_pair
from lamina.losses.base import FunctionLoss
from lamina.losses.labels import one_hot_pair
from lamina.registry import LOSSES


def _signed(y_true: Tensor) -> Tensor:
    """Labels of 0 and 1, when there are no others, as -1 and 1. Decided on the device."""
    binary = ((y_true == 0) | (y_true == 1)).all()
    return torch.where(binary, 2.0 * y_true - 1.0, y_true)


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """`max(1 - y_true * y_pred, 0)`, averaged over the last axis.

    Args:
        y_true: labels of -1 and 1, or of 0 and 1.
        y_pred: the scores, of the same shape.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> hinge([[1.0], [0.0]], [[0.5], [0.5]])
        tensor([0.5000, 1.5000])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "hinge")
    return (1.0 - _signed(y_true) * y_pred).clamp(min=0.0).mean(dim=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """`max(1 - y_true * y_pred, 0) ** 2`, averaged over the last axis.

    Args:
        y_true: labels of -1 and 1, or of 0 and 1.
        y_pred: the scores, of the same shape.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> squared_hinge([[1.0], [0.0]], [[0.5], [0.5]])
        tensor([0.2500, 2.2500])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "squared_hinge")
    return (1.0 - _signed(y_true) * y_pred).clamp(min=0.0).square().mean(dim=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """How far the score of the right class falls short of the best other one plus a margin of 1.

    Args:
        y_true: one-hot labels.
        y_pred: the scores, of the same shape.

    Returns:
        One value a sample.

    Raises:
        TargetError: the labels are class numbers.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> categorical_hinge([[0, 1, 0]], [[0.2, 0.7, 0.3]])
        tensor([0.6000])
    """
    y_true, y_pred = one_hot_pair(y_true, y_pred, 0.0, -1, "categorical_hinge")
    right = (y_true * y_pred).sum(dim=-1)
    wrong = ((1.0 - y_true) * y_pred).amax(dim=-1)
    return (wrong - right + 1.0).clamp(min=0.0)


@LOSSES.register()
class Hinge(FunctionLoss):
    """The mean of `max(1 - y_true * y_pred, 0)`, for labels of -1 and 1 or of 0 and 1.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> Hinge()([[1.0], [0.0]], [[0.5], [0.5]])
        tensor(1.)
    """

    fn = staticmethod(hinge)
    target_form = "elementwise"


@LOSSES.register()
class SquaredHinge(FunctionLoss):
    """The mean of `max(1 - y_true * y_pred, 0) ** 2`, for labels of -1 and 1 or of 0 and 1.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> SquaredHinge()([[1.0], [0.0]], [[0.5], [0.5]])
        tensor(1.2500)
    """

    fn = staticmethod(squared_hinge)
    target_form = "elementwise"


@LOSSES.register()
class CategoricalHinge(FunctionLoss):
    """The hinge loss of one-hot labels and one score a class.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> CategoricalHinge()([[0, 1, 0], [1, 0, 0]], [[0.2, 0.7, 0.3], [3.0, 0.0, 1.0]])
        tensor(0.3000)
    """

    fn = staticmethod(categorical_hinge)
    target_form = "one_hot"
