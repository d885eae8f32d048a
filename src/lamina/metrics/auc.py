"""The area under a curve of two rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.errors import ArgumentError, ShapeError
from lamina.losses.reduction import divide_no_nan
from lamina.metrics.counting import ThresholdMetric, check_thresholds, prepare, spaced_evenly
from lamina.registry import METRICS


@METRICS.register()
class AUC(ThresholdMetric):
    """The area under the ROC curve, or under the curve of precision over recall.

    The curve is approximated at thresholds from 0 to 1, more of which give a better area.

    Args:
        num_thresholds: how many thresholds, the two ends included.
        curve: `"ROC"`, `"PR"` for precision over recall, or `"PRGAIN"` for their gains.
        summation_method: how to close the gaps between thresholds: `"interpolation"`, `"minoring"` (from
            below) or `"majoring"` (from above).
        name: as in `Metric`.
        dtype: as in `Metric`.
        thresholds: the thresholds between 0 and 1, in place of evenly spaced ones.
        multi_label: whether to compute one area a column, and average them.
        num_labels: how many columns there are, with `multi_label`; else the first batch says.
        label_weights: the weight of each column: of its area with `multi_label`, else of its samples.
        from_logits: whether predictions are logits, before any sigmoid.

    Raises:
        ArgumentError: an argument has none of its values.

    Example:
        >>> AUC()([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        tensor(0.7500)

    Reference:
        Davis and Goadrich, 2006, The relationship between Precision-Recall and ROC curves,
        https://doi.org/10.1145/1143844.1143874, for the interpolation of precision over recall;
        Flach and Kull, 2015, Precision-Recall-Gain Curves: PR Analysis Done Right, for the gains
    """

    direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        inner = _inner_thresholds(num_thresholds, thresholds)
        ends = config.epsilon()
        super().__init__([-ends, *inner, 1.0 + ends], name, dtype, clip=spaced_evenly([0.0, *inner, 1.0]))
        self.num_thresholds = len(inner) + 2
        self.curve = _choice("curve", str(curve).upper(), ("ROC", "PR", "PRGAIN"))
        methods = ("interpolation", "minoring", "majoring")
        self.summation_method = _choice("summation_method", str(summation_method).lower(), methods)
        self.init_thresholds = None if thresholds is None else inner
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self._label_weights = None if label_weights is None else self.add_constant(self.label_weights, torch.float64)
        self.from_logits = from_logits
        if num_labels and not multi_label:
            raise ArgumentError(
                "num_labels says how many areas there are, and one is computed.",
                expected="multi_label=True beside num_labels",
                received=f"num_labels={num_labels}, multi_label={multi_label}",
                fix="leave num_labels away, or set multi_label=True",
            )
        if not multi_label or num_labels:
            self.make_state(num_labels)

    @property
    def thresholds(self) -> list[float]:
        """The thresholds, just below 0 and just above 1 included."""
        return self._levels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.from_logits:
            y_pred = y_pred.sigmoid()
        y_true, y_pred, weights = prepare("AUC", y_true, y_pred, sample_weight)
        if self.multi_label and (y_pred.ndim != 2 or y_pred.shape[1] != (self.num_labels or y_pred.shape[1])):
            raise ShapeError(
                "AUC with multi_label takes predictions with one column a label.",
                expected=f"shape (samples, {self.num_labels or 'labels'})",
                received=f"shape {tuple(y_pred.shape)}",
                fix="make num_labels and the units of the last layer agree",
            )
        if not self._state:
            self.make_state(y_pred.shape[1])
        if self._label_weights is not None and not self.multi_label:
            columns = self._label_weights.to(y_pred).expand_as(y_pred)
            weights = columns if weights is None else weights * columns
        self.count(y_true, y_pred, weights)

    def build_from_state(self, state: Mapping[str, Tensor]) -> None:
        if "cells" in state:
            self.make_state(state["cells"].shape[-1])

    def result(self) -> Tensor:
        if not self._state:
            return torch.zeros((), dtype=torch_dtype(self.dtype))
        if self.curve == "PR" and self.summation_method == "interpolation":
            pieces = self._interpolated_precision()
        else:
            x, y = self._curve()
            pieces = (x[:-1] - x[1:]) * self._heights(y)
        areas = pieces.sum(dim=0)
        if self.multi_label:
            weights = self._label_weights
            areas = areas.mean() if weights is None else divide_no_nan((areas * weights).sum(), weights.sum())
        return areas.to(torch_dtype(self.dtype))

    def _curve(self) -> tuple[Tensor, Tensor]:
        """The curve's x and y at each threshold."""
        tp, fp, tn, fn = self.true_positives, self.false_positives, self.true_negatives, self.false_negatives
        recall = divide_no_nan(tp, tp + fn)
        if self.curve == "ROC":
            return divide_no_nan(fp, fp + tn), recall
        if self.curve == "PR":
            return recall, divide_no_nan(tp, tp + fp)
        odds = divide_no_nan(tp + fn, tn + fp)
        recall_gain = torch.where(tp == 0, 0.0, 1.0 - odds * divide_no_nan(fn, tp))
        precision_gain = torch.where(tp == 0, 1.0, 1.0 - odds * divide_no_nan(fp, tp))
        return recall_gain.clamp(min=0.0), precision_gain

    def _heights(self, y: Tensor) -> Tensor:
        """The height of the curve between each two thresholds."""
        if self.summation_method == "interpolation":
            return (y[:-1] + y[1:]) / 2.0
        return torch.minimum(y[:-1], y[1:]) if self.summation_method == "minoring" else torch.maximum(y[:-1], y[1:])

    def _interpolated_precision(self) -> Tensor:
        """The area between each two thresholds, true positives growing linearly with all positives (Davis, 2006)."""
        tp, fn = self.true_positives, self.false_negatives
        found = tp + self.false_positives
        more_tp = tp[:-1] - tp[1:]
        slope = divide_no_nan(more_tp, (found[:-1] - found[1:]).clamp(min=0.0))
        intercept = tp[1:] - slope * found[1:]
        both = (found[:-1] > 0) & (found[1:] > 0)
        ratio = torch.where(both, divide_no_nan(found[:-1], found[1:].clamp(min=0.0)), 1.0)
        return divide_no_nan(slope * (more_tp + intercept * ratio.log()), (tp[1:] + fn[1:]).clamp(min=0.0))


def _inner_thresholds(num_thresholds: int, thresholds: Sequence[float] | None) -> list[float]:
    """The thresholds between the two ends, in order."""
    if thresholds is not None:
        return sorted(check_thresholds(list(thresholds))) if len(thresholds) else []
    if num_thresholds <= 1:
        raise ArgumentError(
            "A curve needs two thresholds or more.",
            expected="num_thresholds of 2 or more",
            received=repr(num_thresholds),
            fix="num_thresholds=200, the default",
        )
    return [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)]


def _choice(argument: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ArgumentError(
            f"AUC has no such {argument}.",
            expected=" or ".join(map(repr, choices)),
            received=repr(value),
            fix=f"{argument}={choices[0]!r}, the default",
        )
    return value
