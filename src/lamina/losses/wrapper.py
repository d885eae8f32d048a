"""A plain function as a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lamina.errors import ArgumentError
from lamina.losses.alignment import align_ranks
from lamina.losses.base import Loss
from lamina.registry import LOSSES, snake_case


@LOSSES.register()
class LossFunctionWrapper(Loss):
    """A loss made of a function of labels and predictions.

    Both come to the function as tensors of the loss's dtype, and in equal rank where an axis of size 1 at the
    end is all that they differ by.

    Args:
        fn: `f(y_true, y_pred)`, which gives one value a sample, or one for the batch; or the name of one that
            is registered.
        reduction: as in `Loss`.
        name: as in `Loss`; by default the function's name in snake_case.
        dtype: as in `Loss`.
        **kwargs: further arguments for the function.

    Raises:
        ArgumentError: `fn` cannot be called, or is one of `torch.nn.functional`, which takes predictions
            first; or there is no such reduction.

    Example:
        >>> def quartic(y_true, y_pred):
        ...     return ((y_true - y_pred) ** 4).mean(dim=-1)
        >>> LossFunctionWrapper(quartic)([1.0, 2.0], [[1.0], [0.0]])
        tensor(8.)
    """

    def __init__(
        self,
        fn: Callable[..., Tensor] | str,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        self.fn = check_function(LOSSES[fn] if isinstance(fn, str) else fn, "loss")
        super().__init__(name or function_name(self.fn), reduction, dtype)
        self.kwargs = kwargs

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = align_ranks(y_true, y_pred)
        return self.fn(y_true, y_pred, **self.kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, the function by its name."""
        return {**super().get_config(), "fn": getattr(self.fn, "__name__", function_name(self.fn)), **self.kwargs}


def function_name(fn: Any) -> str:
    """What logs call a function: its name in snake_case, or that of its class.

    Args:
        fn: anything that can be called.

    Returns:
        A name.

    Example:
        >>> function_name(lambda y_true, y_pred: 0)
        'lambda'
    """
    fn = getattr(fn, "func", fn)  # what functools.partial wraps
    return snake_case(getattr(fn, "__name__", type(fn).__name__)) or "function"


def check_function(fn: Any, kind: str) -> Callable[..., Any]:
    """`fn`, if it can be called with labels and predictions.

    Args:
        fn: the candidate.
        kind: `"loss"` or `"metric"`, for the message.

    Returns:
        `fn` itself.

    Raises:
        ArgumentError: `fn` cannot be called, or takes predictions before labels.

    Example:
        >>> import torch
        >>> check_function(torch.nn.functional.cross_entropy, "loss")
        Traceback (most recent call last):
        lamina.errors.ArgumentError: torch.nn.functional.cross_entropy takes predictions first, and labels second.
          expected: a function f(y_true, y_pred)
          received: <function cross_entropy at ...>
          fix:      pass the loss module of torch.nn instead, such as torch.nn.CrossEntropyLoss()
    """
    if not callable(fn):
        raise ArgumentError(
            f"This is no {kind} function.",
            expected="a function f(y_true, y_pred)",
            received=f"{fn!r} of type {type(fn).__name__}",
            fix="pass a function that takes labels and predictions and returns one value a sample",
        )
    if getattr(fn, "__module__", None) == "torch.nn.functional":
        raise ArgumentError(
            f"torch.nn.functional.{getattr(fn, '__name__', fn)} takes predictions first, and labels second.",
            expected="a function f(y_true, y_pred)",
            received=repr(fn),
            fix="pass the loss module of torch.nn instead, such as torch.nn.CrossEntropyLoss()",
        )
    return fn
