"""What an architecture says, in the forms of Keras 1, 2 and 3: its layers, the names that it needs, and its traps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lamina.errors import LoadError
from lamina.saving.inspecting.known_names import harm, is_foreign, is_known
from lamina.saving.inspecting.records import Inspection, LayerRecord, shown
from lamina.saving.lambda_source import function_from

MAX_SIZE = 2**31
"""A number of units, say, that no layer has."""

_MODELS = ("Sequential", "Functional", "Model")
_INNER = ("layer", "forward_layer", "backward_layer", "cell", "cells")
_OPERATIONS = ("TorchOperation", "TFOpLambda", "TensorFlowOpLayer")
_MORE_THAN_ARITHMETIC = frozenset(
    "load save hub jit compile io read_file write_file py_function numpy_function eager_py_func attrgetter itemgetter "
    "methodcaller call print".split()
)
_SIZES = frozenset("units filters input_dim output_dim kernel_size n depth_multiplier num_heads key_dim".split())
_SHAPES = frozenset("batch_shape batch_input_shape input_shape target_shape shape".split())
_CODE = re.compile(r"^4w[A-Z]")  # what marshalled code of Python 3 begins with in base 64
_PLACES = re.compile(r"^(?:https?|ftp|file|gs|s3|hdfs)://", re.IGNORECASE)


def describe(config: Any, found: Inspection, where: str) -> None:
    """Enter the layers of an architecture into an inspection, and everything in it that is dangerous.

    Args:
        config: what its JSON holds.
        found: the inspection.
        where: what the text is called in it.
    """
    for value, path in _walk(config, where):
        if isinstance(value, dict):
            _object(value, path, found)
            _sizes(value, path, found)
    if isinstance(config, dict):
        found.layers.extend(_layers(config, 0))


def describe_compilation(config: Any, found: Inspection, where: str) -> None:
    """Enter what a model was compiled with.

    Args:
        config: Keras 3's `compile_config`, or Keras 2's `training_config`.
        found: the inspection.
        where: what it is called.
    """
    for value, path in _walk(config, where):
        if isinstance(value, dict):
            _object(value, path, found)
    if not isinstance(config, dict):
        return
    described = config.get("optimizer_config", config.get("optimizer"))
    found.compiled = {
        "optimizer": _title(described),
        "learning_rate": _rate(described),
        "loss": _titles(config.get("loss")),
        "metrics": _titles(config.get("metrics")),
    }


# ---------------------------------------------------------------------- traps
def _walk(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    """Every value inside a value with the names on the way to it; that of layers is shown where they have one."""
    waiting: list[tuple[Any, str]] = [(value, path)]
    while waiting:
        value, path = waiting.pop()
        yield value, path
        if isinstance(value, dict):
            inner = [(member, f"{path}.{key}") for key, member in value.items()]
        elif isinstance(value, list):
            inner = [(member, _place(member, path, number)) for number, member in enumerate(value)]
        else:
            continue
        waiting.extend(reversed([(m, p[-300:]) for m, p in inner if isinstance(m, (dict, list, str))]))


def _place(member: Any, path: str, number: int) -> str:
    """What a member of a list is called: a layer by its name."""
    name = _name_of(member) if isinstance(member, dict) and "class_name" in member else None
    return f"layer {name!r}" if isinstance(name, str) else f"{path}[{number}]"


def _object(value: dict[str, Any], path: str, found: Inspection) -> None:
    """Look at a dict that describes an object."""
    name, module = value.get("class_name"), value.get("module")
    if "class_name" not in value:
        if not path.endswith(".config"):  # that of an object has been looked at with it
            _strange_texts(value, path, found)
        return
    if not isinstance(name, str):
        found.add(path, "damage", f"a class without a name: {shown(name, 40)}", grave=False)
        return
    if name == "__lambda__":
        found.add(path, "bytecode", "Python bytecode (__lambda__) in place of a function")
        return
    if name == "__typespec__":
        found.add(path, "foreign code", "a TensorFlow type that a loader imports by name (__typespec__)")
    elif name == "Lambda":
        _lambda(value.get("config"), path, found)
    elif name in _OPERATIONS:
        _operation(value.get("config"), path, found)
    if isinstance(value.get("source"), str):
        _text(value["source"], path, found)
    called = [name.rpartition(">")[2]]
    if name == "function":
        called = [str(value.get("config")), str(value.get("registered_name"))][
            : 2 if value.get("registered_name") else 1
        ]
    _names(called[0], module if isinstance(module, str) else None, value.get("registered_name"), path, found)
    config = value.get("config")
    if isinstance(config, dict):
        _strange_texts(config, path, found)


def _names(name: str, module: str | None, registered: Any, path: str, found: Inspection) -> None:
    """Note a name that lamina does not have, and one that must not be imported."""
    danger = harm(module, name)
    if danger is not None:
        found.add(path, "foreign code", f"names {shown(danger, 80)}, which a loader that imports names would run")
    elif is_known(name):
        if module is not None and is_foreign(module) and registered in (None, name):
            found.add(path, "foreign code", f"takes {shown(name, 60)} from the module {shown(module, 60)}", grave=False)
        return
    elif module is not None and is_foreign(module):
        found.add(path, "foreign code", f"takes {shown(name, 60)} from the module {shown(module, 60)}", grave=False)
    full = shown(registered if isinstance(registered, str) and ">" in registered else name, 80)
    if full not in found.custom:
        found.custom.append(full)


def _lambda(config: Any, path: str, found: Inspection) -> None:
    """Note what a `Lambda` layer is made of."""
    config = config if isinstance(config, dict) else {}
    function = config.get("function")
    texts = function if isinstance(function, list) else [function]
    is_code = config.get("function_type") == "lambda" or isinstance(function, list)
    is_code = is_code or any(isinstance(text, str) and _CODE.match(text) for text in texts)
    if is_code:
        found.add(path, "bytecode", "a Lambda layer made of Python bytecode")
    elif isinstance(function, str):
        found.add(path, "foreign code", f"a Lambda layer around a function named {shown(function, 60)}", grave=False)
        if not is_known(function) and function not in found.custom:
            found.custom.append(shown(function, 80))
        danger = harm(config.get("module") if isinstance(config.get("module"), str) else None, function)
        if danger is not None:
            found.add(path, "foreign code", f"a Lambda layer around {shown(danger, 80)}")
    elif not isinstance(function, dict):
        found.add(path, "foreign code", "a Lambda layer without a function", grave=False)


def _text(text: str, path: str, found: Inspection) -> None:
    """Note a function that stands as text."""
    try:
        function_from(text)
    except LoadError as error:
        found.add(path, "foreign code", f"a function as text that does more than compute: {error.received}")
    else:
        found.add(path, "foreign code", f"a function as text: {text}", grave=False)


def _operation(config: Any, path: str, found: Inspection) -> None:
    """Note a function of torch or TensorFlow that is more than arithmetic."""
    function = config.get("function") if isinstance(config, dict) else None
    parts = function.split(".") if isinstance(function, str) else []
    private = [part for part in parts if part.startswith("_") and part != "__operators__"]
    if private or set(parts) & _MORE_THAN_ARITHMETIC:
        found.add(path, "foreign code", f"calls {shown(function, 80)}, which is more than arithmetic")


def _strange_texts(value: Mapping[str, Any], path: str, found: Inspection) -> None:
    """Note texts that make loaders read files or ask the network."""
    for key, text in value.items():
        if not isinstance(text, str):
            continue
        if _PLACES.match(text):
            found.add(path, "path", f"{shown(key, 40)} is an address: {shown(text, 80)}")
        elif key in ("vocabulary", "vocabulary_path", "filepath", "origin") and text:
            found.add(path, "path", f"{shown(key, 40)} is a file that a loader would read: {shown(text, 80)}")
        elif key in ("function", "code", "bytecode") and _CODE.match(text) and "function" not in path:
            found.add(path, "bytecode", f"{shown(key, 40)} is Python bytecode")


def _sizes(value: Mapping[str, Any], path: str, found: Inspection) -> None:
    """Note sizes that no machine has the memory for."""
    for key in value.keys() & (_SIZES | _SHAPES):
        size = value[key]
        numbers = (
            [size] if not isinstance(size, (list, tuple)) else [n for n in size if not isinstance(n, (list, dict))]
        )
        numbers = [n for n in numbers if isinstance(n, int) and not isinstance(n, bool)]
        product = 1
        for number in numbers:
            product = min(product * max(abs(number), 1), 2**63)
        if product >= MAX_SIZE:
            found.add(path, "size", f"{key} is {shown(size, 60)}")


# ---------------------------------------------------------------------- layers
def _layers(config: Mapping[str, Any], level: int) -> Iterator[LayerRecord]:
    """The layers inside a model, and those inside models inside; a loop, since a file may be nested deeply."""
    waiting = [(entry, level) for entry in _entries(config)]
    waiting.reverse()
    while waiting:
        entry, level = waiting.pop()
        name = entry.get("class_name")
        if not isinstance(name, str):
            continue
        bare = name.rpartition(">")[2]
        shape = _shape(entry)
        known = is_known(bare) or is_known(name)
        yield LayerRecord(shown(_name_of(entry) or "", 80), shown(bare, 80), level, shape, known=known)
        waiting.extend((inner, level + 1) for inner in reversed(list(_entries(entry))))


def _entries(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The layers right inside a model, or a layer around layers."""
    inner = config.get("config")
    if isinstance(inner, list):  # Keras 1 and 2.1
        members: list[Any] = inner
    elif isinstance(inner, dict) and isinstance(inner.get("layers"), list):
        members = inner["layers"]
    elif isinstance(inner, dict) and config.get("class_name") not in _MODELS:
        members = [m for key in _INNER if key in inner for m in (inner[key] if key == "cells" else [inner[key]])]
    else:
        members = []
    for member in members:
        if isinstance(member, dict) and "class_name" in member:
            yield member


def _name_of(entry: Mapping[str, Any]) -> Any:
    """The name of a layer, wherever its form has it."""
    config = entry.get("config")
    return entry.get("name") or (config.get("name") if isinstance(config, dict) else None)


def _shape(entry: Mapping[str, Any]) -> Any:
    """The shape of a layer's input, if its description says."""
    config, built = entry.get("config"), entry.get("build_config")
    found: Any = None
    if isinstance(built, dict):
        found = built.get("input_shape", built.get("shapes_dict"))
    if found is None and isinstance(config, dict):
        found = config.get("batch_shape", config.get("batch_input_shape"))
    if isinstance(found, list) and len(found) <= 12 and all(n is None or isinstance(n, int) for n in found):
        return tuple(found)
    return None if found is None else shown(found, 80)


# ---------------------------------------------------------------------- compile state
def _title(value: Any) -> str | None:
    """What an object is called, in one word or two."""
    if isinstance(value, str):
        return shown(value, 60)
    if isinstance(value, dict):
        name = value.get("class_name")
        config = value.get("config")
        if name == "function":
            return shown(config, 60)
        if name is None:
            return None
        inner = config.get("name") if isinstance(config, dict) else None
        return shown(name, 60) if name not in ("MeanMetricWrapper", "LossFunctionWrapper") else shown(inner, 60)
    return None if value is None else shown(value, 60)


def _titles(value: Any) -> list[str]:
    """What the objects of a nest are called."""
    found: list[str] = []
    waiting = [value]
    while waiting and len(found) < 100:
        member = waiting.pop()
        if isinstance(member, list):
            waiting.extend(reversed(member))
        elif isinstance(member, dict) and "class_name" not in member:
            waiting.extend(reversed(list(member.values())))
        else:
            title = _title(member)
            found += [title] if title is not None else []
    return found


def _rate(value: Any) -> Any:
    """The learning rate of an optimizer's description."""
    config = value.get("config") if isinstance(value, dict) else None
    rate = config.get("learning_rate", config.get("lr")) if isinstance(config, dict) else None
    return rate if isinstance(rate, (int, float)) else _title(rate)
