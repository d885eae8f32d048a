"""A model as a `.keras` file: a zip archive with its config, its weights and a note on who wrote it."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lamina.atomic import atomic_path
from lamina.errors import ArgumentError, LaminaError, LoadError
from lamina.saving.json_text import parse_json
from lamina.saving.legacy import save_h5
from lamina.saving.objects import check_depth, complete_registries, serialize_keras_object
from lamina.saving.weights_h5 import weights_bytes
from lamina.saving.zip_members import ZipMembers, open_zip

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
FORMAT = "3.15.1"
"""The version of Keras whose format this is."""
MAX_JSON_BYTES = 2**28


class Archive(NamedTuple):
    """What a `.keras` file holds.

    Attributes:
        config: the model's description.
        metadata: who wrote the file, and when.
        weights: the bytes of the file of weights.
    """

    config: dict[str, Any]
    metadata: dict[str, Any]
    weights: bytes


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model to a file, whole or not at all: architecture, weights, compile state, optimizer state.

    Keras 3 reads a `.keras` file, and Keras 2 an `.h5` file, as far as they have what the model is made of.

    Args:
        model: a lamina model.
        filepath: ends in `.keras`, or in `.h5` for the format of Keras 2.
        overwrite: whether a file that is there may be replaced.

    Raises:
        ArgumentError: the name ends otherwise, a file is there and must not be replaced, or a layer holds what no file
            can.
        OSError: the file cannot be written; the one that was there is untouched.

    Example:
        >>> import lamina, tempfile
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> path = Path(tempfile.mkdtemp()) / "model.keras"
        >>> save_model(model, path)
        >>> lamina.saving.load_model(path).count_params()
        8
    """
    path = Path(filepath)
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ArgumentError(
            "The name of a saved model says its format.",
            expected="a name that ends in .keras or .h5",
            received=str(path),
            fix=f"use {path.stem}.keras, or save_weights() for the weights alone",
        )
    if path.exists() and not overwrite:
        raise ArgumentError(f"{path} is there already.", received="overwrite=False", fix="pass overwrite=True")
    if path.suffix != ".keras":
        save_h5(model, path)
        return
    complete_registries()
    config = json.dumps(serialize_keras_object(model))
    metadata = {
        "keras_version": FORMAT,
        "date_saved": datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "written_by": "lamina",
    }
    weights = weights_bytes(model, with_optimizer=True)
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
        archive.writestr(METADATA, json.dumps(metadata))
        archive.writestr(CONFIG, config)
        archive.writestr(WEIGHTS, weights)


def read_archive(filepath: str | os.PathLike[str]) -> Archive:
    """The three members of a `.keras` file, in memory; others, such as assets, are not looked at.

    Args:
        filepath: where it is.

    Raises:
        LoadError: it is no such file, is damaged, or unfolds to far more than it holds.
    """
    name = str(os.fspath(filepath))
    if not os.path.exists(filepath):
        raise LoadError("There is no such file.", received=name, fix="check the path")
    try:
        with open_zip(filepath, name) as members:
            config = parsed(_member(members, CONFIG, MAX_JSON_BYTES), f"{CONFIG} of {name}")
            note = parsed(_member(members, METADATA, MAX_JSON_BYTES), METADATA) if METADATA in members else {}
            return Archive(config, note, _member(members, WEIGHTS))
    except Exception as error:
        if isinstance(error, LaminaError) and "cannot be read as a zip" not in error.what:
            raise
        received = error.received if isinstance(error, LaminaError) else str(error).strip() or type(error).__name__
        raise LoadError(
            f"{name} cannot be read as a .keras file.",
            expected="a whole zip archive",
            received=(received or "").partition("\n")[0][:200],
            fix="the file may be cut short, damaged or of another kind; get it again",
        ) from error


def _member(members: ZipMembers, name: str, limit: int | None = None) -> bytes:
    """One member, once its size is known to be harmless."""
    if name not in members:
        raise LoadError(
            f"{members.name} is no .keras file.",
            expected=f"one member named {name}",
            received=", ".join(list(members)[:6]),
            fix="save the model with model.save('model.keras')",
        )
    return members.read(name, limit)


def parsed(text: str | bytes, name: str) -> dict[str, Any]:
    """A dict from JSON.

    Args:
        text: the JSON.
        name: what messages call it.

    Raises:
        LoadError: it is no JSON, or no dict, or nested beyond measure.
    """
    data = parse_json(text, name)
    if not isinstance(data, dict):
        raise LoadError(
            f"{name} does not describe a model.",
            expected="a dict with 'class_name' and 'config'",
            received=f"{data!r:.100}",
            fix="save the model with model.save('model.keras')",
        )
    check_depth(data)
    return data
