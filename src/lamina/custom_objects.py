"""Classes and functions of users, under the names by which files may call for them.

A file holds names only. A name of the library is looked up in `lamina.registry`; any other one must be registered here,
or be passed to whoever loads. Nothing is ever imported because a file says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from lamina.errors import ArgumentError

T = TypeVar("T")

_registered: dict[str, Any] = {}
_in_scope: ContextVar[Mapping[str, Any]] = ContextVar("custom objects in scope")
_NONE: Mapping[str, Any] = {}


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Let files refer to the decorated class or function; `register_keras_serializable` is the same.

    Args:
        package: whose it is.
        name: what it is called there; by default its own name.

    Returns:
        A decorator that gives back what it gets.

    Raises:
        ArgumentError: a class has no `get_config` and is no torch module, so that no file could say how to make its
            objects.

    Example:
        >>> from lamina.layers import Layer
        >>> @register_serializable("mine")
        ... class Doubled(Layer):
        ...     def call(self, x):
        ...         return 2 * x
        >>> get_registered_name(Doubled), get_registered_object("mine>Doubled") is Doubled
        ('mine>Doubled', True)
    """

    def register(obj: T) -> T:
        if inspect.isclass(obj) and not (hasattr(obj, "get_config") or hasattr(obj, "state_dict")):
            raise ArgumentError(
                f"{obj.__name__} cannot be registered: no file could say how to make one.",
                expected="a method get_config(self) that gives the arguments of __init__",
                received="a class without it",
                fix="derive it from lamina.Layer, or write get_config and from_config",
            )
        _registered[f"{package}>{name or obj.__name__}"] = obj  # type: ignore[attr-defined]
        return obj

    return register


register_keras_serializable = register_serializable


def get_custom_objects() -> dict[str, Any]:
    """What is registered, by name; changing the dict changes what is.

    Example:
        >>> get_custom_objects()["scaled"] = lambda x: x / 255
        >>> "scaled" in get_custom_objects()
        True
        >>> del get_custom_objects()["scaled"]
    """
    return _registered


class CustomObjectScope:
    """A block in which names stand for the given classes and functions.

    Args:
        custom_objects: by name.

    Example:
        >>> import lamina
        >>> def halved(x):
        ...     return x / 2
        >>> with CustomObjectScope({"halved": halved}):
        ...     layer = lamina.layers.Dense(2, activation="halved")
        >>> layer.activation is halved
        True
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None = None) -> None:
        self.custom_objects = dict(custom_objects or {})
        self._tokens: list[Any] = []

    def __enter__(self) -> CustomObjectScope:
        self._tokens.append(_in_scope.set({**_in_scope.get(_NONE), **self.custom_objects}))
        return self

    def __exit__(self, *error: object) -> None:
        _in_scope.reset(self._tokens.pop())


custom_object_scope = CustomObjectScope


def get_registered_name(obj: Any) -> str:
    """The name under which a class or function is registered; its own name if it is not.

    Args:
        obj: the class or function.

    Example:
        >>> get_registered_name(print)
        'print'
    """
    return registered_name(obj) or getattr(obj, "__name__", type(obj).__name__)


def registered_name(obj: Any) -> str | None:
    """The name under which a class or function is registered, or `None`.

    Args:
        obj: the class or function.
    """
    return next((name for name, known in _registered.items() if known is obj), None)


def get_registered_object(
    name: str | None, custom_objects: Mapping[str, Any] | None = None, module_objects: Mapping[str, Any] | None = None
) -> Any:
    """The class or function of a name: one in scope, else a registered one, else one of those given.

    Args:
        name: such as `"mine>Doubled"`.
        custom_objects: more to look in.
        module_objects: still more.

    Returns:
        What was found, or `None`.
    """
    for place in (_in_scope.get(_NONE), _registered, custom_objects or {}, module_objects or {}):
        if name is not None and name in place:
            return place[name]
    return None


def find_custom(*names: Any) -> Any:
    """The custom object of the first name that there is one of, or `None`.

    A name with a package in front, as a file has it, also finds what was passed under the bare name.

    Args:
        *names: as a file holds them; what is no text is passed over.
    """
    scope = _in_scope.get(_NONE)
    texts = [name for name in names if isinstance(name, str)]
    for name in texts:
        for candidate in (name, name.rpartition(">")[2]):
            if candidate in scope:
                return scope[candidate]
        if name in _registered:
            return _registered[name]
    return None


def find_custom_function(*names: Any) -> Any:
    """As `find_custom`, for a function, which Keras before 3.7 wrote without its package.

    Args:
        *names: as a file holds them.
    """
    found = find_custom(*names)
    if found is None:
        for name in names:
            same = [known for key, known in _registered.items() if isinstance(name, str) and key.endswith(f">{name}")]
            if len(same) == 1 and not inspect.isclass(same[0]):
                return same[0]
    return found
