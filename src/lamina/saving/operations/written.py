"""One row of the table: an operation of Keras, the torch functions that do the same, and how arguments translate."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

NUMPY, NN, CORE, MATH, LINALG = (f"keras.src.ops.{name}" for name in ("numpy", "nn", "core", "math", "linalg"))


class Written(NamedTuple):
    """A call as Keras has it."""

    module: str
    class_name: str
    config: dict[str, Any]
    args: list[Any]


class Inexpressible(Exception):
    """A call uses what Keras's operation does not have."""


class Call:
    """A call of a torch function in a graph, its arguments by name.

    Args:
        names: the function's parameters.
        args: the positional arguments.
        kwargs: the keyword arguments.
        output: the nest of symbolic tensors that it gave.

    Raises:
        Inexpressible: there is an argument of another name.
    """

    def __init__(self, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        kwargs = {name: value for name, value in kwargs.items() if name != "out" or value is not None}
        if len(args) > len(names) or not set(kwargs) <= set(names):
            raise Inexpressible
        self.given = {**dict(zip(names, args, strict=False)), **kwargs}
        self.names = names
        self.output = output

    def __getitem__(self, name: str) -> Any:
        if name not in self.given:
            raise Inexpressible
        return self.given[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or what it is when left out.

        Args:
            name: of the parameter.
            default: torch's.
        """
        return self.given.get(name, default)

    def plain(self, name: str, default: Any = None) -> Any:
        """An argument that is a number, a text, or a list of numbers.

        Args:
            name: of the parameter.
            default: torch's.

        Raises:
            Inexpressible: it is something else, such as a tensor.
        """
        value = self.get(name, default)
        if isinstance(value, (list, tuple)):
            if not all(isinstance(member, int) for member in value):
                raise Inexpressible
            return list(value)
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise Inexpressible
        return value

    def only(self, **wanted: Any) -> None:
        """Insist on the values of arguments that Keras does not have.

        Args:
            **wanted: what each must be, or be left out.

        Raises:
            Inexpressible: one is not.
        """
        for name, value in wanted.items():
            if name in self.given and self.given[name] != value:
                raise Inexpressible


class Operation(NamedTuple):
    """A row.

    Attributes:
        class_name: Keras's.
        module: where Keras has it.
        functions: the torch functions whose calls it can stand for.
        names: their parameters.
        write: from a `Call` to the config and the tensors of Keras's call.
        read: from the config to a function of Keras's call arguments.
    """

    class_name: str
    module: str
    functions: tuple[Any, ...]
    names: tuple[str, ...]
    write: Callable[[Call], tuple[dict[str, Any], list[Any]]] | None
    read: Callable[[Mapping[str, Any]], Callable[..., Any]]


def named(names: str) -> tuple[Any, ...]:
    """The functions, methods and operators of these names.

    Args:
        names: parted by spaces.
    """
    places: tuple[Any, ...] = (operator, torch, F, torch.Tensor, torch.special, torch.linalg)
    found = [getattr(place, name) for name in names.split() for place in places if hasattr(place, name)]
    return tuple(function for function in found if callable(function))


def pointwise(module: str, arity: int, rows: Mapping[str, str]) -> list[Operation]:
    """Rows of operations that have tensors for arguments and nothing else.

    Args:
        module: where Keras has them.
        arity: how many tensors they take.
        rows: from Keras's class to torch's names; the first one is called when reading.
    """
    made = []
    for class_name, names in rows.items():
        functions = named(names)
        parameters = (("input", "self") if arity == 1 else ("input", "other"))[:arity]

        def write(call: Call, parameters: tuple[str, ...] = parameters) -> tuple[dict[str, Any], list[Any]]:
            call.only(inplace=False, alpha=1, rounding_mode=None)
            return {}, [call[name] for name in parameters]

        def read(config: Mapping[str, Any], function: Any = functions[0]) -> Callable[..., Any]:
            return function

        extra = ("inplace",) if arity == 1 else ("alpha", "rounding_mode")
        made.append(Operation(class_name, module, functions, (*parameters, *extra), write, read))
    return made


def alias(of: Operation, *class_names: str) -> list[Operation]:
    """Rows for other names that Keras has for one operation; they are read, not written.

    Args:
        of: the row.
        *class_names: the names.
    """
    return [of._replace(class_name=name, functions=(), write=None) for name in class_names]
