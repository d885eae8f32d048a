"""Convolutions, plain, depthwise and transposed, over 1 to 3 spatial axes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lamina.kernels import images
from lamina.kernels.activations import ACTIVATIONS
from lamina.kernels.layout import from_torch, lifted, to_torch
from lamina.kernels.padding import zeros_around
from lamina.kernels.select import has_linear_pointwise, intel, plain_float32
from lamina.kernels.windows import extent, same_padding, transposed_crops

_POINTWISE = {"linear": "none", "relu": "relu"}  # as oneDNN calls them


def conv(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    data_format: str = "channels_last",
    dilation_rate: tuple[int, ...] | None = None,
    groups: int = 1,
    activation: str = "linear",
) -> torch.Tensor:
    """The convolution of `x` with `kernel`, the bias, and an activation.

    Images on a CPU meet a small kernel in lamina's own code, which does all of it in one pass (`kernels.images`).
    Channels-last data are not copied, save where the padding is not the same on both sides of an axis: then one
    copy makes room for the difference. The result of channels-last data is contiguous.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`, float.
        kernel: `(*window, channels // groups, filters)`; fastest when its memory is that of
            `(filters, *window, channels // groups)`.
        bias: `(filters,)` or `None`.
        strides: the step from one window to the next on each spatial axis.
        padding: `"valid"`, `"same"`, or `"causal"`, which pads only before the axis.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the step from one member of a window to the next on each spatial axis; 1 by default.
        groups: the number of blocks of channels that are convolved apart from each other.
        activation: one of `ACTIVATIONS`, applied to the result.

    Returns:
        The layout of `x` with `filters` channels.

    Example:
        >>> conv(torch.ones(2, 8, 8, 3), torch.ones(3, 3, 3, 4), None, (2, 2), "same").shape
        torch.Size([2, 4, 4, 4])
    """
    rank = kernel.dim() - 2
    dilation = dilation_rate or (1,) * rank
    plain = groups == 1 and max(dilation) == 1 and padding != "causal"
    if rank == 2 and plain and data_format == "channels_last":
        window = images.Window((strides[0], strides[1]), padding, activation=activation)
        if images.suits(x, kernel, bias, window):
            return images.convolution(x, kernel, bias, window)
        if kernel.shape[0] == kernel.shape[1] == 1 and pointwise_suits(x, kernel):
            return pointwise(x, kernel, bias, strides, activation)
    x, padded = _with_room(x, kernel.shape[:rank], strides, padding, data_format, dilation)
    weight = kernel.permute(rank + 1, rank, *range(rank))
    if rank == 1:
        weight = weight.unsqueeze(2)
    function = F.conv3d if rank == 3 else F.conv2d
    y = function(
        to_torch(x, data_format), weight, bias, lifted(strides, 1), lifted(padded, 0), lifted(dilation, 1), groups
    )
    return ACTIVATIONS[activation](from_torch(y, rank, data_format))


def pointwise_suits(x: torch.Tensor, kernel: torch.Tensor) -> bool:
    """Whether a convolution with windows of one pixel had better be a product of matrices.

    Going forward oneDNN's convolution is as fast; of the two gradients MKL's products take two thirds of the time.

    Args:
        x: `(batch, height, width, channels)`.
        kernel: `(1, 1, channels, filters)`.

    Example:
        >>> pointwise_suits(torch.zeros(1, 2, 2, 3, dtype=torch.int64), torch.zeros(1, 1, 3, 4))
        False
    """
    return plain_float32(x, kernel) and intel() and x.shape[-1] == kernel.shape[2]


def pointwise(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None,
    strides: tuple[int, ...],
    activation: str = "linear",
) -> torch.Tensor:
    """The convolution with windows of one pixel, as one product over all pixels.

    Args:
        x: `(batch, height, width, channels)`.
        kernel: `(1, 1, channels, filters)`.
        bias: `(filters,)` or `None`.
        strides: the step from one pixel to the next that is met, on either axis.
        activation: one of `ACTIVATIONS`.

    Example:
        >>> pointwise(torch.ones(1, 4, 4, 2), torch.ones(1, 1, 2, 3), None, (2, 2)).shape
        torch.Size([1, 2, 2, 3])
    """
    if max(strides) > 1:
        x = x[:, :: strides[0], :: strides[1]]
    rows, matrix = x.reshape(-1, x.shape[-1]), kernel.squeeze((0, 1))  # whose gradient is a view, unlike [0, 0]'s
    if not torch.is_grad_enabled() and activation in _POINTWISE and has_linear_pointwise():
        # One pass less than bias and activation take apart.
        y = torch.ops.mkldnn._linear_pointwise.default(rows, matrix.t(), bias, _POINTWISE[activation], [], "")
    else:
        y = ACTIVATIONS[activation](torch.mm(rows, matrix) if bias is None else torch.addmm(bias, rows, matrix))
    return y.view(*x.shape[:-1], kernel.shape[-1])


def depthwise_conv(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    data_format: str = "channels_last",
    dilation_rate: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """The convolution of each channel of `x` with kernels of its own.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`, float.
        kernel: `(*window, channels, multiplier)`; fastest when its memory is that of
            `(channels, multiplier, *window)`.
        bias: `(channels * multiplier,)` or `None`.
        strides: the step from one window to the next on each spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the step from one member of a window to the next on each spatial axis; 1 by default.

    Returns:
        The layout of `x` with `channels * multiplier` channels, those of one input channel side by side.

    Example:
        >>> depthwise_conv(torch.ones(2, 8, 8, 3), torch.ones(3, 3, 3, 2), None, (1, 1), "valid").shape
        torch.Size([2, 6, 6, 6])
    """
    channels = kernel.shape[-2]
    return conv(x, kernel.flatten(-2).unsqueeze(-2), bias, strides, padding, data_format, dilation_rate, channels)


def conv_transpose(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    output_padding: tuple[int, ...] | None = None,
    data_format: str = "channels_last",
    dilation_rate: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """The transpose of a convolution: each position of `x` adds a multiple of `kernel` to a window of the result.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`, float.
        kernel: `(*window, filters, channels)`; fastest when its memory is that of `(channels, *window, filters)`.
        bias: `(filters,)` or `None`.
        strides: the step from one window to the next on each spatial axis of the result.
        padding: `"valid"` or `"same"`.
        output_padding: positions added after each spatial axis; `None` for the default, which with `"same"` gives
            `size * stride` positions.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the step from one member of a window to the next on each spatial axis; 1 by default.

    Returns:
        The layout of `x` with `filters` channels; a view, one position short of its memory, on axes where the crop
        is not the same on both sides.

    Example:
        >>> conv_transpose(torch.ones(2, 4, 4, 3), torch.ones(3, 3, 5, 3), None, (2, 2), "same").shape
        torch.Size([2, 8, 8, 5])
    """
    rank = kernel.dim() - 2
    dilation = dilation_rate or (1,) * rank
    extra = output_padding or (None,) * rank
    crops = [
        transposed_crops(kernel.shape[axis], strides[axis], padding, extra[axis], dilation[axis])
        for axis in range(rank)
    ]
    before = tuple(crop[0] for crop in crops)
    added = tuple(max(0, crop[0] - crop[1]) for crop in crops)
    weight = kernel.permute(rank + 1, rank, *range(rank))
    if rank == 1:
        weight = weight.unsqueeze(2)
    function = F.conv_transpose3d if rank == 3 else F.conv_transpose2d
    y = function(
        to_torch(x, data_format),
        weight,
        bias,
        lifted(strides, 1),
        lifted(before, 0),
        lifted(added, 0),
        1,
        lifted(dilation, 1),
    )
    for axis, (left, right) in enumerate(crops, start=y.dim() - rank):
        if right > left:  # torch crops both sides alike and can only add after
            y = y.narrow(axis, 0, y.shape[axis] - (right - left))
    return from_torch(y, rank, data_format)


def _with_room(
    x: torch.Tensor,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    data_format: str,
    dilation: tuple[int, ...],
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """`x` with zeros where the two sides of an axis are padded unequally, and what torch is to pad on both sides."""
    rank = len(window)
    if padding == "valid":
        return x, (0,) * rank
    if padding == "causal":
        room = [(extent(w, d) - 1, 0) for w, d in zip(window, dilation, strict=True)]
    else:
        first = 1 if data_format == "channels_last" else 2
        room = [same_padding(x.shape[first + i], window[i], strides[i], dilation[i]) for i in range(rank)]
    both = tuple(min(pair) for pair in room)
    if any(before != after for before, after in room):
        rest = [side - min(pair) for pair in reversed(room) for side in pair]
        x = zeros_around(x, [0, 0, *rest] if data_format == "channels_last" else rest)
    return x, both
