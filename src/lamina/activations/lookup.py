"""From a name, a config or an object to an activation, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.activations.elementary import linear
from lamina.errors import DtypeError
from lamina.registry import ACTIVATIONS, LAYERS


def get(identifier: Any) -> Callable[..., Any]:
    """The activation that `identifier` stands for.

    Args:
        identifier: `None` for `linear`; a name such as `"relu"`; a function; a layer or any other
            `torch.nn.Module`, or the class of one that needs no arguments; or what `serialize` gave.

    Returns:
        A function, or an object that can be called like one.

    Raises:
        UnknownNameError: no activation has that name.
        DtypeError: `identifier` cannot be called.

    Example:
        >>> import torch
        >>> get("relu")(torch.tensor([-1.0, 2.0])).tolist(), get(torch.nn.GELU)
        ([0.0, 2.0], GELU(approximate='none'))
    """
    if identifier is None:
        return linear
    found = deserialize(identifier) if isinstance(identifier, dict) else ACTIVATIONS.get(identifier)
    if not callable(found):
        raise DtypeError(
            "An activation must be something that can be called on a tensor.",
            expected="a name, a function, or a layer",
            received=repr(identifier),
            fix="pass a name such as 'relu'",
        )
    return found


def serialize(activation: Any) -> Any:
    """The name of a function, or `class_name` and `config` of a layer, as plain data.

    Args:
        activation: what `get` gave.

    Returns:
        A string or a dict, for `deserialize`.

    Example:
        >>> serialize(get("swish"))
        'silu'
    """
    return ACTIVATIONS.serialize(activation)


def deserialize(config: Any) -> Callable[..., Any]:
    """The activation that `serialize`, here or in Keras, described.

    Args:
        config: a name, or a dict with `class_name` and `config`.

    Returns:
        A function, or an object that can be called like one.

    Raises:
        UnknownNameError: no activation and no layer has that name.
        DtypeError: `config` is no such data.

    Example:
        >>> deserialize("relu").__name__
        'relu'
    """
    if not isinstance(config, dict):
        return get(config)
    name = config.get("class_name")
    if isinstance(name, str) and name in LAYERS and name not in ACTIVATIONS:
        return LAYERS.deserialize(config)
    return ACTIVATIONS.deserialize(config)
