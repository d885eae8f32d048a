"""Normalization over the batch, and what the layers that normalize share."""

from __future__ import annotations

from typing import Any

import torch

from lamina import config, constraints, initializers, regularizers
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask
from lamina.engine.spec import InputSpec, check_inputs
from lamina.errors import ArgumentError, ShapeError
from lamina.kernels import native
from lamina.kernels import normalization as kernels
from lamina.registry import LAYERS


class Affine(Layer):
    """A layer with a factor `gamma` and an offset `beta`, either of which may be left out.

    Args:
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether the result is multiplied by `gamma`.
        beta_initializer: of `beta`.
        gamma_initializer: of `gamma`.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: a projection of `beta` after each optimizer step.
        gamma_constraint: a projection of `gamma` after each optimizer step.
        **kwargs: what every layer takes.
    """

    supports_masking = True

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        beta_constraint: Any,
        gamma_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = not_negative(epsilon, "epsilon", type(self).__name__)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.gamma: torch.Tensor | None = None
        self.beta: torch.Tensor | None = None

    def add_gamma_and_beta(self, shape: tuple[int, ...], gamma: bool, beta: bool) -> None:
        """Make those of the two weights that are wanted.

        Args:
            shape: of each.
            gamma: whether there is a factor.
            beta: whether there is an offset.
        """
        if gamma:
            self.gamma = self.add_weight(
                shape,
                self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                name="gamma",
            )
        if beta:
            self.beta = self.add_weight(
                shape,
                self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                name="beta",
            )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LAYERS.register()
class BatchNormalization(Affine):
    """Bring each channel to mean 0 and variance 1, then to a mean and a spread that are learned.

    While training, mean and variance are those of the batch, and moving averages follow them; at inference the
    moving averages take their place. A layer with `trainable=False` always computes as at inference.

    Args:
        axis: where the channels stand.
        momentum: the share of the old moving averages in the new ones.
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether the result is multiplied by `gamma`.
        beta_initializer: of `beta`, `(channels,)`.
        gamma_initializer: of `gamma`, `(channels,)`.
        moving_mean_initializer: of the moving mean, `(channels,)`.
        moving_variance_initializer: of the moving variance, `(channels,)`.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: a projection of `beta` after each optimizer step.
        gamma_constraint: a projection of `gamma` after each optimizer step.
        renorm: whether batch renormalization leads the training statistics towards the moving ones.
        renorm_clipping: limits `"rmin"`, `"rmax"` and `"dmax"` of the corrections of `renorm`.
        renorm_momentum: the `momentum` of the averages that `renorm` corrects towards.
        synchronized: averages over all devices; not available.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, ...)`, float. A mask of the input leaves masked steps out of the statistics.

    Output shape:
        The same.

    Raises:
        ArgumentError: `momentum`, `epsilon` or `renorm_clipping` is out of range, or `synchronized` is set.
        ShapeError: the input has no such axis, or another number of channels than the layer was built for.

    Example:
        >>> y = BatchNormalization()(torch.tensor([[1.0], [3.0]]), training=True)
        >>> y.flatten().tolist()
        [-0.9995, 0.9995]

    Reference:
        Ioffe, Szegedy, 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
        Covariate Shift", https://arxiv.org/abs/1502.03167
    """

    _resolves_training = True
    renorm_clipping: dict[str, float] | None
    moving_variance_initializer: Any

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
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
        if synchronized:
            raise ArgumentError(
                "BatchNormalization cannot average its statistics over devices.",
                expected="synchronized=False",
                received="synchronized=True",
                fix="leave it out; each device then normalizes its own part of the batch",
            )
        self.axis = int(axis)
        self.momentum = _share(momentum, "momentum")
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.renorm = renorm
        self.renorm_momentum = _share(renorm_momentum, "renorm_momentum")
        self.synchronized = synchronized
        # Past __setattr__, which would take an empty dict for one that is going to hold layers.
        self.__dict__["renorm_clipping"] = _clipping(renorm_clipping) if renorm else renorm_clipping

    def build(self, input_shape: Any) -> None:
        """Make gamma, beta and the moving averages."""
        native.prepare("normalization")
        axis = axes_of(self.axis, input_shape, "BatchNormalization")[0]
        shape = (input_shape[axis],)
        self.add_gamma_and_beta(shape, self.scale, self.center)
        self.moving_mean = self._statistic("moving_mean", shape, self.moving_mean_initializer)
        self.moving_variance = self._statistic("moving_variance", shape, self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = self._statistic("moving_stddev", shape, self._stddev)
            self.renorm_mean = self._statistic("renorm_mean", shape, self.moving_mean_initializer)
            self.renorm_stddev = self._statistic("renorm_stddev", shape, self._stddev)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: shape[0]})

    def _statistic(self, name: str, shape: tuple[int, ...], initializer: Any) -> Any:
        """A moving average."""
        return self.add_weight(shape, initializer, trainable=False, name=name)

    def _stddev(self, shape: Any, dtype: Any, **kwargs: Any) -> torch.Tensor:
        """The root of what the moving variance begins with."""
        return self.moving_variance_initializer(shape, dtype, **kwargs).sqrt()

    def mark_built(self) -> None:
        """Keep the short path, which a `mask` argument rules out elsewhere: `call` finds the input's mask itself."""
        super().mark_built()
        self.__dict__["_direct"] = self.activity_regularizer is None

    def _settle_input_dtype(self) -> None:
        """Without gamma and beta the moving averages say which float dtype an input must have."""
        super()._settle_input_dtype()
        if self._input_dtype is None and self.built and self.autocast and self._mixed is None:
            self.__dict__["_input_dtype"] = self.moving_mean.dtype

    def call(
        self, inputs: torch.Tensor, training: bool | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalize; while training, follow the batch's statistics."""
        if inputs.shape[self.axis] != self.moving_mean.shape[0]:
            check_inputs(self.input_spec, tuple(inputs.shape), "BatchNormalization")
        if training is None:
            training = self.training
        if not (training and self._trainable):
            mean, variance = self.moving_mean, self.moving_variance
            return kernels.batch_norm(inputs, mean, variance, self.gamma, self.beta, self.axis, self.epsilon)
        mask = get_mask(inputs) if mask is None else mask
        if mask is not None or self.renorm:
            return self._train_in_full(inputs, mask)
        return self.follow(inputs)

    def follow(self, inputs: torch.Tensor, residual: torch.Tensor | None = None, relu: bool = False) -> torch.Tensor:
        """Normalize by the batch's own statistics, and let the moving averages follow them.

        Args:
            inputs: as for `call`.
            residual: a tensor of the same shape to add to the result, or `None`.
            relu: whether what is below zero then becomes zero.
        """
        y, mean, inverse = kernels.batch_norm_with_own_statistics(
            inputs, self.gamma, self.beta, self.axis, self.epsilon, residual, relu
        )
        kernels.follow(self.moving_mean, mean, self.momentum)
        kernels.follow(self.moving_variance, kernels.variance_of(inverse, self.epsilon), self.momentum)
        return y

    def _train_in_full(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`call` while training, with a mask or renormalization."""
        if mask is None:
            y, mean, inverse = kernels.batch_norm_with_own_statistics(x, None, None, self.axis, self.epsilon)
            variance = kernels.variance_of(inverse, self.epsilon)
        else:
            wide = x.float() if x.dtype.itemsize < 4 else x  # sums of many numbers want float32
            mean, variance = kernels.masked_moments(wide, _mask_over(mask, x), self.axis, config.epsilon())
            y = (wide - mean) * torch.rsqrt(variance + self.epsilon)
            mean, variance = mean.detach().flatten(), variance.detach().flatten()
        gamma, beta = self.gamma, self.beta
        if self.renorm:
            gamma, beta = self._renormalized(mean, torch.sqrt(variance + self.epsilon))
        else:
            kernels.follow(self.moving_mean, mean, self.momentum)
            kernels.follow(self.moving_variance, variance, self.momentum)
        return kernels.scale_and_shift(y, gamma, beta, self.axis).to(x.dtype)

    def _renormalized(self, mean: torch.Tensor, stddev: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gamma and beta with the corrections of batch renormalization in them; the averages go on."""
        r, d = kernels.renorm_correction(
            mean, stddev, self.renorm_mean, self.renorm_stddev, self.epsilon, self.renorm_clipping or {}
        )
        gamma, beta = (r, d) if self.gamma is None else (r * self.gamma, d * self.gamma)
        kernels.follow(self.renorm_mean, mean, self.renorm_momentum)
        kernels.follow(self.renorm_stddev, stddev, self.renorm_momentum)
        kernels.follow(self.moving_mean, mean, self.momentum)
        kernels.follow(self.moving_stddev, stddev, self.momentum)
        self.moving_variance.copy_(self.moving_stddev.square().sub_(self.epsilon).clamp_min_(0.0))
        return gamma, beta if self.beta is None else beta + self.beta


def axes_of(axis: int | list[int], shape: Any, owner: str) -> tuple[int, ...]:
    """`axis` counted from 0 up, in order, for data of `shape`.

    Args:
        axis: one or several, counted from either end.
        shape: the shape of the data.
        owner: the class that normalizes, for the message.

    Raises:
        ShapeError: there is no such axis, or one is named twice.

    Example:
        >>> axes_of([-1, 1], (None, 8, 8, 3), "LayerNormalization")
        (1, 3)
    """
    axes, rank = axis if isinstance(axis, list) else [axis], len(shape)
    found = sorted({a % rank for a in axes if -rank <= a < rank})
    if len(found) != len(axes):
        raise ShapeError(
            f"{owner} cannot normalize over axis {axis}.",
            expected=f"different axes from {-rank} to {rank - 1}",
            received=f"axis={axis} and shape {tuple(shape)}",
            fix="axis=-1 is the last one, where channels usually stand",
        )
    return tuple(found)


def not_negative(value: float, argument: str, owner: str) -> float:
    """`value` as a float, if it is not below zero.

    Args:
        value: what was passed.
        argument: the argument's name, for the message.
        owner: the class that takes it, for the message.

    Raises:
        ArgumentError: it is below zero, or no number.
    """
    if not value >= 0:
        raise ArgumentError(
            f"{owner} needs {argument} of at least zero.",
            expected="a number not below zero",
            received=f"{argument}={value!r}",
            fix=f"{argument}=1e-3",
        )
    return float(value)


def _mask_over(mask: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`mask`, which covers the first axes of `x`, with an axis of size 1 for each of the others."""
    if mask.ndim >= x.ndim or any(m != s for m, s in zip(mask.shape, x.shape, strict=False)):
        raise ShapeError(
            "The mask does not fit the input of BatchNormalization.",
            expected=f"the leading sizes of {tuple(x.shape)}, such as {tuple(x.shape[:-1])}",
            received=f"a mask of shape {tuple(mask.shape)}",
            fix="give one value for each step of each sample",
        )
    return mask.bool()[(...,) + (None,) * (x.ndim - mask.ndim)]


def _share(value: float, argument: str) -> float:
    """`value` as a float, if it lies from 0 to 1."""
    if not 0 <= value <= 1:
        raise ArgumentError(
            f"BatchNormalization needs {argument} from 0 to 1.",
            expected="the share of the old average that stays",
            received=f"{argument}={value!r}",
            fix=f"{argument}=0.99",
        )
    return float(value)


def _clipping(limits: dict[str, float] | None) -> dict[str, float]:
    """`limits`, if they are limits of batch renormalization that leave room."""
    limits = dict(limits or {})
    low, high, most = limits.get("rmin"), limits.get("rmax"), limits.get("dmax")
    crossed = low is not None and high is not None and high < low
    if set(limits) - {"rmin", "rmax", "dmax"} or crossed or (most is not None and most < 0):
        raise ArgumentError(
            "These are no limits for batch renormalization.",
            expected="'rmin' and 'rmax' with rmin <= rmax, 'dmax' >= 0, or some of them",
            received=f"renorm_clipping={limits}",
            fix="renorm_clipping={'rmin': 1 / 3, 'rmax': 3.0, 'dmax': 5.0}",
        )
    return limits
