"""What every initializer does: check the shape, settle dtype and device, make the tensor."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from lamina import config
from lamina.configurable import Configurable
from lamina.dtypes import torch_dtype
from lamina.errors import LaminaError, ShapeError


class Initializer(Configurable):
    """First values for a weight: called with a shape, it gives a tensor.

    A class of your own defines `__call__(self, shape, dtype=None)`; where its tensor lies is seen to.

    Example:
        >>> class Half(Initializer):
        ...     def __call__(self, shape, dtype=None):
        ...         return torch.full(shape, 0.5, dtype=dtype)
        >>> Half()((2,), dtype=torch.float64, device="cpu")
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("__call__")
        if own is not None and "device" not in inspect.signature(own).parameters:
            cls.__call__ = _with_device(own)  # type: ignore[method-assign]

    def __call__(self, shape: Sequence[int], dtype: Any = None, *, device: torch.device | str | None = None) -> Tensor:
        """The first values of a weight.

        Args:
            shape: the shape of the weight.
            dtype: its dtype, in any form; `None` for `lamina.config.floatx()`.
            device: where it lies; `None` for `lamina.config.device()`. On `"meta"` nothing is computed.

        Returns:
            A new tensor.

        Raises:
            ShapeError: `shape` is no shape, or one that this initializer cannot fill.
            DtypeError: this initializer makes no values of that dtype.
        """
        sizes, dtype, device = standardize_request(shape, dtype, device)
        self.check(sizes, dtype)
        if device.type == "meta":
            return torch.empty(sizes, dtype=dtype, device=device)
        return self.values(sizes, dtype, device)

    def check(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Raise the error for a shape or dtype that this initializer cannot serve, if it cannot."""

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """The tensor itself, once shape, dtype and device are settled."""
        raise LaminaError(
            f"{type(self).__name__} does not say which values it gives.",
            fix="define __call__(self, shape, dtype=None) in it, returning a tensor",
        )

    def clone(self) -> Self:
        """An initializer made anew from this one's config."""
        return self.from_config(self.get_config())


def standardize_request(
    shape: Sequence[int], dtype: Any, device: torch.device | str | None
) -> tuple[tuple[int, ...], torch.dtype, torch.device]:
    """Shape, dtype and device as an initializer was given them, as torch has them.

    Raises:
        ShapeError: `shape` is not a sequence of sizes.
    """
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        sizes = (-1,)
    if any(size < 0 for size in sizes):
        raise ShapeError(
            "A weight cannot have this shape.",
            expected="a tuple of integers, none below 0",
            received=repr(shape),
            fix="pass a shape such as (784, 10); a size of None must be known before weights are made",
        )
    return sizes, torch_dtype(dtype), config.device() if device is None else torch.device(device)


def _with_device(call: Callable[..., Any]) -> Callable[..., Tensor]:
    """A `__call__` written without `device`, with it."""

    @functools.wraps(call)
    def wrapped(
        self: Initializer, shape: Sequence[int], dtype: Any = None, *, device: torch.device | str | None = None
    ) -> Tensor:
        sizes, dtype, device = standardize_request(shape, dtype, device)
        if device.type == "meta":
            return torch.empty(sizes, dtype=dtype, device=device)
        made = call_with_accepted(functools.partial(call, self), sizes, dtype, device)
        return settle(made, sizes, dtype, device, type(self).__name__)

    return wrapped


def call_with_accepted(
    function: Callable[..., Any], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Any:
    """`function(shape)`, with `dtype` and `device` too where its signature has a place for them."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature
        return function(shape)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given: dict[str, Any] = {}
    if "dtype" in parameters or takes_any:
        given["dtype"] = dtype
    if "device" in parameters:
        given["device"] = device
    if not given:
        needed = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
        return function(shape, dtype) if len(needed) > 1 else function(shape)
    return function(shape, **given)


def settle(values: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, source: str) -> Tensor:
    """`values`, made by a user's code, as a new tensor of the given shape, dtype and device.

    Raises:
        ShapeError: their shape is another one; `source` names who made them.
    """
    # A copy, because a function may return the same array at every call.
    made = torch.as_tensor(values).detach().to(device, dtype, copy=True)
    if made.shape != shape:
        raise ShapeError(
            f"The initializer {source} gave a tensor of the wrong shape.",
            expected=f"shape {shape}",
            received=f"shape {tuple(made.shape)}",
            fix="return a tensor of the shape that was asked for",
        )
    return made
