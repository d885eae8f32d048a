"""Whole models, weights and architectures that Keras 1.2, Keras 2 and tf.keras saved."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from lamina.engine.layer import Layer
from lamina.errors import LoadError, WeightsError
from lamina.saving.counts import check_counts
from lamina.saving.hdf5 import Group, Hdf5File, open_hdf5
from lamina.saving.json_text import parse_json
from lamina.saving.legacy import training
from lamina.saving.legacy.architecture import Builder
from lamina.saving.legacy.guarding import whole_or_refused, within_bytes
from lamina.saving.legacy.layouts import Origin
from lamina.saving.legacy.optimizer_state import restore
from lamina.saving.legacy.report import LoadReport
from lamina.saving.legacy.weights import Order, assign, has_weights, own_weights, put

Path = str | os.PathLike[str]


class _Match(NamedTuple):
    """A layer, its name in a file, and the names of its arrays there."""

    layer: Layer
    name: str
    names: list[str]


def load_h5(
    path: Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    report: LoadReport | None = None,
) -> Any:
    """A model that Keras 1.2, Keras 2 or tf.keras saved whole as HDF5.

    Nothing in the file is run: a `Lambda` layer needs its function in `custom_objects`, whatever `safe_mode`.

    Args:
        path: the file.
        custom_objects: classes and functions by the names that the file has for them; for a `Lambda` layer its function
            under the layer's name.
        compile: whether to compile the model as it was, and to give the optimizer its state.
        safe_mode: accepted for Keras's sake; there is no other mode.
        report: filled with what was restored and what was not. Without it, what was not restored is a warning.

    Returns:
        The model.

    Raises:
        LoadError: the file is damaged, is of another kind, or has a Python function in it.
        UnknownNameError: a class in it is not known.
        WeightsError: its weights do not fit its architecture.
    """
    noted = report if report is not None else LoadReport()
    with open_hdf5(path) as file, whole_or_refused(file.name):
        attributes = file.attributes
        config = _json(attributes.get("model_config"), file.name)
        group = file.group("model_weights") if "model_weights" in file else file
        origin = _origin({**attributes, **group.attributes})
        builder = Builder(custom_objects)
        with within_bytes(file.name, _stored(group)):
            model = builder.model(config)
        _all_weights(model, group, builder, origin, noted)
        if compile and "training_config" in attributes:
            _compile(model, file, _json(attributes["training_config"], file.name), builder, origin, noted)
    if report is None and noted.skipped:
        warnings.warn(f"{os.fspath(path)}: {noted}", UserWarning, stacklevel=2)
    return model


def load_h5_weights(
    model: Any, path: Path, by_name: bool = False, skip_mismatch: bool = False, report: LoadReport | None = None
) -> LoadReport:
    """Give a model the weights of an HDF5 file of Keras 1.2, Keras 2 or tf.keras; all of them or none.

    Args:
        model: a built model.
        path: a file of weights, or of a whole model.
        by_name: whether a layer takes the weights of the layer of the same name, and other layers keep theirs; by
            default the layers with weights take them in order.
        skip_mismatch: whether a layer whose weights do not fit keeps its own, in place of an error.
        report: filled with what was restored and what was not.

    Returns:
        That report.

    Raises:
        LoadError: the file is damaged or of another kind.
        WeightsError: the weights do not fit.
    """
    noted = report if report is not None else LoadReport()
    with open_hdf5(path) as file, whole_or_refused(file.name):
        group: Group = file
        if "layer_names" not in file.attributes and "model_weights" in file:
            group = file.group("model_weights")
        origin = _origin({**file.attributes, **group.attributes})
        saved = _saved_layers(group)
        layers = [layer for layer in model.layers if by_name or has_weights(layer)]
        if by_name:
            matches = _by_names(layers, saved, {})
            known = {match.name for match in matches}
            for name, names in saved.items():
                if names and name not in known:
                    noted.passed_over(name, "the model has no layer of that name", len(names))
        else:
            matches = _in_order(layers, saved, file.name)
        _take(matches, group, Order({}, origin), noted, skip_mismatch)
    return noted


def model_from_legacy_json(text: str | Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model of an architecture that `to_json` of Keras 1.2, Keras 2 or tf.keras gave, with new weights.

    Args:
        text: the JSON, or what it holds.
        custom_objects: classes and functions by the names that the text has for them.

    Returns:
        The model.

    Raises:
        LoadError: the text describes no model, or one with a Python function.
        UnknownNameError: a class in it is not known.

    Example:
        >>> layer = '{"class_name": "Dense", "config": {"output_dim": 3, "init": "he_normal", "name": "dense_1", '
        >>> text = '{"class_name": "Sequential", "config": [' + layer + '"batch_input_shape": [null, 4]}}]}'
        >>> model_from_legacy_json(text).output_shape
        (None, 3)
    """
    with whole_or_refused("The JSON"):
        config = dict(text) if isinstance(text, Mapping) else _json(text, "The text")
        return Builder(custom_objects).model(config)


def is_legacy_config(config: Any) -> bool:
    """Whether an architecture is one of Keras 1 or 2, and not of Keras 3.

    Args:
        config: what its JSON holds, or the JSON.

    Example:
        >>> is_legacy_config({"class_name": "Sequential", "config": [], "keras_version": "1.2.0"})
        True
        >>> is_legacy_config('{"module": "keras", "class_name": "Sequential", "config": {"layers": []}}')
        False
    """
    if isinstance(config, (str, bytes)):
        try:
            config = parse_json(config, "The JSON")
        except LoadError:
            return False
    if not isinstance(config, dict) or "class_name" not in config:
        return False
    version = config.get("keras_version")
    if isinstance(version, str):
        return version.partition(".")[0] in ("0", "1", "2")
    inner = config.get("config")
    if isinstance(inner, list):
        return True
    if not isinstance(inner, dict):
        return False
    entries = inner.get("layers")
    for entry in entries if isinstance(entries, list) else []:
        nodes = entry.get("inbound_nodes") if isinstance(entry, dict) else None
        arguments = entry.get("config") if isinstance(entry, dict) else None
        if nodes and isinstance(nodes, list):
            return isinstance(nodes[0], list)
        if isinstance(arguments, dict) and arguments.keys() & {"batch_input_shape", "batch_shape"}:
            return "batch_input_shape" in arguments
    return "module" not in config


# ---------------------------------------------------------------------- inside
def _json(text: Any, name: str) -> Any:
    if not isinstance(text, str):
        raise LoadError(
            f"{name} holds no model, only weights at most.",
            expected="an attribute model_config",
            received="none" if text is None else type(text).__name__,
            fix="make the model, and load the file with load_weights",
        )
    found = parse_json(text, name)
    if not isinstance(found, dict):
        raise LoadError(f"{name} is not what Keras writes.", expected="a JSON object", received=repr(found)[:60])
    check_counts(found)
    return found


def _origin(attributes: Mapping[str, Any]) -> Origin:
    version, backend = attributes.get("keras_version", "1"), attributes.get("backend", "")
    return Origin(str(version), str(backend))


def _stored(group: Group) -> int:
    """The bytes of all arrays in a group."""
    total = 0
    for name in group.arrays():
        count = group.dtype(name).itemsize
        for size in group.shape(name):
            count *= size
        total += count
    return total


def _names(group: Group, attribute: str) -> list[str]:
    """A list of names, which a file may keep in several attributes."""
    found = group.attributes
    if attribute in found:
        value = found[attribute]
        return [str(name) for name in value] if isinstance(value, list) else [str(value)]
    names: list[str] = []
    chunk = 0
    while f"{attribute}{chunk}" in found:  # a long list is cut into attributes of 64 KB
        names += [str(name) for name in found[f"{attribute}{chunk}"]]
        chunk += 1
    return names


def _saved_layers(group: Group) -> dict[str, list[str]]:
    """The names of the arrays of each layer, in the order of the file."""
    names = _names(group, "layer_names")
    if not names:
        raise LoadError("The file holds no weights of layers.", expected="an attribute layer_names", received="none")
    return {name: _names(group.group(name), "weight_names") for name in names}


def _by_names(layers: list[Layer], saved: Mapping[str, list[str]], names: Mapping[int, str]) -> list[_Match]:
    """Each layer with the entry of the file that has its name."""
    today = {name.replace("/", "_"): name for name in saved}
    found = []
    for layer in layers:
        name = names.get(id(layer)) or today.get(layer.name)
        if name in saved:
            found.append(_Match(layer, name, saved[name]))
    return found


def _in_order(layers: list[Layer], saved: Mapping[str, list[str]], file: str) -> list[_Match]:
    """The layers with weights, in turn, with the entries of the file that have some."""
    filled = [(name, names) for name, names in saved.items() if names]
    if len(filled) != len(layers):
        raise WeightsError(
            f"{file} holds the weights of {len(filled)} layers, and the model has {len(layers)} with weights.",
            expected=", ".join(layer.name for layer in layers[:8]) or "a built model",
            received=", ".join(name for name, _ in filled[:8]) or "none",
            fix="load it with by_name=True" if layers else "build the model first: model.build((None, ...))",
        )
    return [_Match(layer, name, names) for layer, (name, names) in zip(layers, filled, strict=True)]


def _all_weights(model: Any, group: Group, builder: Builder, origin: Origin, report: LoadReport) -> None:
    """Give a model that was made from a file all of its weights."""
    saved = _saved_layers(group)
    layers = [layer for layer in builder.orders.get(id(model), model.layers) if has_weights(layer)]
    matches = [match for match in _by_names(layers, saved, builder.names) if match.names]
    if len(matches) != len(layers):
        matches = _in_order(layers, saved, model.name)
    _take(matches, group, Order(builder.orders, origin), report, False)


def _take(matches: list[_Match], group: Group, order: Order, report: LoadReport, skip_mismatch: bool) -> None:
    """Give layers their weights, once all of them are known to fit."""
    pairs = []
    for layer, name, names in matches:
        try:
            members = group.group(name)
            _check_sizes(layer, [members.shape(array) for array in names])
            pairs += assign(layer, [members.array(array) for array in names], order)
        except WeightsError as error:
            if not skip_mismatch:
                raise
            report.passed_over(name, f"{error.what} {error.received or ''}".strip(), len(names))
            continue
        report.took(len(names))
    put(pairs)


def _check_sizes(layer: Layer, shapes: list[tuple[int, ...]]) -> None:
    """Refuse arrays that are far larger than the weights of their layer, before reading them."""
    claimed = sum(math.prod(shape) for shape in shapes)
    own = sum(t.numel() * getattr(m, "spread", 1) for m in layer.modules() for _, t in own_weights(m))
    if claimed > 2 * own + 1024:
        raise WeightsError(
            f"The weights of the layer {layer.name!r} in the file are larger than the layer's.",
            expected=f"about {own:,} numbers",
            received=f"{claimed:,}",
            fix="the file belongs to another model",
        )


def _compile(
    model: Any, file: Hdf5File, config: Mapping[str, Any], builder: Builder, origin: Origin, report: LoadReport
) -> None:
    """Compile a model as it was, and give the optimizer its state."""
    reason = training.compiled(model, config, builder.custom)
    if reason is not None:
        report.passed_over("the training configuration", reason)
        return
    report.took()
    if "optimizer_weights" not in file:
        return
    group = file.group("optimizer_weights")
    names = _names(group, "weight_names")
    layers = builder.orders.get(id(model), model.layers)
    trainable = Order(builder.orders, origin).trainable(layers)
    if sum(math.prod(group.shape(name)) for name in names) > 8 * sum(t.numel() for t in trainable) + 1024:
        report.passed_over("the optimizer's state", "it is larger than the model")
        return
    reason = restore(model, trainable, names, [group.array(name) for name in names])
    if reason is not None:
        report.passed_over("the optimizer's state", reason)
    else:
        report.took()
