"""`lamina inspect`: what is in a file of a model, and what is dangerous in it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lamina.commands.json_output import json_output
from lamina.saving.inspecting import Inspection, LayerRecord, WeightRecord, inspect_model

MAX_ROWS = 200


def add_parser(commands: Any) -> None:
    """Describe the command's arguments.

    Args:
        commands: the subparsers of the program's parser.
    """
    parser = commands.add_parser(
        "inspect",
        help="look into a file of a model without loading it, and list every risk in it",
        description="Print what is in a .keras, .h5, .weights.h5, .safetensors, .npz, .pt, .json or .yaml file, or in "
        "the folder of a run: layers, weights, compile state, the custom classes that it needs, and everything "
        "dangerous. Nothing in the file is built or run. The exit status is 2 if the file cannot be read at all, 0 "
        "otherwise.",
    )
    parser.add_argument("file", metavar="FILE", help="the file")
    parser.add_argument("--json", action="store_true", help="write everything as JSON")
    parser.add_argument("--weights", action="store_true", help="list every weight, beside the layers")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print what is in a file.

    Args:
        given: the parsed arguments.

    Returns:
        The exit status.

    Raises:
        LoadError: the file cannot be read.
    """
    found = inspect_model(given.file)
    if given.json:
        sys.stdout.write(json_output(found.to_dict()))
    else:
        _print(found, given.weights)
    return 0


def _print(found: Inspection, all_weights: bool) -> None:
    """The tables."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    console.print(Text(found.path, style="bold"), Text(f"{found.format}, {_size(found.bytes)}"), sep="\n")
    for name, value in found.facts.items():
        console.print(Text(f"  {name}: {value}"))
    for name, value in (found.compiled or {}).items():
        text = ", ".join(value) if isinstance(value, list) else value
        if text is not None and text != "":
            console.print(Text(f"  {name}: {text}"))
    if found.layers:
        console.print(_layer_table(found.layers))
    if found.weights and (all_weights or not found.layers):
        console.print(_weight_table(found.weights, "weights"))
    if found.state and all_weights:
        console.print(_weight_table(found.state, "state of the optimizer"))
    for line in _totals(found):
        console.print(Text(line))
    if found.custom:
        console.print(Text(f"needs custom_objects for: {', '.join(found.custom)}", style="yellow"))
    for risk in found.risks:
        style = "bold red" if risk.grave else "yellow"
        console.print(Text(f"{'RISK' if risk.grave else 'note'}  {risk.where}: {risk.what} [{risk.kind}]", style=style))
    if found.is_harmless:
        console.print(Text("no grave risk found", style="green"))


def _layer_table(layers: list[LayerRecord]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("layer", "class", "input shape", title=None)
    table.add_column("parameters", justify="right")
    for layer in layers[:MAX_ROWS]:
        count = "" if layer.count is None else f"{layer.count:,}"
        name = Text("  " * min(layer.level, 20) + layer.name)
        style = "" if layer.known else "yellow"
        table.add_row(name, Text(layer.class_name, style=style), Text(_shape(layer.shape)), count)
    if len(layers) > MAX_ROWS:
        table.add_row(f"... and {len(layers) - MAX_ROWS:,} more", "", "", "")
    return table


def _weight_table(weights: list[WeightRecord], title: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title, "shape", "dtype")
    table.add_column("bytes", justify="right")
    for weight in weights[:MAX_ROWS]:
        table.add_row(Text(weight.name), Text(_shape(weight.shape)), Text(weight.dtype), f"{weight.bytes:,}")
    if len(weights) > MAX_ROWS:
        table.add_row(f"... and {len(weights) - MAX_ROWS:,} more", "", "", "")
    return table


def _totals(found: Inspection) -> list[str]:
    """How much there is of everything."""
    stored = sum(weight.bytes for weight in found.weights)
    lines = [f"{len(found.layers):,} layers"] if found.layers else []
    if found.weights:
        lines.append(f"{len(found.weights):,} weights, {found.count:,} parameters, {_size(stored)}")
    if found.state:
        size = _size(sum(weight.bytes for weight in found.state))
        lines.append(f"state of the optimizer: {len(found.state):,} arrays, {size}")
    return lines


def _shape(shape: Any) -> str:
    return "" if shape is None else str(shape)


def _size(count: int) -> str:
    """A number of bytes as people say it.

    Example:
        >>> _size(1500), _size(3 * 2**20)
        ('1.5 KiB', '3.0 MiB')
    """
    amount, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{count} bytes" if units[0] == "bytes" else f"{amount:.1f} {units[0]}"
