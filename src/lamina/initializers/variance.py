"""Initializers that keep the variance of signals from layer to layer: Glorot's, He's, LeCun's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lamina.errors import ArgumentError, ShapeError
from lamina.initializers.random import RandomInitializer, Seed, fill_truncated_normal
from lamina.registry import INITIALIZERS

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
# The standard deviation of a standard normal variable cut at -2 and 2.
TRUNCATED_STDDEV = 0.87962566103423978


def compute_fans(
    shape: Sequence[int], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """How many inputs each unit of a weight reads, and how many outputs each input feeds.

    Args:
        shape: the weight's shape; its last two axes are taken as inputs and outputs, those before them as
            the window of a convolution, which multiplies both.
        input_axes: the axes of the inputs, where they are others; used only together with `output_axes`.
        output_axes: the axes of the outputs.

    Returns:
        `(fan_in, fan_out)`.

    Raises:
        ShapeError: `input_axes` or `output_axes` names an axis that `shape` does not have.

    Example:
        >>> compute_fans((784, 10)), compute_fans((3, 3, 16, 32)), compute_fans((10,))
        ((784, 10), (144, 288), (10, 10))
    """
    if input_axes is not None and output_axes is not None:
        if not all(-len(shape) <= axis < len(shape) for axis in (*input_axes, *output_axes)):
            raise ShapeError(
                "The axes of this initializer are not those of the weight.",
                expected=f"axes of shape {tuple(shape)}",
                received=f"input_axes={list(input_axes)}, output_axes={list(output_axes)}",
                fix=f"name axes from 0 to {len(shape) - 1}",
            )
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


@INITIALIZERS.register()
class VarianceScaling(RandomInitializer):
    """Random values of mean 0 and variance `scale / n`, where `n` counts the weight's inputs, outputs or both.

    Args:
        scale: the variance times `n`; above 0.
        mode: what `n` is: `"fan_in"`, the inputs of a unit; `"fan_out"`, the outputs; `"fan_avg"`, their mean.
        distribution: `"truncated_normal"` (or `"normal"`), cut at two standard deviations;
            `"untruncated_normal"`; or `"uniform"`.
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `scale`, `mode`, `distribution` or `seed` has a value it cannot have.

    Example:
        >>> values = VarianceScaling(scale=3.0, mode="fan_in", distribution="uniform")((300, 10))
        >>> bool(values.abs().max() <= 0.1733)
        True
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        name = str(distribution).lower()
        name = "truncated_normal" if name == "normal" else name
        _check_choice("mode", mode, MODES)
        _check_choice("distribution", name, DISTRIBUTIONS)
        if not scale > 0:
            raise ArgumentError(
                "The scale of a variance must be positive.",
                expected="scale above 0",
                received=f"scale={scale!r}",
                fix="scale=1.0",
            )
        self.scale = scale
        self.mode = mode
        self.distribution = name
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().check(shape, dtype)
        compute_fans(shape, self.input_axes, self.output_axes)

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> Tensor:
        fan_in, fan_out = compute_fans(tensor.shape, self.input_axes, self.output_axes)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, count)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return tensor.uniform_(-limit, limit, generator=generator)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return tensor.normal_(0.0, stddev, generator=generator)
        return fill_truncated_normal(tensor, 0.0, stddev / TRUNCATED_STDDEV, generator)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ArgumentError(
            f"VarianceScaling has no such {name}.",
            expected=" or ".join(map(repr, choices)),
            received=f"{name}={value!r}",
            fix=f"{name}={choices[0]!r}",
        )


class _NamedVarianceScaling(VarianceScaling):
    """`VarianceScaling` with the first three arguments fixed by the class, as `preset`."""

    preset: tuple[float, str, str]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.preset, seed, input_axes, output_axes)


@INITIALIZERS.register()
class GlorotUniform(_NamedVarianceScaling):
    """Values spread evenly within `sqrt(6 / (fan_in + fan_out))` of 0; also called Xavier uniform.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> bool(GlorotUniform()((300, 300)).abs().max() <= 0.1)
        True

    Reference:
        Glorot, Bengio, 2010, "Understanding the difficulty of training deep feedforward neural networks",
        https://proceedings.mlr.press/v9/glorot10a.html
    """

    preset = (1.0, "fan_avg", "uniform")


@INITIALIZERS.register()
class GlorotNormal(_NamedVarianceScaling):
    """Truncated normal values of standard deviation `sqrt(2 / (fan_in + fan_out))`; also called Xavier normal.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> round(GlorotNormal(seed=0)((500, 500)).std().item(), 3)
        0.045

    Reference:
        Glorot, Bengio, 2010, "Understanding the difficulty of training deep feedforward neural networks",
        https://proceedings.mlr.press/v9/glorot10a.html
    """

    preset = (1.0, "fan_avg", "truncated_normal")


@INITIALIZERS.register()
class LecunUniform(_NamedVarianceScaling):
    """Values spread evenly within `sqrt(3 / fan_in)` of 0.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> bool(LecunUniform()((300, 10)).abs().max() <= 0.1)
        True

    Reference:
        LeCun, Bottou, Orr, Müller, 1998, "Efficient BackProp", https://doi.org/10.1007/3-540-49430-8_2
    """

    preset = (1.0, "fan_in", "uniform")


@INITIALIZERS.register()
class LecunNormal(_NamedVarianceScaling):
    """Truncated normal values of standard deviation `sqrt(1 / fan_in)`; what `selu` needs.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> round(LecunNormal(seed=0)((400, 500)).std().item(), 3)
        0.05

    Reference:
        LeCun, Bottou, Orr, Müller, 1998, "Efficient BackProp", https://doi.org/10.1007/3-540-49430-8_2
    """

    preset = (1.0, "fan_in", "truncated_normal")


@INITIALIZERS.register()
class HeUniform(_NamedVarianceScaling):
    """Values spread evenly within `sqrt(6 / fan_in)` of 0; also called Kaiming uniform, made for `relu`.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> bool(HeUniform()((600, 10)).abs().max() <= 0.1)
        True

    Reference:
        He, Zhang, Ren, Sun, 2015, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
        ImageNet Classification", https://arxiv.org/abs/1502.01852
    """

    preset = (2.0, "fan_in", "uniform")


@INITIALIZERS.register()
class HeNormal(_NamedVarianceScaling):
    """Truncated normal values of standard deviation `sqrt(2 / fan_in)`; also called Kaiming normal, made for `relu`.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.
        input_axes: the axes of the inputs; by default the last but one, times the window before it.
        output_axes: the axes of the outputs; by default the last. Both must be given to count.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> round(HeNormal(seed=0)((800, 500)).std().item(), 3)
        0.05

    Reference:
        He, Zhang, Ren, Sun, 2015, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
        ImageNet Classification", https://arxiv.org/abs/1502.01852
    """

    preset = (2.0, "fan_in", "truncated_normal")


# Keras has each class under these names too.
variance_scaling = VarianceScaling
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
lecun_uniform = LecunUniform
lecun_normal = LecunNormal
he_uniform = HeUniform
he_normal = HeNormal
