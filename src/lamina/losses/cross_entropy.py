"""Cross-entropies: binary, categorical, and sparse."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.activations.logits import logits_of
from lamina.engine.masking import get_mask, set_mask
from lamina.kernels import classification
from lamina.losses.base import FunctionLoss
from lamina.losses.labels import binary_pair, binary_values, class_index_pair, one_hot_pair, probabilities
from lamina.losses.reduction import AVERAGES
from lamina.losses.targets import check_label_range
from lamina.registry import LOSSES

# A class number that no label has: F.cross_entropy leaves out -100 by default, which here is a wrong label.
_NO_CLASS = -(2**31)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """Cross-entropy of yes-or-no labels, averaged over one axis.

    Args:
        y_true: labels from 0 to 1.
        y_pred: probabilities of 1, or logits; the shape of the labels.
        from_logits: whether `y_pred` are logits, before any sigmoid.
        label_smoothing: from 0 to 1; how much of each label is replaced by 0.5.
        axis: the axis to average over.

    Returns:
        One value a sample.

    Raises:
        TargetError: there is one label a sample for several predictions.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> binary_crossentropy([[1.0], [0.0]], [[0.9], [0.9]])
        tensor([0.1054, 2.3026])
    """
    y_true, y_pred = binary_pair(y_true, y_pred, label_smoothing, "binary_crossentropy")
    return binary_values(y_true, y_pred, from_logits).mean(dim=axis)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """Cross-entropy of one-hot labels.

    Args:
        y_true: one-hot labels, or probabilities of the classes.
        y_pred: probabilities, which are scaled to sum to 1, or logits; the shape of the labels.
        from_logits: whether `y_pred` are logits, before any softmax.
        label_smoothing: from 0 to 1; how much of each label is spread evenly over the classes.
        axis: the class axis.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are class numbers.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> categorical_crossentropy([[0, 1, 0]], [[0.05, 0.95, 0.0]])
        tensor([0.0513])
    """
    y_pred, from_logits = _scores(y_pred, from_logits, axis)
    y_true, y_pred = one_hot_pair(y_true, y_pred, label_smoothing, axis, "categorical_crossentropy")
    if from_logits:
        logs = F.log_softmax(y_pred, dim=axis)
    else:
        logs = probabilities(y_pred / y_pred.sum(dim=axis, keepdim=True)).log()
    return -(y_true * logs).sum(dim=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """Cross-entropy of labels that are class numbers.

    Args:
        y_true: class numbers from 0, of the shape of the predictions without the class axis or with 1 there.
        y_pred: probabilities, which are scaled to sum to 1, or logits.
        from_logits: whether `y_pred` are logits, before any softmax.
        ignore_class: a class number whose samples count for nothing, such as the void of a segmentation map;
            the result then carries a mask that is false there.
        axis: the class axis of `y_pred`.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are one-hot, or a label is no class.
        ShapeError: the shapes do not go together.

    Example:
        >>> sparse_categorical_crossentropy([1, 2], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        tensor([0.0513, 2.3026])
    """
    y_pred, from_logits = _scores(y_pred, from_logits, axis)
    y_true, y_pred = class_index_pair(y_true, y_pred, axis, "sparse_categorical_crossentropy")
    valid = None if ignore_class is None else y_true != ignore_class
    try:
        if from_logits:
            values = _from_logits(y_true, y_pred, _NO_CLASS if ignore_class is None else ignore_class, axis)
        else:
            labels = y_true if valid is None else torch.where(valid, y_true, 0)
            chosen = y_pred.gather(axis, labels.unsqueeze(axis)).squeeze(axis)
            values = -probabilities(chosen / y_pred.sum(dim=axis)).log()
    except (IndexError, RuntimeError):
        _name_wrong_label(y_true, y_pred.shape[axis], ignore_class)
        raise
    if valid is None:
        return values
    return set_mask(values if from_logits else torch.where(valid, values, 0.0), valid)


def _scores(y_pred: Any, from_logits: bool, axis: int) -> tuple[Any, bool]:
    """Predictions and whether they are logits: the logits behind probabilities, where they are known.

    They give the same loss and gradient in fewer passes, also where a probability has been rounded to 0.
    """
    if not from_logits and axis in (-1, getattr(y_pred, "ndim", 0) - 1):
        logits = logits_of(y_pred)
        if logits is not None:
            return logits.to(y_pred.dtype), True
    return y_pred, from_logits


def _from_logits(y_true: Tensor, logits: Tensor, ignored: int, axis: int) -> Tensor:
    """The values over logits; the rows are laid out as (rows, classes), which torch's kernel likes best."""
    if axis not in (-1, logits.ndim - 1):
        logits = logits.movedim(axis, -1)
    rows = logits.reshape(-1, logits.shape[-1])
    return F.cross_entropy(rows, y_true.reshape(-1), ignore_index=ignored, reduction="none").reshape(y_true.shape)


def _binary_mean(y_true: Any, y_pred: Any, from_logits: bool, label_smoothing: float, axis: int) -> Tensor:
    y_true, y_pred = binary_pair(y_true, y_pred, label_smoothing, "binary_crossentropy")
    return binary_values(y_true, y_pred, from_logits, reduction="mean")


def _categorical_mean(y_true: Any, y_pred: Any, from_logits: bool, label_smoothing: float, axis: int) -> Tensor | None:
    y_pred, from_logits = _scores(y_pred, from_logits, axis)
    if not from_logits or y_pred.ndim != 2 or axis not in (-1, 1):
        return None
    y_true, y_pred = one_hot_pair(y_true, y_pred, label_smoothing, axis, "categorical_crossentropy")
    return F.cross_entropy(y_pred, y_true)


def _sparse_mean(y_true: Any, y_pred: Any, from_logits: bool, ignore_class: int | None, axis: int) -> Tensor | None:
    y_pred, from_logits = _scores(y_pred, from_logits, axis)
    if not from_logits or axis not in (-1, y_pred.ndim - 1) or ignore_class is not None:
        return None
    y_true, y_pred = class_index_pair(y_true, y_pred, axis, "sparse_categorical_crossentropy")
    y_pred, y_true = y_pred.flatten(0, -2), y_true.flatten()
    try:
        if classification.suits(y_pred, y_true):
            return classification.cross_entropy(y_pred, y_true)
        return F.cross_entropy(y_pred, y_true, ignore_index=_NO_CLASS)
    except (IndexError, RuntimeError):
        _name_wrong_label(y_true, y_pred.shape[axis], None)
        raise


def _name_wrong_label(y_true: Tensor, num_classes: int, ignore_class: int | None) -> None:
    """Where torch's kernel failed: say which label is no class, if that is why."""
    if type(y_true) is Tensor:
        check_label_range(y_true, num_classes, ignore_class=ignore_class)


@LOSSES.register("bce", "BCE")
class BinaryCrossentropy(FunctionLoss):
    """Cross-entropy of yes-or-no labels: one sigmoid unit, or several independent ones.

    Args:
        from_logits: whether predictions are logits, before any sigmoid.
        label_smoothing: from 0 to 1; how much of each label is replaced by 0.5.
        axis: the axis to average over.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> BinaryCrossentropy()([[1.0], [0.0]], [[0.9], [0.9]])
        tensor(1.2040)
        >>> BinaryCrossentropy(from_logits=True)([1.0, 0.0], torch.zeros(2, 1))
        tensor(0.6931)
    """

    fn = staticmethod(binary_crossentropy)
    mean_fn = staticmethod(_binary_mean)
    target_form = "binary"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@LOSSES.register()
class CategoricalCrossentropy(FunctionLoss):
    """Cross-entropy of one-hot labels and one prediction a class.

    Args:
        from_logits: whether predictions are logits, before any softmax.
        label_smoothing: from 0 to 1; how much of each label is spread evenly over the classes.
        axis: the class axis.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> CategoricalCrossentropy()([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        tensor(1.1769)
    """

    fn = staticmethod(categorical_crossentropy)
    mean_fn = staticmethod(_categorical_mean)
    target_form = "one_hot"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@LOSSES.register()
class SparseCategoricalCrossentropy(FunctionLoss):
    """Cross-entropy of labels that are class numbers and one prediction a class.

    Args:
        from_logits: whether predictions are logits, before any softmax.
        ignore_class: a class number whose samples count for nothing.
        reduction: as in `Loss`.
        axis: the class axis of the predictions.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> SparseCategoricalCrossentropy()([1, 2], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
        tensor(1.1769)
    """

    fn = staticmethod(sparse_categorical_crossentropy)
    mean_fn = staticmethod(_sparse_mean)
    target_form = "class_index"
    integer_targets = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of a batch, as `Loss` has it; the usual case goes to its kernel past everything else."""
        if sample_weight is None and type(self) is SparseCategoricalCrossentropy and self.reduction in AVERAGES:
            scores = y_pred if self.from_logits else logits_of(y_pred)
            usual = self.ignore_class is None and self.dtype == "float32" and get_mask(y_pred) is None
            usual = usual and type(scores) is type(y_true) is Tensor and self.axis in (-1, scores.ndim - 1)
            if usual and classification.suits(scores, y_true):
                with contextlib.suppress(IndexError):  # a wrong label, which the way below names
                    return classification.cross_entropy(scores, y_true)
        return super().__call__(y_true, y_pred, sample_weight)


bce = BCE = binary_crossentropy
