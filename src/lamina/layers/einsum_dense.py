"""`EinsumDense`: a product with a kernel along any axes, written as an equation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina import activations, constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, ShapeError
from lamina.registry import LAYERS


@LAYERS.register()
class EinsumDense(Layer):
    """`activation(einsum(equation, x, kernel) + bias)`.

    Args:
        equation: such as `"abc,cd->abd"`, one letter for each axis; `...` may stand for the first axes or for the last.
        output_shape: the sizes of the output behind the batch axis, `None` for one that the input has.
        activation: a name or function; none by default.
        bias_axes: the letters of the output's axes along which the bias differs; no bias by default.
        kernel_initializer: of the kernel.
        bias_initializer: of the bias.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a projection of the kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.

    Input shape:
        As the equation says.

    Output shape:
        As the equation says.

    Raises:
        ArgumentError: the equation is none, or `bias_axes` are not the output's.
        ShapeError: the input has other axes than the equation, or a size that the kernel needs is not known.

    Example:
        >>> EinsumDense("abc,cde->abde", output_shape=(None, 2, 5), bias_axes="de")(torch.ones(3, 4, 6)).shape
        torch.Size([3, 4, 2, 5])
    """

    supports_masking = True

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.equation = equation
        self._parts = _parts_of(equation)
        sizes = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.__dict__["output_shape"] = sizes
        self.activation = activations.get(activation)
        self.bias_axes = bias_axes
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        strange = set(bias_axes or "") - set(self._parts[2])
        if strange:
            raise ArgumentError(
                "The bias lies along axes that the output does not have.",
                expected=f"letters of {self._parts[2]!r}",
                received=f"bias_axes={bias_axes!r}",
                fix="leave out " + ", ".join(sorted(strange)),
            )

    def build(self, input_shape: Any) -> None:
        """Make the kernel and the bias, of the sizes that the letters stand for."""
        kernel, output = self._parts[1], self._parts[2]
        sizes = self._sizes(tuple(input_shape))
        missing = [letter for letter in kernel if sizes.get(letter) is None]
        if missing:
            raise ShapeError(
                f"The kernel of {self.equation!r} cannot be made: the size of {missing[0]!r} is not known.",
                expected=f"a size for each of {kernel!r} in the input or in output_shape",
                received=f"input shape {tuple(input_shape)}, output_shape={self.output_shape}",
                fix="give Input (or output_shape) that size",
            )
        self.kernel = self.add_weight(
            tuple(sizes[letter] for letter in kernel),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.bias_axes:
            first = min(output.find(letter) for letter in self.bias_axes)
            shape = [sizes[letter] if letter in self.bias_axes else 1 for letter in output[first:]]
            behind = len(input_shape) - len(self._parts[0]) if self.equation.partition("->")[2].endswith("...") else 0
            self.bias = self.add_weight(
                (*shape, *(1,) * behind),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _sizes(self, input_shape: Shape) -> dict[str, Any]:
        """The size that each letter stands for."""
        source, _, output = self._parts
        if len(input_shape) < len(source) or ("..." not in self.equation and len(input_shape) != len(source)):
            raise ShapeError(
                f"The input does not have the axes of {self.equation!r}.",
                expected=f"an axis for each of {source!r}",
                received=f"shape {tuple(input_shape)}",
                fix="write one letter for each axis, or '...' for those that stay as they are",
            )
        begins = self.equation.startswith("...")
        seen = input_shape[len(input_shape) - len(source) :] if begins else input_shape[: len(source)]
        sizes: dict[str, Any] = dict(zip(source, seen, strict=True))
        stated = self.output_shape if begins else (None, *self.output_shape)  # the batch has no size there
        letters = output[len(output) - len(stated) :] if begins and len(stated) < len(output) else output
        stated = stated[len(stated) - len(letters) :] if begins else stated[: len(letters)]
        for letter, size in zip(letters, stated, strict=False):
            if size is not None:
                sizes[letter] = size
        return sizes

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The product, the bias, the activation."""
        outputs = torch.einsum(self.equation, inputs, self.kernel)
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The sizes of the output's letters, with the axes between that stay as they are."""
        shape = tuple(input_shape)
        sizes = self._sizes(shape)
        found = tuple(sizes.get(letter) for letter in self._parts[2])
        between = len(shape) - len(self._parts[0])
        if self.equation.startswith("..."):
            return (*shape[:between], *found)
        return (*found, *shape[len(shape) - between :]) if between else found


def _parts_of(equation: str) -> Sequence[str]:
    """The letters of the input, the kernel and the output."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    source, comma, kernel = left.partition(",")
    letters = [part.replace("...", "", 1) for part in (source, kernel, output)]
    whole = arrow and comma and "..." not in kernel and ("..." in source) == ("..." in output)
    if not whole or not all(part.isalpha() and len(set(part)) == len(part) for part in letters):
        raise ArgumentError(
            "This is no equation of an input and a kernel.",
            expected="such as 'abc,cd->abd', a letter for each axis",
            received=repr(equation),
            fix="write the input's axes, a comma, the kernel's, an arrow and the output's",
        )
    return letters
