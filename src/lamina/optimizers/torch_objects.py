"""Torch optimizers and schedulers as plain data, and partials of their classes made from it."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lamina.errors import LoadError

# Arguments that say what a scheduler steers and where it stands, not what it is.
_NOT_SETTINGS = ("optimizer", "params", "last_epoch", "verbose")


def describe(thing: Any) -> dict[str, Any] | None:
    """A torch optimizer or scheduler, its class or a partial of it, as a class name and arguments.

    Args:
        thing: the object, class, partial or function; or `None`.

    Returns:
        `class_name` and `config`, which is `None` if the arguments cannot all be told or are no plain data; `None`
        for `None`.
    """
    if thing is None:
        return None
    cls: Any = thing
    config: dict[str, Any] | None = {}
    if isinstance(thing, functools.partial):
        cls, config = thing.func, None if thing.args else dict(thing.keywords)
    elif not inspect.isclass(thing) and not inspect.isroutine(thing):
        cls = type(thing)
        config = _of_optimizer(thing) if isinstance(thing, Optimizer) else _of_scheduler(thing)
    if config is not None and not all(map(_is_plain, config.values())):
        config = None
    elif config is not None:
        config = {key: float(value) if isinstance(value, Tensor) else value for key, value in config.items()}
    return {"class_name": getattr(cls, "__name__", type(cls).__name__), "config": config}


def _of_optimizer(optimizer: Optimizer) -> dict[str, Any] | None:
    """The arguments of an optimizer, unless its groups have several of them."""
    settings = [{k: v for k, v in group.items() if k in optimizer.defaults} for group in optimizer.param_groups]
    if any(other != settings[0] for other in settings[1:]):
        return None
    accepted = inspect.signature(type(optimizer)).parameters
    return {key: value for key, value in settings[0].items() if key in accepted}


def _of_scheduler(scheduler: Any) -> dict[str, Any] | None:
    """The arguments of a scheduler that keeps each of them as an attribute."""
    names = [name for name in inspect.signature(type(scheduler)).parameters if name not in _NOT_SETTINGS]
    if not all(hasattr(scheduler, name) for name in names):
        return None
    return {name: getattr(scheduler, name) for name in names}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str) or (isinstance(value, Tensor) and value.ndim == 0)


def make_again(described: dict[str, Any] | None, module: Any, base: type) -> Any:
    """A partial of the class described.

    Args:
        described: what `describe` gave.
        module: torch's module of such classes; nothing outside it is looked up.
        base: what the class must derive from.

    Returns:
        The partial; `None` for `None`.

    Raises:
        LoadError: torch has no such class, or its arguments are not known.
    """
    if described is None:
        return None
    name, config = described["class_name"], described.get("config")
    found = getattr(module, str(name), None)
    if not (inspect.isclass(found) and issubclass(found, base)) or config is None:
        raise LoadError(
            f"The torch {base.__name__} of this file cannot be made again.",
            expected=f"a class of {module.__name__} with arguments that are plain data",
            received=f"{name!r} with {'unknown arguments' if config is None else config}",
            fix="make it in code and compile the model with it",
        )
    return functools.partial(found, **config)


def given_rate(factory: Any) -> float | None:
    """The learning rate that a class or partial will give its optimizer; `None` if it cannot be told."""
    given = factory.keywords if isinstance(factory, functools.partial) else {}
    made = factory.func if isinstance(factory, functools.partial) else factory
    default = inspect.signature(made).parameters["lr"].default if inspect.isclass(made) else None
    rate = given.get("lr", default)
    return float(rate) if _is_plain(rate) and rate is not None else None


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give the first group this learning rate, and the others theirs in proportion."""
    before = float(optimizer.param_groups[0]["lr"])
    for group in optimizer.param_groups:
        own = float(group["lr"])
        new = rate if own == before or not before else own * rate / before
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(new)
        else:
            group["lr"] = new
