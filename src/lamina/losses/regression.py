"""Losses of numbers: squared, absolute, relative and logarithmic errors, Huber, log-cosh and cosine."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina import config
from lamina.losses.alignment import elementwise_pair
from lamina.losses.base import FunctionLoss
from lamina.registry import LOSSES


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """Squared errors, averaged over the last axis.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> mean_squared_error([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 0.0]])
        tensor([0.5000, 4.5000])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "mean_squared_error")
    return F.mse_loss(y_pred, y_true, reduction="none").mean(dim=-1)


def _squared_mean(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = elementwise_pair(y_true, y_pred, "mean_squared_error")
    return F.mse_loss(y_pred, y_true)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """Absolute errors, averaged over the last axis.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> mean_absolute_error([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 0.0]])
        tensor([0.5000, 1.5000])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "mean_absolute_error")
    return F.l1_loss(y_pred, y_true, reduction="none").mean(dim=-1)


def _absolute_mean(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = elementwise_pair(y_true, y_pred, "mean_absolute_error")
    return F.l1_loss(y_pred, y_true)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """Absolute errors as a percentage of the labels, averaged over the last axis.

    Args:
        y_true: the labels; one nearer to zero than `config.epsilon()` is taken to be that large.
        y_pred: the predictions, of the same shape.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 5.0]])
        tensor([37.5000])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "mean_absolute_percentage_error")
    share = (y_true - y_pred) / y_true.abs().clamp(min=config.epsilon())
    return 100.0 * share.abs().mean(dim=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """Squared differences of `log(1 + y)`, averaged over the last axis.

    Args:
        y_true: the labels; negative ones count as zero.
        y_pred: the predictions, of the same shape; negative ones count as zero.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> mean_squared_logarithmic_error([[0.0, 0.0]], [[1.0, -1.0]])
        tensor([0.2402])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "mean_squared_logarithmic_error")
    floor = config.epsilon()
    return F.mse_loss(y_pred.clamp(min=floor).log1p(), y_true.clamp(min=floor).log1p(), reduction="none").mean(dim=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Half the squared error up to `delta` and linear beyond, averaged over the last axis.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.
        delta: the error at which the square turns into a line.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> huber([[0.0], [0.0]], [[1.0], [3.0]])
        tensor([0.5000, 2.5000])

    Reference:
        Huber, 1964, Robust Estimation of a Location Parameter, https://doi.org/10.1214/aoms/1177703732
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "huber")
    return F.huber_loss(y_pred, y_true, reduction="none", delta=delta).mean(dim=-1)


def _huber_mean(y_true: Any, y_pred: Any, delta: float) -> Tensor:
    y_true, y_pred = elementwise_pair(y_true, y_pred, "huber")
    return F.huber_loss(y_pred, y_true, delta=delta)


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """`log(cosh(error))`, averaged over the last axis: a smooth mixture of squared and absolute error.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.

    Returns:
        One value a sample.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> log_cosh([[0.0], [0.0]], [[1.0], [100.0]])
        tensor([ 0.4338, 99.3069])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "log_cosh")
    error = y_pred - y_true
    return (error + F.softplus(-2.0 * error) - math.log(2.0)).mean(dim=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The cosine of the angle between labels and predictions, with its sign turned: -1 is the best.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.
        axis: the axis along which a vector lies.

    Returns:
        One value a vector; 0 where either is zero.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> cosine_similarity([[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [2.0, 2.0]])
        tensor([-0.0000, -1.0000])
    """
    return -cosine(y_true, y_pred, axis)


def cosine(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The cosine of the angle between labels and predictions: 1 is the best.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.
        axis: the axis along which a vector lies.

    Returns:
        One value a vector; 0 where either is zero.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> cosine([[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [2.0, 2.0]])
        tensor([0.0000, 1.0000])
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "cosine_similarity")
    return (_unit(y_true, axis) * _unit(y_pred, axis)).sum(dim=axis)


def _unit(x: Tensor, axis: int) -> Tensor:
    """`x` over its length; the clamp keeps zero vectors, and their gradients, finite."""
    return x * torch.rsqrt(x.square().sum(dim=axis, keepdim=True).clamp(min=config.epsilon() ** 2))


@LOSSES.register("mse", "MSE")
class MeanSquaredError(FunctionLoss):
    """The mean of squared errors.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> MeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 0.0]])
        tensor(2.5000)
    """

    fn = staticmethod(mean_squared_error)
    mean_fn = staticmethod(_squared_mean)
    target_form = "elementwise"


@LOSSES.register("mae", "MAE")
class MeanAbsoluteError(FunctionLoss):
    """The mean of absolute errors.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> MeanAbsoluteError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 0.0]])
        tensor(1.)
    """

    fn = staticmethod(mean_absolute_error)
    mean_fn = staticmethod(_absolute_mean)
    target_form = "elementwise"


@LOSSES.register("mape", "MAPE")
class MeanAbsolutePercentageError(FunctionLoss):
    """The mean of absolute errors as a percentage of the labels.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 5.0]])
        tensor(37.5000)
    """

    fn = staticmethod(mean_absolute_percentage_error)
    target_form = "elementwise"


@LOSSES.register("msle", "MSLE")
class MeanSquaredLogarithmicError(FunctionLoss):
    """The mean of squared differences of `log(1 + y)`.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> MeanSquaredLogarithmicError()([[0.0, 0.0]], [[1.0, -1.0]])
        tensor(0.2402)
    """

    fn = staticmethod(mean_squared_logarithmic_error)
    target_form = "elementwise"


@LOSSES.register()
class Huber(FunctionLoss):
    """Squared error for small errors, absolute error for large ones.

    Args:
        delta: the error at which the square turns into a line.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> Huber()([[0.0], [0.0]], [[1.0], [3.0]])
        tensor(1.5000)

    Reference:
        Huber, 1964, Robust Estimation of a Location Parameter, https://doi.org/10.1214/aoms/1177703732
    """

    fn = staticmethod(huber)
    mean_fn = staticmethod(_huber_mean)
    target_form = "elementwise"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = delta


@LOSSES.register()
class LogCosh(FunctionLoss):
    """The mean of `log(cosh(error))`: squared error near zero, absolute error far from it.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> LogCosh()([[0.0], [0.0]], [[1.0], [1.0]])
        tensor(0.4338)
    """

    fn = staticmethod(log_cosh)
    target_form = "elementwise"


@LOSSES.register()
class CosineSimilarity(FunctionLoss):
    """The cosine of the angle between labels and predictions, with its sign turned: -1 is the best.

    Args:
        axis: the axis along which a vector lies.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> CosineSimilarity()([[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])
        tensor(-0.5000)
    """

    fn = staticmethod(cosine_similarity)
    target_form = "elementwise"

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = axis


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
