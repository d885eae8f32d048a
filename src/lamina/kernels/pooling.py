"""The largest or the mean value of each window, or of all positions at once, over 1 to 3 spatial axes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lamina.kernels.layout import from_torch, lifted, to_torch
from lamina.kernels.windows import same_padding


def max_pool(
    x: torch.Tensor, window: tuple[int, ...], strides: tuple[int, ...], padding: str, data_format: str = "channels_last"
) -> torch.Tensor:
    """The largest value of each window; positions beyond the edge do not take part.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`.
        window: the size of a window on each spatial axis.
        strides: the step from one window to the next on each spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The layout and the dtype of `x`. Channels-last data are not copied, and the result is contiguous, save with
        `"same"`, a stride of 1 and an even window: then it is a view, one position short of its memory.

    Example:
        >>> max_pool(torch.arange(5.0).view(1, 5, 1), (2,), (2,), "same").flatten().tolist()
        [1.0, 3.0, 4.0]
    """
    both, ceil, surplus = _edges(x, window, strides, padding, data_format)
    function = F.max_pool3d if len(window) == 3 else F.max_pool2d
    y = function(to_torch(x, data_format), lifted(window, 1), lifted(strides, 1), lifted(both, 0), ceil_mode=ceil)
    return from_torch(_without(y, surplus), len(window), data_format)


def average_pool(
    x: torch.Tensor, window: tuple[int, ...], strides: tuple[int, ...], padding: str, data_format: str = "channels_last"
) -> torch.Tensor:
    """The mean of each window; positions beyond the edge are neither added nor counted.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`, float.
        window: the size of a window on each spatial axis.
        strides: the step from one window to the next on each spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The layout and the dtype of `x`; in memory as `max_pool` has it.

    Example:
        >>> average_pool(torch.arange(5.0).view(1, 5, 1), (2,), (2,), "same").flatten().tolist()
        [0.5, 2.5, 4.0]
    """
    if len(window) == 3:
        return _average_of_volumes(x, window, strides, padding, data_format)
    both, ceil, surplus = _edges(x, window, strides, padding, data_format)
    y = F.avg_pool2d(
        to_torch(x, data_format), lifted(window, 1), lifted(strides, 1), lifted(both, 0), ceil, count_include_pad=False
    )
    return from_torch(_without(y, surplus), len(window), data_format).to(x.dtype)


def _average_of_volumes(
    x: torch.Tensor, window: tuple[int, ...], strides: tuple[int, ...], padding: str, data_format: str
) -> torch.Tensor:
    """`average_pool` of volumes: over height and width, then over depth.

    Every slice of a window counts as many positions as the next, so the mean of their means is the mean. Torch's
    kernel for volumes takes 5 to 10 times as long on channels-last data, which it copies, and none that are smaller
    than the window.
    """
    last = data_format == "channels_last"
    y = average_pool(x.flatten(0, 1), window[1:], strides[1:], padding, data_format)
    sizes = y.shape[1:3] if last else y.shape[2:]
    flat = (x.shape[1], sizes.numel(), x.shape[4]) if last else (x.shape[1], x.shape[2], sizes.numel())
    y = average_pool(y.reshape(x.shape[0], *flat), (window[0], 1), (strides[0], 1), padding, data_format)
    depth_and_channels = (y.shape[1], *sizes, y.shape[3]) if last else (y.shape[1], y.shape[2], *sizes)
    return y.reshape(x.shape[0], *depth_and_channels)


def masked_average(x: torch.Tensor, mask: torch.Tensor, axis: int, keepdims: bool) -> torch.Tensor:
    """The mean along one axis of the positions where `mask` is true.

    Args:
        x: float.
        mask: of a shape that goes with that of `x`, boolean.
        axis: the axis that disappears.
        keepdims: whether it stays, with a size of 1.

    Returns:
        `x` without `axis`; not a number where nothing counts.

    Example:
        >>> masked_average(torch.tensor([[1.0, 5.0]]), torch.tensor([[True, False]]), 1, False).tolist()
        [1.0]
    """
    mask = mask.bool()
    total = x.where(mask, 0).sum(axis, keepdim=keepdims)
    return total / mask.to(x.dtype).sum(axis, keepdim=keepdims)


def _edges(
    x: torch.Tensor, window: tuple[int, ...], strides: tuple[int, ...], padding: str, data_format: str
) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    """How torch gets `padding` without a copy: its padding, its rounding, and on which axes to drop the first window.

    Torch pads both sides alike. If the side after the axis needs one more, rounding the number of windows up lets
    the last window reach one further; that does nothing for a stride of 1, where padding one more on both sides
    gives one window too many, the first.
    """
    rank = len(window)
    if padding == "valid":
        return (0,) * rank, False, (0,) * rank
    sizes = x.shape[1:-1] if data_format == "channels_last" else x.shape[2:]
    sides = [same_padding(*each) for each in zip(sizes, window, strides, strict=True)]
    surplus = tuple(int(s == 1 and left != right) for s, (left, right) in zip(strides, sides, strict=True))
    return tuple(left + drop for (left, _), drop in zip(sides, surplus, strict=True)), True, surplus


def _without(y: torch.Tensor, surplus: tuple[int, ...]) -> torch.Tensor:
    """`y` without the first window on each axis that has one too many."""
    for axis, drop in enumerate(surplus, start=y.dim() - len(surplus)):
        if drop:
            y = y.narrow(axis, 1, y.shape[axis] - 1)
    return y
