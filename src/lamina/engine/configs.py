"""A layer's arguments as plain data, and back."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch

from lamina import registry
from lamina.configurable import init_parameters
from lamina.custom_objects import find_custom, find_custom_function
from lamina.engine import nest
from lamina.errors import LoadError
from lamina.serialized import described, function_of_text

_READ_BY_THEIR_OWNERS = ("initializer", "regularizer", "constraint", "activation")

# What Keras 3 writes beside a layer's arguments, with the value that asks for nothing.
_KERAS_ALONE: dict[str, Any] = {"quantization_config": None, "sparse": False, "ragged": False, "optional": False}


def config_of(layer: Any) -> dict[str, Any]:
    """The arguments of a layer's `__init__`.

    Of a layer of this library each argument is the attribute of that name; of a user's class it is what was
    passed, since nothing makes a user store it.
    """
    config: dict[str, Any] = {
        "name": layer.name,
        "trainable": layer.trainable,
        "dtype": layer.dtype_policy.name,
    }
    cls: type = layer.__class__
    names = init_parameters(cls)
    ours = cls.__module__.startswith("lamina.")
    passed = _passed_arguments(layer)
    for name in names:
        if name in ("kwargs", "args") or name in config:
            continue
        if ours and hasattr(layer, name):
            config[name] = plain(getattr(layer, name))
        elif name in passed:
            config[name] = plain(passed[name])
    if layer.activity_regularizer is not None:
        config["activity_regularizer"] = plain(layer.activity_regularizer)
    if not layer.autocast:
        config["autocast"] = False
    return config


def takes_anything(cls: type) -> bool:
    """Whether `cls.__init__` has `**kwargs`."""
    found = inspect.signature(cls.__init__).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in found)


def _passed_arguments(layer: Any) -> dict[str, Any]:
    """What a layer's constructor was given, by name."""
    args, kwargs = layer.__dict__.get("_init_arguments", ((), {}))
    try:
        bound = inspect.signature(type(layer).__init__).bind_partial(layer, *args, **kwargs)
    except TypeError:
        return {}
    own, *parameters = inspect.signature(type(layer).__init__).parameters.values()
    found = {name: value for name, value in bound.arguments.items() if name != own.name}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update(found.pop(parameter.name, {}))
    return found


def plain(value: Any) -> Any:
    """`value` as data: objects as `class_name` and `config`, functions by name, dtypes by name."""
    if hasattr(value, "get_config"):
        return described(value)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if nest.is_nest(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in cast("dict[Any, Any]", value).items()}
        members = [plain(v) for v in cast("list[Any]", value)]
        return members if isinstance(value, list) else tuple(members)
    if inspect.isfunction(value) or inspect.isbuiltin(value):
        name = value.__name__
        return name if name in registry.ACTIVATIONS and registry.ACTIVATIONS[name] is value else value
    return value


def objects_from(config: dict[str, Any], taken: Sequence[str] = ()) -> dict[str, Any]:
    """`config` with layers made again where it describes them; other objects are made by the arguments' owners.

    Args:
        config: arguments by name.
        taken: the arguments that the layer has; others are left out if they only say what is so anyway.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key not in taken and key in _KERAS_ALONE and value == _KERAS_ALONE[key]:
            continue
        found[key] = value if key.endswith(_READ_BY_THEIR_OWNERS) else _object(value)
    return found


def _object(value: Any) -> Any:
    if isinstance(value, dict):
        data = cast("dict[str, Any]", value)
        if data.get("class_name") in ("__lambda__", "function") and "config" in data:
            return _function(data)
        return registry.LAYERS.deserialize(data) if set(data) >= {"class_name", "config"} and _is_layer(data) else data
    if isinstance(value, list):
        return [_object(v) for v in cast("list[Any]", value)]
    return value


def _function(data: dict[str, Any]) -> Any:
    """A function that a config names; code is never made of what a file holds."""
    names = [name for name in (data.get("registered_name"), data["config"]) if isinstance(name, str)]
    found = find_custom_function(*names) if data["class_name"] == "function" else None
    found = function_of_text(data) if found is None and data["class_name"] == "function" else found
    if found is None:
        name = names[-1] if names and data["class_name"] == "function" else "<lambda>"
        code = data["class_name"] == "__lambda__"
        raise LoadError(
            "The config holds a function as Python bytecode, which is never run."
            if code
            else f"The config names a function {name!r} that nobody has passed or registered.",
            expected="a function that is registered, or among the custom objects",
            received="bytecode" if code else repr(name),
            fix="save the model anew with a named function in place of the lambda"
            if code
            else f"pass custom_objects={{{name!r}: f}}, or safe_mode=False to take its text: {data['source']!r:.200}"
            if isinstance(data.get("source"), str)
            else f"pass custom_objects={{{name!r}: f}}, or put @lamina.saving.register_serializable() on it",
        )
    return found


def _is_layer(data: dict[str, Any]) -> bool:
    """Whether a description is that of a layer: one that is registered as such, or a user's own."""
    name, module = data["class_name"], data.get("module")
    if isinstance(module, str) and module.startswith("keras.") and not module.startswith(("keras.layers", "keras.src")):
        return False
    known = isinstance(name, str) and name in registry.LAYERS
    return known or hasattr(find_custom(data.get("registered_name"), name), "from_config")
