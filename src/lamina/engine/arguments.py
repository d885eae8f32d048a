"""Checks of layer arguments, with the messages that go with them."""

from __future__ import annotations

from typing import Any, cast

from lamina.errors import ArgumentError


def positive(value: Any, argument: str, owner: str) -> int:
    """`value` as an int, if it is a whole number above zero.

    Args:
        value: what was passed.
        argument: the argument's name, for the message.
        owner: the class that takes it, for the message.

    Raises:
        ArgumentError: it is not.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value <= 0:
        raise ArgumentError(
            f"{owner} needs {argument} above zero.",
            expected="a positive whole number",
            received=f"{argument}={value!r}",
            fix=f"{owner}({argument}=32)",
        )
    return int(value)


def tuple_of(value: Any, rank: int, argument: str, owner: str, least: int = 1) -> tuple[int, ...]:
    """`value` as a tuple of `rank` whole numbers; a single number stands for all of them.

    Args:
        value: a whole number or a sequence of `rank` of them.
        rank: how many numbers are wanted.
        argument: the argument's name, for the message.
        owner: the class that takes it, for the message.
        least: the smallest number allowed.

    Raises:
        ArgumentError: it is neither, or a number is too small.

    Example:
        >>> tuple_of(3, 2, "kernel_size", "Conv2D"), tuple_of([1, 2], 2, "strides", "Conv2D")
        ((3, 3), (1, 2))
    """
    sizes = cast("tuple[Any, ...]", (value,) * rank if hasattr(value, "__index__") else value)
    try:
        sizes = tuple(sizes)
        good = len(sizes) == rank and all(hasattr(s, "__index__") and s >= least for s in sizes)
    except TypeError:
        good = False
    if not good or isinstance(value, bool):
        raise ArgumentError(
            f"{owner} needs {argument} as a whole number or {rank} of them, each at least {least}.",
            expected=f"{argument}=3" if rank == 1 else f"{argument}=3 or {argument}={(3,) * rank}",
            received=f"{argument}={value!r}",
            fix="check the number of axes: Conv1D takes one size, Conv2D two, Conv3D three",
        )
    return tuple(int(s) for s in sizes)
