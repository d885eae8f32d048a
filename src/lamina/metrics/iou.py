"""Intersection over union, for segmentation maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.errors import ArgumentError, ShapeError
from lamina.losses.reduction import align_weights
from lamina.metrics.base import Metric
from lamina.registry import METRICS


@METRICS.register()
class IoU(Metric):
    """The mean over some classes of intersection over union: where label and prediction agree, over where either is.

    Sample weights may be fractions.

    Args:
        num_classes: how many classes there are.
        target_class_ids: the classes to average over.
        name: as in `Metric`.
        dtype: as in `Metric`.
        ignore_class: a class number whose places count for nothing.
        sparse_y_true: whether labels are class numbers; else they are one-hot.
        sparse_y_pred: whether predictions are class numbers; else they are one a class.
        axis: the class axis of what is one-hot or one a class.

    Raises:
        ArgumentError: a target class is none of the classes.

    Example:
        >>> IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1])
        tensor(0.3333)
    """

    direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.target_class_ids = list(target_class_ids)
        wrong = [i for i in self.target_class_ids if not 0 <= i < num_classes]
        if wrong or not self.target_class_ids:
            raise ArgumentError(
                f"{type(self).__name__} is asked for classes that there are not.",
                expected=f"target_class_ids from 0 to {num_classes - 1}, for num_classes={num_classes}",
                received=str(wrong or self.target_class_ids),
                fix="number the classes from 0, or raise num_classes",
            )
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_variable((num_classes, num_classes), dtype=torch.float64, name="total_cm")
        self._targets = self.add_constant(self.target_class_ids, dtype=torch.int64)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._add(
            y_true.long() if self.sparse_y_true else y_true.argmax(dim=self.axis),
            y_pred.long() if self.sparse_y_pred else y_pred.argmax(dim=self.axis),
            sample_weight,
        )

    def _add(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> None:
        """Add class numbers to the confusion matrix; numbers that are no class weigh nothing."""
        if y_true.numel() != y_pred.numel():
            raise ShapeError(
                f"{type(self).__name__} compares class numbers place by place.",
                expected=f"labels of shape {tuple(y_pred.shape)}",
                received=f"labels of shape {tuple(y_true.shape)}",
                fix="say with sparse_y_true and sparse_y_pred which of the two has an axis of classes",
            )
        if sample_weight is not None:
            sample_weight = align_weights(y_true, sample_weight.double())[1].expand_as(y_true).reshape(-1)
        y_true, y_pred = y_true.reshape(-1), y_pred.reshape(-1)
        known = (y_true >= 0) & (y_true < self.num_classes) & (y_pred >= 0) & (y_pred < self.num_classes)
        if self.ignore_class is not None:
            known = known & (y_true != self.ignore_class)
        place = torch.where(known, y_true * self.num_classes + y_pred, 0)
        amounts = known.double() if sample_weight is None else torch.where(known, sample_weight, 0.0)
        self.total_cm.view(-1).index_add_(0, place, amounts)

    def result(self) -> Tensor:
        both = self.total_cm.diagonal()
        either = (self.total_cm.sum(dim=0) + self.total_cm.sum(dim=1) - both)[self._targets]
        shares = both[self._targets] / (either + config.epsilon())  # 0 for a class that never occurred
        return (shares.sum() / ((either > 0).sum() + config.epsilon())).to(torch_dtype(self.dtype))


@METRICS.register()
class BinaryIoU(IoU):
    """Intersection over union of two classes, predicted as probabilities of the second.

    Args:
        target_class_ids: the classes to average over.
        threshold: a prediction that reaches it is class 1.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: a target class is neither 0 nor 1.

    Example:
        >>> BinaryIoU(target_class_ids=[0, 1], threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
        tensor(0.3333)
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._add(y_true.long(), (y_pred >= self.threshold).long(), sample_weight)


@METRICS.register()
class MeanIoU(IoU):
    """The mean over all classes of intersection over union.

    Args:
        num_classes: how many classes there are.
        name: as in `Metric`.
        dtype: as in `Metric`.
        ignore_class: a class number whose places count for nothing.
        sparse_y_true: whether labels are class numbers; else they are one-hot.
        sparse_y_pred: whether predictions are class numbers; else they are one a class.
        axis: the class axis of what is one-hot or one a class.

    Example:
        >>> MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1])
        tensor(0.3333)
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


@METRICS.register()
class OneHotIoU(IoU):
    """The mean over some classes of intersection over union, of one-hot labels.

    Args:
        num_classes: how many classes there are.
        target_class_ids: the classes to average over.
        name: as in `Metric`.
        dtype: as in `Metric`.
        ignore_class: a class number whose places count for nothing.
        sparse_y_pred: whether predictions are class numbers; else they are one a class.
        axis: the class axis.

    Raises:
        ArgumentError: a target class is none of the classes.

    Example:
        >>> metric = OneHotIoU(num_classes=3, target_class_ids=[0, 2])
        >>> metric([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]],
        ...        [[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.5, 0.3, 0.1], [0.1, 0.4, 0.5]])
        tensor(0.1667)
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


@METRICS.register()
class OneHotMeanIoU(MeanIoU):
    """The mean over all classes of intersection over union, of one-hot labels.

    Args:
        num_classes: how many classes there are.
        name: as in `Metric`.
        dtype: as in `Metric`.
        ignore_class: a class number whose places count for nothing.
        sparse_y_pred: whether predictions are class numbers; else they are one a class.
        axis: the class axis.

    Example:
        >>> metric = OneHotMeanIoU(num_classes=3)
        >>> metric([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]],
        ...        [[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.5, 0.3, 0.1], [0.1, 0.4, 0.5]])
        tensor(0.1111)
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
