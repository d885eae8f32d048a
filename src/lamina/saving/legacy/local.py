"""Convolutions whose windows do not share a kernel, which Keras 3 no longer has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from lamina import constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive
from lamina.errors import ShapeError, WeightsError
from lamina.kernels.padding import zeros_around
from lamina.kernels.windows import same_padding
from lamina.layers.convolution_base import BaseConvolution
from lamina.layers.spatial import spatial_axes
from lamina.saving.legacy.retired import LEGACY_LAYERS


class LocallyConnected(BaseConvolution):
    """A convolution with a kernel of its own at each position; the base of both ranks.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the window, one number for all spatial axes or one for each.
        strides: the step from one window to the next, likewise.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        activation: a name or function; none by default.
        use_bias: whether a bias is added, one number for each position and filter.
        kernel_initializer: of the kernel, `(positions, window * channels, filters)`.
        bias_initializer: of the bias.
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
            dilation_rate=1,
            activation=activation,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.filters = positive(filters, "filters", type(self).__name__)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)

    def build(self, input_shape: Any) -> None:
        """Make a kernel and a bias for each position."""
        channels = self._settle_channels(input_shape)
        sizes = [input_shape[axis] for axis in spatial_axes(self.rank, self.data_format)]
        if None in sizes:
            raise ShapeError(
                f"{type(self).__name__} has weights for each position, so it must know how many there are.",
                expected="a number for every spatial size",
                received=f"shape {tuple(input_shape)}",
                fix="give Input a full shape",
            )
        counts = [int(count) for count in self._window_counts(tuple(input_shape)) if count is not None]
        self.__dict__.update(_sizes=tuple(sizes), _counts=tuple(counts), _inputs=channels)
        window = math.prod(self.kernel_size) * channels
        self.kernel = self._add_kernel("kernel", (math.prod(counts), window, self.filters), (0, 1, 2))
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (*counts, self.filters),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """A product of each window with its kernel, the bias, the activation."""
        last = self.data_format == "channels_last"
        x = inputs.movedim(-1, 1) if last else inputs  # (B, C, *sizes)
        if self.padding == "same":
            x = zeros_around(x.contiguous(), [side for pair in reversed(self._padding()) for side in pair])
        for axis, (window, stride) in enumerate(zip(self.kernel_size, self.strides, strict=True), 2):
            x = x.unfold(axis, window, stride)  # (B, C, *counts, *window)
        x = x.movedim(1, -1 if last else self.rank + 1)
        windows = x.flatten(self.rank + 1).flatten(1, self.rank)  # (B, positions, window * C)
        outputs = torch.einsum("bpk,pkf->bpf", windows, self.kernel).unflatten(1, self._counts)
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs if last else outputs.movedim(-1, 1))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """One position for each window, `filters` channels."""
        return self._shape_with(self.filters, input_shape)

    @property
    def spread(self) -> int:
        """How many times larger a kernel may be in a file, where it may have a place for each pair of pixels."""
        return math.prod(self._sizes) if self.built else 1

    def _padding(self) -> list[tuple[int, int]]:
        if self.padding == "valid":
            return [(0, 0)] * self.rank
        return [same_padding(*each) for each in zip(self._sizes, self.kernel_size, self.strides, strict=True)]

    def _reach(self) -> tuple[np.ndarray, np.ndarray]:
        """For each position, and member of its window, the place in the input and whether there is one."""
        grid = np.indices(self._counts).reshape(self.rank, -1, 1)
        member = np.indices(self.kernel_size).reshape(self.rank, 1, -1)
        strides = np.array(self.strides).reshape(-1, 1, 1)
        before = np.array([pair[0] for pair in self._padding()]).reshape(-1, 1, 1)
        place = grid * strides + member - before  # (rank, positions, window)
        sizes = np.array(self._sizes).reshape(-1, 1, 1)
        inside = ((place >= 0) & (place < sizes)).all(0)
        return np.clip(place, 0, sizes - 1), inside

    def kernel_from_file(self, kernel: np.ndarray) -> np.ndarray:
        """A kernel in one of the three layouts of Keras 2, in that of this class.

        Args:
            kernel: the array of the file: as it is here, dense from each input to each output, or the numbers alone.

        Raises:
            WeightsError: it has none of these shapes.
        """
        last, rank = self.data_format == "channels_last", self.rank
        if kernel.ndim == 3:
            return kernel
        (place, inside), positions = self._reach(), math.prod(self._counts)
        window = inside.shape[1]
        if kernel.ndim == 1:  # one number for each pair of places that are connected, by output and then by input
            dense = self._dense_from_numbers(kernel, place, inside)
        elif last and kernel.shape == (*self._sizes, self._inputs, *self._counts, self.filters):
            dense = kernel
        elif not last and kernel.shape == (self._inputs, *self._sizes, self.filters, *self._counts):
            dense = np.moveaxis(np.moveaxis(kernel, rank + 1, -1), 0, rank)
        else:
            raise WeightsError(
                f"The kernel of {self.name!r} has none of the layouts of {type(self).__name__}.",
                expected=f"shape {tuple(self.kernel.shape)}",
                received=f"shape {kernel.shape}",
                fix="the file belongs to another model",
            )
        dense = dense.reshape(-1, self._inputs, positions, self.filters)
        flat = np.ravel_multi_index(tuple(place), self._sizes)  # (positions, window)
        found = dense[flat, :, np.arange(positions)[:, None]]  # (positions, window, inputs, filters)
        found = found * inside[:, :, None, None]
        if not last:
            found = found.transpose(0, 2, 1, 3)
        return found.reshape(positions, window * self._inputs, self.filters)

    def kernel_to_file(self, kernel: np.ndarray) -> np.ndarray:
        """The kernel as Keras 2 has it: as it is here, or dense where the input is padded.

        Args:
            kernel: the kernel.
        """
        if self.padding == "valid":
            return kernel
        (place, inside), positions = self._reach(), math.prod(self._counts)
        flat, spots = np.ravel_multi_index(tuple(place), self._sizes), math.prod(self._sizes)
        last, window = self.data_format == "channels_last", inside.shape[1]
        if last:
            parts = kernel.reshape(positions, window, self._inputs, self.filters)
        else:
            parts = kernel.reshape(positions, self._inputs, window, self.filters).transpose(0, 2, 1, 3)
        position, member = np.nonzero(inside)
        dense = np.zeros((spots, positions, self._inputs, self.filters), kernel.dtype)
        dense[flat[position, member], position] = parts[position, member]
        dense = dense.transpose(0, 2, 1, 3)  # (spots, inputs, positions, filters)
        if last:
            return dense.reshape(*self._sizes, self._inputs, *self._counts, self.filters)
        return dense.transpose(1, 0, 3, 2).reshape(self._inputs, *self._sizes, self.filters, *self._counts)

    def _dense_from_numbers(self, numbers: np.ndarray, place: np.ndarray, inside: np.ndarray) -> np.ndarray:
        last, positions = self.data_format == "channels_last", math.prod(self._counts)
        flat = np.ravel_multi_index(tuple(place), self._sizes)
        position, member = np.nonzero(inside)
        sources = np.repeat(flat[position, member], self._inputs * self.filters)
        targets = np.repeat(position, self._inputs * self.filters)
        channels = np.tile(np.repeat(np.arange(self._inputs), self.filters), len(position))
        filters = np.tile(np.arange(self.filters), len(position) * self._inputs)
        spots = math.prod(self._sizes)
        if last:
            order = np.lexsort((sources * self._inputs + channels, targets * self.filters + filters))
        else:
            order = np.lexsort((channels * spots + sources, filters * positions + targets))
        if numbers.shape != order.shape:
            raise WeightsError(
                f"The kernel of {self.name!r} has another number of connections.",
                expected=f"{order.size} numbers",
                received=f"{numbers.size}",
                fix="the file belongs to another model",
            )
        dense = np.zeros((spots, self._inputs, positions, self.filters), numbers.dtype)
        dense[sources[order], channels[order], targets[order], filters[order]] = numbers
        return dense


@LEGACY_LAYERS.register()
class LocallyConnected1D(LocallyConnected):
    """A convolution along one axis with a kernel of its own at each position.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        `(batch, new_steps, filters)`; `(batch, filters, new_steps)` for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range.
        ShapeError: a size of the input is not known.

    Example:
        >>> LocallyConnected1D(4, 3)(torch.ones(2, 8, 2)).shape
        torch.Size([2, 6, 4])
    """

    rank = 1


@LEGACY_LAYERS.register()
class LocallyConnected2D(LocallyConnected):
    """A convolution over two axes with a kernel of its own at each position.

    Input shape:
        `(batch, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, filters)`; filters on axis 1 for `"channels_first"`.

    Raises:
        ArgumentError: an argument is out of range.
        ShapeError: a size of the input is not known.

    Example:
        >>> LocallyConnected2D(4, 3, strides=2)(torch.ones(2, 8, 7, 2)).shape
        torch.Size([2, 3, 3, 4])
    """

    rank = 2
