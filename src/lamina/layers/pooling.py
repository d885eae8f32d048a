"""Pooling: the largest or the mean value of each window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from lamina.engine.abstract import Shape
from lamina.engine.arguments import tuple_of
from lamina.kernels.pooling import average_pool, max_pool
from lamina.layers.spatial import SpatialLayer, Windowed, padding_mode
from lamina.registry import LAYERS


class Pooling(Windowed, SpatialLayer):
    """One value for each window of each channel.

    Args:
        pool_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window to the next, likewise; `None` for `pool_size`.
        padding: `"valid"` for windows inside the input only, `"same"` for `ceil(size / strides)` windows, of which
            the first and the last may reach over the edge; what lies beyond it does not take part.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        name: the layer's name.
        **kwargs: what every layer takes.
    """

    _pool: ClassVar[Callable[..., torch.Tensor]]

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, name=name, **kwargs)
        owner = type(self).__name__
        self.pool_size = tuple_of(pool_size, self.rank, "pool_size", owner)
        self.strides = self.pool_size if strides is None else tuple_of(strides, self.rank, "strides", owner)
        self.padding = padding_mode(padding, owner)

    def _window_and_dilation(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pool_size, (1,) * self.rank

    def _output_sizes(self, shape: Shape) -> list[int | None]:
        return self._window_counts(shape)

    def build(self, input_shape: Any) -> None:
        """Refuse an input that is too small, now and later, before torch does."""
        super().build(input_shape)
        self.input_spec = self._window_spec()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """One value for each window."""
        return type(self)._pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


@LAYERS.register("MaxPool1D")
class MaxPooling1D(Pooling):
    """The largest value of each window along the steps of signals.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, channels)`; `(batch, channels, new_steps)` for `"channels_first"`.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
        ShapeError: the input is smaller than the window.

    Example:
        >>> MaxPooling1D(2)(torch.arange(5.0).view(1, 5, 1)).flatten().tolist()
        [1.0, 3.0]
    """

    rank = 1
    _pool = max_pool


@LAYERS.register("MaxPool2D")
class MaxPooling2D(Pooling):
    """The largest value of each window of images.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, channels)`; channels on axis 1 for `"channels_first"`. A size `n` becomes
        `ceil(n / stride)` with `"same"` and `ceil((n - window + 1) / stride)` with `"valid"`.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
        ShapeError: the input is smaller than the window.

    Example:
        >>> MaxPooling2D()(torch.arange(16.0).view(1, 4, 4, 1)).flatten().tolist()
        [5.0, 7.0, 13.0, 15.0]
    """

    rank = 2
    _pool = max_pool


@LAYERS.register("MaxPool3D")
class MaxPooling3D(Pooling):
    """The largest value of each window of volumes.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, new_depth, new_height, new_width, channels)`; channels on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
        ShapeError: the input is smaller than the window.

    Example:
        >>> MaxPooling3D()(torch.arange(8.0).view(1, 2, 2, 2, 1)).flatten().tolist()
        [7.0]
    """

    rank = 3
    _pool = max_pool


class _AveragePooling(Pooling):
    """Keras gives the average layers no default for `pool_size`."""

    _pool = average_pool

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@LAYERS.register("AvgPool1D")
class AveragePooling1D(_AveragePooling):
    """The mean of each window along the steps of signals.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, channels)`; `(batch, channels, new_steps)` for `"channels_first"`.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
        ShapeError: the input is smaller than the window.

    Example:
        >>> AveragePooling1D(2, padding="same")(torch.arange(5.0).view(1, 5, 1)).flatten().tolist()
        [0.5, 2.5, 4.0]
    """

    rank = 1


@LAYERS.register("AvgPool2D")
class AveragePooling2D(_AveragePooling):
    """The mean of each window of images.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, channels)`; channels on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
        ShapeError: the input is smaller than the window.

    Example:
        >>> AveragePooling2D(2)(torch.arange(16.0).view(1, 4, 4, 1)).flatten().tolist()
        [2.5, 4.5, 10.5, 12.5]
    """

    rank = 2


@LAYERS.register("AvgPool3D")
class AveragePooling3D(_AveragePooling):
    """The mean of each window of volumes.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, new_depth, new_height, new_width, channels)`; channels on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
        ShapeError: the input is smaller than the window.

    Example:
        >>> AveragePooling3D(2)(torch.arange(8.0).view(1, 2, 2, 2, 1)).flatten().tolist()
        [3.5]
    """

    rank = 3


MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
