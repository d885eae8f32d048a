"""`InputSpec`: what a layer's input must look like, and the message when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.engine import nest
from lamina.engine.abstract import Shape
from lamina.errors import ShapeError


class InputSpec:
    """Rank and sizes that an input must have; whatever is `None` is free.

    Args:
        shape: the whole shape, `None` for free sizes.
        ndim: the number of axes.
        min_ndim: the least number of axes.
        max_ndim: the greatest number of axes.
        axes: sizes by axis, such as `{-1: 3}`.

    Example:
        >>> InputSpec(ndim=4, axes={-1: 3}).problem((None, 28, 28, 1))
        ('4 axes with 3 on axis -1', 'shape (None, 28, 28, 1)')
        >>> InputSpec(ndim=2).problem((None, 7)) is None
        True
    """

    def __init__(
        self,
        shape: Shape | None = None,
        ndim: int | None = None,
        min_ndim: int | None = None,
        max_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
    ) -> None:
        self.shape = shape
        self.ndim = len(shape) if shape is not None else ndim
        self.min_ndim = min_ndim
        self.max_ndim = max_ndim
        self.axes = {int(axis): size for axis, size in (axes or {}).items()}

    def problem(self, shape: Shape) -> tuple[str, str] | None:
        """What was expected and what `shape` is, or `None` when it fits."""
        rank, received = len(shape), f"shape {shape}"
        if self.ndim is not None and rank != self.ndim:
            return self._expected(), f"{received}, {rank} axes"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"at least {self.min_ndim} axes", received
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"at most {self.max_ndim} axes", received
        wanted = dict(enumerate(self.shape)) if self.shape is not None else {}
        for axis, size in {**wanted, **self.axes}.items():
            if size is None or not -rank <= axis < rank:
                continue
            if shape[axis] is not None and shape[axis] != size:
                return self._expected(), received
        return None

    def _expected(self) -> str:
        """The requirement in words."""
        if self.shape is not None:
            return f"shape {self.shape}"
        sizes = ", ".join(f"{size} on axis {axis}" for axis, size in self.axes.items() if size is not None)
        rank = f"{self.ndim} axes" if self.ndim is not None else ""
        return " with ".join(part for part in (rank, sizes) if part) or "another shape"


def check_inputs(specs: Any, shapes: Any, what: str) -> None:
    """Compare the shapes of a layer's input with what it asks for.

    Args:
        specs: an `InputSpec` or a list of them.
        shapes: the shape of the input, or a nest of shapes.
        what: the layer's class, for the message.

    Raises:
        ShapeError: a shape does not fit.
    """
    shape_list: list[Shape] = []
    nest.map_shapes(shape_list.append, shapes)
    spec_list: list[InputSpec] = nest.flatten(specs)
    for spec, shape in zip(spec_list, shape_list, strict=False):
        problem = spec.problem(shape)
        if problem is not None:
            expected, received = problem
            raise ShapeError(
                f"{what} cannot take this input.", expected=expected, received=received, fix=_remedy(spec, shape)
            )


def _remedy(spec: InputSpec, shape: Shape) -> str:
    """One thing to do about an input of the wrong shape."""
    if spec.ndim is not None and len(shape) == spec.ndim - 1:
        channels = spec.shape[-1] if spec.shape is not None else spec.axes.get(-1)
        if channels == 1 or (channels is None and spec.ndim >= 3):
            return "an axis is missing: add the channel axis with x[..., None], or the batch axis with x[None]"
        return "an axis is missing: add the batch axis with x[None]"
    if spec.min_ndim is not None and len(shape) < spec.min_ndim:
        return "an axis is missing: add the batch axis with x[None], or the axis of features with x[..., None]"
    if spec.ndim is not None and len(shape) > spec.ndim:
        return "put Flatten() or a pooling layer before this one, or index the axis that is too many"
    if spec.ndim is not None and len(shape) == spec.ndim and len(shape) > 2 and shape[1] in spec.axes.values():
        return "the channels stand first: move them to the end with x.movedim(1, -1)"
    return "give the input the expected shape, or make a new layer for this one: its weights were made for that size"
