"""Which function makes torch modules of which layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Conversion = Callable[..., Any]
"""`convert(builder, layer, inputs, **arguments)`: what the layer's `call` would give, of symbols."""

_conversions: dict[type, Conversion] = {}
# What a subclass may define without computing otherwise.
_HARMLESS = ("__init__", "build", "get_config", "from_config", "extra_repr", "__repr__", "summary", "train_step")


def converts(*classes: type) -> Callable[[Conversion], Conversion]:
    """Let the decorated function convert layers of `classes`.

    Args:
        *classes: the layers' classes.

    Example:
        >>> from lamina.engine.layer import Layer
        >>> class Doubled(Layer):
        ...     def call(self, x):
        ...         return 2 * x
        >>> @converts(Doubled)
        ... def doubled(builder, layer, x):
        ...     return 2 * x
        >>> conversion_of(Doubled) is doubled
        True
    """

    def register(function: Conversion) -> Conversion:
        _conversions.update(dict.fromkeys(classes, function))
        return function

    return register


def conversion_of(cls: type) -> Conversion | None:
    """The function for layers of `cls`, or `None` if there is none, or `cls` changes what the layer computes.

    Args:
        cls: a layer's class.

    Example:
        >>> from lamina.engine.layer import Layer
        >>> conversion_of(Layer) is None
        True
    """
    changed: set[str] = set()
    for ancestor in cls.__mro__:
        if ancestor in _conversions:
            overridden = {name for name in changed if callable(inspect.getattr_static(ancestor, name, None))}
            return None if overridden else _conversions[ancestor]
        changed |= {name for name in vars(ancestor) if name not in _HARMLESS and not name.startswith("__")}
    return None
