"""`lamina plot`: a model as a picture or a page."""

from __future__ import annotations

import argparse
from typing import Any

from lamina.commands.sizes import add_input_size, input_size, told_of_input_size
from lamina.commands.target import FORMS, load_target
from lamina.inspection.drawing import plot_model
from lamina.inspection.drawing.arranging import TURNS

_FLAGS = {
    "show_shapes": "write into each box the shapes that enter and leave the layer",
    "show_dtype": "write the dtype of what leaves it",
    "show_layer_names": "write the layer's name",
    "show_layer_activations": "write its activation",
    "show_trainable": "write whether it is trained",
    "expand_nested": "open the models inside",
}


def add_parser(commands: Any) -> None:
    """Describe the command's arguments.

    Args:
        commands: the subparsers of the program's parser.
    """
    parser = commands.add_parser(
        "plot",
        help="draw a model as a picture or as a page to explore",
        description="Draw a model as a graph. The ending of the file says how: .png, .svg and .pdf are pictures, .html "
        "is one page in which the graph can be moved, searched, folded and unfolded.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("target", metavar="TARGET", help=f"the model: {FORMS}")
    add_input_size(parser)
    parser.add_argument("-o", "--output", default="model.png", help="the file to write")
    for flag, text in _FLAGS.items():
        parser.add_argument("--" + flag.replace("_", "-"), action="store_true", default=argparse.SUPPRESS, help=text)
    parser.add_argument("--rankdir", choices=list(TURNS), default="TB", help="TB from top to bottom, LR left to right")
    parser.add_argument("--no-fold", action="store_true", default=argparse.SUPPRESS, help="draw equal parts one by one")
    parser.add_argument("--dpi", type=float, default=200, help="pixels an inch, of a .png")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Draw as the arguments say.

    Args:
        given: the parsed arguments.

    Raises:
        LaminaError: an argument or the model are not right; nothing has been written then.
    """
    from rich.console import Console

    shown = {flag: getattr(given, flag, False) for flag in _FLAGS}
    fold = False if getattr(given, "no_fold", False) else None
    options = {"rankdir": given.rankdir, "dpi": given.dpi, "fold": fold, "input_size": input_size(given), **shown}
    model = load_target(given.target)
    with told_of_input_size(given):
        picture = plot_model(model, given.output, **options)
    Console().print(f"Written: {picture.path}", highlight=False, markup=False, soft_wrap=True)
