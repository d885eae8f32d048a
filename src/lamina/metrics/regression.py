"""Errors of numbers as metrics, and the coefficient of determination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lamina.dtypes import torch_dtype
from lamina.errors import ArgumentError, ShapeError
from lamina.losses import regression
from lamina.losses.alignment import align_ranks, elementwise_pair
from lamina.metrics.base import Metric
from lamina.metrics.reduction import FunctionMetric, Mean
from lamina.registry import METRICS


@METRICS.register("mse", "MSE")
class MeanSquaredError(FunctionMetric):
    """The mean of squared errors.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> MeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
        tensor(0.2500)
    """

    fn = staticmethod(regression.mean_squared_error)
    direction = "down"


@METRICS.register()
class RootMeanSquaredError(Mean):
    """The square root of the mean of squared errors.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> RootMeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
        tensor(0.5000)
    """

    direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in one batch.

        Args:
            y_true: the labels.
            y_pred: the predictions.
            sample_weight: one weight a sample, or `None`.

        Raises:
            ShapeError: labels, predictions and weights do not fit each other.
        """
        y_true, y_pred = elementwise_pair(y_true, y_pred.float(), "RootMeanSquaredError")
        self.accumulate((y_pred - y_true).square(), sample_weight)

    def result(self) -> Tensor:
        return super().result().sqrt()


@METRICS.register("mae", "MAE")
class MeanAbsoluteError(FunctionMetric):
    """The mean of absolute errors.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> MeanAbsoluteError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
        tensor(0.2500)
    """

    fn = staticmethod(regression.mean_absolute_error)
    direction = "down"


@METRICS.register("mape", "MAPE")
class MeanAbsolutePercentageError(FunctionMetric):
    """The mean of absolute errors as a percentage of the labels.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 5.0]])
        tensor(37.5000)
    """

    fn = staticmethod(regression.mean_absolute_percentage_error)
    direction = "down"


@METRICS.register("msle", "MSLE")
class MeanSquaredLogarithmicError(FunctionMetric):
    """The mean of squared differences of `log(1 + y)`.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> MeanSquaredLogarithmicError()([[0.0, 0.0]], [[1.0, -1.0]])
        tensor(0.2402)
    """

    fn = staticmethod(regression.mean_squared_logarithmic_error)
    direction = "down"


@METRICS.register()
class LogCoshError(FunctionMetric):
    """The mean of `log(cosh(error))`.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> LogCoshError()([[0.0], [0.0]], [[1.0], [1.0]])
        tensor(0.4338)
    """

    fn = staticmethod(regression.log_cosh)
    direction = "down"

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(name, dtype)


@METRICS.register()
class CosineSimilarity(FunctionMetric):
    """The cosine of the angle between labels and predictions. 1 is the best; as a loss its sign is turned.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        axis: the axis along which a vector lies.

    Example:
        >>> CosineSimilarity()([[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])
        tensor(0.5000)
    """

    fn = staticmethod(regression.cosine)
    direction = "up"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = axis


@METRICS.register()
class R2Score(Metric):
    """The coefficient of determination: 1 for perfect predictions, 0 for as good as always saying the mean.

    Args:
        class_aggregation: what to do with several outputs: `"uniform_average"`,
            `"variance_weighted_average"`, or `None` for one score an output.
        num_regressors: how many inputs the model has, for the adjusted score; 0 for the plain one, which is
            also given where there are too few samples to adjust by.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: there is no such aggregation, or `num_regressors` is negative.

    Example:
        >>> R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]])
        tensor(0.5714)

    Reference:
        Wright, 1921, Correlation and Causation, Journal of Agricultural Research 20
    """

    direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ArgumentError(
                "There is no such aggregation of outputs.",
                expected="'uniform_average', 'variance_weighted_average' or None",
                received=repr(class_aggregation),
                fix="class_aggregation='uniform_average'",
            )
        if num_regressors < 0:
            raise ArgumentError(
                "A model cannot have fewer than no inputs.",
                expected="num_regressors of 0 or more",
                received=repr(num_regressors),
                fix="num_regressors=0, for the plain score",
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = align_ranks(y_true, y_pred)
        if y_true.ndim != 2 or y_true.shape != y_pred.shape:
            raise ShapeError(
                "R2Score takes labels and predictions with one column an output.",
                expected="two of shape (samples, outputs)",
                received=f"labels of shape {tuple(y_true.shape)}, predictions of shape {tuple(y_pred.shape)}",
                fix="reshape both, or flatten the outputs of one sample into one row",
            )
        if not self._state:
            self._build(y_true.shape[1])
        y_true, y_pred = y_true.double(), y_pred.double()
        weights = torch.ones((), dtype=torch.float64, device=y_true.device)
        if sample_weight is not None:
            weights = sample_weight.double()
            weights = weights.unsqueeze(1) if weights.ndim == 1 else weights
        weights = weights.expand_as(y_true)
        self.sum.add_((y_true * weights).sum(dim=0))
        self.squared_sum.add_((y_true.square() * weights).sum(dim=0))
        self.total_mse.add_(((y_true - y_pred).square() * weights).sum(dim=0))
        self.count.add_(weights.sum(dim=0))
        self.num_samples.add_(y_true.numel())

    def _build(self, outputs: int) -> None:
        """Make the state, in float64: a sum of squares less a squared sum loses most of its digits."""
        self.num_samples = self.add_variable((1,), dtype=torch.float64, name="num_samples")
        self.squared_sum = self.add_variable((outputs,), dtype=torch.float64, name="squared_sum")
        self.sum = self.add_variable((outputs,), dtype=torch.float64, name="sum")
        self.total_mse = self.add_variable((outputs,), dtype=torch.float64, name="total_mse")
        self.count = self.add_variable((outputs,), dtype=torch.float64, name="count")

    def build_from_state(self, state: Mapping[str, Tensor]) -> None:
        if "sum" in state:
            self._build(state["sum"].shape[0])

    def result(self) -> Tensor:
        if not self._state:
            return torch.zeros((), dtype=torch_dtype(self.dtype))
        spread = self.squared_sum - self.sum.square() / self.count
        scores = 1.0 - self.total_mse / spread
        scores = torch.where(scores.isinf(), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = scores.mean()
        elif self.class_aggregation == "variance_weighted_average":
            scores = (spread * scores).sum() / spread.sum()
        if self.num_regressors:
            left = self.num_samples[0] - self.num_regressors - 1.0
            adjusted = 1.0 - (1.0 - scores) * (self.num_samples[0] - 1.0) / left
            scores = torch.where(left > 0, adjusted, scores)
        return scores.to(torch_dtype(self.dtype))
