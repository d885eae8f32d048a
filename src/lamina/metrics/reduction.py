"""Sums and means over batches, and the base of those metrics that are the mean of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from lamina.dtypes import torch_dtype
from lamina.engine.masking import get_mask
from lamina.losses.reduction import align_weights, divide_no_nan, fold_mask
from lamina.metrics.base import Metric
from lamina.registry import METRICS

_SHORT = (torch.float16, torch.bfloat16)


def weigh(values: Tensor, sample_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Values times their weights, and the weights, both of the shape of the values.

    Args:
        values: one value a sample, or more; a mask that rides on them is folded into the weights.
        sample_weight: their weights.

    Returns:
        The weighted values and the weights.

    Raises:
        ShapeError: the weights do not fit.

    Example:
        >>> weigh(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]))
        (tensor([0., 4.]), tensor([0., 2.]))
    """
    mask = get_mask(values)
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    weights = sample_weight.to(values.dtype)
    if mask is not None:
        weights = fold_mask(weights, mask, values.dtype, rescale=False)
    values, weights = align_weights(values, weights)
    weighted = values * weights
    return weighted, weights.expand_as(weighted)


@METRICS.register()
class Sum(Metric):
    """The sum of values, each times its weight.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> total = Sum()
        >>> total.update_state([1.0, 3.0]); total.update_state([5.0], sample_weight=[2.0])
        >>> total.result()
        tensor(14.)
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self._total = self.add_variable((1,), dtype=torch.float64, name="total")

    @property
    def total(self) -> Tensor:
        """The sum so far, in float64."""
        return self._total[0]

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add up some values.

        Args:
            values: a tensor of any shape, or a number.
            sample_weight: one weight a value, or one for each first index.

        Raises:
            ShapeError: the weights do not fit.
        """
        if sample_weight is not None:
            values, _ = weigh(values, sample_weight)
        self._total.add_(values.float().sum() if values.dtype in _SHORT else values.sum())

    def result(self) -> Tensor:
        return self.total.to(torch_dtype(self.dtype), copy=True)  # not a view of the state


@METRICS.register()
class Mean(Metric):
    """The mean of values, each weighing as much as its weight.

    Args:
        name: as in `Metric`.
        dtype: as in `Metric`.

    Example:
        >>> mean = Mean()
        >>> mean.update_state([1.0, 3.0]); mean.update_state([5.0], sample_weight=[2.0])
        >>> mean.result()
        tensor(3.5000)
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        # One element rather than none: torch.compile takes a float64 tensor without axes for a Python number,
        # and what is added to it is lost. float64, because float32 cannot count beyond 2**24.
        self._total = self.add_variable((1,), dtype=torch.float64, name="total")
        self._count = self.add_variable((1,), dtype=torch.float64, name="count")

    @property
    def total(self) -> Tensor:
        """The weighted sum so far, in float64."""
        return self._total[0]

    @property
    def count(self) -> Tensor:
        """The sum of weights so far, in float64."""
        return self._count[0]

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in some values.

        Args:
            values: a tensor whose first axis is that of the samples, or a number; further axes are averaged.
            sample_weight: one weight a value, or one a sample.

        Raises:
            ShapeError: the weights do not fit.
        """
        self.accumulate(values, sample_weight)

    def accumulate(self, values: Tensor, sample_weight: Tensor | None) -> None:
        """Add values and weights to the state; for a subclass's `update_state`.

        Args:
            values: one value a sample, or more; booleans count as 0 and 1.
            sample_weight: their weights, or `None`.

        Raises:
            ShapeError: the weights do not fit.
        """
        if sample_weight is None:
            samples = values.shape[0] if values.ndim else 1
            values = values.float() if values.dtype in _SHORT else values
            self._add(values, None, samples)
            self._count.add_(samples)
            return
        if sample_weight.ndim == 0:
            self._total.add_((values.float().mean() if values.ndim else values) * sample_weight)
            self._count.add_(sample_weight)
            return
        weighted, weights = weigh(values, sample_weight)
        samples = weighted.shape[0] if weighted.ndim else 1
        self._add(weighted, weights, samples)

    def add_sum(self, total: Tensor, factor: float, samples: int) -> None:
        """Add what a batch has in all; for those who have it.

        Args:
            total: the sum over the batch, of one number.
            factor: what to multiply it by, as the number of samples if it is their mean.
            samples: the number of samples.
        """
        self._place([total])
        self._total.add_(total, alpha=factor)
        self._count.add_(samples)

    def _add(self, values: Tensor, weights: Tensor | None, samples: int) -> None:
        """Add per-sample means: of values of shape (samples, ...) the sum over what one sample holds."""
        share = samples / values.numel() if values.ndim > 1 and values.numel() else 1
        self._total.add_(values.sum(), alpha=share)
        if weights is not None:
            self._count.add_(weights.sum(), alpha=share)

    def result(self) -> Tensor:
        return divide_no_nan(self._total, self._count)[0].to(torch_dtype(self.dtype))


class FunctionMetric(Mean):
    """The mean of a function of labels and predictions.

    A subclass names the function as `fn`, and stores an attribute for each parameter that the function has
    beside the first two. A mask that rides on the predictions says which values count.

    Args:
        name: as in `Metric`; by default the class name in snake_case.
        dtype: as in `Metric`.

    Example:
        >>> class ExactMatches(FunctionMetric):
        ...     fn = staticmethod(lambda y_true, y_pred: y_true == y_pred)
        >>> metric = ExactMatches()
        >>> metric.update_state([1, 2, 3, 4], [1, 2, 3, 0])
        >>> metric.name, metric.result()
        ('exact_matches', tensor(0.7500))
    """

    fn: ClassVar[Callable[..., Tensor]]
    _settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "fn" in cls.__dict__:
            cls._settings = tuple(inspect.signature(cls.fn).parameters)[2:]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in one batch.

        Args:
            y_true: the labels.
            y_pred: the predictions.
            sample_weight: one weight a sample, or one a sample and step.

        Raises:
            ShapeError: labels, predictions and weights do not fit each other.
            TargetError: the labels are not of the form that the metric takes.
        """
        mask = get_mask(y_pred)
        if y_pred.dtype in _SHORT:
            y_pred = y_pred.float()
        values = self.sample_values(y_true, y_pred)
        if mask is not None:
            sample_weight = fold_mask(sample_weight, mask, torch.float32, rescale=False)
        self.accumulate(values, sample_weight)

    def sample_values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """What the function gives.

        Args:
            y_true: the labels.
            y_pred: the predictions.

        Returns:
            One value a sample, or more.
        """
        return type(self).fn(y_true, y_pred, **{name: getattr(self, name) for name in self._settings})
