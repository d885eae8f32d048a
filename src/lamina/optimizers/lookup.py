"""From a name, a class, a config or a torch optimizer to an optimizer, and back to plain data."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch

from lamina.custom_objects import find_custom
from lamina.errors import DtypeError, unknown_name
from lamina.optimizers.base import Optimizer
from lamina.optimizers.torch_optimizer import TorchOptimizer
from lamina.registry import OPTIMIZERS


def get(identifier: Any) -> Optimizer | None:
    """The optimizer that `identifier` stands for.

    Args:
        identifier: a name in any case, such as `"adam"`; an optimizer or its class; a dict with the keys
            `class_name` and `config`; a `torch.optim` optimizer, its class, a `functools.partial` of it or a function
            from parameters to one; a pair of one of these and a torch scheduler, as for `TorchOptimizer`; or `None`.

    Returns:
        The optimizer; `None` for `None`.

    Raises:
        UnknownNameError: no optimizer has that name.
        DtypeError: `identifier` is of none of these types.

    Example:
        >>> import torch
        >>> get("RMSProp").learning_rate
        0.001
        >>> get(functools.partial(torch.optim.SGD, lr=0.1))
        <TorchOptimizer 'torch_optimizer' of SGD, not built>
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        return deserialize({"class_name": identifier, "config": {}})
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, (tuple, list)):
        return TorchOptimizer(*identifier)
    given: Any = identifier
    made: Any = identifier.func if isinstance(identifier, functools.partial) else identifier
    if inspect.isclass(made) and issubclass(made, Optimizer):
        return identifier()
    foreign = inspect.isclass(made) and not issubclass(made, torch.optim.Optimizer)
    if isinstance(identifier, torch.optim.Optimizer) or (callable(identifier) and not foreign):
        return TorchOptimizer(given)
    raise DtypeError(
        "Cannot make an optimizer of this.",
        expected="a name, an optimizer or its class, a config, or a torch optimizer",
        received=f"{identifier!r} of type {type(identifier).__name__}",
        fix="pass 'adam'",
    )


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer without its state, as JSON-ready data.

    Args:
        optimizer: the optimizer.

    Returns:
        A dict with the keys `class_name` and `config`.
    """
    return OPTIMIZERS.serialize(optimizer)


def deserialize(config: dict[str, Any]) -> Optimizer:
    """The optimizer that `serialize` described, without state.

    Args:
        config: a dict with the keys `class_name` and `config`.

    Returns:
        The optimizer.

    Raises:
        UnknownNameError: no optimizer has that name.
        DtypeError: `config` has no `class_name`.
    """
    if isinstance(config, dict) and isinstance(config.get("class_name"), str) and not _is_custom(config):
        config = {**config, "class_name": _named(config["class_name"]).__name__}
    return OPTIMIZERS.deserialize(config)


def _is_custom(config: dict[str, Any]) -> bool:
    """Whether a description is that of a user's own class."""
    return find_custom(config.get("registered_name"), config["class_name"]) is not None


def _named(name: str) -> type[Optimizer]:
    """The class of that name or alias, in whatever case."""
    spellings = {spelling.lower(): registered for spelling, registered in OPTIMIZERS.names.items()}
    if name.lower() not in spellings:
        raise unknown_name("optimizer", name, OPTIMIZERS, OPTIMIZERS.names)
    return OPTIMIZERS[spellings[name.lower()]]
