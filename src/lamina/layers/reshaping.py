"""Layers that rearrange their input and compute nothing: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from lamina import config
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive
from lamina.engine.layer import Layer
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError, ShapeError
from lamina.registry import LAYERS


@LAYERS.register()
class Flatten(Layer):
    """All axes of a sample as one.

    Args:
        data_format: where the channels stand; with `"channels_first"` they are moved last before the axes become
            one, so that the result is that of the same data with channels last. By default
            `config.image_data_format()`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`.

    Output shape:
        `(batch, product of the other sizes)`; `(batch, 1)` when there are no others.

    Raises:
        ArgumentError: `data_format` is none.

    Example:
        >>> Flatten()(torch.ones(2, 3, 4)).shape
        torch.Size([2, 12])
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input with two axes."""
        if inputs.ndim == 1:
            return inputs.unsqueeze(1)
        if self.data_format == "channels_first":
            inputs = inputs.movedim(1, -1)
        return inputs.flatten(1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The batch size and the product of the others."""
        sizes = input_shape[1:]
        return (input_shape[0], None if None in sizes else math.prod(sizes))


@LAYERS.register()
class Reshape(Layer):
    """The numbers of each sample, in order, in another shape.

    Args:
        target_shape: the shape of a sample; one size may be -1, which is then computed.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, as many numbers a sample as `target_shape` holds.

    Output shape:
        `(batch, *target_shape)`.

    Raises:
        ArgumentError: `target_shape` is no shape, or more than one size is -1.
        ShapeError: the input holds another count of numbers.

    Example:
        >>> Reshape((3, 4))(torch.ones(2, 12)).shape, Reshape((-1, 2))(torch.ones(2, 12)).shape
        (torch.Size([2, 3, 4]), torch.Size([2, 6, 2]))
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes: tuple[Any, ...] = tuple(target_shape) if isinstance(target_shape, (list, tuple)) else (target_shape,)
        if any(not hasattr(size, "__index__") or size < -1 for size in sizes) or sizes.count(-1) > 1:
            raise ArgumentError(
                "Reshape cannot make this shape.",
                expected="sizes of at least 0, one of which may be -1 for whatever is left",
                received=f"target_shape={target_shape!r}",
                fix="leave the batch axis out: target_shape=(7, 7, 64)",
            )
        self.target_shape = tuple(int(size) for size in sizes)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input in its new shape."""
        return inputs.reshape(inputs.shape[0], *self._sizes(inputs.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The batch size and the target shape, -1 resolved where that can be."""
        if None in input_shape[1:]:
            return (input_shape[0], *(None if size == -1 else size for size in self.target_shape))
        return (input_shape[0], *self._sizes(input_shape[1:]))

    def _sizes(self, shape: Any) -> tuple[int, ...]:
        """The target shape without -1, for a sample of `shape`."""
        target, count = self.target_shape, math.prod(shape)
        if -1 in target:
            known = -math.prod(target)
            if known and count % known == 0:
                return tuple(count // known if size == -1 else size for size in target)
        elif math.prod(target) == count:
            return target
        raise ShapeError(
            "Reshape must keep the count of numbers.",
            expected=f"a sample that fills {target}",
            received=f"a sample of shape {tuple(shape)}, which holds {count}",
            fix="let one size be -1" if -1 not in target else "the sizes beside -1 must divide that count",
        )


@LAYERS.register()
class Permute(Layer):
    """The axes of a sample in another order; no data are moved.

    Args:
        dims: the axes in their new order, counted from 1; the batch axis stays first.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, one axis for each of `dims` beside the batch axis.

    Output shape:
        The same sizes in the new order.

    Raises:
        ArgumentError: `dims` are not the numbers from 1 up, each once.
        ShapeError: the input has another number of axes.

    Example:
        >>> Permute((2, 1))(torch.ones(2, 10, 64)).shape
        torch.Size([2, 64, 10])
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes: tuple[Any, ...] = tuple(dims) if isinstance(dims, (list, tuple)) else (dims,)
        if sorted(axes) != list(range(1, len(axes) + 1)):
            raise ArgumentError(
                "Permute needs each axis once.",
                expected="the numbers from 1 up in any order; the batch axis is not named",
                received=f"dims={dims!r}",
                fix="Permute((2, 1)) swaps the first two axes after the batch",
            )
        self.dims = axes
        self.input_spec = InputSpec(ndim=len(axes) + 1)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input with its axes in their new order."""
        return inputs.permute(0, *self.dims)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The sizes in their new order."""
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))


@LAYERS.register()
class RepeatVector(Layer):
    """A vector as a sequence of itself; the steps share their memory.

    Args:
        n: how many steps.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, n, features)`.

    Raises:
        ArgumentError: `n` is not a positive whole number.
        ShapeError: the input has another number of axes.

    Example:
        >>> RepeatVector(2)(torch.tensor([[1.0, 2.0]])).tolist()
        [[[1.0, 2.0], [1.0, 2.0]]]
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = positive(n, "n", "RepeatVector")
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input once a step."""
        return inputs.unsqueeze(1).expand(-1, self.n, -1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Batch size, steps, features."""
        return (input_shape[0], self.n, input_shape[1])
