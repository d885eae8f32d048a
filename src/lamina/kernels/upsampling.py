"""Images and signals made larger by whole factors."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lamina.kernels.layout import from_torch, lifted, to_torch

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def upsample(
    x: torch.Tensor, factors: tuple[int, ...], data_format: str = "channels_last", interpolation: str = "nearest"
) -> torch.Tensor:
    """`x` with each spatial axis made longer by a whole factor.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`.
        factors: one for each spatial axis.
        data_format: `"channels_last"` or `"channels_first"`.
        interpolation: one of `INTERPOLATIONS`; all but `"nearest"`, which repeats values, are for images. Whole
            numbers are interpolated as floats and rounded.

    Returns:
        The layout and the dtype of `x`.

    Example:
        >>> upsample(torch.arange(2.0).view(1, 2, 1), (3,)).flatten().tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    if not x.is_floating_point():
        if interpolation == "nearest":
            return _repeated(x, factors, data_format)
        return upsample(x.to(torch.float32), factors, data_format, interpolation).round().to(x.dtype)
    images = to_torch(x, data_format)
    sizes = [size * factor for size, factor in zip(images.shape[2:], lifted(factors, 1), strict=True)]
    # "nearest" of torch rounds an index down that is computed in floats, and now and then lands on the one before.
    mode = "nearest-exact" if interpolation == "nearest" else interpolation
    y = F.interpolate(images, sizes, mode=mode)
    return from_torch(y, len(factors), data_format).to(x.dtype)


def _repeated(x: torch.Tensor, factors: tuple[int, ...], data_format: str) -> torch.Tensor:
    """Each position of each spatial axis as often as the factor says, for any dtype."""
    for axis, factor in enumerate(factors, start=1 if data_format == "channels_last" else 2):
        x = x.repeat_interleave(factor, dim=axis)
    return x
