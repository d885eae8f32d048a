"""Convolutions of each channel apart, alone and followed by a mixture of the channels."""

from __future__ import annotations

from typing import Any

import torch

from lamina import constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive
from lamina.kernels.conv import conv, depthwise_conv
from lamina.layers.convolution_base import BaseConvolution
from lamina.registry import LAYERS


class BaseDepthwise(BaseConvolution):
    """A convolution of each channel apart from the others, over `rank` spatial axes.

    Args:
        depth_multiplier: the number of kernels for each input channel.
        depthwise_initializer: of the kernel, `(*kernel_size, channels, depth_multiplier)`.
        depthwise_regularizer: a penalty on that kernel.
        depthwise_constraint: a projection of that kernel after each optimizer step.
        **kwargs: what every convolution takes.
    """

    def __init__(
        self,
        *,
        depth_multiplier: int,
        depthwise_initializer: Any,
        depthwise_regularizer: Any,
        depthwise_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.depth_multiplier = positive(depth_multiplier, "depth_multiplier", type(self).__name__)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)

    def _add_depthwise_kernel(self, channels: int, name: str) -> Any:
        """The kernel, in the order in memory that torch takes as it is: `(channels, depth_multiplier, *window)`."""
        order = (self.rank, self.rank + 1, *range(self.rank))
        return self._add_kernel("depthwise", (*self.kernel_size, channels, self.depth_multiplier), order, name)


class DepthwiseConvolution(BaseDepthwise):
    """A convolution of each channel apart from the others, over `rank` spatial axes.

    Args:
        kernel_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window to the next, likewise.
        padding: `"valid"` for windows inside the input only, `"same"` for zeros around it.
        depth_multiplier: the number of kernels for each input channel.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next.
        activation: a name or function; none by default.
        use_bias: whether a bias is added.
        depthwise_initializer: of the kernel, `(*kernel_size, channels, depth_multiplier)`.
        bias_initializer: of the bias, `(channels * depth_multiplier,)`.
        depthwise_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        depthwise_constraint: a projection of the kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )

    def build(self, input_shape: Any) -> None:
        """Make the kernel and the bias."""
        channels = self._settle_channels(input_shape)
        self.kernel = self._add_depthwise_kernel(channels, "kernel")
        self.bias = self._add_bias(channels * self.depth_multiplier)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The convolution of each channel, the bias, the activation."""
        outputs = depthwise_conv(
            inputs, self.kernel, self.bias, self.strides, self.padding, self.data_format, self.dilation_rate
        )
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """One position for each window, `depth_multiplier` channels for each input channel."""
        return self._shape_with(self._channels(input_shape) * self.depth_multiplier, input_shape)


class SeparableConvolution(BaseDepthwise):
    """A convolution of each channel apart, then a mixture of the channels at each position.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window to the next, likewise.
        padding: `"valid"` for windows inside the input only, `"same"` for zeros around it.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next.
        depth_multiplier: the number of depthwise kernels for each input channel.
        activation: a name or function; none by default.
        use_bias: whether a bias is added.
        depthwise_initializer: of the depthwise kernel, `(*kernel_size, channels, depth_multiplier)`.
        pointwise_initializer: of the mixture, `(1, ..., channels * depth_multiplier, filters)`.
        bias_initializer: of the bias, `(filters,)`.
        depthwise_regularizer: a penalty on the depthwise kernel.
        pointwise_regularizer: a penalty on the mixture.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        depthwise_constraint: a projection of the depthwise kernel after each optimizer step.
        pointwise_constraint: a projection of the mixture after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.filters = positive(filters, "filters", type(self).__name__)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def build(self, input_shape: Any) -> None:
        """Make the two kernels and the bias."""
        channels = self._settle_channels(input_shape)
        self.depthwise_kernel = self._add_depthwise_kernel(channels, "depthwise_kernel")
        shape = (*(1,) * self.rank, channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = self._add_kernel("pointwise", shape, self._filters_first(), "pointwise_kernel")
        self.bias = self._add_bias(self.filters)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The convolution of each channel, the mixture, the bias, the activation."""
        x = depthwise_conv(
            inputs, self.depthwise_kernel, None, self.strides, self.padding, self.data_format, self.dilation_rate
        )
        outputs = conv(x, self.pointwise_kernel, self.bias, (1,) * self.rank, "valid", self.data_format)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """One position for each window, `filters` channels."""
        return self._shape_with(self.filters, input_shape)


@LAYERS.register()
class DepthwiseConv1D(DepthwiseConvolution):
    """A convolution of each channel of signals apart from the others.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, channels * depth_multiplier)`; channels on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> DepthwiseConv1D(3, depth_multiplier=2)(torch.ones(2, 10, 4)).shape
        torch.Size([2, 8, 8])
    """

    rank = 1


@LAYERS.register()
class DepthwiseConv2D(DepthwiseConvolution):
    """A convolution of each channel of images apart from the others.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, channels * depth_multiplier)`; channels on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> DepthwiseConv2D(3, padding="same")(torch.ones(2, 8, 8, 4)).shape
        torch.Size([2, 8, 8, 4])
    """

    rank = 2


@LAYERS.register("SeparableConvolution1D")
class SeparableConv1D(SeparableConvolution):
    """A convolution of each channel of signals apart, then a mixture of the channels at each step.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, filters)`; `(batch, filters, new_steps)` for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> SeparableConv1D(6, 3)(torch.ones(2, 10, 4)).shape
        torch.Size([2, 8, 6])
    """

    rank = 1


@LAYERS.register("SeparableConvolution2D")
class SeparableConv2D(SeparableConvolution):
    """A convolution of each channel of images apart, then a mixture of the channels at each position.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, filters)`; filters on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> SeparableConv2D(16, 3, padding="same")(torch.ones(2, 8, 8, 4)).shape
        torch.Size([2, 8, 8, 16])

    Reference:
        François Chollet, 2017, Xception: Deep Learning with Depthwise Separable Convolutions,
        https://arxiv.org/abs/1610.02357
    """

    rank = 2


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
