"""Initializers that draw from one distribution whatever the shape, and the orthogonal one."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError, DtypeError, ShapeError
from lamina.initializers.base import Initializer
from lamina.registry import INITIALIZERS
from lamina.seeds import SeedGenerator

Seed = int | SeedGenerator | None


class RandomInitializer(Initializer):
    """What random initializers share: the seed, and drawing in float32 for the short dtypes.

    Args:
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.

    Raises:
        ArgumentError: `seed` is none of these.
    """

    def __init__(self, seed: Seed = None) -> None:
        self.seed = _standardize_seed(seed)

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if not dtype.is_floating_point:
            raise DtypeError(
                f"{type(self).__name__} draws real numbers, which this dtype cannot hold.",
                expected="a floating dtype",
                received=str(dtype),
                fix="use dtype='float32', or an initializer such as 'zeros'",
            )

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        return self.fill(torch.empty(shape, dtype=wide, device=device), self._generator(device)).to(dtype)

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> Tensor:
        """Random values in the shape, dtype and device of `tensor`, which may hold them."""
        raise NotImplementedError

    def _generator(self, device: torch.device) -> torch.Generator | None:
        if self.seed is None:
            return None
        if isinstance(self.seed, SeedGenerator):
            return self.seed.on(device)
        return torch.Generator(device).manual_seed(self.seed)

    def get_config(self) -> dict[str, Any]:
        found = super().get_config()
        if isinstance(self.seed, SeedGenerator):
            found["seed"] = {"class_name": "SeedGenerator", "config": {"seed": self.seed.seed}}
        return found


def _standardize_seed(seed: Any) -> Seed:
    """`seed`, checked; a `SeedGenerator` may come as the dict that `get_config` makes of it."""
    if isinstance(seed, dict) and isinstance(seed.get("config"), dict):
        return SeedGenerator(seed["config"].get("seed"))
    if seed is None or isinstance(seed, SeedGenerator):
        return seed
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool) and -(2**63) <= int(seed) < 2**64:
        return int(seed)
    raise ArgumentError(
        "This cannot be a seed.",
        expected="an integer of 64 bits, a SeedGenerator or None",
        received=f"{seed!r} of type {type(seed).__name__}",
        fix="seed=0",
    )


def fill_truncated_normal(tensor: Tensor, mean: float, stddev: float, generator: torch.Generator | None) -> Tensor:
    """Fill `tensor` from a normal distribution cut at two standard deviations."""
    # By the inverse distribution function, which takes one number a value where rejection takes several.
    edge = math.erf(math.sqrt(2.0))  # the mass of a normal distribution within two standard deviations
    tensor.uniform_(-edge, edge, generator=generator).erfinv_().mul_(math.sqrt(2.0) * stddev).add_(mean)
    return tensor.clamp_(mean - 2 * stddev, mean + 2 * stddev)


def _check_stddev(stddev: float) -> None:
    if not stddev >= 0:
        raise ArgumentError(
            "A standard deviation is never negative.",
            expected="stddev at least 0",
            received=f"stddev={stddev!r}",
            fix="stddev=0.05",
        )


@INITIALIZERS.register("normal")
class RandomNormal(RandomInitializer):
    """Values from a normal distribution.

    Args:
        mean: the mean of the distribution.
        stddev: its standard deviation.
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.

    Raises:
        ArgumentError: `stddev` is negative, or `seed` cannot be one.

    Example:
        >>> tuple(RandomNormal(stddev=0.1, seed=1)((3, 4)).shape)
        (3, 4)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        _check_stddev(stddev)
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> Tensor:
        return tensor.normal_(self.mean, self.stddev, generator=generator)


@INITIALIZERS.register()
class TruncatedNormal(RandomInitializer):
    """Values from a normal distribution whose tails, beyond two standard deviations, are cut off.

    Args:
        mean: the mean of the distribution.
        stddev: its standard deviation before the cut; after it, 0.88 times that.
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.

    Raises:
        ArgumentError: `stddev` is negative, or `seed` cannot be one.

    Example:
        >>> bool(TruncatedNormal(stddev=1.0)((1000,)).abs().max() <= 2.0)
        True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        _check_stddev(stddev)
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> Tensor:
        return fill_truncated_normal(tensor, self.mean, self.stddev, generator)


@INITIALIZERS.register("uniform")
class RandomUniform(RandomInitializer):
    """Values spread evenly between two bounds.

    Args:
        minval: the lower bound.
        maxval: the upper bound.
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> bool(RandomUniform(0.0, 0.1)((1000,)).max() <= 0.1)
        True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> Tensor:
        low, high = sorted((self.minval, self.maxval))
        return tensor.uniform_(low, high, generator=generator)


@INITIALIZERS.register("OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A random orthogonal matrix; orthogonal rows or columns, whichever are fewer, where it is not square.

    A weight of more than two axes is filled as the matrix that has its last axis as columns and all others
    as rows.

    Args:
        gain: a factor on the result.
        seed: `None` draws from torch's global generator; an integer gives the same values at every call; a
            `SeedGenerator` goes on from call to call.

    Raises:
        ArgumentError: `seed` cannot be one.

    Example:
        >>> q = Orthogonal()((3, 3))
        >>> torch.allclose(q @ q.T, torch.eye(3, device=q.device), atol=1e-5)
        True

    Reference:
        Saxe, McClelland, Ganguli, 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks", https://arxiv.org/abs/1312.6120
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().check(shape, dtype)
        if len(shape) < 2:
            raise ShapeError(
                "Orthogonal can only fill a weight that has rows and columns.",
                expected="a shape of at least 2 axes",
                received=f"shape {shape}",
                fix="use another initializer for this weight, such as 'zeros'",
            )

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> Tensor:
        rows, columns = math.prod(tensor.shape[:-1]), tensor.shape[-1]
        tall = tensor.view(max(rows, columns), min(rows, columns)).normal_(generator=generator)
        q, r = torch.linalg.qr(tall)
        # A factorization is free in its signs; with those of the diagonal, all rotations are equally likely.
        q = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q.dtype)
        return (self.gain * (q.T if rows < columns else q)).reshape(tensor.shape)


# Keras has each class under these names too.
random_normal = RandomNormal
truncated_normal = TruncatedNormal
random_uniform = RandomUniform
orthogonal = OrthogonalInitializer = Orthogonal
