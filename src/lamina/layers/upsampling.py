"""Signals, images and volumes made larger by whole factors."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive, tuple_of
from lamina.errors import ArgumentError, nearest
from lamina.kernels.upsampling import INTERPOLATIONS, upsample
from lamina.layers.spatial import SpatialLayer
from lamina.registry import LAYERS


class UpSampling(SpatialLayer):
    """`rank` spatial axes made longer by whole factors.

    Args:
        size: the factor, one number for all spatial axes or one for each.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        **kwargs: what every layer takes.
    """

    _factors: tuple[int, ...]

    def __init__(self, size: Any = 2, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self._factors = tuple_of(size, self.rank, "size", type(self).__name__)
        self.size: Any = self._factors
        self.interpolation = "nearest"

    def _output_sizes(self, shape: Shape) -> list[int | None]:
        sizes = zip(self._sizes(shape), self._factors, strict=True)
        return [None if size is None else size * factor for size, factor in sizes]

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, larger."""
        return upsample(inputs, self._factors, self.data_format, self.interpolation)


@LAYERS.register()
class UpSampling1D(UpSampling):
    """Each step of signals repeated.

    Args:
        size: how often.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, channels)`.

    Output shape:
        `(batch, steps * size, channels)`.

    Raises:
        ArgumentError: `size` is not a positive whole number.

    Example:
        >>> UpSampling1D(3)(torch.arange(2.0).view(1, 2, 1)).flatten().tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(positive(size, "size", "UpSampling1D"), "channels_last", **kwargs)
        self.size = self._factors[0]


@LAYERS.register()
class UpSampling2D(UpSampling):
    """Images made larger.

    Args:
        size: the factors of height and width, or one for both.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        interpolation: `"nearest"` to repeat each pixel, `"bilinear"`, or `"bicubic"`, whose coefficient is -0.75 as
            in Keras on torch (-0.5 in Keras on TensorFlow and JAX). Torch has no `"lanczos3"` and `"lanczos5"`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        The same with height and width multiplied by `size`.

    Raises:
        ArgumentError: `size` is not one or two positive whole numbers, or there is no such interpolation.

    Example:
        >>> UpSampling2D((1, 2), interpolation="bilinear")(torch.tensor([0.0, 4.0]).view(1, 1, 2, 1)).flatten().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """

    rank = 2

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(size, data_format, **kwargs)
        name = str(interpolation).lower()
        if name not in INTERPOLATIONS:
            guess = nearest(name, INTERPOLATIONS)
            raise ArgumentError(
                "UpSampling2D has no such interpolation.",
                expected="interpolation=" + " or ".join(map(repr, INTERPOLATIONS)),
                received=f"interpolation={interpolation!r}",
                fix=f"did you mean {guess!r}?" if guess else "use 'bicubic', the smoothest that torch has",
            )
        self.interpolation = name


@LAYERS.register()
class UpSampling3D(UpSampling):
    """Each cell of volumes repeated.

    Args:
        size: the factors of depth, height and width, or one for all.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        The same with depth, height and width multiplied by `size`.

    Raises:
        ArgumentError: `size` is not one or three positive whole numbers.

    Example:
        >>> UpSampling3D()(torch.ones(1, 2, 3, 4, 5)).shape
        torch.Size([1, 4, 6, 8, 5])
    """

    rank = 3
