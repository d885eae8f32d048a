"""Counts of right and wrong yes-or-no predictions above each of several thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina import config
from lamina.errors import ArgumentError, ShapeError
from lamina.losses.alignment import align_ranks
from lamina.losses.reduction import align_weights
from lamina.losses.targets import check_shapes
from lamina.metrics.base import Metric

_LOWEST = -1e10
"""Below any prediction: the threshold of a metric that counts the top `k` instead."""


def check_thresholds(thresholds: float | Sequence[float] | None, top_k: int | None = None) -> list[float]:
    """Thresholds as a list.

    Args:
        thresholds: one, several, or `None` for 0.5.
        top_k: with it, the default is one below any prediction.

    Returns:
        The thresholds in the order given.

    Raises:
        ArgumentError: one is not between 0 and 1.

    Example:
        >>> check_thresholds(None), check_thresholds([0.3, 0.7])
        ([0.5], [0.3, 0.7])
    """
    if thresholds is None:
        return [0.5 if top_k is None else _LOWEST]
    values: list[Any] = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    wrong = [t for t in values if t is None or not 0 <= t <= 1]
    if wrong or not values:
        raise ArgumentError(
            "A threshold is out of range." if wrong else "There is no threshold.",
            expected="numbers from 0 to 1",
            received=str(wrong or values),
            fix="pass thresholds=0.5, or a list such as [0.3, 0.5, 0.7]",
        )
    return [float(t) for t in values]


def spaced_evenly(thresholds: Sequence[float]) -> bool:
    """Whether thresholds, three or more, run from 0 to 1 in equal steps.

    Args:
        thresholds: numbers.

    Returns:
        Whether they do.

    Example:
        >>> spaced_evenly([0.0, 0.5, 1.0]), spaced_evenly([0.0, 0.4, 1.0])
        (True, False)
    """
    count = len(thresholds)
    return count >= 3 and np.allclose(thresholds, np.arange(count) / (count - 1), atol=config.epsilon())


class ThresholdMetric(Metric):
    """A metric computed from true and false positives and negatives at thresholds.

    The state is a histogram: for each label, how many predictions lie between two neighbouring thresholds.
    One batch is one addition to it, however many thresholds there are, and the four counts follow from it.

    Args:
        thresholds: what predictions are compared with.
        name: as in `Metric`.
        dtype: as in `Metric`.
        clip: whether predictions outside 0 to 1 count as 0 and 1.
    """

    def __init__(
        self, thresholds: Sequence[float], name: str | None = None, dtype: Any = None, clip: bool = False
    ) -> None:
        super().__init__(name, dtype)
        order = np.argsort(thresholds, kind="stable")
        self._levels = list(thresholds)
        self._clip = clip
        self._sorted = self.add_constant([thresholds[i] for i in order], dtype=torch.float32)
        self._ranks = None if (np.diff(order) > 0).all() else self.add_constant(np.argsort(order), dtype=torch.int64)

    def make_state(self, labels: int | None = None) -> None:
        """Make the histogram.

        Args:
            labels: how many labels a sample has, to count each apart; `None` to count all together.
        """
        shape = (2, len(self._levels) + 1) if labels is None else (2, len(self._levels) + 1, labels)
        self._cells = self.add_variable(shape, dtype=torch.float64, name="cells")

    def count(self, y_true: Tensor, y_pred: Tensor, weights: Tensor | None) -> None:
        """Add a batch to the histogram.

        Args:
            y_true: labels; true where they are not zero.
            y_pred: predictions, of the same shape; of two axes when the labels are counted apart.
            weights: a weight for each label, or `None`.
        """
        labels = y_true if y_true.dtype == torch.bool else y_true != 0
        if self._clip:
            y_pred = y_pred.clamp(0.0, 1.0)
        if len(self._levels) == 1 and self._cells.ndim == 2:
            self._count_one(labels.reshape(-1), y_pred.reshape(-1), weights)
            return
        # (2, thresholds + 1, labels) flattened; how many thresholds lie below a prediction is its place.
        place = labels * (len(self._levels) + 1) + torch.bucketize(y_pred.contiguous(), self._sorted)
        if self._cells.ndim == 3:
            place = place * self._cells.shape[2] + torch.arange(self._cells.shape[2], device=place.device)
        amounts = torch.ones_like(place, dtype=torch.float64) if weights is None else weights.double()
        self._cells.view(-1).index_add_(0, place.reshape(-1), amounts.reshape(-1))

    def _count_one(self, labels: Tensor, y_pred: Tensor, weights: Tensor | None) -> None:
        """One threshold: the four counts are one small matrix product, with no two threads at one address."""
        above = y_pred > self._levels[0]
        rows = torch.stack((~labels, labels)).double()
        rows = rows if weights is None else rows * weights.reshape(-1)
        self._cells.addmm_(rows, torch.stack((~above, above)).double().T)

    def _above(self, label: int) -> Tensor:
        counts = self._cells[label].flip(0).cumsum(0).flip(0)[1:]
        return counts if self._ranks is None else counts[self._ranks]

    def _below(self, label: int) -> Tensor:
        counts = self._cells[label].cumsum(0)[:-1]
        return counts if self._ranks is None else counts[self._ranks]

    @property
    def true_positives(self) -> Tensor:
        """How many true labels have a prediction above each threshold."""
        return self._above(1)

    @property
    def false_positives(self) -> Tensor:
        """How many false labels have a prediction above each threshold."""
        return self._above(0)

    @property
    def true_negatives(self) -> Tensor:
        """How many false labels have no prediction above each threshold."""
        return self._below(0)

    @property
    def false_negatives(self) -> Tensor:
        """How many true labels have no prediction above each threshold."""
        return self._below(1)


def prepare(
    name: str,
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Labels, predictions and weights of one shape.

    Args:
        name: the metric, for the message.
        y_true: labels of 0 and 1.
        y_pred: predictions.
        sample_weight: one weight a sample, or one a label, or `None`.
        top_k: keep only the `k` largest predictions of each sample.
        class_id: keep only this column.

    Returns:
        Labels, predictions in float32, and weights, if any.

    Raises:
        TargetError: there is one label a sample for several predictions.
        ShapeError: the shapes differ otherwise, or there is no such column.
    """
    y_pred, y_true = align_ranks(y_pred.float(), y_true)
    if y_true.shape != y_pred.shape:
        check_shapes("binary", name, y_true.shape, y_pred.shape)
    if top_k is not None:
        kept = torch.zeros_like(y_pred, dtype=torch.bool)
        kept.scatter_(-1, y_pred.topk(top_k, dim=-1).indices, torch.ones_like(kept))
        y_pred = torch.where(kept, y_pred, _LOWEST)
    if sample_weight is not None:
        _, sample_weight = align_weights(y_pred, sample_weight)
        sample_weight = sample_weight.expand_as(y_pred)
    if class_id is not None:
        if y_pred.ndim < 2 or not 0 <= class_id < y_pred.shape[-1]:
            raise ShapeError(
                f"{name} is asked for class {class_id}, which the predictions do not have.",
                expected=f"predictions of shape (samples, classes) with more than {class_id} classes",
                received=f"shape {tuple(y_pred.shape)}",
                fix="leave class_id away, or give the last layer one unit a class",
            )
        y_true, y_pred = y_true[..., class_id], y_pred[..., class_id]
        sample_weight = None if sample_weight is None else sample_weight[..., class_id]
    return y_true, y_pred, sample_weight
