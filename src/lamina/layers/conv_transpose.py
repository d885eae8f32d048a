"""Transposed convolutions, which make signals, images and volumes larger."""

from __future__ import annotations

from typing import Any

import torch

from lamina import constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive, tuple_of
from lamina.errors import ArgumentError
from lamina.kernels.conv import conv_transpose
from lamina.kernels.windows import transposed_size
from lamina.layers.convolution_base import BaseConvolution
from lamina.layers.spatial import WindowSpec, resized, spatial_axes
from lamina.registry import LAYERS


class TransposedConvolution(BaseConvolution):
    """The transpose of a convolution over `rank` spatial axes.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window of the output to the next, likewise.
        padding: `"valid"` to keep every position that a window touches; `"same"` for `size * strides` positions.
        output_padding: positions to add after each axis to `(size - 1) * strides + kernel_size` with `"valid"`, or
            to `(size - 1) * strides + kernel_size % 2` with `"same"`; less than `strides`. `None` for the default.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next; above 1 only with `strides=1`.
        activation: a name or function; none by default.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(*kernel_size, filters, channels)`.
        bias_initializer: of the bias, `(filters,)`.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a projection of the kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        owner = type(self).__name__
        self.filters = positive(filters, "filters", owner)
        given = output_padding is not None
        self.output_padding = tuple_of(output_padding, self.rank, "output_padding", owner, least=0) if given else None
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self._refuse_strides_with_dilation()
        if any(extra >= stride for extra, stride in zip(self.output_padding or (), self.strides, strict=False)):
            raise ArgumentError(
                f"{owner} needs an output_padding below its strides.",
                expected=f"at most {tuple(s - 1 for s in self.strides)}",
                received=f"output_padding={self.output_padding}, strides={self.strides}",
                fix="leave output_padding out, or put ZeroPadding behind this layer",
            )

    def _window_spec(self, channels: int | None = None) -> WindowSpec:
        return WindowSpec(self.data_format, (1,) * self.rank, channels)

    def build(self, input_shape: Any) -> None:
        """Make the kernel, stored with the axis of input channels first in memory, and the bias."""
        channels = self._settle_channels(input_shape)
        self.kernel = self._add_kernel("kernel", (*self.kernel_size, self.filters, channels), self._filters_first())
        self.bias = self._add_bias(self.filters)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The transposed convolution, the bias, the activation."""
        outputs = conv_transpose(
            inputs,
            self.kernel,
            self.bias,
            self.strides,
            self.padding,
            self.output_padding,
            self.data_format,
            self.dilation_rate,
        )
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Larger spatial sizes, `filters` channels."""
        shape, extra = tuple(input_shape), self.output_padding or (None,) * self.rank
        axes = spatial_axes(self.rank, self.data_format)
        each = zip(axes, self.kernel_size, self.strides, extra, self.dilation_rate, strict=True)
        sizes = [
            None if shape[axis] is None else transposed_size(shape[axis], window, stride, self.padding, more, dilation)
            for axis, window, stride, more, dilation in each
        ]
        return resized(shape, sizes, self.data_format, self.filters)


@LAYERS.register("Convolution1DTranspose")
class Conv1DTranspose(TransposedConvolution):
    """The transpose of a convolution of signals.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, filters)`; `(batch, filters, new_steps)` for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range, strides and dilation are both above 1, or `output_padding` is not
            below `strides`.
        ShapeError: the input has another number of channels than at first.

    Example:
        >>> Conv1DTranspose(4, 3, strides=2, padding="same")(torch.ones(2, 5, 1)).shape
        torch.Size([2, 10, 4])
    """

    rank = 1


@LAYERS.register("Convolution2DTranspose")
class Conv2DTranspose(TransposedConvolution):
    """The transpose of a convolution of images.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, filters)`; filters on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range, strides and dilation are both above 1, or `output_padding` is not
            below `strides`.
        ShapeError: the input has another number of channels than at first.

    Example:
        >>> Conv2DTranspose(4, 3, strides=2)(torch.ones(2, 5, 6, 1)).shape
        torch.Size([2, 11, 13, 4])

    Reference:
        Vincent Dumoulin and Francesco Visin, 2016, A guide to convolution arithmetic for deep learning,
        https://arxiv.org/abs/1603.07285
    """

    rank = 2


@LAYERS.register("Convolution3DTranspose")
class Conv3DTranspose(TransposedConvolution):
    """The transpose of a convolution of volumes. As in Keras, `data_format` comes before `output_padding` here.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, new_depth, new_height, new_width, filters)`; filters on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range, strides and dilation are both above 1, or `output_padding` is not
            below `strides`.
        ShapeError: the input has another number of channels than at first.

    Example:
        >>> Conv3DTranspose(4, 2, strides=2)(torch.ones(1, 3, 4, 5, 1)).shape
        torch.Size([1, 6, 8, 10, 4])
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Any = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            output_padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            **kwargs,
        )


Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
