"""Lists and dicts of layers, held as attributes, whose members are part of the layer that owns them.

Each is a torch module and a list or dict at once: torch finds the members by name, as `blocks.0.kernel`, and Python
sees what was assigned. Weights among the members are read from the module, where a cast, a load or
`torch.func.functional_call` puts others in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch


def registers(value: Any) -> bool:
    """Whether `value` is a module or a weight, or a list, tuple or dict that holds one somewhere."""
    if isinstance(value, (torch.nn.Module, torch.nn.Parameter, torch.nn.Buffer)):
        return True
    if isinstance(value, dict):
        value = list(cast("dict[Any, Any]", value).values())
    return isinstance(value, (list, tuple)) and any(map(registers, cast("list[Any]", value)))


def may_register(value: Any) -> bool:
    """Whether `value` is a list, tuple or dict that holds layers, or an empty list or dict that may come to."""
    if isinstance(value, torch.nn.Module) or not isinstance(value, (list, tuple, dict)):
        return False
    return type(value) in (list, dict) and not value or registers(value)  # pyright: ignore[reportUnknownArgumentType]


_list: Any = list  # whose methods, named through the class, carry no types
_dict: Any = dict


class Container(torch.nn.Module):
    """A module that holds the members of a list, tuple or dict under their places or keys."""

    _places: dict[Any, str]

    def __init__(self, training: bool = False) -> None:
        super().__init__()
        self.training = training
        self.__dict__["_places"] = {}  # from a member's place to the key under which it is registered

    def refill(self, members: dict[Any, Any], buffers: frozenset[Any] = frozenset()) -> None:
        """Hold just `members`.

        Args:
            members: by place.
            buffers: the places of tensors that are weights though they do not say so, as after a cast.
        """
        known = {id(module) for module in self._modules.values()}
        tensors = {id(tensor) for tensor in self._buffers.values()}
        for names in (self._modules, self._parameters, self._buffers, self._places):
            names.clear()
        for place, member in members.items():
            if place in buffers or id(member) in tensors:
                member = torch.nn.Buffer(member)
            self.hold(place, member, known)

    def hold(self, place: Any, member: Any, known: set[int] | frozenset[int] = frozenset()) -> None:
        """Register one more member; one that is neither module nor weight is passed over.

        Args:
            place: its index or key.
            member: what stands there.
            known: ids of modules that were here before; a torch module that is new takes the mode of its owner.
        """
        if not isinstance(member, (torch.nn.Module, torch.nn.Parameter, torch.nn.Buffer)):
            return
        key = str(place).replace(".", "_") or "_"
        while hasattr(self, key):  # also a method, such as `train`, which torch would find in place of the member
            key += "_"
        self._places[place] = key
        if isinstance(member, torch.nn.Module):
            if id(member) not in known and not hasattr(member, "add_weight"):
                member.train(self.training)
            self._modules[key] = member
        elif isinstance(member, torch.nn.Parameter):
            self._parameters[key] = member
        else:
            self._buffers[key] = member

    def current(self, members: dict[Any, Any]) -> dict[Any, Any]:
        """`members` with the weights that are in force now.

        Args:
            members: by place.
        """
        if not self._parameters and not self._buffers:
            return members
        weights = {**self._parameters, **self._buffers}
        return {place: weights.get(self._places.get(place, ""), member) for place, member in members.items()}

    def buffer_places(self) -> frozenset[Any]:
        """The places of members that are buffers."""
        return frozenset(place for place, key in self._places.items() if key in self._buffers)


class TrackedList(Container, list[Any]):
    """A list of layers that may grow and change.

    torch.compile follows the methods that are written out here, not those of `list`.
    """

    _members: list[Any]

    def __init__(self, members: Any = (), training: bool = False, buffers: frozenset[Any] = frozenset()) -> None:
        Container.__init__(self, training)
        _list.__init__(self, members)
        self.changed(buffers)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def _now(self) -> list[Any]:
        if not self._parameters and not self._buffers:
            return self._members
        return list(self.current(dict(enumerate(self._members))).values())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._now())

    def __getitem__(self, place: Any) -> Any:
        return self._now()[place]

    def __len__(self) -> int:
        return len(self._members)

    def changed(self, buffers: frozenset[Any] = frozenset()) -> None:
        """Register what the list holds now."""
        members = [_tracked_inside(member, self.training) for member in _list.__iter__(self)]
        _list.__setitem__(self, slice(None), members)
        self.__dict__["_members"] = members
        self.refill(dict(enumerate(members)), buffers)

    def append(self, value: Any) -> None:
        """Add `value` at the end and register it alone, so that a long list grows in linear time."""
        value = _tracked_inside(value, self.training)
        self.hold(len(self), value)
        _list.append(self, value)
        self._members.append(value)

    def __copy__(self) -> list[Any]:
        return self.copy()

    def copy(self) -> list[Any]:
        """A plain list of the members."""
        return list(self._now())

    def __reduce__(self) -> Any:
        return TrackedList, (self._now(), self.training, self.buffer_places())


class TrackedDict(Container, dict[Any, Any]):
    """A dict of layers that may grow and change."""

    _members: dict[Any, Any]

    def __init__(self, members: Any = (), training: bool = False, buffers: frozenset[Any] = frozenset()) -> None:
        Container.__init__(self, training)
        _dict.__init__(self, members)
        self.changed(buffers)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def changed(self, buffers: frozenset[Any] = frozenset()) -> None:
        """Register what the dict holds now."""
        members = {key: _tracked_inside(member, self.training) for key, member in _dict.items(self)}
        _dict.update(self, members)
        self.__dict__["_members"] = members
        self.refill(members, buffers)

    def __setitem__(self, key: Any, value: Any) -> None:
        before = _dict.get(self, key)
        _dict.__setitem__(self, key, value)
        if registers(before) or registers(value) or may_register(value):
            self.changed()
        else:
            self._members[key] = value

    def __getitem__(self, key: Any) -> Any:
        return self.current(self._members)[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def get(self, key: Any, default: Any = None) -> Any:
        """The member under `key`, or `default`."""
        return self.current(self._members).get(key, default)

    def keys(self) -> Any:
        """The keys."""
        return self._members.keys()

    def values(self) -> Any:
        """The members."""
        return self.current(self._members).values()

    def items(self) -> Any:
        """Keys and members."""
        return self.current(self._members).items()

    def __copy__(self) -> dict[Any, Any]:
        return self.copy()

    def copy(self) -> dict[Any, Any]:
        """A plain dict of the members."""
        return dict(self.current(self._members))

    def __reduce__(self) -> Any:
        return TrackedDict, (self.copy(), self.training, self.buffer_places())


def _registering(kind: type, name: str) -> Callable[..., Any]:
    method = getattr(kind, name)

    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        self.changed()
        return result

    change.__name__ = name
    change.__doc__ = method.__doc__
    return change


for _name in "extend insert pop remove clear reverse sort __setitem__ __delitem__ __iadd__ __imul__".split():
    setattr(TrackedList, _name, _registering(list, _name))
for _name in "pop popitem clear update setdefault __delitem__ __ior__".split():
    setattr(TrackedDict, _name, _registering(dict, _name))


def _tracked_inside(value: Any, training: bool) -> Any:
    """`value`, tracked if it is a list or dict that holds layers or may come to."""
    return tracked(value, training) if may_register(value) else value


def tracked(value: Any, training: bool) -> Any:
    """A list, tuple or dict in a form that registers its members.

    Args:
        value: what holds them.
        training: the mode of the owner.

    Returns:
        A `TrackedDict` for a dict, else a `TrackedList`.
    """
    return TrackedDict(value, training) if isinstance(value, dict) else TrackedList(value, training)
