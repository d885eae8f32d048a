"""Attributes that a layer refuses, since they would be lost or hidden."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine import tracking
from lamina.errors import ArgumentError


def refuse_before_init(owner: Any, name: str, value: Any) -> None:
    """Refuse a layer or weight that is assigned before the owner can register it.

    Args:
        owner: a module whose `__init__` has not run.
        name: the attribute.
        value: what is assigned.

    Raises:
        ArgumentError: it is a layer or weight, or holds one.
    """
    if isinstance(value, torch.Tensor) or tracking.registers(value):
        kind = type(owner).__name__
        raise ArgumentError(
            f"{kind} was given its attribute {name!r} before it was set up.",
            expected="super().__init__() as the first line of __init__",
            received=f"self.{name} = {type(value).__name__}(...) before that",
            fix=f"call super().__init__() first in {kind}.__init__",
        )


def refuse_hidden(cls: type, name: str, value: Any) -> None:
    """Refuse a layer or weight under the name of a property, such as `output`, which would be read in its place.

    Args:
        cls: the class of the owner.
        name: the attribute.
        value: what is assigned.

    Raises:
        ArgumentError: the class has a property of that name.
    """
    found = getattr(cls, name, None)
    if isinstance(found, property) and found.fset is None:
        owner = next(c for c in cls.__mro__ if name in c.__dict__)
        kind = type(value).__name__.removeprefix("Tracked")
        raise ArgumentError(
            f"{cls.__name__} cannot have an attribute {name!r} of its own: it is a property of every {owner.__name__}.",
            expected="another name",
            received=f"self.{name} = {kind}(...)",
            fix=f"rename it, for example to self.my_{name}",
        )
