"""Normalization of each sample by itself: over its features, or over groups of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError, ShapeError
from lamina.kernels import normalization as kernels
from lamina.layers.normalization import Affine, axes_of, not_negative
from lamina.registry import LAYERS


@LAYERS.register()
class LayerNormalization(Affine):
    """Bring the features of each sample to mean 0 and variance 1, then to a mean and a spread that are learned.

    Args:
        axis: the axis, or the axes together, that are normalized.
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether the result is multiplied by `gamma`.
        beta_initializer: of `beta`, which has the sizes of the axes.
        gamma_initializer: of `gamma`, which has the sizes of the axes.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: a projection of `beta` after each optimizer step.
        gamma_constraint: a projection of `gamma` after each optimizer step.
        rms_scaling: divide by the root of the variance alone: no mean is subtracted, no `beta` added.
            `RMSNormalization` is what papers mean by the name.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `axis` is no whole number or list of them, or `epsilon` is below zero.
        ShapeError: the input has no such axis, or other sizes there than the layer was built for.

    Example:
        >>> LayerNormalization()(torch.tensor([[1.0, 3.0]])).tolist()
        [[-0.9995, 0.9995]]

    Reference:
        Ba, Kiros, Hinton, 2016, "Layer Normalization", https://arxiv.org/abs/1607.06450
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.axis = _axis_argument(axis, "LayerNormalization")
        self.rms_scaling = rms_scaling

    def build(self, input_shape: Any) -> None:
        """Make gamma and beta."""
        axes = axes_of(self.axis, input_shape, "LayerNormalization")
        self._axes = axes
        shape = tuple(input_shape[axis] for axis in axes)
        self.add_gamma_and_beta(shape, self.scale or self.rms_scaling, self.center and not self.rms_scaling)
        self.input_spec = InputSpec(ndim=len(input_shape), axes=dict(zip(axes, shape, strict=True)))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize each sample."""
        if self.rms_scaling:
            return kernels.variance_norm(inputs, self._axes, self.gamma, self.epsilon)
        return kernels.layer_norm(inputs, self._axes, self.gamma, self.beta, self.epsilon)


@LAYERS.register()
class GroupNormalization(Affine):
    """Bring each group of channels of each sample to mean 0 and variance 1, then to ones that are learned.

    Args:
        groups: the number of groups; -1 for one a channel.
        axis: where the channels stand.
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether the result is multiplied by `gamma`.
        beta_initializer: of `beta`, `(channels,)`.
        gamma_initializer: of `gamma`, `(channels,)`.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: a projection of `beta` after each optimizer step.
        gamma_constraint: a projection of `gamma` after each optimizer step.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `groups` is neither -1 nor above zero, or `epsilon` is below zero.
        ShapeError: the groups do not divide the channels, or the input has another number of channels than the
            layer was built for.

    Example:
        >>> GroupNormalization(groups=2)(torch.tensor([[1.0, 3.0, 5.0, 9.0]])).tolist()
        [[-0.9995, 0.9995, -0.9999, 0.9999]]

    Reference:
        Wu, He, 2018, "Group Normalization", https://arxiv.org/abs/1803.08494
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        if isinstance(groups, bool) or not isinstance(groups, int) or (groups < 1 and groups != -1):
            raise ArgumentError(
                "GroupNormalization needs a number of groups.",
                expected="a whole number above zero, or -1 for one group a channel",
                received=f"groups={groups!r}",
                fix="groups=32",
            )
        self.groups = groups
        self.axis = int(axis)

    def build(self, input_shape: Any) -> None:
        """Make gamma and beta."""
        channels = input_shape[axes_of(self.axis, input_shape, "GroupNormalization")[0]]
        self._count = channels if self.groups == -1 else self.groups
        if channels is None or channels % self._count:
            raise ShapeError(
                "The channels do not fall into groups of equal size.",
                expected=f"a multiple of {self._count} on axis {self.axis}",
                received=f"shape {tuple(input_shape)}",
                fix="choose groups that divide the channels, or -1 for one group a channel",
            )
        self.add_gamma_and_beta((channels,), self.scale, self.center)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize each group of each sample."""
        return kernels.group_norm(inputs, self._count, self.gamma, self.beta, self.axis, self.epsilon)


@LAYERS.register()
class RMSNormalization(Layer):
    """Divide the features of each sample by their root mean square, then multiply by a learned scale.

    Args:
        axis: the axis, or the axes together, that are normalized.
        epsilon: added to the mean square.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `axis` is no whole number or list of them, or `epsilon` is below zero.
        ShapeError: the input has no such axis, or other sizes there than the layer was built for.

    Example:
        >>> RMSNormalization()(torch.tensor([[3.0, 3.0]])).tolist()
        [[1.0, 1.0]]

    Reference:
        Zhang, Sennrich, 2019, "Root Mean Square Layer Normalization", https://arxiv.org/abs/1910.07467
    """

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _axis_argument(axis, "RMSNormalization")
        self.epsilon = not_negative(epsilon, "epsilon", "RMSNormalization")

    def build(self, input_shape: Any) -> None:
        """Make the scale."""
        self._axes = axes_of(self.axis, input_shape, "RMSNormalization")
        shape = tuple(input_shape[axis] for axis in self._axes)
        self.scale = self.add_weight(shape, "ones", name="scale")
        self.input_spec = InputSpec(ndim=len(input_shape), axes=dict(zip(self._axes, shape, strict=True)))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize each sample."""
        return kernels.rms_norm(inputs, self._axes, self.scale, self.epsilon)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LAYERS.register()
class UnitNormalization(Layer):
    """Divide the features of each sample by their Euclidean norm.

    Args:
        axis: the axis, or the axes together, that are normalized.
        **kwargs: what every layer takes.

    Input shape:
        Any, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `axis` is no whole number or list of them.
        ShapeError: the input has no such axis.

    Example:
        >>> UnitNormalization()(torch.tensor([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _axis_argument(axis, "UnitNormalization")

    def build(self, input_shape: Any) -> None:
        """Check the axes."""
        self._axes = axes_of(self.axis, input_shape, "UnitNormalization")
        self.input_spec = InputSpec(ndim=len(input_shape))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input over its norm; over 1e-12 where the norm is smaller."""
        norm = torch.linalg.vector_norm(inputs, dim=self._axes, keepdim=True)
        return inputs / norm.clamp_min(1e-12)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


def _axis_argument(axis: Any, owner: str) -> Any:
    """`axis` if it is a whole number; a list of them if it is several."""
    axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    if not axes or any(isinstance(a, bool) or not hasattr(a, "__index__") for a in axes):
        raise ArgumentError(
            f"{owner} needs the axis or axes to normalize.",
            expected="a whole number, or a list of them",
            received=f"axis={axis!r}",
            fix="axis=-1",
        )
    return [int(a) for a in axes] if isinstance(axis, (list, tuple)) else int(axis)
