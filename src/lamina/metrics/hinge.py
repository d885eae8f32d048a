"""Hinge losses as metrics."""

from __future__ import annotations

from lamina.losses.hinge import categorical_hinge, hinge, squared_hinge
from lamina.metrics.reduction import FunctionMetric
from lamina.registry import METRICS


@METRICS.register()
class Hinge(FunctionMetric):
    """The mean of `max(1 - y_true * y_pred, 0)`, for labels of -1 and 1 or of 0 and 1.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> Hinge()([[1.0], [0.0]], [[0.5], [0.5]])
        tensor(1.)
    """

    fn = staticmethod(hinge)
    direction = "down"


@METRICS.register()
class SquaredHinge(FunctionMetric):
    """The mean of `max(1 - y_true * y_pred, 0) ** 2`, for labels of -1 and 1 or of 0 and 1.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> SquaredHinge()([[1.0], [0.0]], [[0.5], [0.5]])
        tensor(1.2500)
    """

    fn = staticmethod(squared_hinge)
    direction = "down"


@METRICS.register()
class CategoricalHinge(FunctionMetric):
    """The hinge loss of one-hot labels and one score a class.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> CategoricalHinge()([[0, 1, 0], [1, 0, 0]], [[0.2, 0.7, 0.3], [3.0, 0.0, 1.0]])
        tensor(0.3000)
    """

    fn = staticmethod(categorical_hinge)
    direction = "down"
