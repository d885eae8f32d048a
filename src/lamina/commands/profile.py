"""`lamina profile`: where the time of a model's step goes."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lamina.atomic import atomic_path
from lamina.commands.target import FORMS, load_target
from lamina.commands.train import _positive
from lamina.inspection.profiling import profile


def add_parser(commands: Any) -> None:
    """Describe the command's arguments.

    Args:
        commands: the subparsers of the program's parser.
    """
    parser = commands.add_parser(
        "profile",
        help="show how long each layer of a model takes, and how much it computes",
        description="Run a model on random numbers and show for each layer how long it takes on the way forward and "
        "back, the slowest first, with the operations that it computes and the memory of its outputs and weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("target", metavar="TARGET", help=f"the model: {FORMS}")
    parser.add_argument(
        "--input-size",
        type=_size,
        action="append",
        default=argparse.SUPPRESS,
        metavar="3,32,32",
        help="the size of one sample, without the batch axis; again for each further input (a built model knows it)",
    )
    parser.add_argument("--batch-size", type=_positive(int), default=32, help="samples in the batch")
    parser.add_argument(
        "--no-train", action="store_true", default=argparse.SUPPRESS, help="inference alone, without the way back"
    )
    parser.add_argument("--json", default=argparse.SUPPRESS, metavar="FILE", help="write the figures there too")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Profile as the arguments say.

    Args:
        given: the parsed arguments.

    Raises:
        LaminaError: there is no such model, or it cannot be run.
    """
    sizes = getattr(given, "input_size", None)
    size = sizes[0] if sizes is not None and len(sizes) == 1 else sizes
    train = not getattr(given, "no_train", False)
    found = profile(load_target(given.target), size, train, batch_size=given.batch_size)
    file = getattr(given, "json", None)
    if file is not None:  # before anything that a closed pipe could stop
        with atomic_path(file) as part:
            part.write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    found.show()


def _size(text: str) -> tuple[int, ...]:
    """`3,32,32` as a size."""
    try:
        sizes = tuple(int(part) for part in text.strip("()").split(",") if part.strip())
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 3,32,32")
    return sizes
