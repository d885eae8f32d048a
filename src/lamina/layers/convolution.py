"""Convolutions of signals, images and volumes."""

from __future__ import annotations

from typing import Any

import torch

from lamina import constraints, initializers, regularizers
from lamina.activations.fused import kernel_name
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive
from lamina.errors import ArgumentError
from lamina.kernels import native
from lamina.kernels.conv import conv
from lamina.layers.convolution_base import BaseConvolution
from lamina.registry import LAYERS


class Convolution(BaseConvolution):
    """A convolution over `rank` spatial axes.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window to the next, likewise.
        padding: `"valid"` for windows inside the input only; `"same"` for zeros around it, so that a stride of 1
            keeps the size; for `Conv1D` also `"causal"`, zeros before it only, so that no output sees what is later.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next; above 1 only with `strides=1`.
        groups: the number of blocks of channels that are convolved apart from each other.
        activation: a name or function; none by default.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(*kernel_size, channels // groups, filters)`.
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
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        self.filters = positive(filters, "filters", type(self).__name__)
        self.groups = positive(groups, "groups", type(self).__name__)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self._refuse_strides_with_dilation()
        self._refuse_groups_of(self.filters, "filters", f"filters={self.filters}, groups={self.groups}")

    def _refuse_groups_of(self, number: int, what: str, received: str) -> None:
        """An error if `number` cannot be split into the groups."""
        if number % self.groups:
            raise ArgumentError(
                f"{type(self).__name__} cannot split its {what} into {self.groups} groups of equal size.",
                expected=f"a number of {what} that is a multiple of groups",
                received=received,
                fix=f"make it {-(-number // self.groups) * self.groups} {what}, or choose a divisor of {number}",
            )

    def build(self, input_shape: Any) -> None:
        """Make the kernel, stored with the axis of filters first in memory, and the bias."""
        native.prepare("convolution")
        channels = self._channels(input_shape)
        received = f"input shape {tuple(input_shape)}, groups={self.groups}"
        self._refuse_groups_of(channels, "input channels", received)
        self._settle_channels(input_shape)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._add_kernel("kernel", shape, self._filters_first())
        self.bias = self._add_bias(self.filters)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The convolution, the bias, the activation."""
        fused = kernel_name(self.activation)
        outputs = conv(
            inputs,
            self.kernel,
            self.bias,
            self.strides,
            self.padding,
            self.data_format,
            self.dilation_rate,
            self.groups,
            fused or "linear",
        )
        return outputs if fused else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """One position for each window, `filters` channels."""
        return self._shape_with(self.filters, input_shape)


@LAYERS.register("Convolution1D")
class Conv1D(Convolution):
    """A convolution along the one spatial axis of signals, such as time.

    Args:
        filters: the number of output channels.
        kernel_size: the number of steps in a window.
        strides: the step from one window to the next.
        padding: `"valid"`, `"same"`, or `"causal"`, which lets no output see a later input.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next; above 1 only with `strides=1`.
        groups: the number of blocks of channels that are convolved apart from each other.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, filters)`; `(batch, filters, new_steps)` for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range, strides and dilation are both above 1, or filters or channels
            are no multiple of `groups`.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> Conv1D(4, 3, padding="causal")(torch.ones(2, 10, 1)).shape
        torch.Size([2, 10, 4])
    """

    rank = 1
    paddings = ("valid", "same", "causal")


@LAYERS.register("Convolution2D")
class Conv2D(Convolution):
    """A convolution over the two spatial axes of images.

    Args:
        filters: the number of output channels.
        kernel_size: the height and width of the window, or one number for both.
        strides: the step from one window to the next, likewise.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next; above 1 only with `strides=1`.
        groups: the number of blocks of channels that are convolved apart from each other.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, filters)`; filters on axis 1 for `"channels_first"`. A size `n` becomes
        `ceil(n / stride)` with `"same"` and `ceil((n - window + 1) / stride)` with `"valid"`.

    Raises:
        ArgumentError: an argument is out of range, strides and dilation are both above 1, or filters or channels
            are no multiple of `groups`.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> layer = Conv2D(32, 3, strides=2, padding="same", activation="relu")
        >>> layer(torch.ones(2, 128, 128, 3)).shape, layer.count_params()
        (torch.Size([2, 64, 64, 32]), 896)
    """

    rank = 2


@LAYERS.register("Convolution3D")
class Conv3D(Convolution):
    """A convolution over the three spatial axes of volumes, or of images over time.

    Args:
        filters: the number of output channels.
        kernel_size: the depth, height and width of the window, or one number for all.
        strides: the step from one window to the next, likewise.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next; above 1 only with `strides=1`.
        groups: the number of blocks of channels that are convolved apart from each other.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, new_depth, new_height, new_width, filters)`; filters on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range, strides and dilation are both above 1, or filters or channels
            are no multiple of `groups`.
        ShapeError: the input is smaller than the window, or has another number of channels than at first.

    Example:
        >>> Conv3D(4, 3)(torch.ones(1, 5, 6, 7, 2)).shape
        torch.Size([1, 3, 4, 5, 4])
    """

    rank = 3


Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
