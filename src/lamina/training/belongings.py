"""What objects own that changes as training goes on: random generators, and numbers, lists and arrays."""

from __future__ import annotations

import random
import types
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from lamina.seeds import SeedGenerator

GENERATORS = (torch.Generator, SeedGenerator, np.random.Generator, np.random.RandomState, random.Random)
_MEMBERS = 1000  # a longer list or dict holds data, not objects that own something
_WHOLE = 1 << 24  # bytes; of a larger array not every number is looked at
_LARGEST = 1 << 29  # bytes of one attribute that a state may hold
_SKIPPED = (type, torch.nn.Module, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_OF_TORCH = frozenset(vars(torch.nn.Module()))  # attributes of every module; its weights are kept by their names


class Belongings:
    """The state of some objects, as far as it can be told without their help.

    An object with `get_state` and `set_state` decides itself. Of any other, and of the objects in its attributes, this
    is every random generator, and every number, text, list of these, NumPy array and tensor that is no longer what it
    was when this object was made.

    Args:
        owners: the objects by names that are the same in every process.
        contents: whether more than generators are kept.
        depth: how many objects inside objects are looked into.

    Example:
        >>> class Data:
        ...     def __init__(self):
        ...         self.random = random.Random(1)
        ...         self.order = np.arange(4)
        >>> data = Data()
        >>> belongings = Belongings({"data": data})
        >>> data.random.shuffle(data.order)
        >>> state = belongings.state()
        >>> again = Data()
        >>> Belongings({"data": again}).restore(state)
        >>> again.order.tolist() == data.order.tolist(), again.random.random() == data.random.random()
        (True, True)
    """

    def __init__(self, owners: dict[str, Any], contents: bool = True, depth: int = 5) -> None:
        self._owners = owners
        self._contents = contents
        self._depth = depth
        self._first = {path: _mark(found.value) for path, found in self._walk().items() if found.kind == "content"}

    @property
    def has_generators(self) -> bool:
        """Whether the objects own a generator."""
        return any(found.kind == "generator" for found in self._walk().values())

    def state(self) -> dict[str, Any]:
        """What the objects own now, under the ways that lead there; arrays are copies."""
        state: dict[str, Any] = {}
        for path, found in self._walk().items():
            if found.kind == "generator":
                state[path] = ("generator", _state_of(found.value))
            elif found.kind == "decides":
                state[path] = ("decides", found.value.get_state())
            elif found.kind == "content" and self._has_changed(path, found.value):
                state[path] = ("content", _copy(found.value))
        return state

    def _has_changed(self, path: str, value: Any) -> bool:
        """Whether this is no longer what it was, and no more than a file should hold."""
        return _size(value) <= _LARGEST and self._first.get(path) != _mark(value)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave, perhaps in another process.

        Args:
            state: of objects made in the same way; what cannot be found again is left out.
        """
        known = self._walk()
        for path, (kind, saved) in state.items():
            found = known.get(path)
            if kind == "content":
                if found is None:  # an attribute that the object did not have yet
                    parent, _, name = path.rpartition(".")
                    if parent in known and known[parent].kind == "object" and not name.startswith("__"):
                        setattr(known[parent].value, name, saved)
                elif not _refilled(found.value, saved):
                    _put(found.holder, found.key, saved)
            elif found is not None and found.kind == kind:
                (_set_state_of if kind == "generator" else type(found.value).set_state)(found.value, saved)

    def _walk(self) -> dict[str, _Found]:
        """Everything that counts, and the objects on the way, under the way that leads there."""
        found: dict[str, _Found] = {}
        seen: set[int] = set()
        for name, owner in self._owners.items():
            self._enter(_Found("object", owner, None, name), name, self._depth, found, seen)
        return found

    def _enter(self, this: _Found, path: str, depth: int, found: dict[str, _Found], seen: set[int]) -> None:
        """Note what is in a value, itself included."""
        value = this.value
        is_content = depth < self._depth and _is_content(value)
        if depth < self._depth and isinstance(value, _SKIPPED):
            return
        if id(value) in seen and not isinstance(value, (int, float, str, type(None))):
            return
        if depth or is_content or isinstance(value, GENERATORS):
            seen.add(id(value))
        if isinstance(value, GENERATORS):
            found[path] = this._replace(kind="generator")
        elif is_content:
            if self._contents:
                found[path] = this._replace(kind="content")
        elif not depth:
            return
        elif isinstance(value, (list, tuple, dict)):
            members = value.items() if isinstance(value, dict) else enumerate(value)
            for key, member in list(members) if len(value) <= _MEMBERS else ():
                self._enter(_Found("object", member, value, key), f"{path}.{key}", depth - 1, found, seen)
        elif self._contents and all(callable(getattr(type(value), n, None)) for n in ("get_state", "set_state")):
            found[path] = this._replace(kind="decides")
        else:
            found[path] = this
            skipped = _OF_TORCH if isinstance(value, torch.nn.Module) else ()
            for key, member in list(getattr(value, "__dict__", {}).items()):
                if key not in skipped:
                    self._enter(_Found("object", member, value, key), f"{path}.{key}", depth - 1, found, seen)


class _Found(NamedTuple):
    """Something that an object owns."""

    kind: str  # "generator", "content", "decides" (by get_state), or "object", which only leads on
    value: Any
    holder: Any
    key: Any


def _is_content(value: Any) -> bool:
    """Whether this is a number, a text, an array, a tensor, or a list or dict of numbers and texts."""
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc" and not isinstance(value, np.memmap)
    if isinstance(value, torch.Tensor):
        return value.layout is torch.strided and not isinstance(value, torch.nn.Parameter)
    if type(value) in (list, dict):
        members = list(value.values()) if isinstance(value, dict) else value
        return all(type(member) in (int, float, str, bool) for member in members)
    return False


def _mark(value: Any) -> Any:
    """Something that differs once the value has changed."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        flat = value.reshape(-1) if isinstance(value, np.ndarray) else value.detach().cpu().contiguous().reshape(-1)
        if _size(value) > _WHOLE:
            flat = flat[:: -(-_size(value) // _WHOLE)]
        bytes_of = flat.contiguous().view(torch.uint8).numpy() if isinstance(flat, torch.Tensor) else flat
        return tuple(value.shape), str(value.dtype), zlib.crc32(np.ascontiguousarray(bytes_of).view(np.uint8))
    if isinstance(value, (list, dict)):
        return hash(tuple(value.items() if isinstance(value, dict) else value)), len(value)
    return type(value).__name__, repr(value)


def _size(value: Any) -> int:
    """Bytes in an array; a long list counts too."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return value.nbytes if isinstance(value, np.ndarray) else 8 * len(value) if isinstance(value, (list, dict)) else 8


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, (np.ndarray, list, dict)) else value


def _refilled(value: Any, saved: Any) -> bool:
    """Whether `value` could take the contents over, so that whoever else holds it sees them too."""
    if isinstance(value, np.ndarray) and isinstance(saved, np.ndarray):
        if value.shape == saved.shape and value.dtype == saved.dtype and value.flags.writeable:
            value[...] = saved
            return True
    elif isinstance(value, torch.Tensor) and isinstance(saved, torch.Tensor):
        if value.shape == saved.shape and value.dtype == saved.dtype:
            with torch.no_grad():
                value.copy_(saved)
            return True
    elif type(value) is type(saved) and isinstance(value, (list, dict)):
        value.clear()
        (value.update if isinstance(value, dict) else value.extend)(saved)
        return True
    return False


def _put(holder: Any, key: Any, value: Any) -> None:
    """Give an attribute or member another value, where that can be."""
    if isinstance(holder, (list, dict)):
        holder[key] = value
    elif holder is not None and not isinstance(holder, tuple):
        setattr(holder, key, value)


def _state_of(generator: Any) -> Any:
    """Where a generator stands."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()


def _set_state_of(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
