"""The sizes of samples on the command line: `--input-size 3,32,32`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lamina.errors import ArgumentError, NotBuiltError


def add_input_size(parser: argparse.ArgumentParser) -> None:
    """Add the option.

    Args:
        parser: the parser of a command.
    """
    parser.add_argument(
        "--input-size",
        type=_size,
        action="append",
        default=argparse.SUPPRESS,
        metavar="3,32,32",
        help="the shape of one sample, for a model that does not know it; once for each input",
    )


def input_size(given: argparse.Namespace) -> Any:
    """The shape of a sample, a list of shapes for several inputs, or `None`.

    Args:
        given: the parsed arguments.
    """
    sizes = getattr(given, "input_size", None)
    return sizes[0] if sizes is not None and len(sizes) == 1 else sizes


@contextmanager
def told_of_input_size(given: argparse.Namespace) -> Iterator[None]:
    """Name the option in the error for a model that does not know what it takes.

    Args:
        given: the parsed arguments.

    Raises:
        NotBuiltError: the model does not know, and the arguments do not say.
    """
    try:
        yield
    except (NotBuiltError, ArgumentError) as error:
        unknown = isinstance(error, NotBuiltError) or "input_size" in (error.fix or "")
        if not unknown or input_size(given) is not None:
            raise
        raise NotBuiltError(
            error.what,
            expected="the shape of one sample",
            fix="--input-size 3,32,32 gives it, say; for a model of several inputs, once for each",
        ) from error


def _size(text: str) -> tuple[int, ...]:
    """A converter for argparse to the shape of a sample."""
    parts = [part.strip() for part in text.strip("()[] ").replace("x", ",").split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape, such as 3,32,32")
    return tuple(int(part) for part in parts)
