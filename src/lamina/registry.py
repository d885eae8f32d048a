"""Closed registries: the only way from a name in a string or a file to an object.

A class or function enters a registry by the decorator that stands on it, so no second list can go stale.
Looking a name up never imports anything. Users' own objects come from `lamina.custom_objects`, and go before.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from lamina.custom_objects import find_custom, find_custom_function
from lamina.errors import ArgumentError, DtypeError, LaminaError, LoadError, unknown_name
from lamina.serialized import described, keep_shared, shared_object

T = TypeVar("T")


def snake_case(name: str) -> str:
    """`Conv2DTranspose` becomes `conv2d_transpose`, as Keras names a layer after its class.

    Example:
        >>> snake_case("BatchNormalization"), snake_case("MaxPooling2D"), snake_case("LSTM")
        ('batch_normalization', 'max_pooling2d', 'lstm')
    """
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", re.sub(r"\W", "", name)).lower()


class Registry:
    """Names for one kind of object.

    Args:
        kind: the word that error messages use, such as `"optimizer"`.

    Example:
        >>> shapes = Registry("shape")
        >>> @shapes.register("sq")
        ... class Square:
        ...     pass
        >>> type(shapes.get("sq")) is Square and type(shapes.get("Square")) is Square
        True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._objects: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def register(self, *aliases: str) -> Callable[[T], T]:
        """Enter the decorated class or function under its own name, its snake_case name and `aliases`.

        Args:
            *aliases: further names; like its own, nobody else may have them. The snake_case name goes to whoever comes
                first.

        Raises:
            ArgumentError: one of the names belongs to something else.
        """

        def enter(obj: T) -> T:
            name = obj.__name__  # type: ignore[attr-defined]
            for own in (name, *aliases):
                owner = self._names.get(own, name)
                if owner != name or (own == name and self._objects.get(name, obj) is not obj):
                    raise ArgumentError(
                        f"The {self.kind} name {own!r} is taken.",
                        expected="a name or alias that is free",
                        received=f"{name!r}, while {own!r} stands for {owner!r}",
                        fix=f"name this {self.kind} otherwise",
                    )
            self._objects[name] = obj
            for own in (name, snake_case(name), *aliases):
                self._names.setdefault(own, name)
            return obj

        return enter

    def __iter__(self) -> Iterator[str]:
        """The registered names, without aliases, in order of registration."""
        return iter(self._objects)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        """The class or function registered under `name` or one of its aliases, or a user's own of that name."""
        custom = find_custom(name)
        if custom is not None:
            return custom
        try:
            return self._objects[self._names[name]]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, self._objects, self._names) from None

    @property
    def names(self) -> dict[str, str]:
        """Every accepted spelling, mapped to the registered name."""
        return dict(self._names)

    def get(self, identifier: Any) -> Any:
        """The object that `identifier` stands for.

        Args:
            identifier: `None`; a registered name or alias; a class, which is called without arguments; a
                `{"class_name": ..., "config": ...}` dict as `serialize` gives; or anything callable or
                already made, which is returned as it is.

        Returns:
            An instance for a class, the function itself for a function, `None` for `None`.

        Raises:
            UnknownNameError: no object has that name.
            DtypeError: `identifier` is of none of these types.
            ArgumentError: a class cannot be called without arguments.
        """
        if identifier is None:
            return None
        if isinstance(identifier, str):
            found = self[identifier]
            return self._made(found) if inspect.isclass(found) else found
        if isinstance(identifier, dict):
            return self.deserialize(identifier)
        if inspect.isclass(identifier):
            return self._made(identifier)
        if callable(identifier) or any(
            inspect.isclass(o) and isinstance(identifier, o) for o in self._objects.values()
        ):
            return identifier
        raise DtypeError(
            f"Cannot make {_article(self.kind)} {self.kind} of this.",
            expected=f"a name, {_article(self.kind)} {self.kind} object or class, or a function",
            received=f"{identifier!r} of type {type(identifier).__name__}",
            fix=f"pass a name such as {next(iter(self), None)!r}",
        )

    def _made(self, cls: type) -> Any:
        """An instance of `cls` with every argument at its default."""
        try:
            return cls()
        except TypeError as error:
            needed = _required_arguments(cls)
            if not needed:
                raise
            raise ArgumentError(
                f"The {self.kind} {cls.__name__} cannot be made from its name or class alone.",
                expected=f"an object, made with {', '.join(needed)}",
                received="no arguments",
                fix=f"pass {cls.__name__}({', '.join(f'{name}=...' for name in needed)})",
            ) from error

    def serialize(self, obj: Any) -> Any:
        """`obj` as JSON-ready data: a name for a function, `class_name` and `config` for an object."""
        if obj is None or isinstance(obj, (str, dict)):
            return obj
        if hasattr(obj, "get_config"):
            return described(obj)
        return getattr(obj, "__name__", type(obj).__name__)

    def deserialize(self, data: Any) -> Any:
        """The object that `serialize` described."""
        if not isinstance(data, dict):
            return self.get(data)
        if "class_name" not in data:
            raise DtypeError(
                f"This dict does not describe {_article(self.kind)} {self.kind}.",
                expected="keys 'class_name' and 'config'",
                received=f"keys {sorted(map(str, data))}",
                fix="pass what get_config or serialize gave",
            )
        if data["class_name"] == "function":
            return self._function(data)
        found = shared_object(data)
        if found is None:
            found = self._revived(self._class(data), data)
            keep_shared(data, found)
        return found

    def _class(self, data: Any) -> Any:
        """The class that a description names: a user's own of either name, or one that is registered here."""
        name = data["class_name"]
        custom = find_custom(data.get("registered_name"), name)
        if custom is None:
            return self[name]
        if not hasattr(custom, "from_config"):
            raise LoadError(
                f"The custom object {name!r} is described as a class, but is none.",
                expected="a class with from_config",
                received=repr(custom),
                fix="pass the class itself in custom_objects",
            )
        return custom

    def _function(self, data: Any) -> Any:
        """The function that a description in Keras's form names."""
        names = [name for name in (data.get("registered_name"), data.get("config")) if isinstance(name, str)]
        custom = find_custom_function(*names)
        if custom is not None:
            return custom
        if not names:
            raise LoadError(
                f"This {self.kind} is described as a function without a name.",
                expected="its name under 'config'",
                received=repr(data.get("config"))[:200],
                fix="write the config again",
            )
        return self[names[-1]]

    def _revived(self, cls: Any, data: Any) -> Any:
        """An object of a class, made by a description."""
        name, config = data["class_name"], data.get("config")
        config = {} if config is None else config
        if not isinstance(config, dict):
            raise LoadError(
                f"{name} does not take this config: it is no dict.",
                expected="the arguments by name",
                received=f"{config!r:.200}",
                fix="write the config again",
            )
        try:
            return cls.from_config(dict(config)) if hasattr(cls, "from_config") else cls(**config)
        except LaminaError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LoadError(
                f"{name} does not take this config: {reason}",
                received=f"{config!r:.400}",
                fix="it may be of another version; for a class of your own, check its from_config",
            ) from error


def _required_arguments(cls: type) -> list[str]:
    """The arguments of `cls` that have no default."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except ValueError:  # some classes of C keep theirs to themselves
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _article(word: str) -> str:
    """`a` or `an`."""
    return "an" if word[0] in "aeiou" else "a"


ACTIVATIONS = Registry("activation")
INITIALIZERS = Registry("initializer")
REGULARIZERS = Registry("regularizer")
CONSTRAINTS = Registry("constraint")
LAYERS = Registry("layer")
LOSSES = Registry("loss")
METRICS = Registry("metric")
OPTIMIZERS = Registry("optimizer")
SCHEDULES = Registry("learning-rate schedule")
CALLBACKS = Registry("callback")
