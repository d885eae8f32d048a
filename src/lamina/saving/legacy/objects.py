"""Initializers, regularizers, constraints and activations in the spellings of Keras 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lamina import activations, constraints, initializers, regularizers
from lamina.errors import LoadError, UnknownNameError
from lamina.registry import Registry

LEGACY_ACTIVATIONS = Registry("legacy activation")


@LEGACY_ACTIVATIONS.register("hard_sigmoid")
def hard_sigmoid_2(x: torch.Tensor) -> torch.Tensor:
    """Keras 1's and 2's `hard_sigmoid`: `0.2 x + 0.5` between 0 and 1. That of Keras 3 is steeper at its ends.

    Args:
        x: the input.

    Example:
        >>> hard_sigmoid_2(torch.tensor([-3.0, 0.0, 1.0])).tolist()
        [0.0, 0.5, 0.7]
    """
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


# Old argument -> today's, by old class.
_ARGUMENTS = {"MaxNorm": {"m": "max_value"}, "MinMaxNorm": {"low": "min_value", "high": "max_value"}}
_CLASSES = {
    "WeightRegularizer": "L1L2", "L1L2Regularizer": "L1L2", "ActivityRegularizer": "L1L2", "l1_l2": "L1L2",
    "maxnorm": "MaxNorm", "nonneg": "NonNeg", "unitnorm": "UnitNorm", "NonNegative": "NonNeg",
    "max_norm": "MaxNorm", "GlorotUniformV2": "GlorotUniform", "GlorotNormalV2": "GlorotNormal",
}  # fmt: skip
_DISTRIBUTIONS = {"normal": "truncated_normal"}
_KINDS: dict[str, Callable[[Any], Any]] = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}


def plain_name(name: Any) -> Any:
    """A class name without the package in front, as in `Custom>Adam`.

    Args:
        name: the name in the file.
    """
    return name.rpartition(">")[2] if isinstance(name, str) else name


def custom_object(name: Any, custom: Mapping[str, Any]) -> Any:
    """What a user gave for a name in a file, or `None`.

    Args:
        name: the name in the file.
        custom: objects by name.
    """
    if not isinstance(name, str):
        return None
    return custom.get(name, custom.get(plain_name(name)))


def read_object(kind: str, value: Any, custom: Mapping[str, Any]) -> Any:
    """An initializer, regularizer or constraint.

    Args:
        kind: which of them, as in the argument's name.
        value: its form in the file: `None`, a name, or a dict.
        custom: objects by name.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if value is None:
        return None
    if isinstance(value, str):
        found = custom_object(value, custom)
        return (found() if isinstance(found, type) else found) or _KINDS[kind](_CLASSES.get(value, value))
    config = dict(value["config"] if isinstance(value.get("config"), dict) else value)
    name = value.get("class_name") or config.pop("name", None)
    if value.get("class_name") == "function" or isinstance(value.get("config"), str):
        return read_object(kind, value["config"], custom)
    found = custom_object(name, custom)
    if found is not None:
        return found.from_config(config) if hasattr(found, "from_config") else found
    name = _CLASSES.get(plain_name(name), plain_name(name))
    for old, new in _ARGUMENTS.get(name, {}).items():
        if old in config:
            config[new] = config.pop(old)
    config.pop("dtype", None)
    config.pop("name", None)
    if name == "VarianceScaling":
        config["distribution"] = _DISTRIBUTIONS.get(config.get("distribution"), config.get("distribution"))
    config = {key: number if (number := _number(entry)) is not None else entry for key, entry in config.items()}
    return _KINDS[kind]({"class_name": name, "config": config})


def _number(value: Any) -> Any:
    """The number in the forms that NumPy's scalars took in files, or `None`."""
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value.get("value")
    return None


def read_activation(value: Any, custom: Mapping[str, Any], layer: Callable[[Any], Any]) -> Any:
    """An activation function.

    Args:
        value: its form in the file: `None`, a name, a dict that names a function, or one that describes a layer.
        custom: functions by name.
        layer: makes a layer of its description.

    Raises:
        LoadError: the file does not say which function it was.
    """
    if isinstance(value, dict):
        inner = value.get("config")
        if value.get("class_name") == "function" or isinstance(inner, str):
            value = inner
        elif value.get("class_name") is not None:
            return layer(value)
    if value is None:
        return None
    found = custom_object(value, custom)
    if found is not None:
        return found
    if not isinstance(value, str):
        raise LoadError("An activation has no name.", expected="such as 'relu'", received=repr(value)[:80])
    name = plain_name(value)
    if name in LEGACY_ACTIVATIONS:
        return LEGACY_ACTIVATIONS[name]
    try:
        return activations.get(name)
    except UnknownNameError as error:
        raise LoadError(
            f"The file uses an activation {value!r}, which is not known.",
            expected="an activation of Keras",
            received=repr(value),
            fix=f"pass custom_objects={{{value!r}: function}}",
        ) from error
