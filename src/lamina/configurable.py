"""`get_config` and `from_config`, read off the signature of `__init__`."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from typing_extensions import Self

from lamina.errors import ArgumentError


@functools.cache
def init_parameters(cls: type) -> tuple[str, ...]:
    """The names that `cls.__init__` takes, `self` and variable arguments left out."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return tuple(p.name for p in found if p.kind in kinds and p.name != "self")


class Configurable:
    """An object that can be made again from the arguments that made it.

    Each argument of `__init__` is stored under its own name; `get_config` reads them back. A class whose
    arguments need translation overrides `get_config`, `from_config`, or both.

    Example:
        >>> class Scale(Configurable):
        ...     def __init__(self, factor=2.0):
        ...         self.factor = factor
        >>> Scale.from_config(Scale(3.0).get_config()).factor
        3.0
    """

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__` as plain data.

        Raises:
            ArgumentError: an argument was not stored under its own name.
        """
        names = init_parameters(type(self))
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise ArgumentError(
                f"{type(self).__name__} does not know with which {missing[0]} it was made.",
                expected=f"an attribute for each argument of __init__: {', '.join(names)}",
                received=f"no attribute {', '.join(missing)}",
                fix=f"set self.{missing[0]} = {missing[0]} in __init__, or write get_config",
            )
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An object like the one whose `get_config` gave `config`."""
        return cls(**config)
