"""The layers without a family: Dense, Activation, Lambda, Identity, Masking."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from lamina import activations, constraints, dtypes, initializers, regularizers
from lamina.activations.fused import kernel_name
from lamina.engine.abstract import Shape, Spec
from lamina.engine.arguments import positive
from lamina.engine.layer import Layer
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError
from lamina.kernels.linear import linear
from lamina.registry import LAYERS


@LAYERS.register()
class Dense(Layer):
    """`activation(x @ kernel + bias)` along the last axis.

    Args:
        units: the size of the output's last axis.
        activation: a name or function; none by default.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(inputs, units)`.
        bias_initializer: of the bias, `(units,)`.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: a projection of the kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ..., inputs)`, float.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ArgumentError: `units` is not a positive whole number.
        ShapeError: the input's last axis is unknown, or differs from the one the layer was built for.

    Example:
        >>> Dense(4, activation="relu")(torch.ones(2, 3)).shape
        torch.Size([2, 4])
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
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
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive(units, "units", "Dense")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Make the kernel, stored with the axis of units first in memory, and the bias."""
        inputs = input_shape[-1]
        self.kernel = self.add_weight(
            (inputs, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
            memory_order=(1, 0),
        )
        self.bias = (
            self.add_weight(
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )
            if self.use_bias
            else None
        )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: inputs})

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The product, the bias, the activation."""
        fused = kernel_name(self.activation)
        outputs = linear(inputs, self.kernel, self.bias, fused or "linear")
        return outputs if fused else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape with `units` last."""
        return (*input_shape[:-1], self.units)


@LAYERS.register()
class Activation(Layer):
    """An activation function as a layer.

    Args:
        activation: a name such as `"relu"`, or a function of a tensor.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Raises:
        UnknownNameError: there is no activation of that name.

    Example:
        >>> Activation("relu")(torch.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The function of the input."""
        return self.activation(inputs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LAYERS.register()
class Identity(Layer):
    """Its input, unchanged.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Example:
        >>> Identity()(torch.ones(2)).tolist()
        [1.0, 1.0]
    """

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The input."""
        return inputs


@LAYERS.register()
class Lambda(Layer):
    """A function as a layer. Its weights, if it uses any, are not the layer's: make a `Layer` for that.

    Args:
        function: what to compute.
        output_shape: the shape of a sample's output, or a function from input shape to output shape; by default
            found by running `function` without memory.
        mask: the mask of the output, or a function of inputs and mask that gives it.
        arguments: keyword arguments for `function`.
        **kwargs: what every layer takes.

    Input shape:
        What `function` takes.

    Output shape:
        What it gives.

    Raises:
        ArgumentError: `function` cannot be called.

    Example:
        >>> Lambda(lambda x: x[:, :2])(torch.arange(6.0).reshape(2, 3)).tolist()
        [[0.0, 1.0], [3.0, 4.0]]
    """

    supports_masking = True

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise ArgumentError(
                "Lambda needs a function.",
                expected="something that can be called",
                received=repr(function),
                fix="Lambda(lambda x: x * 2)",
            )
        self.function = function
        self.__dict__.update(output_shape=output_shape, mask=mask, arguments=dict(arguments or {}))
        self._takes_mask, self._takes_training = _takes(function, "mask"), _takes(function, "training")

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """The function of the input."""
        extra = dict(self.arguments)
        if self._takes_mask:
            extra["mask"] = mask
        if self._takes_training:
            extra["training"] = self.training if training is None else training
        return self.function(inputs, **extra)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The stated output shape, or what a run without memory gives."""
        if self.output_shape is None:
            return super().compute_output_spec(*args, **kwargs)
        shape = tuple(args[0].shape)
        sample = self.output_shape(shape) if callable(self.output_shape) else (shape[0], *self.output_shape)
        return Spec(tuple(sample), dtypes.torch_dtype(self.compute_dtype))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """What `mask` says; without it, the input's."""
        if callable(self.mask):
            return self.mask(inputs, previous_mask)
        return previous_mask if self.mask is None else self.mask


def _takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether `function` has an argument of that name."""
    try:
        return argument in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


@LAYERS.register()
class Masking(Layer):
    """Mask the steps at which every feature equals `mask_value`, and set them to zero.

    Args:
        mask_value: the value that marks a step to be skipped.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, features)`.

    Output shape:
        The same; the mask is `(batch, steps)`.

    Example:
        >>> Masking()(torch.tensor([[[1.0], [0.0]]])).squeeze().tolist()
        [1.0, 0.0]
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def compute_mask(self, inputs: torch.Tensor, previous_mask: Any = None) -> torch.Tensor:
        """True where some feature differs from `mask_value`."""
        return (inputs != self.mask_value).any(dim=-1)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, zero at masked steps."""
        return inputs * (inputs != self.mask_value).any(dim=-1, keepdim=True)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape
