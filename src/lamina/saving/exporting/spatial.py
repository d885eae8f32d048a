"""Conversions of layers that change the spatial sizes without a window: padding, cropping, upsampling."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lamina.engine.abstract import Spec
from lamina.layers.padding import Cropping1D, Cropping2D, Cropping3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D
from lamina.layers.upsampling import UpSampling1D, UpSampling2D, UpSampling3D
from lamina.saving.exporting.builder import Builder
from lamina.saving.exporting.conversions import converts
from lamina.saving.exporting.layouts import enter, leave

_FARTHEST = 8192  # output positions for which a factor of nearest neighbours is tried


@converts(ZeroPadding1D, ZeroPadding2D, ZeroPadding3D)
def zero_padding(builder: Builder, layer: Any, x: Any) -> Any:
    """`ZeroPad1d`, `ZeroPad2d` or `ZeroPad3d`."""
    kind: Any = {1: nn.ZeroPad1d, 2: nn.ZeroPad2d, 3: nn.ZeroPad3d}[layer.rank]
    sides = tuple(side for pair in reversed(layer._added) for side in pair)
    return leave(builder, layer, builder.call(builder.path(layer), lambda: kind(sides), enter(builder, layer, x)))


@converts(Cropping1D, Cropping2D, Cropping3D)
def cropping(builder: Builder, layer: Any, x: Any) -> Any:
    """A slice."""
    parts = [slice(before or None, -after if after else None) for before, after in layer._removed]
    return leave(builder, layer, enter(builder, layer, x)[(slice(None), slice(None), *parts)])


@converts(UpSampling1D, UpSampling2D, UpSampling3D)
def upsampling(builder: Builder, layer: Any, x: Any) -> Any:
    """`Upsample`; whole numbers are repeated by a function."""
    factors, mode, spec = layer._factors, layer.interpolation, builder.specs.get(x.node)
    y = enter(builder, layer, x)
    if isinstance(spec, Spec) and not spec.dtype.is_floating_point:
        if mode == "nearest":
            for axis, factor in enumerate(factors, start=2):
                y = y.repeat_interleave(factor, dim=axis)
            return leave(builder, layer, y)
        y = builder.call(builder.path(layer), lambda: nn.Upsample(None, factors, mode), y.to(torch.float32))
        return leave(builder, layer, y.round().to(spec.dtype))
    if mode == "nearest" and not all(map(_falls_right, factors)):
        mode = "nearest-exact"
    make = nn.Upsample(scale_factor=tuple(map(float, factors)), mode=mode)
    return leave(builder, layer, builder.call(builder.path(layer), lambda: make, y))


def _falls_right(factor: int) -> bool:
    """Whether mode "nearest", which computes the index in float32, finds the right neighbour everywhere."""
    positions = torch.arange(_FARTHEST)
    share = torch.tensor(1.0 / factor, dtype=torch.float32)
    return bool(torch.equal((positions.float() * share).floor().long(), positions // factor))
