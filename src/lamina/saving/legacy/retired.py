"""Layers that Keras 3 no longer has."""

from __future__ import annotations

from typing import Any

import torch

from lamina import activations, constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.arguments import positive
from lamina.engine.layer import Layer
from lamina.registry import Registry

LEGACY_LAYERS = Registry("legacy layer")


@LEGACY_LAYERS.register()
class ThresholdedReLU(Layer):
    """`x` where it is above `theta`, else 0.

    Args:
        theta: the threshold.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Example:
        >>> ThresholdedReLU(1.0)(torch.tensor([0.5, 1.0, 2.0])).tolist()
        [0.0, 0.0, 2.0]

    Reference:
        Konda et al. (2015), Zero-bias autoencoders and the benefits of co-adapting features,
        https://arxiv.org/abs/1402.3337
    """

    supports_masking = True

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = float(theta)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, zero up to the threshold."""
        return torch.nn.functional.threshold(inputs, self.theta, 0.0)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LEGACY_LAYERS.register()
class ParametricSoftplus(Layer):
    """`alpha * log(1 + exp(beta * x))` with a learned alpha and beta for each feature.

    Args:
        alpha_initializer: of alpha.
        beta_init: the first value of beta.
        shared_axes: axes along which alpha and beta are the same, counted from 1.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`.

    Output shape:
        The same.

    Example:
        >>> ParametricSoftplus("ones", 1.0)(torch.zeros(1, 2)).tolist()
        [[0.693, 0.693]]
    """

    supports_masking = True

    def __init__(
        self, alpha_initializer: Any = 0.2, beta_init: float = 5.0, shared_axes: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(alpha_initializer, (int, float)):
            alpha_initializer = initializers.Constant(alpha_initializer)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.beta_init = beta_init
        self.shared_axes = shared_axes

    def build(self, input_shape: Any) -> None:
        """Make alpha and beta."""
        shared = self.shared_axes or ()
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape[1:], 1)]
        self.alpha = self.add_weight(shape, self.alpha_initializer, name="alpha")
        self.beta = self.add_weight(shape, initializers.Constant(self.beta_init), name="beta")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The softplus."""
        return torch.nn.functional.softplus(self.beta * inputs) * self.alpha

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


class _Products(Layer):
    """What dense layers of Keras 1 share: a kernel, a bias, and what belongs to them."""

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def _kernel(self, *shape: int, name: str = "kernel") -> Any:
        return self.add_weight(
            shape,
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name=name,
        )

    def _bias(self, *shape: int, initializer: Any = "zeros", name: str = "bias") -> Any:
        if not self.use_bias:
            return None
        return self.add_weight(
            shape, initializer, regularizer=self.bias_regularizer, constraint=self.bias_constraint, name=name
        )


@LEGACY_LAYERS.register()
class MaxoutDense(_Products):
    """The greatest of several linear functions.

    Args:
        units: the size of the output.
        nb_feature: how many linear functions there are for each output.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, `(nb_feature, inputs, units)`.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a projection of the kernel after each optimizer step.
        bias_constraint: a projection of the bias after each optimizer step.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, inputs)`.

    Output shape:
        `(batch, units)`.

    Example:
        >>> MaxoutDense(3)(torch.ones(2, 4)).shape
        torch.Size([2, 3])

    Reference:
        Goodfellow et al. (2013), Maxout networks, https://arxiv.org/abs/1302.4389
    """

    def __init__(
        self,
        units: int,
        nb_feature: int = 4,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        weights = (kernel_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint)
        super().__init__(None, use_bias, *weights, **kwargs)
        self.units = positive(units, "units", "MaxoutDense")
        self.nb_feature = positive(nb_feature, "nb_feature", "MaxoutDense")

    def build(self, input_shape: Any) -> None:
        """Make the kernel and the bias."""
        self.kernel = self._kernel(self.nb_feature, input_shape[-1], self.units)
        self.bias = self._bias(self.nb_feature, self.units)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The greatest product."""
        products = torch.einsum("bi,kio->bko", inputs, self.kernel)
        return (products if self.bias is None else products + self.bias).amax(1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The number of outputs last."""
        return (input_shape[0], self.units)


@LEGACY_LAYERS.register()
class Highway(_Products):
    """A dense layer and its input, mixed as a second dense layer says.

    Args:
        activation: of the dense layer.
        use_bias: whether biases are added.
        transform_bias: the first value of the second layer's bias.
        kernel_initializer: of the kernels, `(inputs, inputs)`.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        kernel_constraint: a projection of the kernels after each optimizer step.
        bias_constraint: a projection of the biases after each optimizer step.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, inputs)`.

    Output shape:
        The same.

    Example:
        >>> Highway()(torch.ones(2, 4)).shape
        torch.Size([2, 4])

    Reference:
        Srivastava et al. (2015), Highway networks, https://arxiv.org/abs/1505.00387
    """

    def __init__(
        self,
        activation: Any = None,
        use_bias: bool = True,
        transform_bias: float = -2.0,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        weights = (kernel_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint)
        super().__init__(activation, use_bias, *weights, **kwargs)
        self.transform_bias = transform_bias

    def build(self, input_shape: Any) -> None:
        """Make two kernels and two biases, in the order of Keras 1."""
        size = input_shape[-1]
        self.kernel = self._kernel(size, size)
        self.carry_kernel = self._kernel(size, size, name="carry_kernel")
        self.bias = self._bias(size)
        first = initializers.Constant(self.transform_bias)
        self.carry_bias = self._bias(size, initializer=first, name="carry_bias")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The mixture."""
        share, new = inputs @ self.carry_kernel, inputs @ self.kernel
        if self.use_bias:
            share, new = share + self.carry_bias, new + self.bias
        share = torch.sigmoid(share)
        return share * self.activation(new) + (1 - share) * inputs

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LEGACY_LAYERS.register()
class AddLoss(Layer):
    """Its input, added to the training loss, as `model.add_loss(tensor)` of Keras 2 leaves it in a graph.

    Args:
        unconditional: without a meaning since TensorFlow 2.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Example:
        >>> layer = AddLoss()
        >>> _ = layer(torch.tensor([1.0, 3.0])); [float(loss) for loss in layer.losses]
        [2.0]
    """

    def __init__(self, unconditional: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unconditional = unconditional

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input, noted as a loss."""
        self.add_loss(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape
