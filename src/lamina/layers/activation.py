"""Activations as layers: ReLU, LeakyReLU, PReLU, ELU, Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina import activations, constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError, ShapeError
from lamina.registry import LAYERS


class Elementwise(Layer):
    """A layer whose output has the shape and the mask of its input.

    Args:
        **kwargs: what every layer takes.
    """

    supports_masking = True

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LAYERS.register()
class ReLU(Elementwise):
    """`max(x, 0)`; or, with other arguments, a rectifier with a ceiling, a leak and a place of its own.

    In full: `max_value` where `x >= max_value`, `x` where `threshold < x < max_value`, and
    `negative_slope * (x - threshold)` elsewhere.

    Args:
        max_value: the largest value that comes out; `None` for no ceiling.
        negative_slope: the slope below `threshold`.
        threshold: where the rectifier begins to let the input through.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Raises:
        ArgumentError: an argument is below zero.

    Example:
        >>> ReLU(max_value=6.0)(torch.tensor([-1.0, 2.0, 9.0])).tolist()
        [0.0, 2.0, 6.0]
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else _not_negative(max_value, "max_value", "ReLU")
        self.negative_slope = _not_negative(negative_slope, "negative_slope", "ReLU")
        self.threshold = _not_negative(threshold, "threshold", "ReLU")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, rectified."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


@LAYERS.register()
class LeakyReLU(Elementwise):
    """`x` where it is positive, `negative_slope * x` elsewhere.

    Args:
        negative_slope: the slope for negative inputs.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Raises:
        ArgumentError: `negative_slope` is below zero.

    Example:
        >>> LeakyReLU(0.5)(torch.tensor([-2.0, 3.0])).tolist()
        [-1.0, 3.0]
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.negative_slope = _not_negative(negative_slope, "negative_slope", "LeakyReLU")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, rectified with a leak."""
        return activations.leaky_relu(inputs, self.negative_slope)


@LAYERS.register()
class PReLU(Elementwise):
    """`x` where it is positive, `alpha * x` elsewhere, with an `alpha` that is learned.

    Args:
        alpha_initializer: of `alpha`, which has the shape of a sample.
        alpha_regularizer: a penalty on `alpha`.
        alpha_constraint: a projection of `alpha` after each optimizer step.
        shared_axes: axes, counted from 1, along which one `alpha` serves all; `[1, 2]` gives one a channel of an
            image.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: an axis is not known, so that `alpha` cannot be made.
        ShapeError: the input has no such axis, or another shape than the layer was built for.

    Example:
        >>> PReLU(alpha_initializer="ones")(torch.tensor([[-2.0, 3.0]])).tolist()
        [[-2.0, 3.0]]

    Reference:
        He, Zhang, Ren, Sun, 2015, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
        Classification", https://arxiv.org/abs/1502.01852
    """

    shared_axes: list[int] | None

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        axes: Any = shared_axes if shared_axes is None or isinstance(shared_axes, (list, tuple)) else [shared_axes]
        # Past __setattr__, which would take an empty list for one that is going to hold layers.
        self.__dict__["shared_axes"] = None if axes is None else list(axes)

    def build(self, input_shape: Any) -> None:
        """Make alpha."""
        rank = len(input_shape)
        shared = {axis % rank if -rank <= axis < rank else 0 for axis in self.shared_axes or ()}
        if 0 in shared:
            raise ShapeError(
                "PReLU cannot share alpha along these axes.",
                expected=f"axes from 1 to {rank - 1}",
                received=f"shared_axes={self.shared_axes} and shape {tuple(input_shape)}",
                fix="count from 1, the first axis after the batch",
            )
        sizes = {axis: input_shape[axis] for axis in range(1, rank) if axis not in shared}
        self.alpha = self.add_weight(
            tuple(sizes.get(axis, 1) for axis in range(1, rank)),
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
        )
        self.input_spec = InputSpec(ndim=rank, axes=sizes)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, rectified with the leak that was learned."""
        return torch.addcmul(torch.relu(inputs), self.alpha, torch.relu(-inputs), value=-1.0)


@LAYERS.register()
class ELU(Elementwise):
    """`x` where it is positive, `alpha * (exp(x) - 1)` elsewhere.

    Args:
        alpha: minus the limit for inputs far below zero.
        **kwargs: what every layer takes.

    Input shape:
        Any, float.

    Output shape:
        The same.

    Example:
        >>> ELU()(torch.tensor([-100.0, 2.0])).tolist()
        [-1.0, 2.0]

    Reference:
        Clevert, Unterthiner, Hochreiter, 2015, "Fast and Accurate Deep Network Learning by Exponential Linear Units
        (ELUs)", https://arxiv.org/abs/1511.07289
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, smoothly rectified."""
        return activations.elu(inputs, self.alpha)


@LAYERS.register()
class Softmax(Elementwise):
    """`exp(x) / sum(exp(x))`: scores become probabilities.

    Called with a `mask`, which must broadcast to the input, it gives 0 to what the mask leaves out and shares 1 among
    the rest. A mask that came along with the input, one value a step, gives 0 to the masked steps.

    Args:
        axis: the axis, or the axes together, along which the result sums to 1.
        **kwargs: what every layer takes.

    Input shape:
        Any, float.

    Output shape:
        The same.

    Raises:
        ShapeError: the mask does not broadcast to the input.

    Example:
        >>> x = torch.tensor([[1.0, 1.0, 5.0]])
        >>> Softmax()(x, mask=torch.tensor([[True, True, False]])).tolist()
        [[0.5, 0.5, 0.0]]
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Probabilities, 0 where the mask says so."""
        axis = self.axis[0] if isinstance(self.axis, (list, tuple)) and len(self.axis) == 1 else self.axis
        if mask is None:
            return activations.softmax(inputs, axis)
        if mask is get_mask(inputs):  # one value a step, for all that the step holds
            mask = mask[(...,) + (None,) * (inputs.ndim - mask.ndim)]
        mask = mask if mask.dtype is torch.bool else mask > 0.5
        sizes = zip(reversed(mask.shape), reversed(inputs.shape), strict=False)
        if mask.ndim > inputs.ndim or any(m not in (1, size) for m, size in sizes):
            raise ShapeError(
                "The mask does not fit the input of Softmax.",
                expected=f"a shape that broadcasts to {tuple(inputs.shape)}",
                received=f"a mask of shape {tuple(mask.shape)}",
                fix="give the mask an axis of size 1 where one value serves all",
            )
        # Not -inf: where nothing is left, its softmax would be NaN, and so would the gradient.
        lowest = torch.finfo(inputs.dtype).min
        return torch.where(mask, activations.softmax(torch.where(mask, inputs, lowest), axis), 0.0)


def _not_negative(value: Any, argument: str, owner: str) -> float:
    """`value`, if it is a number not below zero."""
    if value is None or not value >= 0:
        raise ArgumentError(
            f"{owner} needs {argument} of at least zero.",
            expected="a number not below zero",
            received=f"{argument}={value!r}",
            fix=f"{owner}({argument}=0.1)",
        )
    return value
