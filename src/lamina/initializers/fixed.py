"""Initializers without chance: zeros, ones, a constant, the identity matrix, given values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from lamina.errors import DtypeError, ShapeError
from lamina.initializers.base import Initializer
from lamina.registry import INITIALIZERS


@INITIALIZERS.register("zero")
class Zeros(Initializer):
    """0 everywhere.

    Example:
        >>> Zeros()((2,), device="cpu").tolist()
        [0.0, 0.0]
    """

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)


@INITIALIZERS.register("one")
class Ones(Initializer):
    """1 everywhere.

    Example:
        >>> Ones()((2,), device="cpu").tolist()
        [1.0, 1.0]
    """

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.ones(shape, dtype=dtype, device=device)


@INITIALIZERS.register()
class Constant(Initializer):
    """One value everywhere, or an array spread over the shape.

    Args:
        value: a number; or an array, a tensor or a list of numbers that broadcasts to the weight's shape.

    Raises:
        DtypeError: `value` is not numeric.

    Example:
        >>> Constant(3)((2,), device="cpu").tolist(), Constant([1, 2])((2, 2), device="cpu").tolist()
        ([3.0, 3.0], [[1.0, 2.0], [1.0, 2.0]])
    """

    def __init__(self, value: Any = 0.0) -> None:
        try:
            self._shape = tuple(torch.as_tensor(value).shape)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DtypeError(
                "A constant must be numeric.",
                expected="a number, or an array of numbers",
                received=f"{value!r} of type {type(value).__name__}",
                fix="Constant(0.5)",
            ) from error
        self.value = value

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        try:
            fits = torch.broadcast_shapes(self._shape, shape) == shape
        except RuntimeError:
            fits = False
        if not fits:
            raise self._misfit(shape)

    def _misfit(self, shape: tuple[int, ...]) -> ShapeError:
        return ShapeError(
            "The value of this constant does not fit the weight.",
            expected=f"a number, or an array that broadcasts to {shape}",
            received=f"an array of shape {self._shape}",
            fix=f"pass an array of shape {shape}",
        )

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        value = torch.as_tensor(self.value).detach().to(device, dtype)
        return value.expand(shape).clone(memory_format=torch.contiguous_format)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value.tolist() if hasattr(self.value, "tolist") else self.value}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        value = config["value"]
        # Keras writes an array as {"class_name": "__numpy__", "config": {"value": ..., "dtype": ...}}.
        return cls(value["config"]["value"] if isinstance(value, dict) else value)


@INITIALIZERS.register()
class FromTensor(Constant):
    """Given values, for a weight of exactly their shape; what a tensor or array stands for.

    Args:
        value: a tensor, an array or nested lists.

    Raises:
        DtypeError: `value` is not numeric.

    Example:
        >>> FromTensor(torch.eye(2))((2, 2), device="cpu").tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if shape != self._shape:
            raise self._misfit(shape)

    def _misfit(self, shape: tuple[int, ...]) -> ShapeError:
        return ShapeError(
            "The tensor given as an initializer does not have the shape of the weight.",
            expected=f"shape {shape}",
            received=f"shape {self._shape}",
            fix="pass a tensor of that shape; Constant(value) also spreads a smaller one",
        )


@INITIALIZERS.register("IdentityInitializer")
class Identity(Initializer):
    """The identity matrix: `gain` on the diagonal, 0 elsewhere.

    Args:
        gain: the value on the diagonal.

    Example:
        >>> Identity(2.0)((2, 2), device="cpu").tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if len(shape) != 2:
            raise ShapeError(
                "Identity can only fill a matrix.",
                expected="a shape of 2 axes",
                received=f"shape {shape}",
                fix="use another initializer for this weight, such as 'orthogonal' or 'zeros'",
            )

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return (self.gain * torch.eye(*shape, dtype=dtype, device=device)).to(dtype)


# Keras has each class under these names too.
zeros = Zeros
ones = Ones
constant = Constant
identity = IdentityInitializer = Identity
