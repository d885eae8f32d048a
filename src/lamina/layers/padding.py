"""Zeros put around signals, images and volumes, and their edges cut off."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine.abstract import Shape
from lamina.errors import ArgumentError, ShapeError
from lamina.kernels.padding import zeros_around
from lamina.layers.spatial import SpatialLayer, spatial_axes
from lamina.registry import LAYERS

Sides = tuple[tuple[int, int], ...]  # (before, after) of each spatial axis


def _is_count(value: Any) -> bool:
    """Whether `value` is a whole number, at least 0."""
    return hasattr(value, "__index__") and not isinstance(value, bool) and value >= 0


def _pair(value: Any) -> tuple[int, int] | None:
    """One number for both sides, or a number for each; `None` if it is neither."""
    if _is_count(value):
        return int(value), int(value)
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_count, value)):
        return int(value[0]), int(value[1])
    return None


def _sides(value: Any, rank: int, argument: str, owner: str) -> Sides:
    """How many positions before and after each of `rank` axes, from any of the forms that Keras takes."""
    if rank == 1:
        pairs = [_pair(value)]
    elif _is_count(value):
        pairs = [_pair(value)] * rank
    else:
        pairs = [_pair(each) for each in value] if isinstance(value, (list, tuple)) else []
    if len(pairs) != rank or None in pairs:
        both = ", ".join(["(1, 2)"] * rank)
        forms = ["1", "(1, 2)"] if rank == 1 else ["1", str((1,) * rank), f"({both})"]
        raise ArgumentError(
            f"{owner} needs {argument} as whole numbers, at least 0: one for all sides, "
            + ("or one for each side." if rank == 1 else "one for each axis, or a pair for each axis."),
            expected=" or ".join(f"{argument}={form}" for form in forms),
            received=f"{argument}={value!r}",
            fix=f"{owner}({argument}={forms[-1]})",
        )
    return tuple(pair for pair in pairs if pair is not None)


class ZeroPadding(SpatialLayer):
    """Zeros around `rank` spatial axes.

    Args:
        padding: how many zeros to put on each side: one number for all sides, one for each axis, or a pair
            `(before, after)` for each axis; with a single axis, one number or a pair.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        **kwargs: what every layer takes.
    """

    _added: Sides
    _pad: list[int]

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        sides = _sides(padding, self.rank, "padding", type(self).__name__)
        self.padding = sides[0] if self.rank == 1 else sides
        flat = [side for pair in reversed(sides) for side in pair]
        self.__dict__.update(_added=sides, _pad=[0, 0, *flat] if self.data_format == "channels_last" else flat)

    def _output_sizes(self, shape: Shape) -> list[int | None]:
        sizes = zip(self._sizes(shape), self._added, strict=True)
        return [None if size is None else size + before + after for size, (before, after) in sizes]

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input with zeros around it."""
        return zeros_around(inputs, self._pad)


class Cropping(SpatialLayer):
    """`rank` spatial axes without their ends.

    Args:
        cropping: how many positions to cut off on each side: one number for all sides, one for each axis, or a pair
            `(before, after)` for each axis; with a single axis, one number or a pair.
        data_format: `"channels_last"` or `"channels_first"`; `None` for `config.image_data_format()`.
        **kwargs: what every layer takes.
    """

    _removed: Sides

    def __init__(self, cropping: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        sides = _sides(cropping, self.rank, "cropping", type(self).__name__)
        self.cropping = sides[0] if self.rank == 1 else sides
        self.__dict__["_removed"] = sides

    def _output_sizes(self, shape: Shape) -> list[int | None]:
        sizes = zip(self._sizes(shape), self._removed, strict=True)
        left = [None if size is None else size - before - after for size, (before, after) in sizes]
        if any(size is not None and size < 1 for size in left):
            raise ShapeError(
                f"{type(self).__name__} would cut off all of its input.",
                expected=f"sizes above {tuple(sum(pair) for pair in self._removed)} on axes "
                f"{tuple(spatial_axes(self.rank, self.data_format))}",
                received=f"shape {tuple(shape)}",
                fix="cut off less, or crop before the layers that make the input small",
            )
        return left

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """A view of the input without its ends."""
        sizes, axes = self._output_sizes(inputs.shape), spatial_axes(self.rank, self.data_format)
        for axis, size, (before, _) in zip(axes, sizes, self._removed, strict=True):
            inputs = inputs.narrow(axis, before, size)  # type: ignore[arg-type]
        return inputs


@LAYERS.register()
class ZeroPadding1D(ZeroPadding):
    """Zeros before and after the steps of signals.

    Input shape:
        `(batch, steps, channels)`; `(batch, channels, steps)` for `"channels_first"`.

    Output shape:
        The same with more steps.

    Raises:
        ArgumentError: `padding` has none of its forms, or there is no such data format.

    Example:
        >>> ZeroPadding1D((1, 2))(torch.ones(1, 2, 1)).flatten().tolist()
        [0.0, 1.0, 1.0, 0.0, 0.0]
    """

    rank = 1


@LAYERS.register()
class ZeroPadding2D(ZeroPadding):
    """Zeros around images.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        The same with a larger height and width.

    Raises:
        ArgumentError: `padding` has none of its forms, or there is no such data format.

    Example:
        >>> ZeroPadding2D(((1, 0), (2, 2)))(torch.ones(1, 4, 4, 3)).shape
        torch.Size([1, 5, 8, 3])
    """

    rank = 2


@LAYERS.register()
class ZeroPadding3D(ZeroPadding):
    """Zeros around volumes.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        The same with a larger depth, height and width.

    Raises:
        ArgumentError: `padding` has none of its forms, or there is no such data format.

    Example:
        >>> ZeroPadding3D(1)(torch.ones(1, 2, 3, 4, 5)).shape
        torch.Size([1, 4, 5, 6, 5])
    """

    rank = 3


@LAYERS.register()
class Cropping1D(Cropping):
    """Signals without their first and last steps.

    Args:
        cropping: how many steps to cut off at both ends, or a pair `(first, last)`.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, channels)`.

    Output shape:
        The same with fewer steps.

    Raises:
        ArgumentError: `cropping` has neither form.
        ShapeError: nothing would be left.

    Example:
        >>> Cropping1D((1, 2))(torch.arange(5.0).view(1, 5, 1)).flatten().tolist()
        [1.0, 2.0]
    """

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(cropping, "channels_last", **kwargs)


@LAYERS.register()
class Cropping2D(Cropping):
    """Images without their edges.

    Input shape:
        `(batch, height, width, channels)`; `(batch, channels, height, width)` for `"channels_first"`.

    Output shape:
        The same with a smaller height and width.

    Raises:
        ArgumentError: `cropping` has none of its forms, or there is no such data format.
        ShapeError: nothing would be left.

    Example:
        >>> Cropping2D(((1, 0), (2, 2)))(torch.ones(1, 6, 6, 3)).shape
        torch.Size([1, 5, 2, 3])
    """

    rank = 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(cropping, data_format, **kwargs)


@LAYERS.register()
class Cropping3D(Cropping):
    """Volumes without their outer layers.

    Input shape:
        `(batch, depth, height, width, channels)`; channels on axis 1 for `"channels_first"`.

    Output shape:
        The same with a smaller depth, height and width.

    Raises:
        ArgumentError: `cropping` has none of its forms, or there is no such data format.
        ShapeError: nothing would be left.

    Example:
        >>> Cropping3D()(torch.ones(1, 4, 5, 6, 3)).shape
        torch.Size([1, 2, 3, 4, 3])
    """

    rank = 3

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(cropping, data_format, **kwargs)
