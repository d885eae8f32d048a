"""TensorFlow's functions of images and sequences: resizing, pooling, blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from lamina.errors import LoadError
from lamina.kernels.windows import same_padding
from lamina.saving.legacy.functions import enter, is_tensor


@enter("image.resize", "image.resize_images", "compat.v1.image.resize", "compat.v1.image.resize_images")
def resize(
    images: Any, size: Any, method: Any = "bilinear", antialias: bool = False, name: Any = None, **_: Any
) -> Any:
    """Images of another size, with pixels that have their centre in the middle.

    Args:
        images: `(batch, height, width, channels)`.
        size: height and width.
        method: `"bilinear"` or `"nearest"`.
        antialias: whether a smaller image is blurred first.
        name: without a meaning.

    Raises:
        LoadError: there is no such method here.
    """
    mode = str(method).lower()
    if mode not in ("bilinear", "nearest"):
        raise LoadError("tf.image.resize has no such method here.", expected="bilinear or nearest", received=mode[:40])
    pixels = images.movedim(-1, 1)
    sizes = tuple(size)
    if mode == "nearest":
        found = F.interpolate(pixels, sizes, mode="nearest-exact")
    else:
        found = F.interpolate(pixels, sizes, mode="bilinear", align_corners=False, antialias=antialias)
    return found.movedim(1, -1)


def _windows(value: Any) -> tuple[int, int]:
    """The window or stride of two spatial axes."""
    if isinstance(value, int):
        return value, value
    values = list(value)
    if len(values) == 4:
        return values[1], values[2]
    return (values[0], values[-1])


def _pooling(pool: Callable[..., Any], fill: float) -> Callable[..., Any]:
    def call(
        input: Any = None,
        ksize: Any = 2,
        strides: Any = None,
        padding: str = "VALID",
        data_format: Any = "NHWC",
        name: Any = None,
        value: Any = None,
    ) -> Any:
        input = value if input is None else input
        if data_format not in (None, "NHWC"):
            raise LoadError("Pooling is known here with channels last.", received=f"{data_format}"[:20])
        window, step = _windows(ksize), _windows(ksize if strides is None else strides)
        x = input.movedim(-1, 1)
        sides = [(0, 0), (0, 0)]
        if str(padding).upper() == "SAME":
            if None in x.shape[2:]:
                raise LoadError("Pooling with SAME padding needs a full shape.", received=f"shape {tuple(input.shape)}")
            sides = [same_padding(*each) for each in zip(x.shape[2:], window, step, strict=True)]
        around = [side for pair in reversed(sides) for side in pair]
        if any(around):
            pooled = pool(F.pad(x, around, value=fill), window, step)
            if fill == 0:  # an average counts what lies inside only
                pooled = pooled / pool(F.pad(torch.ones_like(x), around), window, step)
        else:
            pooled = pool(x, window, step)
        return pooled.movedim(1, -1)

    return call


for _name in ("nn.max_pool2d", "nn.max_pool", "compat.v1.nn.max_pool"):
    enter(_name)(_pooling(F.max_pool2d, float("-inf")))
for _name in ("nn.avg_pool2d", "nn.avg_pool", "compat.v1.nn.avg_pool"):
    enter(_name)(_pooling(F.avg_pool2d, 0.0))


@enter("nn.depth_to_space", "compat.v1.depth_to_space")
def depth_to_space(input: Any, block_size: int, data_format: str = "NHWC", name: Any = None) -> Any:
    """Channels laid out as blocks of pixels.

    Args:
        input: `(batch, height, width, channels)`.
        block_size: the side of a block.
        data_format: where the channels are; last.
        name: without a meaning.
    """
    blocks = F.pixel_shuffle(_regrouped(input, block_size), block_size)
    return torch.movedim(blocks, 1, -1)


def _regrouped(input: Any, side: int) -> Any:
    """Channels first, those of one result side by side, as torch's blocks have them."""
    channels = input.shape[-1]
    index = torch.arange(channels).reshape(side * side, -1).T.flatten()
    return torch.movedim(torch.index_select(input, -1, index), -1, 1)


@enter("nn.space_to_depth", "compat.v1.space_to_depth")
def space_to_depth(input: Any, block_size: int, data_format: str = "NHWC", name: Any = None) -> Any:
    """Blocks of pixels laid out as channels.

    Args:
        input: `(batch, height, width, channels)`.
        block_size: the side of a block.
        data_format: where the channels are; last.
        name: without a meaning.
    """
    blocks = torch.movedim(F.pixel_unshuffle(torch.movedim(input, -1, 1), block_size), 1, -1)
    index = torch.arange(input.shape[-1] * block_size**2).reshape(input.shape[-1], -1).T.flatten()
    return torch.index_select(blocks, -1, index)


@enter("nn.dropout", "compat.v1.nn.dropout")
def dropout(x: Any, *_: Any, **__: Any) -> Any:
    """Refused while training would differ: dropout as a function has no mode.

    Args:
        x: the argument.

    Raises:
        LoadError: always.
    """
    raise LoadError(
        "The graph calls tf.nn.dropout, which drops numbers also while predicting.",
        expected="a Dropout layer",
        received=f"tf.nn.dropout of {'a tensor' if is_tensor(x) else 'a value'}",
        fix="make the model anew with layers.Dropout, and load its weights",
    )
