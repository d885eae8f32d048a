"""`lamina convert`: a model or its weights from one format to another."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lamina.atomic import atomic_path
from lamina.commands.target import FORMS, load_target
from lamina.errors import ArgumentError
from lamina.saving import load_model, save_weights
from lamina.saving.hdf5 import open_hdf5
from lamina.saving.json_text import parse_json
from lamina.saving.tensors import SUFFIXES as TENSORS
from lamina.saving.tensors import read_tensors, write_named

MODELS = (".keras", ".h5", ".hdf5")
ARCHITECTURES = (".json", ".yaml", ".yml")
PROGRAMS = (".onnx", ".pt2")
WEIGHTS = (".weights.h5", *TENSORS)


def add_parser(commands: Any) -> None:
    """Describe the command's arguments.

    Args:
        commands: the subparsers of the program's parser.
    """
    parser = commands.add_parser(
        "convert",
        help="write a model or its weights in another format",
        description="Read one file and write another; the endings say the formats. Whole models (.keras, .h5) become "
        "whole models, weights (.weights.h5, .safetensors, .npz, .pt), an architecture (.json) or a program (.onnx, "
        ".pt2). Tensors by name (.safetensors, .npz, .pt) become one another. Weights of other kinds need --model, as "
        "they say nothing of the layers. An architecture becomes a model with new weights.",
    )
    parser.add_argument("source", metavar="IN", help="the file to read")
    parser.add_argument("target", metavar="OUT", help="the file to write")
    parser.add_argument("--model", metavar="TARGET", help=f"the model that weights belong to: {FORMS}")
    parser.add_argument("--by-name", action="store_true", help="match layers by their names")
    parser.add_argument("--skip-mismatch", action="store_true", help="leave weights that do not fit as they are")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Convert as the arguments say.

    Args:
        given: the parsed arguments.

    Raises:
        LaminaError: a file is not what its name says, or cannot become the other; nothing has been written then.
    """
    from rich.console import Console

    source, target = Path(given.source).expanduser(), Path(given.target).expanduser()
    _check(source, target, given)
    console = Console()
    if given.model is not None:
        model = load_target(given.model)
        report = model.load_weights(source, skip_mismatch=given.skip_mismatch, by_name=given.by_name)
        console.print(f"{source}: {report}", highlight=False, markup=False, soft_wrap=True)
        _write(model, target)
    elif source.suffix in TENSORS:
        write_named(dict(read_tensors(source)), target)
    elif source.suffix in ARCHITECTURES:
        _write(load_target(str(source)), target)
    else:
        _write(load_model(source), target)
    console.print(f"Written: {target}", highlight=False, markup=False, soft_wrap=True)


def _write(model: Any, target: Path) -> None:
    """Write a model in the format that a name says."""
    if target.name.endswith(".weights.h5") or target.suffix in TENSORS:
        save_weights(model, target)
    elif target.suffix in MODELS:
        model.save(target)
    elif target.suffix in PROGRAMS:
        model.export(target)
    else:
        _write_text(target, json.dumps(parse_json(model.to_json(), "the model"), indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def _check(source: Path, target: Path, given: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is read."""
    writes = (*MODELS, *WEIGHTS, ".json", *PROGRAMS)
    if not target.name.endswith(writes):
        raise ArgumentError(
            f"'{target}' has no ending that says a format", expected=", ".join(writes), fix=f"write {target}.keras, say"
        )
    if not source.is_file():
        raise ArgumentError(f"There is no file '{source}'", fix="check the path")
    if not source.name.endswith((*MODELS, *ARCHITECTURES, *TENSORS)):
        raise ArgumentError(
            f"'{source}' has no ending that says a format", expected=", ".join((*MODELS, *ARCHITECTURES, *WEIGHTS))
        )
    if target.exists() and not given.overwrite:
        raise ArgumentError(f"'{target}' is there already", fix="pass --overwrite")
    if given.model is None and not _says_enough(source, target):
        raise ArgumentError(
            f"'{source}' holds weights alone, which do not say what they belong to",
            expected="--model",
            fix="pass --model model.keras or --model script.py:model",
        )


def _says_enough(source: Path, target: Path) -> bool:
    """Whether a file can become the other without a model."""
    if source.suffix in TENSORS:
        return target.suffix in TENSORS
    if source.suffix in ARCHITECTURES or source.suffix == ".keras":
        return True
    with open_hdf5(source) as file:
        return "model_config" in file.attributes
