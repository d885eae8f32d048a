"""The way between Keras's layout of images and signals and the one in which torch's kernels take them.

Torch wants the channels on axis 1. A permuted view of channels-last data is exactly torch's `channels_last` memory
format, so nothing is copied on the way there or back. A signal goes through the kernels for images as a row of
height 1, because torch's own kernels for signals first copy whatever is not channels-first in memory.
"""

from __future__ import annotations

import torch

_CHANNELS_SECOND = {4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
_CHANNELS_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def to_torch(x: torch.Tensor, data_format: str) -> torch.Tensor:
    """A view of `x` with the channels on axis 1 and at least two spatial axes.

    Args:
        x: `(batch, *sizes, channels)`, or `(batch, channels, *sizes)` for `"channels_first"`; 1 to 3 sizes.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        `(batch, channels, *sizes)`, with a size of 1 in front of a single size.

    Example:
        >>> to_torch(torch.zeros(2, 5, 3), "channels_last").shape
        torch.Size([2, 3, 1, 5])
    """
    last = data_format == "channels_last"
    if x.dim() == 3:
        x = x.unsqueeze(1 if last else 2)
    return x.permute(_CHANNELS_SECOND[x.dim()]) if last else x


def from_torch(y: torch.Tensor, rank: int, data_format: str) -> torch.Tensor:
    """The way back from `to_torch`.

    Args:
        y: `(batch, channels, *sizes)`, at least two sizes.
        rank: the number of spatial axes, 1 to 3.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        A view with `rank` spatial axes and the channels where `data_format` has them.

    Example:
        >>> from_torch(torch.zeros(2, 3, 1, 5), 1, "channels_last").shape
        torch.Size([2, 5, 3])
    """
    last = data_format == "channels_last"
    if last:
        y = y.permute(_CHANNELS_LAST[y.dim()])
    return y.squeeze(1 if last else 2) if rank == 1 else y


def lifted(values: tuple[int, ...], flat: int) -> tuple[int, ...]:
    """One value for each spatial axis that torch sees: `flat` for the height of 1 that a signal is given.

    Example:
        >>> lifted((3,), 1), lifted((3, 5), 1)
        ((1, 3), (3, 5))
    """
    return (flat, *values) if len(values) == 1 else values
