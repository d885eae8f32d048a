"""Which modules run, on what, in which order: a run of a model, watched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from lamina.engine import abstract
from lamina.inspection.flops import flops_of


class Made(NamedTuple):
    """A tensor, by the call that made it and its place among that call's results; `GIVEN` stands for no call."""

    call: int
    tensor: int


GIVEN = -1
"""In place of a call: the tensor is an argument of the model."""


@dataclasses.dataclass
class Call:
    """One call of a module.

    Attributes:
        module: what was called.
        around: the call in which it took place, `None` for the outermost.
        takes: the results of other calls that its arguments come from, directly or through plain functions.
        inputs: shape and dtype of the first argument's tensors, a nest.
        outputs: those of its results, a nest.
        gives: the results of calls inside from which its own come.
        flops: the floating-point operations of its own, those of calls inside left out.
        order: how many calls came to their end before it, `None` if it never did.
    """

    module: torch.nn.Module
    around: int | None
    takes: tuple[Made, ...]
    inputs: Any
    outputs: Any = None
    gives: tuple[Made, ...] = ()
    flops: int = 0
    order: int | None = None


class Seen(NamedTuple):
    """Shape and dtype of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Watcher(TorchDispatchMode):
    """Sees the calls of modules and, as a mode, every operator between them.

    A tensor comes from a call if the call returned it; one that a plain function made comes from wherever the
    function's arguments do.

    Args:
        modules: whose calls count.
        given: the tensors among the model's arguments.

    Attributes:
        calls: the calls in the order in which they began.
        flops: the floating-point operations outside of all calls.
        gives: the results of calls from which the model's own come.
    """

    def __init__(self, modules: list[torch.nn.Module], given: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.flops = 0
        self.gives: tuple[Made, ...] = ()
        self._modules = modules
        self._open: list[int] = []
        self._ended = 0
        self._sources: Any = WeakTensorKeyDictionary()
        for place, tensor in enumerate(given):
            self._sources[tensor] = (Made(GIVEN, place),)
        self._versions: dict[int, list[tuple[torch.Tensor, int]]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what runs in here."""
        handles = []
        try:
            for module in self._modules:
                handles.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
                handles.append(module.register_forward_hook(self._end))
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def unfinished(self) -> list[int]:
        """The calls that began and did not end, the outermost first."""
        return [number for number in self._open if self.calls[number].order is None]

    def end_with(self, result: Any) -> None:
        """Say what the model returned.

        Args:
            result: a nest of tensors.
        """
        self.gives = self._sources_of(tensors_in(result))

    def _begin(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        tensors = list(tensors_in([args, kwargs]))
        first = args[0] if args else next(iter(kwargs.values()), None)
        around = self._open[-1] if self._open else None
        self._versions[len(self.calls)] = [(tensor, _version(tensor)) for tensor in tensors]
        self._open.append(len(self.calls))
        self.calls.append(Call(module, around, self._sources_of(tensors), map_tensors(seen, first)))

    def _end(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        while self.calls[self._open[-1]].module is not module:  # its forward caught an error of a module inside
            self._versions.pop(self._open.pop())
        number = self._open.pop()
        call = self.calls[number]
        call.order, call.outputs = self._ended, map_tensors(seen, output)
        self._ended += 1
        call.gives = self._sources_of(tensors_in(output))
        untouched = {id(t) for t, version in self._versions.pop(number) if _version(t) == version}
        if isinstance(output, torch.Tensor) and id(output) in untouched:
            output = output.view_as(output)  # an object of its own, so that the input keeps its source
        for place, tensor in enumerate(tensors_in(output)):
            self._sources[tensor] = (Made(number, place),)
        return output

    def _sources_of(self, tensors: Any) -> tuple[Made, ...]:
        """Where tensors come from, each source once, in order."""
        return tuple(dict.fromkeys(made for tensor in tensors for made in self._sources.get(tensor, ())))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        flops = flops_of(func, args, kwargs or {}, result) * max(1, abstract.counts())
        if self._open:
            self.calls[self._open[-1]].flops += flops
        else:
            self.flops += flops
        sources = self._sources_of(tensors_in([args, kwargs]))
        if sources:
            for tensor in tensors_in(result):
                self._sources[tensor] = sources
        return result


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor has been changed in place; those made in inference mode do not count."""
    return -1 if tensor.is_inference() else tensor._version


def seen(tensor: torch.Tensor) -> Seen:
    """Shape and dtype of a tensor.

    Args:
        tensor: the tensor.
    """
    return Seen(tuple(tensor.shape), tensor.dtype)


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in what a module takes or returns: a nest, with dataclasses and mappings of any kind.

    Args:
        value: the nest.
    """
    if isinstance(value, torch.Tensor):
        yield value
    else:
        for member in _members(value) or ():
            yield from tensors_in(member[1])


def map_tensors(function: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """A plain nest of lists, tuples and dicts with `function` of each tensor; `None` for what holds no tensor.

    Args:
        function: of a tensor.
        value: what a module takes or returns.
    """
    if isinstance(value, torch.Tensor):
        return function(value)
    members = _members(value)
    if members is None:
        return None
    mapped = {key: map_tensors(function, member) for key, member in members}
    if isinstance(value, (list, tuple, set, frozenset)) and not hasattr(value, "_fields"):
        return list(mapped.values()) if isinstance(value, list) else tuple(mapped.values())
    return mapped


def _members(value: Any) -> list[tuple[Any, Any]] | None:
    """The members of a nest with their keys; `None` of a leaf."""
    if isinstance(value, dict) or (hasattr(value, "items") and hasattr(value, "keys")):
        return [(key, member) for key, member in value.items()]
    if hasattr(value, "_fields") and isinstance(value, tuple):
        return [(name, getattr(value, name)) for name in value._fields]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return None
