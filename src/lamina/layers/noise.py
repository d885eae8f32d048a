"""Layers that add noise while training, and hand their input on at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.registry import LAYERS
from lamina.seeds import SeedGenerator


class Noise(Layer):
    """A layer that changes its input at random while training, and otherwise gives it back.

    A subclass says by `disturbed` what happens while training, and by `strength` how much of it.

    Args:
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.
    """

    supports_masking = True
    _resolves_training = True
    rate: float

    def __init__(self, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if seed is not None and (isinstance(seed, bool) or not hasattr(seed, "__index__")):
            raise ArgumentError(
                f"{type(self).__name__} cannot start from this seed.",
                expected="a whole number, or None for torch's global random numbers",
                received=f"seed={seed!r}",
                fix="seed=0",
            )
        self.seed = seed
        self._seeds = None if seed is None else SeedGenerator(int(seed))

    @property
    def strength(self) -> float:
        """How much noise there is; 0 for none at all."""
        return self.rate

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        """The input, disturbed while training."""
        if training is None:
            training = self.training
        return self.disturbed(inputs) if training and self.strength > 0 else inputs

    def disturbed(self, x: torch.Tensor) -> torch.Tensor:
        """What training sees in place of `x`."""
        raise NotImplementedError(f"{type(self).__name__} does not define disturbed().")

    def generator(self, x: torch.Tensor) -> torch.Generator | None:
        """Where the random numbers for `x` come from; `None` for torch's global generator."""
        return None if self._seeds is None else self._seeds.on(x.device)

    def normal(self, x: torch.Tensor, mean: float, stddev: float) -> torch.Tensor:
        """Normally distributed numbers in the shape, the dtype and the memory layout of `x`."""
        return torch.empty_like(x).normal_(mean, stddev, generator=self.generator(x))

    def kept(self, x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """1 with probability `1 - rate` and else 0, in `shape` and the dtype of `x`."""
        return x.new_empty(shape).bernoulli_(1.0 - self.rate, generator=self.generator(x))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


@LAYERS.register()
class GaussianDropout(Noise):
    """While training, multiply by normal noise of mean 1 and standard deviation `sqrt(rate / (1 - rate))`.

    Args:
        rate: the strength, as the rate of the `Dropout` whose noise has the same variance; from 0 up to but not
            including 1.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        Any, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `rate` or `seed` is of no use.

    Example:
        >>> y = GaussianDropout(0.5, seed=1)(torch.ones(10_000), training=True)
        >>> f"{float(y.mean()):.1f} {float(y.std()):.1f}"
        '1.0 1.0'

    Reference:
        Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, 2014, "Dropout: A Simple Way to Prevent Neural
        Networks from Overfitting", https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = share(rate, "GaussianDropout", whole=False)

    def disturbed(self, x: torch.Tensor) -> torch.Tensor:
        """`x` times the noise."""
        return x * self.normal(x, 1.0, (self.rate / (1.0 - self.rate)) ** 0.5)


@LAYERS.register()
class GaussianNoise(Noise):
    """While training, add normal noise of mean 0.

    Args:
        stddev: the standard deviation of the noise.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        Any, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `stddev` is below zero, or `seed` is of no use.

    Example:
        >>> y = GaussianNoise(0.5, seed=1)(torch.zeros(10_000), training=True)
        >>> f"{abs(float(y.mean())):.1f} {float(y.std()):.1f}"
        '0.0 0.5'
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        if not stddev >= 0:
            raise ArgumentError(
                "GaussianNoise needs a standard deviation of at least zero.",
                expected="a number not below zero",
                received=f"stddev={stddev!r}",
                fix="stddev=0.1",
            )
        super().__init__(seed, **kwargs)
        self.stddev = stddev

    @property
    def strength(self) -> float:
        """How much noise there is; 0 for none at all."""
        return self.stddev

    def disturbed(self, x: torch.Tensor) -> torch.Tensor:
        """`x` plus the noise."""
        return x + self.normal(x, 0.0, self.stddev)


def share(rate: float, owner: str, whole: bool = True) -> float:
    """`rate`, if it is a share.

    Args:
        rate: what was passed.
        owner: the class that takes it, for the message.
        whole: whether it may be 1.

    Raises:
        ArgumentError: it lies outside.
    """
    if not (0 <= rate < 1 or (whole and rate == 1)):
        raise ArgumentError(
            f"{owner} needs a rate from 0 to 1.",
            expected="0 <= rate <= 1" if whole else "0 <= rate < 1",
            received=f"rate={rate!r}",
            fix=f"{owner}({rate / 100:g}), if per cent were meant" if 1 < rate < 100 else f"{owner}(0.5)",
        )
    return rate
