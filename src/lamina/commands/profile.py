"""`lamina profile`: where the time of a model's step goes."""

from __future__ import annotations

import argparse
from typing import Any

from lamina.atomic import atomic_path
from lamina.commands.json_output import json_output
from lamina.commands.sizes import add_input_size, input_size, told_of_input_size
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
    add_input_size(parser)
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
    train = not getattr(given, "no_train", False)
    with told_of_input_size(given):
        found = profile(load_target(given.target), input_size(given), train, batch_size=given.batch_size)
    file = getattr(given, "json", None)
    if file is not None:  # before anything that a closed pipe could stop
        with atomic_path(file) as part:
            part.write_text(json_output(found.to_dict()), encoding="utf-8")
    found.show()
