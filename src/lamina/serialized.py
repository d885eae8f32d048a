"""How an object is described as data: in short among lamina's own configs, and in Keras 3's full form in files.

The short form is `class_name` and `config`. The full one adds `module` and `registered_name`, by which Keras finds the
class, the shapes that a layer was built for, and a mark on objects that stand in two places. Which one `get_config`
gives is decided by whoever asks: inside `in_full()` everything is described for a file.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lamina.custom_objects import get_registered_name, registered_name

NOT_IN_KERAS = frozenset(
    "FromTensor LossFunctionWrapper LossMetric TorchLoss TorchMetric TorchModule TorchOptimizer".split()
)
"""The registered classes that real Keras does not have."""

_ELSEWHERE = {"Sequential": "keras", "Model": "keras", "Functional": "keras.src.models.functional"}
_NEVER_FROZEN = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")  # Keras's take no `trainable`
_PACKAGES = {"lamina.optimizers.schedules": "keras.optimizers.schedules"}

_full: ContextVar[bool] = ContextVar("descriptions are for files", default=False)
_described: ContextVar[dict[int, Any] | None] = ContextVar("what a file describes", default=None)
_revived: ContextVar[dict[Any, Any] | None] = ContextVar("what a file brought to life", default=None)


_to_text: ContextVar[Callable[[Any], str | None] | None] = ContextVar("what writes functions as text", default=None)
_from_text: ContextVar[Callable[[str], Any] | None] = ContextVar("what reads functions from text", default=None)


@contextmanager
def functions_as_text(write: Any = None, read: Any = None) -> Generator[None, None, None]:
    """Write functions without a name of their own as text too, and read such texts where nobody knows the name.

    Args:
        write: gives the text of a function, or `None`.
        read: gives the function of a text; without it no text is read.
    """
    tokens = _to_text.set(write), _from_text.set(read)
    try:
        yield
    finally:
        _to_text.reset(tokens[0])
        _from_text.reset(tokens[1])


def function_of_text(data: Any) -> Any:
    """The function that stands as text in a description, if there is a text and texts are read now.

    Args:
        data: the description.
    """
    read = _from_text.get()
    return read(data["source"]) if read is not None and isinstance(data.get("source"), str) else None


@contextmanager
def in_full() -> Generator[None, None, None]:
    """Describe objects for a file, each with a number that tells two of equal form from one in two places."""
    if _full.get():
        yield
        return
    tokens = _full.set(True), _described.set({})
    try:
        yield
    finally:
        _full.reset(tokens[0])
        _described.reset(tokens[1])


@contextmanager
def sharing() -> Generator[None, None, None]:
    """Make one object of the descriptions that a file marks as one."""
    known = _revived.get()
    token = _revived.set({} if known is None else known)
    try:
        yield
    finally:
        _revived.reset(token)


def describes_in_full() -> bool:
    """Whether descriptions are for a file now."""
    return _full.get()


def described(obj: Any) -> dict[str, Any]:
    """An object with a `get_config` as data.

    Args:
        obj: the object.

    Returns:
        `class_name` and `config`, and for a file what else Keras 3 writes.

    Example:
        >>> from lamina.regularizers import L2
        >>> described(L2(0.5))
        {'class_name': 'L2', 'config': {'l2': 0.5}}
        >>> with in_full():
        ...     described(L2(0.5))["module"]
        'keras.regularizers'
    """
    cls = class_of(obj)
    if not _full.get():
        return {"class_name": cls.__name__, "config": obj.get_config()}
    module, name = place_of(cls)
    config = obj.get_config()
    if name is None and cls.__name__ in _NEVER_FROZEN and config.get("trainable") is True:
        config = {key: value for key, value in config.items() if key != "trainable"}
    data = {"module": module, "class_name": cls.__name__, "config": config, "registered_name": name}
    for key in ("build_config", "compile_config"):
        found = getattr(obj, f"get_{key}")() if hasattr(obj, f"get_{key}") else None
        if found:
            data[key] = found
    known = _described.get()
    if known is not None:
        known[id(obj)] = obj  # so that no other object gets its number meanwhile
        data["shared_object_id"] = id(obj)
    return data


def described_function(function: Any) -> dict[str, Any]:
    """A function as data: by the name under which it is registered, or else its own.

    Args:
        function: of a user.
    """
    name = get_registered_name(function)
    module = getattr(function, "__module__", None)
    data = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    write = _to_text.get()
    text = write(function) if write is not None and registered_name(function) is None else None
    return data if text is None else {**data, "source": text}


def class_of(obj: Any) -> type:
    """The class that the user knows: a functional model of a subclass has one that was made for it.

    Args:
        obj: any object.
    """
    cls = type(obj)
    return cls.__dict__.get("_subclass", cls)


def place_of(cls: type) -> tuple[str, str | None]:
    """The module and the registered name under which a file refers to a class.

    Args:
        cls: the class.
    """
    name = registered_name(cls)
    if name is not None:
        return cls.__module__, name
    if cls.__module__.startswith("lamina.") and cls.__name__ not in NOT_IN_KERAS:
        return keras_module(cls), "Functional" if cls.__name__ == "Functional" else None
    return cls.__module__, cls.__name__


def keras_module(cls: type) -> str:
    """The public module in which Keras has a class of lamina's.

    Args:
        cls: the class.
    """
    if cls.__name__ in _ELSEWHERE:
        return _ELSEWHERE[cls.__name__]
    for package, module in _PACKAGES.items():
        if cls.__module__.startswith(f"{package}."):
            return module
    return f"keras.{cls.__module__.split('.')[1]}"


def is_function(value: Any) -> bool:
    """Whether `value` is a function, rather than an object that can be called.

    Args:
        value: anything.
    """
    return isinstance(value, (types.FunctionType, types.BuiltinFunctionType))


def shared_object(data: Any) -> Any:
    """What was made of another description of the same object, or `None`.

    Args:
        data: a description.
    """
    known, key = _revived.get(), data.get("shared_object_id")
    return known.get(key) if known is not None and isinstance(key, int) else None


def keep_shared(data: Any, made: Any) -> None:
    """Remember what was made, if its description says that it stands in two places.

    Args:
        data: its description.
        made: the object.
    """
    known, key = _revived.get(), data.get("shared_object_id")
    if known is not None and isinstance(key, int):
        known[key] = made
