"""`lamina summary`: a model's table, from a script, a module or a file."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from lamina.commands.json_output import json_output
from lamina.commands.sizes import add_input_size, input_size, told_of_input_size
from lamina.commands.target import FORMS, load_target
from lamina.errors import ArgumentError
from lamina.inspection.measuring import measure
from lamina.inspection.printing import STYLES, print_report
from lamina.inspection.readable import Report

FORMATS = ("table", "markdown", "html", "json")


def add_parser(commands: Any) -> None:
    """Describe the command's arguments.

    Args:
        commands: the subparsers of the program's parser.
    """
    parser = commands.add_parser(
        "summary",
        help="print a model's layers, their output shapes and numbers of weights",
        description="Print a model's layers, their output shapes and numbers of weights. The script or module that the "
        "model is in is run. The exit status is 2 if the model could not be run to its end, 0 otherwise.",
    )
    parser.add_argument("target", metavar="TARGET", help=f"the model: {FORMS}")
    add_input_size(parser)
    parser.add_argument("--expand-nested", action="store_true", help="show the layers of models inside too")
    parser.add_argument("--show-trainable", action="store_true", help="say which layers are trained")
    parser.add_argument("--no-fold", action="store_true", help="show each row, also where many repeat themselves")
    parser.add_argument("--style", choices=STYLES, help="the table of Keras 2 or of torchsummary in place of the usual")
    parser.add_argument("--format", choices=FORMATS, default="table", help="what is written (default: table)")
    parser.add_argument("--line-length", type=_whole, metavar="N", help="how wide the table is")
    parser.add_argument("--flops", action="store_true", help="say how many operations each layer takes")
    parser.add_argument("--memory", action="store_true", help="say how large the outputs of each layer are")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print what the arguments ask for.

    Args:
        given: the parsed arguments.

    Returns:
        The exit status: 2 if the model could not be run to its end.

    Raises:
        LaminaError: an argument is not right, or there is no such model.
    """
    if given.format != "table":
        for option in ("style", "line_length"):
            if getattr(given, option) is not None:
                raise ArgumentError(
                    f"--{option.replace('_', '-')} is for tables",
                    received=f"--format {given.format}",
                    fix="leave one of the two out",
                )
    shown = {
        "show_trainable": given.show_trainable,
        "show_flops": given.flops,
        "show_memory": given.memory,
        "fold": False if given.no_fold else None,
    }
    with contextlib.redirect_stdout(sys.stderr):  # what the model's own code prints is no part of what was asked for
        report = _measured(given)
    if given.format == "table":
        print_report(report, style=given.style, line_length=given.line_length, **shown)
    elif given.format == "json":
        sys.stdout.write(json_output(report.to_dict()))
    else:
        sys.stdout.write(report.to_markdown(**shown) if given.format == "markdown" else report.to_html(**shown))
    return 0 if report.failure is None else 2


def _measured(given: argparse.Namespace) -> Report:
    """The report of the model that is asked for."""
    model = load_target(given.target)
    style = None if given.style is None else "torch" if given.style == "torch" else "keras"
    with told_of_input_size(given):
        return measure(model, input_size(given), expand_nested=given.expand_nested, style=style)


def _whole(text: str) -> int:
    """A converter for argparse to whole numbers above zero."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
