"""Global pooling: the largest or the mean value of each channel over all positions."""

from __future__ import annotations

from typing import Any

import torch

from lamina import dtypes
from lamina.engine.abstract import Shape
from lamina.kernels.pooling import masked_average
from lamina.layers.spatial import SpatialLayer, resized, spatial_axes
from lamina.registry import LAYERS


class GlobalPooling(SpatialLayer):
    """One value for each channel of each sample.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        keepdims: whether the spatial axes stay, with sizes of 1.
        **kwargs: what every layer takes.
    """

    _axes: tuple[int, ...]

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.keepdims = keepdims
        self.__dict__["_axes"] = tuple(spatial_axes(self.rank, self.data_format))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Samples and channels, with sizes of 1 between them or behind them if `keepdims`."""
        return resized(tuple(input_shape), (1,) * self.rank if self.keepdims else (), self.data_format)


class GlobalMaxPooling(GlobalPooling):
    """The largest value of each channel over `rank` spatial axes."""

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The maximum over all positions."""
        return inputs.amax(self._axes, keepdim=self.keepdims)


class GlobalAveragePooling(GlobalPooling):
    """The mean of each channel over `rank` spatial axes."""

    def _result_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The input's dtype; for whole numbers the one that the layer computes in."""
        return dtype if dtype.is_floating_point else dtypes.torch_dtype(self.compute_dtype)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The mean over all positions."""
        return inputs.mean(self._axes, keepdim=self.keepdims, dtype=self._result_dtype(inputs.dtype))


@LAYERS.register("GlobalMaxPool1D")
class GlobalMaxPooling1D(GlobalMaxPooling):
    """The largest value of each channel over all steps.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, channels)`; with `keepdims` `(batch, 1, channels)`, or `(batch, channels, 1)` for `"channels_first"`.

    Raises:
        ArgumentError: there is no such data format.
        ShapeError: the input has another number of axes.

    Example:
        >>> GlobalMaxPooling1D()(torch.tensor([[[1.0, 5.0], [3.0, 2.0]]])).tolist()
        [[3.0, 5.0]]
    """

    rank = 1


@LAYERS.register("GlobalMaxPool2D")
class GlobalMaxPooling2D(GlobalMaxPooling):
    """The largest value of each channel over an image.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, channels)`; with `keepdims` the spatial axes stay, with sizes of 1.

    Raises:
        ArgumentError: there is no such data format.
        ShapeError: the input has another number of axes.

    Example:
        >>> GlobalMaxPooling2D(keepdims=True)(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 1, 1, 3])
    """

    rank = 2


@LAYERS.register("GlobalMaxPool3D")
class GlobalMaxPooling3D(GlobalMaxPooling):
    """The largest value of each channel over a volume.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, channels)`; with `keepdims` the spatial axes stay, with sizes of 1.

    Raises:
        ArgumentError: there is no such data format.
        ShapeError: the input has another number of axes.

    Example:
        >>> GlobalMaxPooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
        torch.Size([2, 3])
    """

    rank = 3


@LAYERS.register("GlobalAvgPool1D")
class GlobalAveragePooling1D(GlobalAveragePooling):
    """The mean of each channel over all steps, or over those that a mask lets count.

    A sample of which no step counts gives values that are not numbers, as in Keras. The mask ends here.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`. The mask is `(batch, steps)`.

    Output shape:
        `(batch, channels)`; with `keepdims` `(batch, 1, channels)`, or `(batch, channels, 1)` for `"channels_first"`.

    Raises:
        ArgumentError: there is no such data format.
        ShapeError: the input has another number of axes.

    Example:
        >>> x = torch.tensor([[[1.0], [2.0], [9.0]]])
        >>> layer = GlobalAveragePooling1D()
        >>> layer(x).tolist(), layer(x, mask=torch.tensor([[True, True, False]])).tolist()
        ([[4.0]], [[1.5]])
    """

    rank = 1
    supports_masking = True
    _makes_masks = False

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the steps that count."""
        if mask is None:
            return super().call(inputs)
        (axis,) = self._axes
        inputs = inputs.to(self._result_dtype(inputs.dtype))
        return masked_average(inputs, mask.unsqueeze(3 - axis), axis, self.keepdims)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: there are no steps any more."""


@LAYERS.register("GlobalAvgPool2D")
class GlobalAveragePooling2D(GlobalAveragePooling):
    """The mean of each channel over an image.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, channels)`; with `keepdims` the spatial axes stay, with sizes of 1.

    Raises:
        ArgumentError: there is no such data format.
        ShapeError: the input has another number of axes.

    Example:
        >>> GlobalAveragePooling2D()(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 3])

    Reference:
        Min Lin, Qiang Chen and Shuicheng Yan, 2013, Network In Network, https://arxiv.org/abs/1312.4400
    """

    rank = 2


@LAYERS.register("GlobalAvgPool3D")
class GlobalAveragePooling3D(GlobalAveragePooling):
    """The mean of each channel over a volume.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, channels)`; with `keepdims` the spatial axes stay, with sizes of 1.

    Raises:
        ArgumentError: there is no such data format.
        ShapeError: the input has another number of axes.

    Example:
        >>> GlobalAveragePooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
        torch.Size([2, 3])
    """

    rank = 3


GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
