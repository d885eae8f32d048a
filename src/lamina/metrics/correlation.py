"""Correlations between labels and predictions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina import config
from lamina.losses.alignment import elementwise_pair
from lamina.metrics.reduction import FunctionMetric
from lamina.registry import METRICS


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Pearson's coefficient of correlation along one axis.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.
        axis: the axis along which to correlate.

    Returns:
        One value from -1 to 1 for each place beside that axis.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> pearson_correlation([[0.0, 1.0, 0.5], [1.0, 1.0, 0.2]], [[0.1, 0.9, 0.5], [1.0, 0.9, 0.2]])
        tensor([1.0000, 0.9934])

    Reference:
        Pearson, 1895, Note on Regression and Inheritance in the Case of Two Parents,
        https://doi.org/10.1098/rspl.1895.0041
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "pearson_correlation")
    return (_standardized(y_true, axis) * _standardized(y_pred, axis)).mean(dim=axis)


def _standardized(x: Tensor, axis: int) -> Tensor:
    x = x - x.mean(dim=axis, keepdim=True)
    return x / x.std(dim=axis, keepdim=True, unbiased=False)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Lin's concordance along one axis: a correlation that also wants equal means and spreads.

    Args:
        y_true: the labels.
        y_pred: the predictions, of the same shape.
        axis: the axis along which to correlate.

    Returns:
        One value from -1 to 1 for each place beside that axis.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> concordance_correlation([[0.0, 1.0, 0.5], [1.0, 1.0, 0.2]], [[0.1, 0.9, 0.5], [1.0, 0.9, 0.2]])
        tensor([0.9756, 0.9877])

    Reference:
        Lin, 1989, A Concordance Correlation Coefficient to Evaluate Reproducibility,
        https://doi.org/10.2307/2532051
    """
    y_true, y_pred = elementwise_pair(y_true, y_pred, "concordance_correlation")
    true_mean, pred_mean = y_true.mean(dim=axis, keepdim=True), y_pred.mean(dim=axis, keepdim=True)
    spread = y_true.var(dim=axis, keepdim=True, unbiased=False) + y_pred.var(dim=axis, keepdim=True, unbiased=False)
    covariance = (y_true - pred_mean) * (y_pred - pred_mean)
    return (2.0 * covariance / (spread + (true_mean - pred_mean).square() + config.epsilon())).mean(dim=axis)


@METRICS.register()
class PearsonCorrelation(FunctionMetric):
    """The mean of Pearson's coefficients of correlation.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        axis: the axis along which to correlate.

    Example:
        >>> PearsonCorrelation()([[0.0, 1.0, 0.5], [1.0, 1.0, 0.2]], [[0.1, 0.9, 0.5], [1.0, 0.9, 0.2]])
        tensor(0.9967)

    Reference:
        Pearson, 1895, Note on Regression and Inheritance in the Case of Two Parents,
        https://doi.org/10.1098/rspl.1895.0041
    """

    fn = staticmethod(pearson_correlation)
    direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = axis


@METRICS.register()
class ConcordanceCorrelation(FunctionMetric):
    """The mean of Lin's concordances.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        axis: the axis along which to correlate.

    Example:
        >>> ConcordanceCorrelation()([[0.0, 1.0, 0.5], [1.0, 1.0, 0.2]], [[0.1, 0.9, 0.5], [1.0, 0.9, 0.2]])
        tensor(0.9816)

    Reference:
        Lin, 1989, A Concordance Correlation Coefficient to Evaluate Reproducibility,
        https://doi.org/10.2307/2532051
    """

    fn = staticmethod(concordance_correlation)
    direction = "up"

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = axis
