"""What layers over signals, images and volumes share: where the sizes stand in a shape, and how padding is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from lamina import config
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError, ShapeError, nearest
from lamina.kernels.windows import extent, window_count


def padding_mode(value: Any, owner: str, modes: Sequence[str] = ("valid", "same")) -> str:
    """`value` in lower case, if it is the name of a padding.

    Args:
        value: what was passed.
        owner: the class that takes it, for the message.
        modes: the names allowed.

    Raises:
        ArgumentError: it is none of `modes`.

    Example:
        >>> padding_mode("SAME", "Conv2D")
        'same'
    """
    name = value.lower() if isinstance(value, str) else value
    if name in modes:
        return name
    guess = nearest(name, modes) if isinstance(name, str) else None
    fix = f"did you mean {guess!r}?" if guess else f"padding={modes[0]!r}"
    if name == "causal":
        fix = "only Conv1D has causal padding: there is no order of time in more than one axis"
    raise ArgumentError(
        f"{owner} has no such padding.",
        expected="padding=" + " or ".join(map(repr, modes)),
        received=f"padding={value!r}",
        fix=fix,
    )


def spatial_axes(rank: int, data_format: str) -> range:
    """The axes of a batch that are neither samples nor channels.

    Example:
        >>> list(spatial_axes(2, "channels_last")), list(spatial_axes(2, "channels_first"))
        ([1, 2], [2, 3])
    """
    return range(1, rank + 1) if data_format == "channels_last" else range(2, rank + 2)


def channel_axis(data_format: str) -> int:
    """The axis of the channels, as `InputSpec` counts."""
    return -1 if data_format == "channels_last" else 1


def resized(shape: Shape, sizes: Sequence[int | None], data_format: str, channels: int | None = None) -> Shape:
    """`shape` with other spatial sizes and, if given, another number of channels.

    Example:
        >>> resized((None, 8, 8, 3), (4, 4), "channels_last", 16)
        (None, 4, 4, 16)
    """
    if channels is None:
        channels = shape[channel_axis(data_format)]
    if data_format == "channels_last":
        return (shape[0], *sizes, channels)
    return (shape[0], channels, *sizes)


class WindowSpec(InputSpec):
    """An `InputSpec` whose spatial axes are long enough for at least one window.

    Args:
        data_format: `"channels_last"` or `"channels_first"`.
        least: the smallest size of each spatial axis.
        channels: the number of channels, `None` if it is free.

    Example:
        >>> WindowSpec("channels_last", (3, 3)).problem((8, 2, 5, 1))
        ('4 axes, sizes of at least (3, 3) on axes (1, 2)', 'shape (8, 2, 5, 1)')
    """

    def __init__(self, data_format: str, least: tuple[int, ...], channels: int | None = None) -> None:
        rank = len(least)
        super().__init__(ndim=rank + 2, axes={} if channels is None else {channel_axis(data_format): channels})
        self.least = least
        self.spatial = tuple(spatial_axes(rank, data_format))

    def problem(self, shape: Shape) -> tuple[str, str] | None:
        """What was expected and what `shape` is, or `None` when it fits."""
        found = super().problem(shape)
        if found is not None:
            return found
        for axis, least in zip(self.spatial, self.least, strict=True):
            size = shape[axis]
            if size is not None and size < least:
                return f"{self.ndim} axes, sizes of at least {self.least} on axes {self.spatial}", f"shape {shape}"
        return None


class Windowed:
    """The sizes of layers that slide a window: convolutions and pooling. Mixed into a `Layer`."""

    rank: ClassVar[int]
    data_format: str
    strides: tuple[int, ...]
    padding: str

    def _window_and_dilation(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes of the window, and the steps between its members."""
        raise NotImplementedError

    def _least_sizes(self) -> tuple[int, ...]:
        """The smallest spatial sizes into which a window fits."""
        if self.padding != "valid":
            return (1,) * self.rank
        return tuple(extent(window, dilation) for window, dilation in zip(*self._window_and_dilation(), strict=True))

    def _window_spec(self, channels: int | None = None) -> InputSpec:
        """The rank, the least sizes and the channels of an input."""
        return WindowSpec(self.data_format, self._least_sizes(), channels)

    def _window_counts(self, shape: Shape) -> list[int | None]:
        """The number of windows along each spatial axis of an input of `shape`; unknown sizes stay unknown."""
        counts: list[int | None] = []
        axes, least_sizes = spatial_axes(self.rank, self.data_format), self._least_sizes()
        each = zip(axes, least_sizes, *self._window_and_dilation(), self.strides, strict=True)
        for axis, least, window, dilation, stride in each:
            size = shape[axis]
            if size is not None and size < least:
                raise ShapeError(
                    f"The window of {type(self).__name__} does not fit into its input.",
                    expected=f"a size of at least {least} on axis {axis}",
                    received=f"shape {tuple(shape)}",
                    fix="use padding='same' or a smaller window, or fewer strides and poolings before this layer",
                )
            counts.append(None if size is None else window_count(size, window, stride, self.padding, dilation))
        return counts


class SpatialLayer(Layer):
    """A layer without weights that leaves samples and channels alone and changes the spatial sizes.

    A subclass says which `rank` it has and computes `_output_sizes`.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        **kwargs: what every layer takes.
    """

    rank: ClassVar[int]

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _output_sizes(self, shape: Shape) -> Sequence[int | None]:
        """The spatial sizes of the output for an input of `shape`."""
        raise NotImplementedError

    def _sizes(self, shape: Shape) -> list[int | None]:
        """The spatial sizes of an input of `shape`."""
        return [shape[axis] for axis in spatial_axes(self.rank, self.data_format)]

    def build(self, input_shape: Any) -> None:
        """Refuse an input that is too small, before torch does."""
        self.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape with the new spatial sizes; sizes that are not known stay so."""
        shape = tuple(input_shape)
        return resized(shape, self._output_sizes(shape), self.data_format)
