"""The functions of torch that a config may name, and nothing else."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import overrides

from lamina.engine.symbolic import TensorProperty
from lamina.errors import LoadError

# Those that act on symbolic tensors; others of that module call what they are given.
_OPERATORS = (
    "add sub mul truediv floordiv mod pow matmul lshift rshift and_ or_ xor "
    "lt le gt ge eq ne getitem neg invert pos abs"
).split()


def target_of(function: Callable[..., Any]) -> str | None:
    """The name under which a function may stand in a config, or `None`.

    Args:
        function: what an operation calls.
    """
    if isinstance(function, TensorProperty):
        return f"property.{function.name}"
    return next((name for name, known in _functions().items() if known is function), None)


@functools.lru_cache(maxsize=1)
def _functions() -> dict[str, Callable[..., Any]]:
    """Every function that a config may name: the operators, and what torch lets tensors override."""
    found: dict[str, Callable[..., Any]] = {f"operator.{name}": getattr(operator, name) for name in _OPERATORS}
    for functions in overrides.get_overridable_functions().values():
        for function in functions:
            name = overrides.resolve_name(function)
            if name is not None and not name.rpartition(".")[2].startswith("_"):
                found.setdefault(name, function)
    return found


def function_of(name: str, target: Any) -> Callable[..., Any]:
    """The function that an operation of a config names.

    Args:
        name: the operation's.
        target: what `target_of` gave.

    Raises:
        LoadError: it is none of torch's.
    """
    kind, _, attribute = target.partition(".") if isinstance(target, str) else ("", "", "")
    if kind == "property" and isinstance(getattr(torch.Tensor, attribute, None), types.GetSetDescriptorType):
        return TensorProperty(attribute)
    found = _functions().get(target) if isinstance(target, str) else None
    if found is None:
        raise LoadError(
            f"The config of {name!r} names a function that is not torch's.",
            received=f"{target!r:.200}",
            fix="put the call into a Layer of your own, and register it",
        )
    return found
