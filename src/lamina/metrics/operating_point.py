"""The best of one rate at the thresholds where another reaches a given value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.dtypes import torch_dtype
from lamina.errors import ArgumentError
from lamina.losses.reduction import divide_no_nan
from lamina.metrics.counting import ThresholdMetric, prepare
from lamina.registry import METRICS


class OperatingPoint(ThresholdMetric):
    """The largest value of one rate among thresholds at which another is at least `value`.

    Args:
        value: what the other rate has to reach.
        num_thresholds: how many thresholds from 0 to 1 to try; one alone is 0.5.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: `value` is not between 0 and 1, or there are no thresholds.
    """

    direction = "up"

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 0 <= value <= 1:
            raise ArgumentError(
                f"{type(self).__name__} is asked for a rate that there is not.",
                expected="a number from 0 to 1",
                received=repr(value),
                fix=f"{type(self).__name__}(0.5)",
            )
        if num_thresholds <= 0:
            raise ArgumentError(
                f"{type(self).__name__} needs thresholds to try.",
                expected="num_thresholds of 1 or more",
                received=repr(num_thresholds),
                fix="num_thresholds=200, the default",
            )
        even = num_thresholds > 1
        levels = [i / (num_thresholds - 1) for i in range(num_thresholds)] if even else [0.5]
        super().__init__(levels, name, dtype, clip=even)
        self.value = value
        self.thresholds = levels
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        self.make_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.count(*prepare(type(self).__name__, y_true, y_pred, sample_weight, None, self.class_id))

    def best(self, rate: Tensor, constrained: Tensor) -> Tensor:
        """The largest `rate` where `constrained` reaches the value; 0 where it never does.

        Args:
            rate: one value a threshold.
            constrained: the other rate, likewise.

        Returns:
            A tensor without axes.
        """
        return torch.where(constrained >= self.value, rate, 0.0).amax().clamp(min=0.0).to(torch_dtype(self.dtype))

    @property
    def recalls(self) -> Tensor:
        """The share of true labels that are found, at each threshold."""
        return divide_no_nan(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def precisions(self) -> Tensor:
        """The share of positive predictions that are right, at each threshold."""
        return divide_no_nan(self.true_positives, self.true_positives + self.false_positives)

    @property
    def specificities(self) -> Tensor:
        """The share of false labels that are recognised as such, at each threshold."""
        return divide_no_nan(self.true_negatives, self.true_negatives + self.false_positives)


@METRICS.register()
class SensitivityAtSpecificity(OperatingPoint):
    """The largest share of true labels found, where enough false ones are recognised.

    Args:
        specificity: the share of false labels to recognise.
        num_thresholds: how many thresholds from 0 to 1 to try.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: `specificity` is not between 0 and 1, or there are no thresholds.

    Example:
        >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        tensor(0.5000)
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)
        self.specificity = specificity

    def result(self) -> Tensor:
        return self.best(self.recalls, self.specificities)


@METRICS.register()
class SpecificityAtSensitivity(OperatingPoint):
    """The largest share of false labels recognised, where enough true ones are found.

    Args:
        sensitivity: the share of true labels to find.
        num_thresholds: how many thresholds from 0 to 1 to try.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: `sensitivity` is not between 0 and 1, or there are no thresholds.

    Example:
        >>> SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        tensor(0.6667)
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = sensitivity

    def result(self) -> Tensor:
        return self.best(self.specificities, self.recalls)


@METRICS.register()
class PrecisionAtRecall(OperatingPoint):
    """The largest precision where recall is high enough.

    Args:
        recall: the recall to reach.
        num_thresholds: how many thresholds from 0 to 1 to try.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: `recall` is not between 0 and 1, or there are no thresholds.

    Example:
        >>> PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        tensor(0.5000)
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)
        self.recall = recall

    def result(self) -> Tensor:
        return self.best(self.precisions, self.recalls)


@METRICS.register()
class RecallAtPrecision(OperatingPoint):
    """The largest recall where precision is high enough.

    Args:
        precision: the precision to reach.
        num_thresholds: how many thresholds from 0 to 1 to try.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: `precision` is not between 0 and 1, or there are no thresholds.

    Example:
        >>> RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        tensor(0.5000)
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
        self.precision = precision

    def result(self) -> Tensor:
        return self.best(self.recalls, self.precisions)
