"""Losses of overlap, for segmentation maps: Dice and Tversky."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina import config
from lamina.losses.alignment import elementwise_pair
from lamina.losses.base import FunctionLoss
from lamina.registry import LOSSES

Axes = int | tuple[int, ...] | list[int] | None


def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> Tensor:
    """One minus twice the overlap over the sum of both areas.

    Args:
        y_true: labels from 0 to 1.
        y_pred: predictions from 0 to 1, of the same shape.
        axis: the axes to sum over; `None` for all of them, which gives one number for the batch.

    Returns:
        One value for each place that is left.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> dice([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
        tensor(0.3333)

    Reference:
        Milletari et al., 2016, V-Net, https://arxiv.org/abs/1606.04797
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "dice")
    overlap = _sum(y_true * y_pred, axis)
    return 1.0 - 2.0 * overlap / (_sum(y_true, axis) + _sum(y_pred, axis) + config.epsilon())


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None) -> Tensor:
    """One minus the overlap over itself plus weighted misses and false alarms.

    Args:
        y_true: labels from 0 to 1.
        y_pred: predictions from 0 to 1, of the same shape.
        alpha: the weight of what `y_true` has and `y_pred` has not.
        beta: the weight of what `y_pred` has and `y_true` has not.
        axis: the axes to sum over; `None` for all of them, which gives one number for the batch.

    Returns:
        One value for each place that is left.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> tversky([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], alpha=1.0)
        tensor(0.5000)

    Reference:
        Salehi et al., 2017, Tversky loss function for image segmentation using 3D fully convolutional deep
        networks, https://arxiv.org/abs/1706.05721
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "tversky")
    overlap = _sum(y_true * y_pred, axis)
    missed = _sum((1.0 - y_pred) * y_true, axis)
    false = _sum(y_pred * (1.0 - y_true), axis)
    return 1.0 - overlap / (overlap + alpha * missed + beta * false + config.epsilon())


def _sum(x: Tensor, axis: Axes) -> Tensor:
    return x.sum() if axis is None else x.sum(dim=axis)


@LOSSES.register()
class Dice(FunctionLoss):
    """One minus the Dice coefficient, twice the overlap over the sum of both areas.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        axis: the axes to sum over; `None` for all of them, the batch too.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> Dice()([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
        tensor(0.3333)

    Reference:
        Milletari et al., 2016, V-Net, https://arxiv.org/abs/1606.04797
    """

    fn = staticmethod(dice)
    target_form = "elementwise"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axes = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = axis


@LOSSES.register()
class Tversky(FunctionLoss):
    """One minus the Tversky index: overlap over itself plus weighted misses and false alarms.

    Args:
        alpha: the weight of what the labels have and the predictions have not.
        beta: the weight of what the predictions have and the labels have not.
        reduction: as in `Loss`.
        name: as in `Loss`.
        axis: the axes to sum over; `None` for all of them, the batch too.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> Tversky(alpha=1.0)([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
        tensor(0.5000)

    Reference:
        Salehi et al., 2017, Tversky loss function for image segmentation using 3D fully convolutional deep
        networks, https://arxiv.org/abs/1706.05721
    """

    fn = staticmethod(tversky)
    target_form = "elementwise"

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axes = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha = alpha
        self.beta = beta
        self.axis = axis
