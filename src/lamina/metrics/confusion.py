"""True and false positives and negatives, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lamina.dtypes import torch_dtype
from lamina.losses.reduction import divide_no_nan
from lamina.metrics.counting import ThresholdMetric, check_thresholds, prepare, spaced_evenly
from lamina.registry import METRICS


class ConfusionMetric(ThresholdMetric):
    """One number, or one a threshold, computed from the counts of all predictions together.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        top_k: count the `k` largest predictions of each sample as positive, rather than those above 0.5.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.
    """

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        levels = check_thresholds(thresholds, top_k)
        super().__init__(levels, name, dtype, clip=spaced_evenly(levels))
        self.init_thresholds = thresholds if thresholds is None or len(levels) == 1 else levels
        self.thresholds = levels
        self.top_k = top_k
        self.class_id = class_id
        self.make_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.count(*prepare(type(self).__name__, y_true, y_pred, sample_weight, self.top_k, self.class_id))

    def output(self, values: Tensor) -> Tensor:
        """`values`, one a threshold, as the result: without an axis where there is one threshold.

        Args:
            values: one value a threshold.

        Returns:
            A tensor of the metric's dtype.
        """
        return (values[0] if len(self.thresholds) == 1 else values).to(torch_dtype(self.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class _Count(ConfusionMetric):
    """One of the four counts; a subclass says which."""

    def __init__(
        self, thresholds: float | Sequence[float] | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)


@METRICS.register()
class TruePositives(_Count):
    """How many labels are true with a prediction above the threshold.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.

    Example:
        >>> TruePositives()([0, 1, 1, 1], [1, 0, 1, 1])
        tensor(2.)
    """

    def result(self) -> Tensor:
        return self.output(self.true_positives)


@METRICS.register()
class FalsePositives(_Count):
    """How many labels are false with a prediction above the threshold.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.

    Example:
        >>> FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1])
        tensor(2.)
    """

    def result(self) -> Tensor:
        return self.output(self.false_positives)


@METRICS.register()
class TrueNegatives(_Count):
    """How many labels are false with no prediction above the threshold.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.

    Example:
        >>> TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0])
        tensor(2.)
    """

    def result(self) -> Tensor:
        return self.output(self.true_negatives)


@METRICS.register()
class FalseNegatives(_Count):
    """How many labels are true with no prediction above the threshold.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.

    Example:
        >>> FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0])
        tensor(2.)
    """

    def result(self) -> Tensor:
        return self.output(self.false_negatives)


@METRICS.register()
class Precision(ConfusionMetric):
    """The share of positive predictions that are right.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        top_k: count the `k` largest predictions of each sample as positive, rather than those above 0.5.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.

    Example:
        >>> Precision()([0, 1, 1, 1], [1, 0, 1, 1])
        tensor(0.6667)
    """

    direction = "up"

    def result(self) -> Tensor:
        return self.output(divide_no_nan(self.true_positives, self.true_positives + self.false_positives))


@METRICS.register()
class Recall(ConfusionMetric):
    """The share of true labels that are found.

    Args:
        thresholds: one threshold, several, or `None` for 0.5.
        top_k: count the `k` largest predictions of each sample as positive, rather than those above 0.5.
        class_id: count only this column of labels and predictions.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a threshold is not between 0 and 1.

    Example:
        >>> Recall()([0, 1, 1, 1], [1, 0, 1, 1])
        tensor(0.6667)
    """

    direction = "up"

    def result(self) -> Tensor:
        return self.output(divide_no_nan(self.true_positives, self.true_positives + self.false_negatives))
