"""Accuracies: how often predictions are right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.engine.masking import get_mask
from lamina.kernels import classification
from lamina.losses.alignment import align_ranks, as_tensor
from lamina.losses.targets import TargetForm, check_shapes
from lamina.metrics.reduction import FunctionMetric
from lamina.registry import METRICS

_CLASSES = "_lamina_classes"

# The `_..._matches` give booleans, which a mean adds up without a copy in float32.


def _pair(y_true: Any, y_pred: Any, form: TargetForm, name: str) -> tuple[Tensor, Tensor]:
    """Labels and predictions on one device, in equal rank where that is in doubt, and checked."""
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true).to(y_pred.device)
    if form in ("elementwise", "binary"):
        y_true, y_pred = align_ranks(y_true, y_pred)
    elif form == "class_index" and y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true.squeeze(-1)
    wanted = y_pred.shape[:-1] if form == "class_index" else y_pred.shape
    if y_true.shape != wanted:
        check_shapes(form, name, y_true.shape, y_pred.shape)
    return y_true, y_pred


def _classes(y_pred: Tensor) -> Tensor:
    """The class with the largest prediction, found once however many metrics ask."""
    if torch.compiler.is_compiling() or y_pred.is_inference():
        return y_pred.argmax(dim=-1)
    kept: Any = getattr(y_pred, _CLASSES, None)
    if kept is None or kept[1] != y_pred._version:
        kept = (y_pred.argmax(dim=-1), y_pred._version)
        setattr(y_pred, _CLASSES, kept)
    return kept[0]


def _floats(matches: Tensor) -> Tensor:
    return matches.to(torch_dtype(config.floatx()))


def _matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = _pair(y_true, y_pred, "elementwise", "Accuracy")
    return y_true.to(y_pred.dtype) == y_pred


def _binary_matches(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    y_true, y_pred = _pair(y_true, y_pred, "binary", "BinaryAccuracy")
    return (y_pred > threshold) == y_true


def _categorical_matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = _pair(y_true, y_pred, "one_hot", "CategoricalAccuracy")
    return _classes(y_pred) == y_true.argmax(dim=-1)


def _sparse_matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = _pair(y_true, y_pred, "class_index", "SparseCategoricalAccuracy")
    return _classes(y_pred) == y_true


def _top_k_matches(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    y_true, y_pred = _pair(y_true, y_pred, "one_hot", "TopKCategoricalAccuracy")
    return _in_top_k(y_true.argmax(dim=-1), y_pred, k)


def _sparse_top_k_matches(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Tensor:
    y_true, y_pred = _pair(y_true, y_pred, "class_index", "SparseTopKCategoricalAccuracy")
    if from_sorted_ids:
        return (y_pred[..., :k] == y_true.unsqueeze(-1)).any(dim=-1)
    return _in_top_k(y_true.long(), y_pred, k)


def _in_top_k(classes: Tensor, y_pred: Tensor, k: int) -> Tensor:
    """Whether fewer than `k` predictions beat that of the right class; never, where that one is NaN."""
    right = y_pred.gather(-1, classes.unsqueeze(-1))
    return (y_pred <= right).sum(dim=-1) > y_pred.shape[-1] - k


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where label and prediction are equal, else 0.

    Args:
        y_true: the labels.
        y_pred: the predicted labels, of the same shape.

    Returns:
        One value an element.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> accuracy([1, 2, 3], [1, 2, 0])
        tensor([1., 1., 0.])
    """
    return _floats(_matches(y_true, y_pred))


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """1 where a prediction is on the label's side of the threshold, else 0.

    Args:
        y_true: labels of 0 and 1.
        y_pred: probabilities of 1, of the same shape.
        threshold: what is above it counts as 1.

    Returns:
        One value an element.

    Raises:
        TargetError: there is one label a sample for several predictions.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> binary_accuracy([1, 1, 0], [0.9, 0.4, 0.5])
        tensor([1., 0., 1.])
    """
    return _floats(_binary_matches(y_true, y_pred, threshold))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the largest prediction is that of the label's class, else 0.

    Args:
        y_true: one-hot labels.
        y_pred: one prediction a class, of the same shape.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are class numbers.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> categorical_accuracy([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.0]])
        tensor([0., 1.])
    """
    return _floats(_categorical_matches(y_true, y_pred))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the largest prediction is that of the label's class, else 0, for labels that are class numbers.

    Args:
        y_true: class numbers, of the shape of the predictions without the last axis or with 1 there.
        y_pred: one prediction a class.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are one-hot.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> sparse_categorical_accuracy([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.0]])
        tensor([0., 1.])
    """
    return _floats(_sparse_matches(y_true, y_pred))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """1 where the label's class is among the `k` largest predictions, else 0.

    Args:
        y_true: one-hot labels.
        y_pred: one prediction a class, of the same shape.
        k: how many predictions count.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are class numbers.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> top_k_categorical_accuracy([[0, 0, 1], [1, 0, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.1]], k=2)
        tensor([1., 0.])
    """
    return _floats(_top_k_matches(y_true, y_pred, k))


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Tensor:
    """1 where the label's class is among the `k` largest predictions, else 0, for class numbers.

    Args:
        y_true: class numbers, of the shape of the predictions without the last axis or with 1 there.
        y_pred: one prediction a class; or class numbers, best first.
        k: how many predictions count.
        from_sorted_ids: whether `y_pred` are class numbers, best first.

    Returns:
        One value a sample, or one a sample and step.

    Raises:
        TargetError: the labels are one-hot.
        ShapeError: the shapes differ otherwise.

    Example:
        >>> sparse_top_k_categorical_accuracy([2, 0], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.1]], k=2)
        tensor([1., 0.])
    """
    return _floats(_sparse_top_k_matches(y_true, y_pred, k, from_sorted_ids))


@METRICS.register()
class Accuracy(FunctionMetric):
    """How often predictions equal labels. In `compile`, `"accuracy"` means the kind that the shapes call for.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
        tensor(0.7500)
    """

    fn = staticmethod(_matches)
    direction = "up"


@METRICS.register()
class BinaryAccuracy(FunctionMetric):
    """How often predictions are on the label's side of a threshold.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.
        threshold: what is above it counts as 1.

    Example:
        >>> BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1.0], [0.0], [0.6]])
        tensor(0.7500)
    """

    fn = staticmethod(_binary_matches)
    direction = "up"

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = threshold


@METRICS.register()
class CategoricalAccuracy(FunctionMetric):
    """How often the largest prediction is that of the class of one-hot labels.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.0]])
        tensor(0.5000)
    """

    fn = staticmethod(_categorical_matches)
    direction = "up"


@METRICS.register()
class SparseCategoricalAccuracy(FunctionMetric):
    """How often the largest prediction is that of the class that the label names.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0.0]])
        tensor(0.5000)
    """

    fn = staticmethod(_sparse_matches)
    direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in one batch, as `FunctionMetric` does; without weights the matches are counted in one kernel.

        Args:
            y_true: class numbers.
            y_pred: the predictions.
            sample_weight: one weight a sample, or one a sample and step.
        """
        plain = sample_weight is None and get_mask(y_pred) is None and y_pred.ndim > 1
        if plain and type(self) is SparseCategoricalAccuracy:
            labels, scores = _pair(y_true, y_pred, "class_index", "SparseCategoricalAccuracy")
            labels, scores = labels.flatten(), scores.flatten(0, -2)
            if classification.suits(scores, labels):
                self.add_sum(classification.matches(scores, labels), y_pred.shape[0] / labels.shape[0], y_pred.shape[0])
                return
        super().update_state(y_true, y_pred, sample_weight)


@METRICS.register()
class TopKCategoricalAccuracy(FunctionMetric):
    """How often the class of one-hot labels is among the `k` largest predictions.

    Args:
        k: how many predictions count.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> TopKCategoricalAccuracy(k=1)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.0]])
        tensor(0.5000)
    """

    fn = staticmethod(_top_k_matches)
    direction = "up"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.k = k


@METRICS.register()
class SparseTopKCategoricalAccuracy(FunctionMetric):
    """How often the class that the label names is among the `k` largest predictions.

    Args:
        k: how many predictions count.
        name: as in `Metric`.
        dtype: as in `Metric`.
        from_sorted_ids: whether predictions are class numbers, best first.

    Example:
        >>> SparseTopKCategoricalAccuracy(k=1)([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.0]])
        tensor(0.5000)
    """

    fn = staticmethod(_sparse_top_k_matches)
    direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self.k = k
        self.from_sorted_ids = from_sorted_ids
