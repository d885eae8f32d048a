"""A model as a `.keras` file: a zip archive with its config, its weights and a note on who wrote it."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lamina.errors import ArgumentError, LaminaError, LoadError
from lamina.saving.atomic import atomic_path
from lamina.saving.objects import check_depth, complete_registries, serialize_keras_object, unreadable
from lamina.saving.tensors import FREE_BYTES, MAX_UNFOLDING
from lamina.saving.weights_h5 import weights_bytes

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
    """Write a model to a `.keras` file, whole or not at all: architecture, weights, compile state, optimizer state.

    Keras 3 reads the file, as far as it has what the model is made of.

    Args:
        model: a lamina model.
        filepath: ends in `.keras`.
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
    if path.suffix != ".keras":
        raise ArgumentError(
            "The name of a saved model says its format.",
            expected="a name that ends in .keras",
            received=str(path),
            fix=f"use {path.stem}.keras, or save_weights() for the weights alone",
        )
    if path.exists() and not overwrite:
        raise ArgumentError(f"{path} is there already.", received="overwrite=False", fix="pass overwrite=True")
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
    name = os.fspath(filepath)
    try:
        with zipfile.ZipFile(filepath) as archive:
            config = parsed(_member(archive, CONFIG, name, MAX_JSON_BYTES), f"{CONFIG} of {name}")
            has_note = METADATA in archive.namelist()
            note = parsed(_member(archive, METADATA, name, MAX_JSON_BYTES), METADATA) if has_note else {}
            return Archive(config, note, _member(archive, WEIGHTS, name))
    except LaminaError:
        raise
    except FileNotFoundError:
        raise LoadError("There is no such file.", received=str(name), fix="check the path") from None
    except Exception as error:
        raise LoadError(
            f"{name} cannot be read as a .keras file.",
            expected="a whole zip archive",
            received=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            fix="the file may be cut short, damaged or of another kind; get it again",
        ) from error


def _member(archive: zipfile.ZipFile, name: str, source: str, limit: int | None = None) -> bytes:
    """One member, once its size is known to be harmless."""
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise LoadError(
            f"{source} is no .keras file.",
            expected=f"one member named {name}",
            received=", ".join(archive.namelist()[:6]) if not found else f"{len(found)} of that name",
            fix="save the model with model.save('model.keras')",
        )
    member = found[0]
    too_large = limit is not None and member.file_size > limit
    if too_large or member.file_size > MAX_UNFOLDING * member.compress_size + FREE_BYTES:
        raise LoadError(
            f"{source} unfolds to far more than it holds.",
            expected=f"at most {limit:,} bytes" if too_large else f"at most {MAX_UNFOLDING} times its size",
            received=f"{name}: {member.compress_size:,} bytes that claim to be {member.file_size:,}",
            fix="do not load this file",
        )
    with archive.open(member) as file:
        return file.read(member.file_size)


def parsed(text: str | bytes, name: str) -> dict[str, Any]:
    """A dict from JSON.

    Args:
        text: the JSON.
        name: what messages call it.

    Raises:
        LoadError: it is no JSON, or no dict, or nested beyond measure.
    """
    try:
        data = json.loads(text)
    except Exception as error:
        raise unreadable(error) from error
    if not isinstance(data, dict):
        raise LoadError(
            f"{name} does not describe a model.",
            expected="a dict with 'class_name' and 'config'",
            received=f"{data!r:.100}",
            fix="save the model with model.save('model.keras')",
        )
    check_depth(data)
    return data
