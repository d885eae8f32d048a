"""Penalties on weights or activities, added to the loss."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina import config
from lamina.configurable import Configurable
from lamina.errors import ArgumentError, DtypeError, LaminaError, ShapeError
from lamina.registry import REGULARIZERS


class Regularizer(Configurable):
    """A penalty: called with a tensor, it gives a number to add to the loss.

    A class of your own defines `__call__(self, x)`. A plain function of `x` will do, too.

    Example:
        >>> class Largest(Regularizer):
        ...     def __call__(self, x):
        ...         return 0.5 * x.abs().max()
        >>> Largest()(torch.tensor([1.0, -4.0])).item()
        2.0
    """

    def __call__(self, x: Tensor) -> Tensor:
        """The penalty.

        Args:
            x: a weight, or the output of a layer.

        Returns:
            A tensor without axes, through which gradients flow to `x`.
        """
        raise LaminaError(
            f"{type(self).__name__} does not say which penalty it gives.",
            fix="define __call__(self, x) in it, returning a tensor without axes",
        )


def _factor(name: str, value: Any) -> float:
    if isinstance(value, numbers.Real) and 0 <= float(value) < math.inf:
        return float(value)
    raise ArgumentError(
        "The factor of a penalty must be a finite number, at least 0.",
        expected=f"{name} such as 0.01",
        received=f"{name}={value!r}",
        fix=f"{name}=0.01",
    )


@REGULARIZERS.register()
class L1(Regularizer):
    """`l1 * sum(|x|)`, which drives weights to exactly 0.

    Args:
        l1: the factor; `None` for 0.01.

    Raises:
        ArgumentError: `l1` is negative, not finite or no number.

    Example:
        >>> L1(0.5)(torch.tensor([1.0, -3.0])).item()
        2.0
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = _factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * torch.sum(torch.abs(x))


@REGULARIZERS.register()
class L2(Regularizer):
    """`l2 * sum(x**2)`, which keeps weights small.

    Args:
        l2: the factor; `None` for 0.01.

    Raises:
        ArgumentError: `l2` is negative, not finite or no number.

    Example:
        >>> L2(0.5)(torch.tensor([1.0, -3.0])).item()
        5.0
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Tensor) -> Tensor:
        return self.l2 * torch.sum(x * x)


@REGULARIZERS.register("l1_l2")
class L1L2(Regularizer):
    """`l1 * sum(|x|) + l2 * sum(x**2)`; either part is left out where its factor is 0.

    Args:
        l1: the factor of the sum of sizes; `None` for 0.
        l2: the factor of the sum of squares; `None` for 0.

    Raises:
        ArgumentError: a factor is negative, not finite or no number.

    Example:
        >>> L1L2(l1=0.5, l2=0.5)(torch.tensor([1.0, -3.0])).item()
        7.0

    Reference:
        Zou, Hastie, 2005, "Regularization and Variable Selection via the Elastic Net",
        https://doi.org/10.1111/j.1467-9868.2005.00503.x
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Tensor) -> Tensor:
        penalty = torch.zeros((), dtype=x.dtype, device=x.device)
        if self.l1:
            penalty = penalty + self.l1 * torch.sum(torch.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * torch.sum(x * x)
        return penalty


@REGULARIZERS.register()
class OrthogonalRegularizer(Regularizer):
    """How far the rows of a matrix are from orthogonal: `factor` times the mean size of the cosine of two of them.

    Args:
        factor: the factor.
        mode: `"rows"`, or `"columns"` to compare those instead.

    Raises:
        ArgumentError: `factor` is negative, not finite or no number, or `mode` is another word.

    Example:
        >>> OrthogonalRegularizer(1.0)(torch.eye(3)).item()
        0.0
        >>> OrthogonalRegularizer(1.0)(torch.ones(3, 3)).item()
        1.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ArgumentError(
                "OrthogonalRegularizer has no such mode.",
                expected="'rows' or 'columns'",
                received=f"mode={mode!r}",
                fix="mode='rows'",
            )
        self.factor = _factor("factor", factor)
        self.mode = mode

    def __call__(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ShapeError(
                "OrthogonalRegularizer compares the rows or columns of a matrix.",
                expected="a tensor of 2 axes",
                received=f"shape {tuple(x.shape)}",
                fix="use it on the kernel of a Dense layer, or another regularizer here",
            )
        vectors = F.normalize(x if self.mode == "rows" else x.T, dim=1, eps=config.epsilon())  # (N, D)
        cosines = torch.triu(torch.abs(vectors @ vectors.T), diagonal=1)
        pairs = len(vectors) * (len(vectors) - 1) / 2
        return self.factor * torch.sum(cosines) / max(pairs, 1)


# Keras has each class under these names too.
l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer


def get(identifier: Any) -> Callable[..., Any] | None:
    """The regularizer that `identifier` stands for.

    Args:
        identifier: `None`; a name such as `"l2"`; a regularizer, or its class; a function of a tensor; or what
            `serialize` gave.

    Returns:
        An object to call on a tensor; `None` for `None`.

    Raises:
        UnknownNameError: no regularizer has that name.
        DtypeError: `identifier` cannot be called.

    Example:
        >>> get("l1_l2").get_config(), get("l2").get_config()
        ({'l1': 0.0, 'l2': 0.0}, {'l2': 0.01})
    """
    found = REGULARIZERS.get(identifier)
    if found is None or callable(found):
        return found
    raise DtypeError(
        "A regularizer must be something that can be called on a tensor.",
        expected="a name, a regularizer or a function",
        received=repr(identifier),
        fix="pass a name such as 'l2'",
    )


def serialize(regularizer: Any) -> Any:
    """`class_name` and `config` of a regularizer, or the name of a function, as plain data.

    Args:
        regularizer: what `get` gave.

    Returns:
        A dict or a string, for `deserialize`.

    Example:
        >>> serialize(L2(0.5))
        {'class_name': 'L2', 'config': {'l2': 0.5}}
    """
    return REGULARIZERS.serialize(regularizer)


def deserialize(config: Any) -> Callable[..., Any] | None:
    """The regularizer that `serialize`, here or in Keras, described.

    Args:
        config: a name, or a dict with `class_name` and `config`.

    Returns:
        A regularizer; `None` for `None`.

    Raises:
        UnknownNameError: no regularizer has that name.
        DtypeError: `config` is no such data.

    Example:
        >>> deserialize({"class_name": "L2", "config": {"l2": 0.5}}).l2
        0.5
    """
    return get(config)
