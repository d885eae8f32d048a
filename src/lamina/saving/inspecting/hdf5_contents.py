"""What is in an HDF5 file, all of it, with whatever is dangerous noted rather than refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lamina.errors import LaminaError, LoadError
from lamina.registry import snake_case
from lamina.saving.hdf5 import Group, Hdf5File
from lamina.saving.inspecting.architecture import describe, describe_compilation
from lamina.saving.inspecting.records import Inspection, LayerRecord, WeightRecord, shown
from lamina.saving.json_text import parse_json

_STATE = ("optimizer", "optimizer_weights")
_FACTS = ("keras_version", "backend", "keras_backend")
_FAILS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


def describe_hdf5(file: Hdf5File, found: Inspection, prefix: str = "") -> None:
    """Enter the arrays, the architecture and the compile state of a file into an inspection.

    Args:
        file: the open file.
        found: the inspection.
        prefix: what stands before names in it.
    """
    attributes = _attributes(file, found, prefix)
    for name in _FACTS:
        if isinstance(attributes.get(name), str):
            found.facts[name] = shown(attributes[name], 60)
    owners = dict(_arrays(file, found, prefix))
    text = attributes.get("model_config")
    if isinstance(text, str):
        _described(text, describe, found, f"{prefix}model_config")
    text = attributes.get("training_config")
    if isinstance(text, str):
        _described(text, describe_compilation, found, f"{prefix}training_config")
    assign_weights(found, owners)


def format_of(file: Hdf5File) -> str:
    """Which of Keras's formats a file is in.

    Args:
        file: the open file.
    """
    try:
        attributes = file.attributes
        if "model_config" in attributes:
            return "Keras 2 model in HDF5"
        names = list(file)
        if "layer_names" in attributes or "layer_names0" in attributes:
            return "Keras 2 weights in HDF5"
        if "vars" in names or "layers" in names or "_layer_checkpoint_dependencies" in names:
            return "Keras 3 weights in HDF5"
    except (LaminaError, *_FAILS):
        pass
    return "HDF5"


def assign_weights(found: Inspection, owners: dict[str, str]) -> None:
    """Say which weights belong to which layer.

    Args:
        found: the inspection, with layers and weights.
        owners: for the path of an array, the name of its layer where the file has it.
    """
    by_name: dict[str, list[LayerRecord]] = {}
    for layer, path in zip(found.layers, _paths(found.layers), strict=True):
        by_name.setdefault(layer.name, []).append(layer)
        by_name.setdefault(path, []).append(layer)
    for weight in found.weights:
        layers = by_name.get(owners.get(weight.name, ""), [])
        path = weight.name.removeprefix("model_weights/")
        while path and not layers:  # a part of the path is that of the layer, or its name; the longest wins
            path = path.rpartition("/")[0]
            layers = by_name.get(path) or by_name.get(path.rpartition("/")[2], [])
        if layers:
            layers[0].weights.append(weight.name)
            layers[0].count = (layers[0].count or 0) + weight.count
    if any(layer.count for layer in found.layers):
        for layer in found.layers:
            layer.count = layer.count or 0


def _paths(layers: list[LayerRecord]) -> Iterator[str]:
    """Where Keras 3 keeps the weights of each layer: under its class, numbered, inside of the model that it is in."""
    prefixes = [""]
    used: list[dict[str, int]] = [{}]
    for layer in layers:
        del prefixes[layer.level + 1 :], used[layer.level + 1 :]
        while len(prefixes) <= layer.level:
            prefixes.append(prefixes[-1])
            used.append({})
        name = snake_case(layer.class_name)
        number = used[layer.level].get(name, 0)
        used[layer.level][name] = number + 1
        path = f"{prefixes[layer.level]}layers/{name}" + (f"_{number}" if number else "")
        prefixes.append(f"{path}/")
        used.append({})
        yield path


def _described(text: str, describer: Any, found: Inspection, where: str) -> None:
    """Describe a JSON text in an attribute."""
    try:
        describer(parse_json(text, where), found, where)
    except LoadError as error:
        found.note(where, error)


def _attributes(group: Group, found: Inspection, prefix: str) -> dict[str, Any]:
    """Those attributes of a group that can be read; the others are noted."""
    values: dict[str, Any] = {}
    try:
        for name in group.attribute_names():
            try:
                values[name] = group.attribute(name)
            except (LaminaError, *_FAILS) as error:
                found.note(f"{prefix}{group.path}@{name}", error)
    except _FAILS as error:
        found.note(f"{prefix}{group.path}", error)
    return values


def _arrays(file: Hdf5File, found: Inspection, prefix: str) -> Iterator[tuple[str, str]]:
    """Enter every array, and give the layer's name for those whose group has one."""
    waiting: list[tuple[Group, str, str]] = [(file, "", "")]
    while waiting:
        group, path, owner = waiting.pop()
        if path:
            named = _attributes(group, found, prefix).get("name")
            owner = named if isinstance(named, str) else owner
        inner: list[tuple[Group, str, str]] = []
        try:
            names = list(group)
        except _FAILS as error:
            found.note(f"{prefix}{path or '/'}", error)
            continue
        for name in names:
            place = f"{path}/{name}" if path else name
            try:
                if group.is_group(name):
                    inner.append((group.group(name), place, owner))
                    continue
                _array(group, name, place, found, prefix)
                yield place, owner
            except (LaminaError, *_FAILS) as error:
                found.note(f"{prefix}{place}", error)
                if isinstance(error, LoadError) and "nested or filled" in error.what:
                    return
        waiting.extend(reversed(inner))


def _array(group: Group, name: str, place: str, found: Inspection, prefix: str) -> None:
    """Enter one array; one that claims too much is entered, and noted."""
    shape, dtype = group.claim(name)
    record = WeightRecord(shown(place), shape, str(dtype), math.prod(shape) * int(dtype.itemsize))
    is_state = place.partition("/")[0] in _STATE
    (found.state if is_state else found.weights).append(record)
    group.shape(name)  # raises where reading it would do harm
