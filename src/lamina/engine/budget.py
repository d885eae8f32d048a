"""A limit on the weights that may be made, so that a small file cannot ask for a huge model."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from lamina.errors import LoadError

_left: ContextVar[list[int] | None] = ContextVar("numbers that weights may still have", default=None)
_limit: ContextVar[str] = ContextVar("what limits them", default="the file holds")


@contextmanager
def weights_within(count: int, limit: str = "the file holds") -> Generator[None, None, None]:
    """Refuse to make weights of more numbers than `count` together.

    Args:
        count: how many there may be.
        limit: what limits them, in the words of the message.
    """
    tokens = _left.set([count]), _limit.set(limit)
    try:
        yield
    finally:
        _left.reset(tokens[0])
        _limit.reset(tokens[1])


def spend(sizes: Sequence[int]) -> None:
    """Take the numbers of a new weight from what is left, if there is a limit.

    Args:
        sizes: the shape of the weight.

    Raises:
        LoadError: there are not so many left.
    """
    left = _left.get()
    if left is None:
        return
    left[0] -= math.prod(sizes)
    if left[0] < 0:
        raise LoadError(
            f"The config asks for more weights than {_limit.get()}.",
            expected="weights of the sizes in the file",
            received=f"one of shape {tuple(sizes)}",
            fix="do not load this file, or make the model yourself and call load_weights",
        )
