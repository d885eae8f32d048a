"""Functions as initializers: those of the user, and those of `torch.nn.init`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.initializers.base import call_with_accepted, settle, standardize_request


class FromFunction:
    """A function that makes or fills a tensor, called as an initializer is.

    Args:
        function: `f(shape)`, `f(shape, dtype)` or `f(shape, dtype, device)`, which returns anything that
            `torch.as_tensor` takes; or `f_(tensor)`, with a name that ends in an underscore as torch's own
            do, which fills the tensor that it is given, in torch's order of axes: outputs, inputs, window.

    Example:
        >>> FromFunction(lambda shape, dtype: torch.ones(shape, dtype=dtype))((2,), device="cpu").tolist()
        [1.0, 1.0]
        >>> tuple(FromFunction(torch.nn.init.dirac_)((3, 3, 16, 32), device="cpu").shape)
        (3, 3, 16, 32)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        # The registry writes a function down under this attribute.
        self.__name__: str = getattr(inner, "__name__", type(inner).__name__)
        self._in_place = self.__name__.endswith("_") and not self.__name__.endswith("__")

    def __call__(self, shape: Sequence[int], dtype: Any = None, *, device: torch.device | str | None = None) -> Tensor:
        """The first values of a weight.

        Args:
            shape: the shape of the weight.
            dtype: its dtype, in any form; `None` for `lamina.config.floatx()`.
            device: where it lies; `None` for `lamina.config.device()`. On `"meta"` nothing is computed.

        Returns:
            A new tensor.

        Raises:
            ShapeError: `shape` is no shape, or the function gave another one.
        """
        sizes, dtype, device = standardize_request(shape, dtype, device)
        if device.type == "meta":
            return torch.empty(sizes, dtype=dtype, device=device)
        if self._in_place:
            return self._fill(sizes, dtype, device)
        return settle(call_with_accepted(self.function, sizes, dtype, device), sizes, dtype, device, self.__name__)

    def _fill(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        if len(shape) < 2:
            tensor = torch.empty(shape, dtype=dtype, device=device)
            self.function(tensor)
            return tensor
        *window, inputs, outputs = shape
        tensor = torch.empty((outputs, inputs, *window), dtype=dtype, device=device)
        self.function(tensor)
        return tensor.permute(*range(2, tensor.ndim), 1, 0).contiguous()

    def __repr__(self) -> str:
        return f"FromFunction({self.function!r})"
