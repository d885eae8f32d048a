"""Normalization over tensors whose channels may stand on any axis.

Data whose channels stand last go to torch's kernels as views, so nothing is copied on the way in or out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.errors import ShapeError
from lamina.kernels.batch_statistics import normalization, suits


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    axis: int,
    epsilon: float,
) -> Tensor:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, for statistics that are given.

    Args:
        x: a tensor of two axes or more.
        mean: `(channels,)`.
        variance: `(channels,)`.
        gamma: `(channels,)`, or `None` for 1.
        beta: `(channels,)`, or `None` for 0.
        axis: where the channels stand in `x`.
        epsilon: added to the variance.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> batch_norm(torch.ones(1, 2), torch.zeros(2), torch.ones(2), None, None, -1, 3.0).tolist()
        [[0.5, 0.5]]
    """
    y = F.batch_norm(_channels_second(x, axis), mean, variance, gamma, beta, False, 0.0, epsilon)
    return _channels_back(y, x, axis)


def batch_norm_with_own_statistics(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    axis: int,
    epsilon: float,
    residual: Tensor | None = None,
    relu: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`batch_norm` with the mean and the (biased) variance of `x` itself, then the sum with `residual`, then ReLU.

    Args:
        x: a tensor of two axes or more.
        gamma: `(channels,)`, or `None` for 1.
        beta: `(channels,)`, or `None` for 0.
        axis: where the channels stand in `x`.
        epsilon: added to the variance.
        residual: a tensor of the shape of `x` to add, or `None`.
        relu: whether what is below zero then becomes zero.

    Returns:
        The normalized tensor; the mean, `(channels,)`; and `1 / sqrt(variance + epsilon)`, `(channels,)`. The two
        statistics have the dtype of gamma and beta, without them float32 at least, and carry no gradient.

    Raises:
        ShapeError: gamma or beta has another number of channels.

    Example:
        >>> y, mean, inverse = batch_norm_with_own_statistics(torch.tensor([[1.0], [5.0]]), None, None, -1, 0.0)
        >>> y.flatten().tolist(), mean.item(), inverse.item()
        ([-1.0, 1.0], 3.0, 0.5)
    """
    for weight in (gamma, beta):
        if weight is not None and weight.shape[0] != x.shape[axis]:  # the kernel would read past its end
            raise ShapeError(
                "The weights of this normalization are for another number of channels.",
                expected=f"{weight.shape[0]} on axis {axis}",
                received=f"shape {tuple(x.shape)}",
                fix="give gamma and beta one number a channel",
            )
    if axis % x.ndim == x.ndim - 1 and suits(x, gamma, beta, residual) and x.numel():
        return normalization(x, gamma, beta, residual, relu, epsilon)
    if gamma is None and beta is None and x.dtype.itemsize < 4:  # float32 weights make for float32 statistics
        gamma = x.new_ones(x.shape[axis], dtype=torch.float32)
    # Given no running statistics, the kernel updates none: torch's would take the unbiased variance.
    y, mean, inverse = torch.native_batch_norm(_channels_second(x, axis), gamma, beta, None, None, True, 0.0, epsilon)
    y = _channels_back(y, x, axis)
    y = y if residual is None else y + residual
    return torch.relu(y) if relu else y, mean, inverse


def variance_of(inverse: Tensor, epsilon: float) -> Tensor:
    """The variance behind `inverse = 1 / sqrt(variance + epsilon)`.

    Example:
        >>> variance_of(torch.tensor([0.5]), 1.0).tolist()
        [3.0]
    """
    return inverse.reciprocal().square_().sub_(epsilon).clamp_min_(0.0)


def follow(average: Tensor, value: Tensor, momentum: float) -> None:
    """Move a running average towards a new value, in place.

    Args:
        average: what changes, to `momentum * average + (1 - momentum) * value`.
        value: of the same shape.
        momentum: the share of the old average in the new one.

    Example:
        >>> average = torch.zeros(2)
        >>> follow(average, torch.ones(2), 0.75)
        >>> average.tolist()
        [0.25, 0.25]
    """
    average.lerp_(value.to(average.dtype), 1.0 - momentum)


def masked_moments(x: Tensor, mask: Tensor, axis: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over the places that `mask` keeps.

    Args:
        x: a tensor of two axes or more.
        mask: boolean, of a shape that broadcasts to that of `x`.
        axis: where the channels stand in `x`.
        epsilon: added to the number of places, so that a mask that keeps nothing gives zeros.

    Returns:
        Mean and variance, each of as many axes as `x`, with size 1 on all but `axis`.

    Example:
        >>> x = torch.tensor([[1.0], [5.0], [99.0]])
        >>> mean, variance = masked_moments(x, torch.tensor([[True], [True], [False]]), -1, 0.0)
        >>> mean.item(), variance.item()
        (3.0, 4.0)
    """
    others = [a for a in range(x.ndim) if a != axis % x.ndim]
    kept = mask.expand(x.shape)
    count = kept.sum(others, keepdim=True).to(x.dtype) + epsilon
    mean = torch.where(kept, x, 0.0).sum(others, keepdim=True) / count
    variance = torch.where(kept, x - mean, 0.0).square().sum(others, keepdim=True) / count
    return mean, variance


def scale_and_shift(x: Tensor, gamma: Tensor | None, beta: Tensor | None, axis: int) -> Tensor:
    """`gamma * x + beta` with one gamma and one beta a channel.

    Args:
        x: any tensor.
        gamma: `(channels,)`, or `None` for 1.
        beta: `(channels,)`, or `None` for 0.
        axis: where the channels stand in `x`.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> scale_and_shift(torch.ones(1, 2), torch.tensor([2.0, 3.0]), None, -1).tolist()
        [[2.0, 3.0]]
    """
    shape = [1] * x.ndim
    shape[axis] = -1
    if gamma is not None:
        x = x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


def renorm_correction(
    mean: Tensor,
    stddev: Tensor,
    renorm_mean: Tensor,
    renorm_stddev: Tensor,
    epsilon: float,
    clipping: Mapping[str, float],
) -> tuple[Tensor, Tensor]:
    """How batch renormalization leads from a batch's statistics to the moving ones: `r` and `d`.

    Args:
        mean: of the batch, `(channels,)`.
        stddev: of the batch, `(channels,)`.
        renorm_mean: the moving mean, `(channels,)`.
        renorm_stddev: the moving standard deviation, `(channels,)`.
        epsilon: the least variance that is divided by.
        clipping: limits of `r` under `"rmin"` and `"rmax"`, of `d` under `"dmax"`; any may be missing.

    Returns:
        `stddev / renorm_stddev` and `(mean - renorm_mean) / renorm_stddev`, within the limits.

    Example:
        >>> one = torch.ones(1)
        >>> [t.item() for t in renorm_correction(3 * one, 4 * one, one, 2 * one, 0.0, {"dmax": 0.5})]
        [2.0, 0.5]

    Reference:
        Ioffe, 2017, "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models",
        https://arxiv.org/abs/1702.03275
    """
    divisor = renorm_stddev.clamp_min(epsilon**0.5)
    r, d = stddev / divisor, (mean - renorm_mean) / divisor
    low, high, limit = clipping.get("rmin"), clipping.get("rmax"), clipping.get("dmax")
    if low is not None:
        r = r.clamp_min(low)
    if high is not None:
        r = r.clamp_max(high)
    return r, d if limit is None else d.clamp(-limit, limit)


def layer_norm(x: Tensor, axes: tuple[int, ...], gamma: Tensor | None, beta: Tensor | None, epsilon: float) -> Tensor:
    """Mean 0 and variance 1 over `axes` together, then `gamma` and `beta`.

    Args:
        x: any tensor.
        axes: from 0 up, in order.
        gamma: the sizes of `axes`, or `None` for 1.
        beta: the sizes of `axes`, or `None` for 0.
        epsilon: added to the variance.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> layer_norm(torch.tensor([[1.0, 3.0]]), (1,), None, None, 0.0).tolist()
        [[-1.0, 1.0]]
    """
    last = tuple(range(x.ndim - len(axes), x.ndim))
    if axes == last:
        return F.layer_norm(x, x.shape[last[0] :], gamma, beta, epsilon)
    moved = x.movedim(axes, last)
    return F.layer_norm(moved, moved.shape[last[0] :], gamma, beta, epsilon).movedim(last, axes)


def variance_norm(x: Tensor, axes: tuple[int, ...], gamma: Tensor | None, epsilon: float) -> Tensor:
    """`gamma * x / sqrt(variance + epsilon)`, the mean left where it is.

    Args:
        x: any tensor.
        axes: over which the variance is taken, from 0 up, in order.
        gamma: the sizes of `axes`, or `None` for 1.
        epsilon: added to the variance.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> variance_norm(torch.tensor([[1.0, 5.0]]), (1,), None, 0.0).tolist()
        [[0.5, 2.5]]
    """
    y = x * torch.rsqrt(torch.var(x, axes, correction=0, keepdim=True) + epsilon)
    if gamma is None:
        return y
    return y * gamma.reshape([size if axis in axes else 1 for axis, size in enumerate(x.shape)])


def rms_norm(x: Tensor, axes: tuple[int, ...], scale: Tensor | None, epsilon: float) -> Tensor:
    """`scale * x / sqrt(mean(x ** 2) + epsilon)`, the mean taken over `axes` together.

    Args:
        x: any tensor.
        axes: from 0 up, in order.
        scale: the sizes of `axes`, or `None` for 1.
        epsilon: added to the mean square.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> rms_norm(torch.tensor([[2.0, 2.0]]), (1,), None, 0.0).tolist()
        [[1.0, 1.0]]

    Reference:
        Zhang, Sennrich, 2019, "Root Mean Square Layer Normalization", https://arxiv.org/abs/1910.07467
    """
    last = tuple(range(x.ndim - len(axes), x.ndim))
    if axes == last:
        return F.rms_norm(x, list(x.shape[last[0] :]), scale, epsilon)
    moved = x.movedim(axes, last)
    return F.rms_norm(moved, list(moved.shape[last[0] :]), scale, epsilon).movedim(last, axes)


def group_norm(x: Tensor, groups: int, gamma: Tensor | None, beta: Tensor | None, axis: int, epsilon: float) -> Tensor:
    """Mean 0 and variance 1 within each group of channels of each sample, then `gamma` and `beta`.

    Args:
        x: `(batch, ...)`, two axes or more.
        groups: how many groups; it divides the number of channels.
        gamma: `(channels,)`, or `None` for 1.
        beta: `(channels,)`, or `None` for 0.
        axis: where the channels stand in `x`.
        epsilon: added to the variance.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> group_norm(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), 2, None, None, -1, 0.0).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Reference:
        Wu, He, 2018, "Group Normalization", https://arxiv.org/abs/1803.08494
    """
    # Torch 2.13 has no gradient for a beta without a gamma, and its kernel for channels last crashes where the weights
    # alone want one, as in a model's first layer.
    trained = any(w is not None and w.requires_grad for w in (gamma, beta))
    alone = trained and torch.is_grad_enabled() and not x.requires_grad
    if alone or (gamma is None and beta is not None):
        return scale_and_shift(group_norm(x, groups, None, None, axis, epsilon), gamma, beta, axis)
    if x.ndim == 3 and axis % 3 == 2:
        # (N, T, C) as (N, C, T, 1): torch has a kernel for channels last in memory for four axes, not for three.
        y = torch.group_norm(x.unsqueeze(2).movedim(3, 1), groups, gamma, beta, epsilon)
        return y.movedim(1, 3).squeeze(2)
    return torch.group_norm(x.movedim(axis, 1), groups, gamma, beta, epsilon).movedim(1, axis)


def _channels_second(x: Tensor, axis: int) -> Tensor:
    """`x` with its channels on axis 1, where torch's kernel wants them: a view of contiguous data."""
    if _flattens(x, axis):
        return x.flatten(0, -2)
    return x.movedim(axis, 1)


def _channels_back(y: Tensor, x: Tensor, axis: int) -> Tensor:
    """Undo `_channels_second` on a result `y` for the input `x`."""
    if _flattens(x, axis):
        return y.reshape(x.shape)
    return y.movedim(1, axis)


def _flattens(x: Tensor, axis: int) -> bool:
    """Whether all axes but the channels become one; with four or five, torch knows channels last by itself."""
    return axis % x.ndim == x.ndim - 1 and x.ndim not in (4, 5)
