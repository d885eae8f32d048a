"""Conversions of layers with windows: convolutions and pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lamina.engine.abstract import Spec
from lamina.kernels.windows import extent, same_padding, transposed_crops
from lamina.layers.conv_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from lamina.layers.convolution import Conv1D, Conv2D, Conv3D
from lamina.layers.depthwise import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from lamina.layers.global_pooling import (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
from lamina.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from lamina.layers.spatial import spatial_axes
from lamina.saving.exporting.builder import Builder, copied
from lamina.saving.exporting.calls import traced
from lamina.saving.exporting.conversions import converts
from lamina.saving.exporting.elementwise import activate
from lamina.saving.exporting.layouts import enter, leave

Sides = list[tuple[Any, Any]]  # zeros before and after each spatial axis


def _sides(builder: Builder, layer: Any, x: Any, window: tuple[int, ...], dilation: tuple[int, ...]) -> Sides:
    """What `layer` puts around the spatial axes of `x`; numbers, or symbols where a size is not known."""
    if layer.padding == "valid":
        return [(0, 0)] * layer.rank
    if layer.padding == "causal":
        return [(extent(w, d) - 1, 0) for w, d in zip(window, dilation, strict=True)]
    spec, sides = builder.specs.get(x.node), []
    axes = spatial_axes(layer.rank, layer.data_format)
    for axis, width, stride, step in zip(axes, window, layer.strides, dilation, strict=True):
        reach, size = extent(width, step), spec.shape[axis] if isinstance(spec, Spec) else None
        if size is not None or stride == 1 or reach == 1:
            sides.append(same_padding(size or 1, width, stride, step) if reach > 1 else (0, 0))
            continue
        size = x.size(axis)
        total = (size - 1) // stride * stride + reach - size
        if reach < stride:  # then the sum may fall below zero, which whole numbers alone tell to any tracer
            total = total * ((total + stride - 1) // stride)
        before = total // 2
        sides.append((before, total - before))
    return sides


def _alike(sides: Sides) -> tuple[int, ...] | None:
    """The padding of both sides of each axis, if torch's modules have it: numbers that are alike."""
    if all(isinstance(a, int) and isinstance(b, int) and a == b for a, b in sides):
        return tuple(a for a, _ in sides)
    return None


def _padded(y: Any, sides: Sides, value: float = 0.0) -> Any:
    """`y`, channels second, with room around its spatial axes."""
    return F.pad(y, [side for pair in reversed(sides) for side in pair], value=value)


def _convolve(
    builder: Builder,
    path: str,
    y: Any,
    sides: Sides,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Any:
    """A `Conv` module on `y`, channels second; `weight` is in torch's order."""
    rank = weight.dim() - 2
    padding = _alike(sides)
    if padding is None:
        y, padding = _padded(y, sides), (0,) * rank
    known = builder.member(path)
    if known is not None and known.padding != padding:  # called before, on data of another size
        y = F.pad(y, [side for pair in reversed(padding) for side in (pair, pair)])
        own_bias = None if bias is None else builder.read(f"{path}.bias", bias)
        own = builder.read(f"{path}.weight", weight)
        return getattr(F, f"conv{rank}d")(y, own, own_bias, strides, 0, dilation, groups)

    def make() -> nn.Module:
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
        outputs, inputs, *window = weight.shape
        module = kind(
            inputs * groups, outputs, tuple(window), strides, padding, dilation, groups, bias is not None, device="meta"
        )  # type: ignore[arg-type]
        module.weight = weight  # type: ignore[assignment]
        if bias is not None:
            module.bias = copied(bias)  # type: ignore[assignment]
        return module

    return builder.call(path, make, y)


def _filters_first(kernel: torch.Tensor) -> torch.Tensor:
    """A kernel as torch has it."""
    rank = kernel.dim() - 2
    return copied(kernel, rank + 1, rank, *range(rank))


def _depthwise(kernel: torch.Tensor) -> torch.Tensor:
    """A kernel `(*window, channels, multiplier)` as torch has it: `(channels * multiplier, 1, *window)`."""
    rank = kernel.dim() - 2
    value = kernel.detach().flatten(-2).unsqueeze(-2)
    value = value.permute(rank + 1, rank, *range(rank)).clone(memory_format=torch.contiguous_format)
    return nn.Parameter(value, requires_grad=kernel.requires_grad)


@converts(Conv1D, Conv2D, Conv3D)
def convolution(builder: Builder, layer: Any, x: Any) -> Any:
    """`Conv1d`, `Conv2d` or `Conv3d`, and the activation."""
    path = builder.path(layer)
    sides = _sides(builder, layer, x, layer.kernel_size, layer.dilation_rate)
    weight = _filters_first(layer.kernel)
    y = _convolve(builder, path, enter(builder, layer, x), sides, weight, layer.bias, layer.strides,
                  layer.dilation_rate, layer.groups)  # fmt: skip
    return activate(builder, layer.activation, leave(builder, layer, y), owner=path)


@converts(DepthwiseConv1D, DepthwiseConv2D)
def depthwise(builder: Builder, layer: Any, x: Any) -> Any:
    """A `Conv` module with a group for each channel, and the activation."""
    path = builder.path(layer)
    sides = _sides(builder, layer, x, layer.kernel_size, layer.dilation_rate)
    y = _convolve(builder, path, enter(builder, layer, x), sides, _depthwise(layer.kernel), layer.bias, layer.strides,
                  layer.dilation_rate, layer.kernel.shape[-2])  # fmt: skip
    return activate(builder, layer.activation, leave(builder, layer, y), owner=path)


@converts(SeparableConv1D, SeparableConv2D)
def separable(builder: Builder, layer: Any, x: Any) -> Any:
    """Two `Conv` modules, `depthwise` and `pointwise`, and the activation."""
    path, ones = builder.path(layer), (1,) * layer.rank
    sides = _sides(builder, layer, x, layer.kernel_size, layer.dilation_rate)
    weight = _depthwise(layer.depthwise_kernel)
    y = _convolve(builder, f"{path}.depthwise", enter(builder, layer, x), sides, weight, None, layer.strides,
                  layer.dilation_rate, layer.depthwise_kernel.shape[-2])  # fmt: skip
    weight = _filters_first(layer.pointwise_kernel)
    y = _convolve(builder, f"{path}.pointwise", y, [(0, 0)] * layer.rank, weight, layer.bias, ones, ones, 1)
    return activate(builder, layer.activation, leave(builder, layer, y), owner=path)


@converts(Conv1DTranspose, Conv2DTranspose, Conv3DTranspose)
def transposed(builder: Builder, layer: Any, x: Any) -> Any:
    """A `ConvTranspose` module, a cut where torch has no such padding, and the activation."""
    path, rank, bias = builder.path(layer), layer.rank, layer.bias
    extra = layer.output_padding or (None,) * rank
    each = zip(layer.kernel_size, layer.strides, extra, layer.dilation_rate, strict=True)
    crops = [transposed_crops(window, stride, layer.padding, more, step) for window, stride, more, step in each]

    def make() -> nn.Module:
        kind = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[rank]
        *window, filters, channels = layer.kernel.shape
        module = kind(
            channels, filters, tuple(window), layer.strides, tuple(a for a, _ in crops),
            tuple(max(0, a - b) for a, b in crops), 1, bias is not None, layer.dilation_rate, device="meta",
        )  # type: ignore[arg-type]  # fmt: skip
        module.weight = _filters_first(layer.kernel)  # type: ignore[assignment]
        if bias is not None:
            module.bias = copied(bias)  # type: ignore[assignment]
        return module

    y = builder.call(path, make, enter(builder, layer, x))
    if any(b > a for a, b in crops):  # torch crops both sides alike
        y = y[(slice(None), slice(None), *(slice(None, a - b) if b > a else slice(None) for a, b in crops))]
    return activate(builder, layer.activation, leave(builder, layer, y), owner=path)


# ---------------------------------------------------------------------- pooling
@converts(MaxPooling1D, MaxPooling2D, MaxPooling3D)
def max_pooling(builder: Builder, layer: Any, x: Any) -> Any:
    """`MaxPool1d`, `MaxPool2d` or `MaxPool3d`."""
    kind: Any = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[layer.rank]
    sides, spec = _sides(builder, layer, x, layer.pool_size, (1,) * layer.rank), builder.specs.get(x.node)
    if layer.rank == 1 and isinstance(spec, Spec) and None in spec.shape[1:]:
        # A program of torch.export would keep the number of steps that MaxPool1d met (torch 2.13).
        window, step = (1, *layer.pool_size), (1, *layer.strides)
        y = _padded(enter(builder, layer, x), sides, -torch.inf).unsqueeze(2)
        y = builder.call(builder.path(layer), lambda: nn.MaxPool2d(window, step), y).squeeze(2)
        return leave(builder, layer, y)
    return _pooled(builder, layer, x, sides, lambda padding: kind(layer.pool_size, layer.strides, padding), _lowest)


def _lowest(y: Any, sides: Sides, pool: Callable[[Any], Any]) -> Any:
    """What lies beyond the edge is never the largest."""
    return pool(_padded(y, sides, -torch.inf))


@converts(AveragePooling1D, AveragePooling2D, AveragePooling3D)
def average_pooling(builder: Builder, layer: Any, x: Any) -> Any:
    """`AvgPool1d`, `AvgPool2d` or `AvgPool3d`, which do not count what lies beyond the edge."""
    kind: Any = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}[layer.rank]
    sides = _sides(builder, layer, x, layer.pool_size, (1,) * layer.rank)

    def make(padding: tuple[int, ...]) -> nn.Module:
        return kind(layer.pool_size, layer.strides, padding, count_include_pad=False)

    return _pooled(builder, layer, x, sides, make, _counted)


def _counted(y: Any, sides: Sides, pool: Callable[[Any], Any]) -> Any:
    """The mean with zeros beyond the edge, over the share that lies within."""
    return pool(_padded(y, sides)) / pool(_padded(torch.ones_like(y[:1, :1]), sides))


def _pooled(
    builder: Builder,
    layer: Any,
    x: Any,
    sides: Sides,
    make: Callable[[tuple[int, ...]], nn.Module],
    beyond: Callable[..., Any],
) -> Any:
    """A pooling module; `beyond` says how it is used where the two sides of an axis differ."""
    path, padding = builder.path(layer), _alike(sides)
    known = builder.member(path)
    if known is not None and padding is not None:
        before = known.padding if isinstance(known.padding, tuple) else (known.padding,) * layer.rank
        padding = padding if before == padding else None
    y = enter(builder, layer, x)
    if padding is not None:
        return leave(builder, layer, builder.call(path, lambda: make(padding), y))
    if known is not None and any(known.padding if isinstance(known.padding, tuple) else (known.padding,)):
        path = f"{path}_of_other_sizes"
    y = beyond(y, sides, lambda z: builder.call(path, lambda: make((0,) * layer.rank), z))
    return leave(builder, layer, y)


@converts(GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D)
def global_max_pooling(builder: Builder, layer: Any, x: Any) -> Any:
    """The maximum over all positions, as a function: `AdaptiveMaxPool` has another gradient where there are two."""
    return _over_positions(builder, layer, x, lambda y, axes: y.amax(axes, keepdim=layer.keepdims))


@converts(GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D)
def global_average_pooling(builder: Builder, layer: Any, x: Any, mask: Any = None) -> Any:
    """`AdaptiveAvgPool`, or the mean of whole numbers as a function."""
    if mask is not None:
        return traced(builder, layer, x, mask=mask)
    spec = builder.specs.get(x.node)
    if isinstance(spec, Spec) and not spec.dtype.is_floating_point:
        kind = layer._result_dtype(spec.dtype)
        return _over_positions(builder, layer, x, lambda y, axes: y.mean(axes, keepdim=layer.keepdims, dtype=kind))
    module: Any = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[layer.rank]

    def mean(y: Any, axes: tuple[int, ...]) -> Any:
        y = builder.call(builder.path(layer), lambda: module(1), y)
        return y if layer.keepdims else y.flatten(1)

    return _over_positions(builder, layer, x, mean)


def _over_positions(builder: Builder, layer: Any, x: Any, function: Callable[..., Any]) -> Any:
    y = function(enter(builder, layer, x), tuple(range(2, layer.rank + 2)))
    return leave(builder, layer, y) if layer.keepdims else y
