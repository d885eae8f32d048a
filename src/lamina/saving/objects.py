"""Any object as data in Keras 3's form, and back: the only way from a file to an object."""

from __future__ import annotations

import importlib
import types
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lamina import dtypes, layers, losses, metrics, optimizers, registry
from lamina.custom_objects import CustomObjectScope, find_custom, find_custom_function
from lamina.engine.abstract import slice_parts
from lamina.errors import ArgumentError, LaminaError, LoadError
from lamina.registry import Registry
from lamina.saving.counts import check_counts
from lamina.saving.lambda_source import function_from, source_of
from lamina.serialized import described, described_function, functions_as_text, in_full, is_function, sharing

MAX_DEPTH = 200

# The part of a module's name that says which registry a name is looked up in; the module itself is never imported.
_BY_MODULE = {
    "schedules": registry.SCHEDULES,
    "optimizers": registry.OPTIMIZERS,
    "losses": registry.LOSSES,
    "metrics": registry.METRICS,
    "initializers": registry.INITIALIZERS,
    "regularizers": registry.REGULARIZERS,
    "constraints": registry.CONSTRAINTS,
    "activations": registry.ACTIVATIONS,
    "layers": registry.LAYERS,
    "models": registry.LAYERS,
}
_PACKAGES = (layers, losses, metrics, optimizers)  # importing them filled the registries


def complete_registries() -> None:
    """Register the models too, which stand above this package: a file may be read before anybody has used one."""
    importlib.import_module("lamina.models")


# ---------------------------------------------------------------------- to data
def serialize_keras_object(obj: Any) -> Any:
    """An object as JSON-ready data, in Keras 3's form.

    Args:
        obj: a layer, model, loss, metric, optimizer, schedule, initializer, regularizer, constraint or dtype policy;
            a function; plain data; a list or dict of these.

    Returns:
        Data for `deserialize_keras_object`, here or in Keras.

    Raises:
        ArgumentError: an object has no `get_config`.

    Example:
        >>> from lamina.regularizers import L2
        >>> serialize_keras_object(L2(0.5))
        {'module': 'keras.regularizers', 'class_name': 'L2', 'config': {'l2': 0.5}, 'registered_name': None}
    """
    with in_full(), functions_as_text(write=source_of):
        data = _plain(obj, "the object")
    counts: Counter[int] = Counter()
    _count_shared(data, counts)
    return _without_lone_marks(data, counts)


def _plain(value: Any, where: str) -> Any:
    """`value` as what JSON knows."""
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value
    if isinstance(value, dict):
        return {key: _plain(member, f"{where}[{key!r}]") for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        members = [_plain(member, f"{where}[{place}]") for place, member in enumerate(value)]
        return members if isinstance(value, list) else tuple(members)
    special = _special(value, where)
    if special is not None:
        return special
    if isinstance(value, dtypes.DTypePolicy):
        return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": value.name}, "registered_name": None}
    if isinstance(value, type):
        raise _unwritable(value, where)
    if hasattr(value, "get_config"):
        return _plain(described(value), f"{type(value).__name__} {getattr(value, 'name', '')}".rstrip())
    if isinstance(getattr(value, "function", None), types.FunctionType):  # an initializer made of a function
        value = value.function
    if is_function(value):
        return described_function(value)
    raise _unwritable(value, where)


def _special(value: Any, where: str) -> Any:
    """What Keras writes under a name of its own, and numbers of NumPy and torch."""
    if isinstance(value, (np.generic, torch.Size)):
        return value.item() if isinstance(value, np.generic) else list(value)
    if isinstance(value, (int, float)):
        return value.real
    if isinstance(value, torch.dtype):
        return dtypes.standardize_dtype(value)
    if isinstance(value, bytes):
        return {"class_name": "__bytes__", "config": {"value": value.decode("utf-8", "replace")}}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, slice):
        parts = zip(("start", "stop", "step"), slice_parts(value), strict=True)
        return {"class_name": "__slice__", "config": {name: _plain(part, where) for name, part in parts}}
    if isinstance(value, (torch.Tensor, np.ndarray)):
        kind = "__tensor__" if isinstance(value, torch.Tensor) else "__numpy__"
        values = value.detach().cpu() if isinstance(value, torch.Tensor) else value
        return {
            "class_name": kind,
            "config": {"value": values.tolist(), "dtype": dtypes.standardize_dtype(value.dtype)},
        }
    return None


def _unwritable(value: Any, where: str) -> ArgumentError:
    return ArgumentError(
        f"{where} cannot be written to a file.",
        expected="numbers, texts, lists, functions, and objects with get_config",
        received=f"{value!r:.200} of type {type(value).__name__}",
        fix="write get_config in the class that holds it, so that it gives plain data",
    )


def _count_shared(data: Any, counts: Counter[int]) -> None:
    if isinstance(data, dict):
        if "shared_object_id" in data:
            counts[data["shared_object_id"]] += 1
        for member in data.values():
            _count_shared(member, counts)
    elif isinstance(data, (list, tuple)):
        for member in data:
            _count_shared(member, counts)


def _without_lone_marks(data: Any, counts: Counter[int]) -> Any:
    """`data` without the numbers of objects that stand in one place only."""
    if isinstance(data, dict):
        lone = "shared_object_id" in data and counts[data["shared_object_id"]] < 2
        return {k: _without_lone_marks(v, counts) for k, v in data.items() if not (lone and k == "shared_object_id")}
    if isinstance(data, (list, tuple)):
        return type(data)(_without_lone_marks(member, counts) for member in data)
    return data


# ---------------------------------------------------------------------- from data
def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """The object that `serialize_keras_object`, here or in Keras 3, described.

    Nothing that the data hold is run or imported: names are looked up in the library's registries and among custom
    objects. A lambda, which Keras writes as Python bytecode, is refused whatever `safe_mode` says.

    Args:
        config: the data.
        custom_objects: classes and functions of your own by name.
        safe_mode: whether functions that stand as text are refused too; see `load_model`.

    Returns:
        The object; plain data, lists and dicts as they are.

    Raises:
        LoadError: the data are not of that form, or hold code.
        UnknownNameError: a class is neither the library's nor among the custom objects.

    Example:
        >>> deserialize_keras_object({"class_name": "Dense", "config": {"units": 3}}).units
        3
    """
    complete_registries()
    check_depth(config)
    try:
        texts = functions_as_text(read=None if safe_mode else function_from)
        with CustomObjectScope(custom_objects), sharing(), texts:
            return revived(config)
    except LaminaError:
        raise
    except Exception as error:  # whatever a hostile config makes a constructor do
        raise unreadable(error) from error


def unreadable(error: Exception) -> LoadError:
    """The error for a config that made something fail.

    Args:
        error: what failed.
    """
    return LoadError(
        "The config cannot be read.",
        expected="what save(), to_json() or Keras 3 wrote",
        received=f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:200]}",
        fix="the file may be damaged, or of another version",
    )


def check_depth(data: Any) -> None:
    """Refuse data that are nested, or ask for tables, beyond measure.

    Args:
        data: from JSON.

    Raises:
        LoadError: they are.
    """
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for value in level
            if isinstance(value, (dict, list, tuple))
            for member in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            check_counts(data)
            return
    raise LoadError(
        "The config is nested beyond measure.", expected=f"at most {MAX_DEPTH} levels", fix="do not load this file"
    )


def revived(data: Any) -> Any:
    """An object made of data, inside the scopes that `deserialize_keras_object` opens.

    Args:
        data: its description.
    """
    if isinstance(data, str):
        custom = find_custom(data)
        return data if custom is None else custom
    if isinstance(data, (list, tuple)):
        return [revived(member) for member in data]
    if not isinstance(data, dict):
        return data
    if not isinstance(data.get("class_name"), str) or "config" not in data:
        return {key: revived(member) for key, member in data.items()}
    name, config = data["class_name"], data["config"]
    if name in _REFUSED:
        raise refused_code(name)
    if name in _READ:
        try:
            return _READ[name](config)
        except Exception as error:
            raise unreadable(error) from error
    found = _registry_of(data)
    made = found.deserialize(data)
    finish(made, data)
    return made


def finish(made: Any, data: Mapping[str, Any]) -> None:
    """Build and compile an object as its description says; one that cannot be built yet is left as it is.

    Args:
        made: the object.
        data: its description.
    """
    build, arguments = data.get("build_config"), data.get("compile_config")
    if isinstance(build, dict) and hasattr(made, "build_from_config") and not getattr(made, "built", True):
        try:
            made.build_from_config(build)
        except Exception as error:
            own = type(made).__module__.startswith("lamina.")
            if own or not hasattr(made, "load_weights"):  # a user's model can still be built by the first data
                raise error if isinstance(error, LaminaError) else unreadable(error) from error
    if isinstance(arguments, dict) and arguments and hasattr(made, "compile_from_config"):
        made.compile_from_config(arguments)


def refused_code(name: str) -> LoadError:
    """The error for a description that is code.

    Args:
        name: its class.
    """
    return LoadError(
        "The file holds a function as Python bytecode, which is never run.",
        expected="functions by name",
        received=f"a description of class {name!r}",
        fix="save the model with a named function, registered by lamina.saving.register_serializable, in place of the "
        "lambda",
    )


def _registry_of(data: Mapping[str, Any]) -> Registry:
    """Where the name of a description is looked up."""
    name, module = data["class_name"], data.get("module")
    parts = module.split(".") if isinstance(module, str) else []
    for part, found in _BY_MODULE.items():
        if part in parts and (parts[0] in ("keras", "lamina", "tensorflow", "tf_keras")):
            return found
    wanted = data["config"] if name == "function" else name
    if find_custom_function(data.get("registered_name"), wanted) is None and isinstance(wanted, str):
        for found in (registry.LAYERS, *_BY_MODULE.values()):
            if wanted in found:
                return found
    return registry.LAYERS


_REFUSED = ("__lambda__", "__typespec__")
_READ: dict[str, Any] = {
    "__bytes__": lambda config: config["value"].encode("utf-8"),
    "__ellipsis__": lambda config: Ellipsis,
    "__slice__": lambda config: slice(*(revived(config[part]) for part in ("start", "stop", "step"))),
    "__tensor__": lambda config: torch.tensor(config["value"], dtype=dtypes.torch_dtype(config["dtype"])),
    "__numpy__": lambda config: np.array(config["value"], dtype=dtypes.standardize_dtype(config["dtype"])),
    "DTypePolicy": lambda config: dtypes.get_policy(config),
    "FloatDTypePolicy": lambda config: dtypes.get_policy(config),
}
