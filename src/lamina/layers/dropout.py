"""Dropout: of single numbers, of whole channels, for SELU networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from lamina import config
from lamina.engine.spec import InputSpec
from lamina.errors import ArgumentError
from lamina.layers.noise import Noise, share
from lamina.registry import LAYERS


@LAYERS.register()
class Dropout(Noise):
    """While training, set a share of the input to zero at random and multiply the rest by `1 / (1 - rate)`.

    Args:
        rate: the share that is dropped, from 0 to 1.
        noise_shape: the shape in which is drawn what is dropped, `None` for a size of the input's; along an axis of
            size 1 everything is dropped or kept together.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Raises:
        ArgumentError: `rate`, `noise_shape` or `seed` is of no use.

    Example:
        >>> layer = Dropout(0.5, seed=1)
        >>> layer(torch.ones(4)).tolist(), sorted(set(layer(torch.ones(100), training=True).tolist()))
        ([1.0, 1.0, 1.0, 1.0], [0.0, 2.0])

    Reference:
        Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, 2014, "Dropout: A Simple Way to Prevent Neural
        Networks from Overfitting", https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = share(rate, type(self).__name__)
        self.noise_shape = _noise_shape(noise_shape, type(self).__name__)

    def disturbed(self, x: torch.Tensor) -> torch.Tensor:
        """A share of `x` dropped."""
        if self._seeds is None and self.noise_shape is None:
            return F.dropout(x, self.rate, training=True)
        return self._dropped(x, _concrete(self.noise_shape, x))

    def _dropped(self, x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Drop what zeros drawn in `shape` stand for."""
        if self.rate == 1:
            return torch.zeros_like(x)
        return x * self.kept(x, shape).div_(1.0 - self.rate)


class SpatialDropout(Dropout):
    """Dropout of whole channels; the classes that follow say of how many axes.

    Args:
        rate: the share of channels that is dropped, from 0 to 1.
        data_format: where the channels stand.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.
    """

    _rank = 1

    def __init__(self, rate: float, data_format: str | None, seed: int | None, **kwargs: Any) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self._rank + 2)

    def disturbed(self, x: torch.Tensor) -> torch.Tensor:
        """A share of the channels of `x` dropped."""
        ones = (1,) * self._rank
        if self.data_format == "channels_first":
            return self._dropped(x, (x.shape[0], x.shape[1], *ones))
        return self._dropped(x, (x.shape[0], *ones, x.shape[-1]))


@LAYERS.register()
class SpatialDropout1D(SpatialDropout):
    """Dropout of whole channels of sequences.

    Args:
        rate: the share of channels that is dropped, from 0 to 1.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, steps, channels)`.

    Output shape:
        The same.

    Raises:
        ArgumentError: `rate` or `seed` is of no use.
        ShapeError: the input has another number of axes.

    Example:
        >>> y = SpatialDropout1D(0.5, seed=1)(torch.ones(1, 3, 8), training=True)
        >>> bool((y == y[:, :1]).all()), sorted(set(y.flatten().tolist()))
        (True, [0.0, 2.0])

    Reference:
        Tompson, Goroshin, Jain, LeCun, Bregler, 2014, "Efficient Object Localization Using Convolutional
        Networks", https://arxiv.org/abs/1411.4280
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, "channels_last", seed, **kwargs)


@LAYERS.register()
class SpatialDropout2D(SpatialDropout):
    """Dropout of whole channels of images.

    Args:
        rate: the share of channels that is dropped, from 0 to 1.
        data_format: `"channels_last"` or `"channels_first"`; by default `config.image_data_format()`.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`.

    Output shape:
        The same.

    Raises:
        ArgumentError: `rate`, `data_format` or `seed` is of no use.
        ShapeError: the input has another number of axes.

    Example:
        >>> y = SpatialDropout2D(0.5, seed=1)(torch.ones(1, 2, 2, 8), training=True)
        >>> bool((y == y[:, :1, :1]).all()), sorted(set(y.flatten().tolist()))
        (True, [0.0, 2.0])

    Reference:
        Tompson, Goroshin, Jain, LeCun, Bregler, 2014, "Efficient Object Localization Using Convolutional
        Networks", https://arxiv.org/abs/1411.4280
    """

    _rank = 2

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, data_format, seed, **kwargs)


@LAYERS.register()
class SpatialDropout3D(SpatialDropout):
    """Dropout of whole channels of volumes.

    Args:
        rate: the share of channels that is dropped, from 0 to 1.
        data_format: `"channels_last"` or `"channels_first"`; by default `config.image_data_format()`.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        `(batch, depth, height, width, channels)`, or `(batch, channels, depth, height, width)`.

    Output shape:
        The same.

    Raises:
        ArgumentError: `rate`, `data_format` or `seed` is of no use.
        ShapeError: the input has another number of axes.

    Example:
        >>> y = SpatialDropout3D(0.5, seed=1)(torch.ones(1, 2, 2, 2, 8), training=True)
        >>> bool((y == y[:, :1, :1, :1]).all()), sorted(set(y.flatten().tolist()))
        (True, [0.0, 2.0])

    Reference:
        Tompson, Goroshin, Jain, LeCun, Bregler, 2014, "Efficient Object Localization Using Convolutional
        Networks", https://arxiv.org/abs/1411.4280
    """

    _rank = 3

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, data_format, seed, **kwargs)


@LAYERS.register()
class AlphaDropout(Noise):
    """Dropout for SELU networks: mean and variance stay, because what is dropped takes SELU's lowest value.

    Args:
        rate: the share that is dropped, from 0 up to but not including 1.
        noise_shape: the shape in which is drawn what is dropped, `None` for a size of the input's.
        seed: where the layer's own random numbers start; `None` for torch's global ones.
        **kwargs: what every layer takes.

    Input shape:
        Any, float.

    Output shape:
        The same.

    Raises:
        ArgumentError: `rate`, `noise_shape` or `seed` is of no use.

    Example:
        >>> y = AlphaDropout(0.5, seed=1)(torch.randn(10_000), training=True)
        >>> f"{abs(float(y.mean())):.1f} {float(y.std()):.1f}"
        '0.0 1.0'

    Reference:
        Klambauer, Unterthiner, Mayr, Hochreiter, 2017, "Self-Normalizing Neural Networks",
        https://arxiv.org/abs/1706.02515
    """

    # SELU's limit for inputs far below zero, -scale * alpha.
    _lowest = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = share(rate, "AlphaDropout", whole=False)
        self.noise_shape = _noise_shape(noise_shape, "AlphaDropout")

    def disturbed(self, x: torch.Tensor) -> torch.Tensor:
        """A share of `x` at SELU's lowest value, and the whole brought back to its mean and variance."""
        kept = self.kept(x, _concrete(self.noise_shape, x))
        factor = ((1 - self.rate) * (1 + self.rate * self._lowest**2)) ** -0.5
        # factor * (x or lowest) + offset, with offset = -factor * lowest * rate, in two passes over x
        offsets = (1.0 - self.rate - kept) * (factor * self._lowest)
        return torch.addcmul(offsets, x, kept, value=factor)


def _noise_shape(shape: Any, owner: str) -> tuple[int | None, ...] | None:
    """`shape` as a tuple, if its members are sizes or `None`."""
    if shape is None:
        return None
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else (0,)
    if any(size is not None and (not hasattr(size, "__index__") or size <= 0) for size in sizes):
        raise ArgumentError(
            f"{owner} cannot draw its noise in this shape.",
            expected="a size above zero, or None for the input's, for each axis of the input",
            received=f"noise_shape={shape!r}",
            fix="noise_shape=(None, 1, None), say, drops whole features of a sequence",
        )
    return sizes


def _concrete(shape: tuple[int | None, ...] | None, x: torch.Tensor) -> Sequence[int]:
    """`shape` with the sizes of `x` where it has none."""
    if shape is None:
        return x.shape
    return [x.shape[axis] if size is None else size for axis, size in enumerate(shape)]
