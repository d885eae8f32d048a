"""Focal losses: cross-entropies in which samples that are already right weigh little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.losses.base import FunctionLoss
from lamina.losses.labels import binary_pair, binary_values, one_hot_pair, probabilities
from lamina.registry import LOSSES


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary cross-entropy times `(1 - p) ** gamma` of the probability `p` of the right answer.

    Args:
        y_true: labels from 0 to 1.
        y_pred: probabilities of 1, or logits; the shape of the labels.
        apply_class_balancing: whether to weigh ones by `alpha` and zeros by `1 - alpha`.
        alpha: the weight of ones.
        gamma: how fast the weight of a sample falls as it comes right; 0 gives the plain cross-entropy.
        from_logits: whether `y_pred` are logits, before any sigmoid.
        label_smoothing: from 0 to 1; how much of each label is replaced by 0.5.
        axis: the axis to average over.

    Returns:
        One value a sample.

    Raises:
        TargetError: there is one label a sample for several predictions.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> binary_focal_crossentropy([[1.0], [1.0]], [[0.9], [0.5]])
        tensor([0.0011, 0.1733])

    Reference:
        Lin et al., 2017, Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002
    """
    y_true, y_pred = binary_pair(y_true, y_pred, label_smoothing, "binary_focal_crossentropy")
    if from_logits:
        y_pred = y_pred.sigmoid()
    values = binary_values(y_true, y_pred, from_logits=False)
    right = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    values = (1.0 - right).pow(gamma) * values
    if apply_class_balancing:
        values = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * values
    return values.mean(dim=axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Categorical cross-entropy times `alpha * (1 - p) ** gamma` of each class's probability `p`.

    Args:
        y_true: one-hot labels.
        y_pred: probabilities, which are scaled to sum to 1, or logits; the shape of the labels.
        alpha: one weight for all classes, or one a class.
        gamma: how fast the weight of a sample falls as it comes right.
        from_logits: whether `y_pred` are logits, before any softmax.
        label_smoothing: from 0 to 1; how much of each label is spread evenly over the classes.
        axis: the class axis.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are class numbers.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
        tensor([0.0433])

    Reference:
        Lin et al., 2017, Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002
    """
    y_true, y_pred = one_hot_pair(y_true, y_pred, label_smoothing, axis, "categorical_focal_crossentropy")
    if from_logits:
        y_pred = y_pred.softmax(dim=axis)
    chances = probabilities(y_pred / y_pred.sum(dim=axis, keepdim=True))
    weights: Any = alpha if isinstance(alpha, (int, float)) else torch.as_tensor(alpha).to(chances)
    return -((1.0 - chances).pow(gamma) * weights * y_true * chances.log()).sum(dim=axis)


@LOSSES.register()
class BinaryFocalCrossentropy(FunctionLoss):
    """Binary cross-entropy in which samples that are already right weigh little.

    Args:
        apply_class_balancing: whether to weigh ones by `alpha` and zeros by `1 - alpha`.
        alpha: the weight of ones.
        gamma: how fast the weight of a sample falls as it comes right.
        from_logits: whether predictions are logits, before any sigmoid.
        label_smoothing: from 0 to 1; how much of each label is replaced by 0.5.
        axis: the axis to average over.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> BinaryFocalCrossentropy()([[1.0], [1.0]], [[0.9], [0.5]])
        tensor(0.0872)

    Reference:
        Lin et al., 2017, Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002
    """

    fn = staticmethod(binary_focal_crossentropy)
    target_form = "binary"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.apply_class_balancing = apply_class_balancing
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@LOSSES.register()
class CategoricalFocalCrossentropy(FunctionLoss):
    """Categorical cross-entropy in which samples that are already right weigh little.

    Args:
        alpha: one weight for all classes, or one a class.
        gamma: how fast the weight of a sample falls as it comes right.
        from_logits: whether predictions are logits, before any softmax.
        label_smoothing: from 0 to 1; how much of each label is spread evenly over the classes.
        axis: the class axis.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])
        tensor(0.0433)

    Reference:
        Lin et al., 2017, Focal Loss for Dense Object Detection, https://arxiv.org/abs/1708.02002
    """

    fn = staticmethod(categorical_focal_crossentropy)
    target_form = "one_hot"

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis
