"""F-scores: the harmonic mean of precision and recall."""

from __future__ import annotations

from collections.abc import Mapping
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
class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall, for one-hot or multi-label predictions.

    Args:
        average: `None` for one score a class; `"micro"` for one from all counts together; `"macro"` for the
            mean over classes; `"weighted"` for their mean weighted by how many true labels each has.
        beta: how many times as much recall counts as precision.
        threshold: predictions above it are positive; `None` makes the largest of each sample positive.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: an argument has none of its values.

    Example:
        >>> FBetaScore(beta=2.0, threshold=0.5)([[1, 1, 1], [1, 0, 0], [1, 1, 0]],
        ...                                     [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]])
        tensor([0.3846, 0.9091, 0.8333])

    Reference:
        van Rijsbergen, 1979, Information Retrieval, chapter 7
    """

    direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise _wrong("average", "None, 'micro', 'macro' or 'weighted'", average, "average='macro'")
        if not isinstance(beta, (int, float)) or beta <= 0:
            raise _wrong("beta", "a number above 0", beta, "beta=1.0, for the F1 score")
        if threshold is not None and not (isinstance(threshold, (int, float)) and 0 < threshold <= 1):
            raise _wrong("threshold", "None, or a number above 0 and not above 1", threshold, "threshold=0.5")
        self.average = average
        self.beta = beta
        self.threshold = threshold

    def _build(self, classes: int) -> None:
        size = (1,) if self.average == "micro" else (classes,)
        self.true_positives = self.add_variable(size, dtype=torch.float64, name="true_positives")
        self.false_positives = self.add_variable(size, dtype=torch.float64, name="false_positives")
        self.false_negatives = self.add_variable(size, dtype=torch.float64, name="false_negatives")

    def build_from_state(self, state: Mapping[str, Tensor]) -> None:
        if "true_positives" in state:
            self._build(state["true_positives"].shape[0])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if y_pred.ndim != 2 or y_true.shape != y_pred.shape:
            raise ShapeError(
                f"{type(self).__name__} takes labels and predictions with one column a class.",
                expected="two of shape (samples, classes)",
                received=f"labels of shape {tuple(y_true.shape)}, predictions of shape {tuple(y_pred.shape)}",
                fix="pass one-hot labels: lamina.utils.to_categorical(y, classes)",
            )
        if not self._state:
            self._build(y_pred.shape[1])
        if self.threshold is None:
            chosen = (y_pred >= y_pred.amax(dim=-1, keepdim=True)) & (y_pred.abs() > 1e-9)
        else:
            chosen = y_pred > self.threshold
        y_true, y_pred = y_true.double(), chosen.double()
        weights = None
        if sample_weight is not None:
            weights = align_weights(y_true, sample_weight.double())[1]
        self.true_positives.add_(self._total(y_pred * y_true, weights))
        self.false_positives.add_(self._total(y_pred * (1.0 - y_true), weights))
        self.false_negatives.add_(self._total((1.0 - y_pred) * y_true, weights))

    def _total(self, counts: Tensor, weights: Tensor | None) -> Tensor:
        counts = counts if weights is None else counts * weights
        return counts.sum() if self.average == "micro" else counts.sum(dim=0)

    def result(self) -> Tensor:
        if not self._state:
            return torch.zeros((), dtype=torch_dtype(self.dtype))
        tiny = config.epsilon()
        tp = self.true_positives
        precision = tp / (tp + self.false_positives + tiny)
        recall = tp / (tp + self.false_negatives + tiny)
        square = float(self.beta) ** 2
        scores = (1.0 + square) * precision * recall / (square * precision + recall + tiny)
        if self.average == "weighted":
            present = tp + self.false_negatives
            scores = (scores * present / (present.sum() + tiny)).sum()
        elif self.average is not None:
            scores = scores.mean()
        return scores.to(torch_dtype(self.dtype))


@METRICS.register()
class F1Score(FBetaScore):
    """The harmonic mean of precision and recall, for one-hot or multi-label predictions.

    Args:
        average: `None` for one score a class; `"micro"` for one from all counts together; `"macro"` for the
            mean over classes; `"weighted"` for their mean weighted by how many true labels each has.
        threshold: predictions above it are positive; `None` makes the largest of each sample positive.
        name: as in `Metric`.
        dtype: as in `Metric`.

    Raises:
        ArgumentError: an argument has none of its values.

    Example:
        >>> F1Score(threshold=0.5)([[1, 1, 1], [1, 0, 0], [1, 1, 0]],
        ...                        [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]])
        tensor([0.5000, 0.8000, 0.6667])

    Reference:
        van Rijsbergen, 1979, Information Retrieval, chapter 7
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)


def _wrong(argument: str, expected: str, received: Any, fix: str) -> ArgumentError:
    return ArgumentError(f"An F-score has no such {argument}.", expected=expected, received=repr(received), fix=fix)
