"""From one value a sample to one number: masks, sample weights and the reductions."""

from __future__ import annotations

import torch
from torch import Tensor

from lamina.errors import ArgumentError, ShapeError
from lamina.losses.alignment import align_ranks

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)
AVERAGES = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
"""The reductions that are one plain mean where nothing weighs the values."""


def check_reduction(reduction: str | None) -> str | None:
    """`reduction`, if it is one.

    Args:
        reduction: a member of `REDUCTIONS`.

    Returns:
        `reduction` itself.

    Raises:
        ArgumentError: it is none of them.

    Example:
        >>> check_reduction("sum")
        'sum'
    """
    if reduction not in REDUCTIONS:
        raise ArgumentError(
            "There is no such reduction.",
            expected="one of " + ", ".join(map(repr, REDUCTIONS)),
            received=repr(reduction),
            fix="reduction='sum_over_batch_size', the default, averages over the samples",
        )
    return reduction


def divide_no_nan(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and zero where the denominator is zero.

    Args:
        numerator: what is divided.
        denominator: what it is divided by.

    Returns:
        A tensor of the two's common shape; its gradients are finite too.

    Example:
        >>> divide_no_nan(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 2.0]))
        tensor([0.0000, 0.5000])
    """
    empty = denominator == 0
    return torch.where(empty, 0.0, numerator / torch.where(empty, 1.0, denominator))


def align_weights(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Values and weights of shapes that multiply sample by sample.

    Weights of lower rank belong to the leading axes of the values: `(N,)` weighs whole samples of values
    `(N, T)`.

    Args:
        values: one value a sample, or more.
        weights: their weights.

    Returns:
        `values` and `weights`; the weights of lower rank repeated over what they weigh.

    Raises:
        ShapeError: the weights do not fit.

    Example:
        >>> values, weights = align_weights(torch.ones(2, 3), torch.tensor([1.0, 0.0]))
        >>> weights
        tensor([[1., 1., 1.],
                [0., 0., 0.]])
    """
    values, weights = align_ranks(values, weights)
    if weights.shape == values.shape or values.ndim == 0:
        return values, weights
    lower = weights.ndim < values.ndim
    aligned = weights.reshape(tuple(weights.shape) + (1,) * (values.ndim - weights.ndim)) if lower else weights
    if aligned.ndim != values.ndim or any(w not in (1, v) for w, v in zip(aligned.shape, values.shape, strict=True)):
        raise ShapeError(
            "The sample weights do not fit the values that they weigh.",
            expected=f"shape {tuple(values.shape)}, or its leading axes: ({values.shape[0]},)",
            received=f"shape {tuple(weights.shape)}",
            fix="pass one weight a sample; with a mask, one a sample or one a step",
        )
    return values, (aligned.expand_as(values) if lower else aligned)


def fold_mask(weights: Tensor | None, mask: Tensor, dtype: torch.dtype, rescale: bool) -> Tensor:
    """Sample weights that are zero where `mask` is false.

    Args:
        weights: the sample weights, or `None` for equal ones.
        mask: true where a value counts.
        dtype: the dtype of the result.
        rescale: multiply by total over valid, so that a plain mean is one over the valid values.

    Returns:
        Weights of the mask's rank or higher.

    Example:
        >>> fold_mask(None, torch.tensor([True, False]), torch.float32, rescale=True)
        tensor([2., 0.])
    """
    kept = mask.to(dtype)
    if rescale:
        kept = divide_no_nan(kept, kept.mean())
    if weights is None:
        return kept
    kept, weights = align_ranks(kept, weights.to(dtype))
    short = kept.ndim - weights.ndim
    if short > 0:
        weights = weights.reshape(tuple(weights.shape) + (1,) * short)
    elif short < 0:
        kept = kept.reshape(tuple(kept.shape) + (1,) * -short)
    return weights * kept


def reduce_weighted(values: Tensor, weights: Tensor | None, mask: Tensor | None, reduction: str | None) -> Tensor:
    """Mask and weigh `values`, then reduce them.

    Args:
        values: one value a sample, or one a sample and step.
        weights: sample weights, or `None`.
        mask: true where a value counts, or `None`.
        reduction: a member of `REDUCTIONS`.

    Returns:
        A tensor without axes; the weighted values themselves for the reduction `"none"`.

    Example:
        >>> reduce_weighted(torch.tensor([1.0, 3.0]), None, torch.tensor([False, True]), "sum_over_batch_size")
        tensor(3.)
    """
    if mask is not None:
        weights = fold_mask(weights, mask, values.dtype, rescale=reduction in ("sum_over_batch_size", "mean"))
    if weights is not None:
        values, weights = align_weights(values, weights.to(values.dtype))
        values = values * weights
    if reduction is None or reduction == "none" or values.ndim == 0:
        return values
    if reduction == "sum" or 0 in values.shape:
        return values.sum()
    if reduction == "mean_with_sample_weight" and weights is not None:
        return divide_no_nan(values.sum(), weights.sum())
    return values.mean()
