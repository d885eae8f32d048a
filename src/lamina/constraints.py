"""Constraints on weights: each projects a weight onto what is allowed, after every step of the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina import config
from lamina.configurable import Configurable
from lamina.errors import ArgumentError, DtypeError, LaminaError, ShapeError
from lamina.registry import CONSTRAINTS

Axis = int | Sequence[int] | None


class Constraint(Configurable):
    """A projection: called with a weight, it gives the nearest allowed one.

    A class of your own defines `__call__(self, w)`. A plain function of `w` will do, too.

    Example:
        >>> class Rounded(Constraint):
        ...     def __call__(self, w):
        ...         return torch.round(w)
        >>> Rounded()(torch.tensor([0.7, 2.2])).tolist()
        [1.0, 2.0]
    """

    def __call__(self, w: Tensor) -> Tensor:
        """The weight that is allowed.

        Args:
            w: the weight as the optimizer left it.

        Returns:
            A tensor of the shape and dtype of `w`; `w` itself is not changed.
        """
        raise LaminaError(
            f"{type(self).__name__} does not say what it makes of a weight.",
            fix="define __call__(self, w) in it, returning a tensor of the same shape",
        )


def _norms(w: Tensor, axis: Axis, name: str) -> Tensor:
    """The norms of `w` along `axis`, which stays as an axis of size 1."""
    axes = tuple(range(w.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if not all(-w.ndim <= a < w.ndim for a in axes):
        raise ShapeError(
            f"The weight that {name} constrains does not have these axes.",
            expected=f"axes from 0 to {w.ndim - 1}, for shape {tuple(w.shape)}",
            received=f"axis={axis!r}",
            fix="axis=0 for the kernel of a Dense layer, axis=[0, 1, 2] for that of a Conv2D",
        )
    return torch.sqrt(torch.sum(w * w, dim=axes, keepdim=True))


@CONSTRAINTS.register()
class MaxNorm(Constraint):
    """Scales a unit's weights down where their norm exceeds `max_value`.

    Args:
        max_value: the largest norm allowed.
        axis: the axis, or axes, along which a unit's weights lie: 0 for the kernel of a Dense layer,
            `[0, 1, 2]` for that of a Conv2D; `None` for all.

    Raises:
        ArgumentError: `max_value` is negative.

    Example:
        >>> MaxNorm(1.0)(torch.tensor([[3.0, 0.3], [4.0, 0.4]]))
        tensor([[0.6000, 0.3000],
                [0.8000, 0.4000]])

    Reference:
        Srivastava et al., 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
        https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        if not max_value >= 0:
            raise ArgumentError(
                "A norm is never negative.",
                expected="max_value at least 0",
                received=f"max_value={max_value!r}",
                fix="max_value=2",
            )
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        norms = _norms(w, self.axis, "MaxNorm")
        return w * (torch.clamp(norms, max=self.max_value) / (config.epsilon() + norms))


@CONSTRAINTS.register()
class NonNeg(Constraint):
    """Sets negative weights to 0.

    Example:
        >>> NonNeg()(torch.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    def __call__(self, w: Tensor) -> Tensor:
        return torch.clamp(w, min=0)


@CONSTRAINTS.register()
class UnitNorm(Constraint):
    """Scales a unit's weights to norm 1.

    Args:
        axis: the axis, or axes, along which a unit's weights lie: 0 for the kernel of a Dense layer,
            `[0, 1, 2]` for that of a Conv2D; `None` for all.

    Example:
        >>> UnitNorm()(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        return w / (config.epsilon() + _norms(w, self.axis, "UnitNorm"))


@CONSTRAINTS.register()
class MinMaxNorm(Constraint):
    """Moves the norm of a unit's weights towards the range from `min_value` to `max_value`.

    Args:
        min_value: the smallest norm allowed.
        max_value: the largest norm allowed.
        rate: how much of the way each call goes: 1 all of it, less to approach the range over several steps.
        axis: the axis, or axes, along which a unit's weights lie: 0 for the kernel of a Dense layer,
            `[0, 1, 2]` for that of a Conv2D; `None` for all.

    Raises:
        ArgumentError: `min_value` is negative, or above `max_value`.

    Example:
        >>> MinMaxNorm(max_value=1.0, rate=0.5)(torch.tensor([[3.0], [4.0]]))
        tensor([[1.8000],
                [2.4000]])
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        if not 0 <= min_value <= max_value:
            raise ArgumentError(
                "These are not the bounds of a norm.",
                expected="0 <= min_value <= max_value",
                received=f"min_value={min_value!r}, max_value={max_value!r}",
                fix="min_value=0.0, max_value=1.0",
            )
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        norms = _norms(w, self.axis, "MinMaxNorm")
        desired = self.rate * torch.clamp(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (desired / (config.epsilon() + norms))


# Keras has each class under these names too.
max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm


def get(identifier: Any) -> Callable[..., Any] | None:
    """The constraint that `identifier` stands for.

    Args:
        identifier: `None`; a name such as `"max_norm"`; a constraint, or its class; a function of a weight; or
            what `serialize` gave.

    Returns:
        An object to call on a weight; `None` for `None`.

    Raises:
        UnknownNameError: no constraint has that name.
        DtypeError: `identifier` cannot be called.

    Example:
        >>> get("max_norm").get_config()
        {'max_value': 2, 'axis': 0}
    """
    found = CONSTRAINTS.get(identifier)
    if found is None or callable(found):
        return found
    raise DtypeError(
        "A constraint must be something that can be called on a weight.",
        expected="a name, a constraint or a function",
        received=repr(identifier),
        fix="pass a name such as 'max_norm'",
    )


def serialize(constraint: Any) -> Any:
    """`class_name` and `config` of a constraint, or the name of a function, as plain data.

    Args:
        constraint: what `get` gave.

    Returns:
        A dict or a string, for `deserialize`.

    Example:
        >>> serialize(NonNeg())
        {'class_name': 'NonNeg', 'config': {}}
    """
    return CONSTRAINTS.serialize(constraint)


def deserialize(config: Any) -> Callable[..., Any] | None:
    """The constraint that `serialize`, here or in Keras, described.

    Args:
        config: a name, or a dict with `class_name` and `config`.

    Returns:
        A constraint; `None` for `None`.

    Raises:
        UnknownNameError: no constraint has that name.
        DtypeError: `config` is no such data.

    Example:
        >>> deserialize({"class_name": "MaxNorm", "config": {"max_value": 3}}).max_value
        3
    """
    return get(config)
