"""From a name, a config, a function or a tensor to an initializer, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lamina.errors import DtypeError
from lamina.initializers.adapters import FromFunction
from lamina.initializers.base import Initializer
from lamina.initializers.fixed import FromTensor
from lamina.registry import INITIALIZERS


def get(identifier: Any) -> Callable[..., Any] | None:
    """The initializer that `identifier` stands for.

    Args:
        identifier: `None`; a name such as `"he_normal"`; an initializer, or its class; what `serialize` gave;
            a function `f(shape, dtype)`; a function of `torch.nn.init`; or a tensor or array of values.

    Returns:
        An object to call as `init(shape, dtype=..., device=...)`; `None` for `None`.

    Raises:
        UnknownNameError: no initializer has that name.
        DtypeError: `identifier` is nothing of the kind.

    Example:
        >>> get("zeros")((2,), device="cpu").tolist()
        [0.0, 0.0]
        >>> get(torch.nn.init.ones_)((2,), device="cpu").tolist()
        [1.0, 1.0]
    """
    if isinstance(identifier, (torch.Tensor, np.ndarray, np.generic)):
        return FromTensor(identifier)
    found = INITIALIZERS.get(identifier)
    if found is None or isinstance(found, (Initializer, FromFunction)):
        return found
    if not callable(found):
        raise DtypeError(
            "An initializer must be something that can be called with a shape.",
            expected="a name, an initializer, a function or a tensor",
            received=repr(identifier),
            fix="pass a name such as 'glorot_uniform'",
        )
    return FromFunction(found)


def serialize(initializer: Any) -> Any:
    """`class_name` and `config` of an initializer, or the name of a function, as plain data.

    Args:
        initializer: what `get` gave.

    Returns:
        A dict or a string, for `deserialize`.

    Example:
        >>> serialize(get("ones"))
        {'class_name': 'Ones', 'config': {}}
    """
    return INITIALIZERS.serialize(initializer.function if isinstance(initializer, FromFunction) else initializer)


def deserialize(config: Any) -> Callable[..., Any] | None:
    """The initializer that `serialize`, here or in Keras, described.

    Args:
        config: a name, or a dict with `class_name` and `config`.

    Returns:
        An initializer; `None` for `None`.

    Raises:
        UnknownNameError: no initializer has that name.
        DtypeError: `config` is no such data.

    Example:
        >>> deserialize({"class_name": "Constant", "config": {"value": 2}})((2,), device="cpu").tolist()
        [2.0, 2.0]
    """
    return get(config)
