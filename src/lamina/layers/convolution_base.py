"""What all convolution layers share: a window with a stride and a padding, a bias and an activation."""

from __future__ import annotations

from typing import Any

from lamina import activations, config, constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.arguments import tuple_of
from lamina.engine.layer import Layer
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.spatial import Windowed, channel_axis, padding_mode, resized


class BaseConvolution(Windowed, Layer):
    """A layer that slides a window over 1 to 3 spatial axes; the base of all convolutions.

    Args:
        kernel_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window to the next, likewise.
        padding: one of `paddings`, in any case.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        dilation_rate: the step from one member of a window to the next, likewise.
        activation: a name or function; none by default.
        use_bias: whether a bias is added.
        bias_initializer: of the bias, one number for each output channel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.

    Raises:
        ArgumentError: a size is not a positive whole number, or there is no such padding or data format.
    """

    paddings = ("valid", "same")

    def __init__(
        self,
        *,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        owner = type(self).__name__
        self.kernel_size = tuple_of(kernel_size, self.rank, "kernel_size", owner)
        self.strides = tuple_of(strides, self.rank, "strides", owner)
        self.padding = padding_mode(padding, owner, self.paddings)
        self.data_format = config.standardize_data_format(data_format)
        self.dilation_rate = tuple_of(dilation_rate, self.rank, "dilation_rate", owner)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _window_and_dilation(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.kernel_size, self.dilation_rate

    def _refuse_strides_with_dilation(self) -> None:
        """An error if both are above 1, which Keras defines for no convolution with a kernel across channels."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{type(self).__name__} cannot have strides and a dilation at once.",
                expected="strides=1 or dilation_rate=1",
                received=f"strides={self.strides}, dilation_rate={self.dilation_rate}",
                fix="drop one of them, or use strides in a pooling layer behind this one",
            )

    def _channels(self, shape: Shape) -> int:
        """The number of channels of an input of `shape`."""
        channels = shape[channel_axis(self.data_format)]
        if channels is None:
            raise ShapeError(
                f"{type(self).__name__} cannot make its kernel: the number of channels is not known.",
                expected=f"a number on axis {channel_axis(self.data_format)} ({self.data_format})",
                received=f"shape {tuple(shape)}",
                fix="give Input (or build) the number of channels; only the batch and spatial sizes may be None",
            )
        return channels

    def _settle_channels(self, shape: Shape) -> int:
        """Refuse an input that cannot be convolved, fix the number of channels, and return it."""
        channels = self._channels(shape)
        self.compute_output_shape(shape)
        self.input_spec = self._window_spec(channels)
        return channels

    def _add_kernel(self, role: str, shape: tuple[int, ...], order: tuple[int, ...], name: str = "kernel") -> Any:
        """A kernel with the initializer, regularizer and constraint whose names begin with `role`."""
        return self.add_weight(
            shape,
            getattr(self, f"{role}_initializer"),
            regularizer=getattr(self, f"{role}_regularizer"),
            constraint=getattr(self, f"{role}_constraint"),
            name=name,
            memory_order=order,
        )

    def _add_bias(self, channels: int) -> Any:
        """The bias, or `None` if there is to be none."""
        if not self.use_bias:
            return None
        return self.add_weight(
            (channels,),
            self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
            name="bias",
        )

    def _filters_first(self) -> tuple[int, ...]:
        """The order in memory of a kernel `(*window, a, b)` that torch takes as it is: `(b, *window, a)`."""
        return (self.rank + 1, *range(self.rank + 1))

    def _shape_with(self, channels: int, input_shape: Any) -> Shape:
        """The shape of an output with so many channels, one position for each window."""
        shape = tuple(input_shape)
        return resized(shape, self._window_counts(shape), self.data_format, channels)
