"""The table of operations, looked up from either side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lamina.custom_objects import find_custom_function
from lamina.engine import nest
from lamina.errors import LaminaError, LoadError, nearest
from lamina.saving.operations import arithmetic, arranging, reducing
from lamina.saving.operations.written import Call, Inexpressible, Operation, Written

_SEVERAL = ("Split", "TopK", "Unstack")  # give more than one tensor

_ROWS: list[Operation] = [*reducing.ROWS, *arithmetic.ROWS, *arranging.ROWS]


@functools.cache
def _by_name() -> dict[str, Operation]:
    """Each operation that can be read, by Keras's name."""
    found: dict[str, Operation] = {}
    for row in _ROWS:
        found.setdefault(row.class_name, row)
    for other, name in arithmetic.ALIASES.items():
        found[other] = found[name]
    return found


@functools.cache
def _by_function() -> dict[Any, list[Operation]]:
    """The operations that calls of a torch function may be, by the function."""
    found: dict[Any, list[Operation]] = {}
    for row in _ROWS:
        for function in dict.fromkeys(row.functions):
            if row.write is not None:
                found.setdefault(function, []).append(row)
    for method in arranging.SPREAD:
        found.setdefault(method, [_by_name()["Reshape"]])
    return found


def keras_operation(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Written | None:
    """A call in a graph as an operation of Keras's.

    Args:
        function: a torch function, method or operator.
        args: its positional arguments.
        kwargs: its keyword arguments.
        output: the nest of symbolic tensors that it gave.

    Returns:
        Keras's operation and its arguments; `None` where Keras has none, or where a call says more than it can.
    """
    for row in _by_function().get(function, ()):
        given = args
        spread = arranging.SPREAD.get(function)
        if spread is not None and len(args) != 2:
            given = (args[0], args[1:])
        if function is torch.einsum:
            operands = args[1:] if len(args) > 1 and not isinstance(args[1], (list, tuple)) else tuple(args[1])
            given = (args[0], operands)
        if nest.is_nest(output) and row.class_name not in _SEVERAL:
            continue
        try:
            config, tensors = row.write(Call(row.names, given, kwargs, output))  # type: ignore[misc]
        except Inexpressible:
            continue
        return Written(row.module, row.class_name, config, tensors)
    return None


def operation_from(entry: Mapping[str, Any]) -> Callable[..., Any]:
    """The function that an operation of a Keras model stands for.

    Args:
        entry: its `class_name` and `config`.

    Returns:
        A function of the arguments of Keras's call.

    Raises:
        LoadError: there is no such operation here, or its config is not what it takes.
    """
    name, config = entry["class_name"], dict(entry.get("config") or {})
    config.pop("name", None)
    custom = find_custom_function(entry.get("registered_name"), name)
    if custom is not None and not isinstance(custom, type):
        return functools.partial(custom, **config)
    row = _by_name().get(name)
    if row is None:
        guess = nearest(str(name), _by_name())
        raise LoadError(
            f"Keras's operation {name!r} has no counterpart here.",
            expected="an operation that lamina can do by torch",
            received=repr(name),
            fix=f"pass a function for it: custom_objects={{{name!r}: f}}"
            + (f"; or did the file mean {guess!r}?" if guess else ""),
        )
    try:
        return row.read(config)
    except LaminaError:
        raise
    except Exception as error:
        raise LoadError(
            f"The operation {name!r} does not take this config.",
            received=f"{config!r:.200}: {type(error).__name__}",
            fix="the file may be of another version",
        ) from error


def known_operations() -> list[str]:
    """The names of Keras's operations that can be read."""
    return sorted(_by_name())
