"""Rewrites of a graph before its code is generated: several calls become one that computes the same faster.

A rewrite changes neither the graph that a summary, a file or `get_config` sees nor the layers and their weights: the
code hands the layers themselves to the function that stands for them, in the order in which they would have been
called. It runs them one by one whenever somebody could tell the difference: a hook on a layer, a mask, another layer
put in place of one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch.nn.modules import module as torch_module

from lamina.engine import precision
from lamina.engine.graph import Graph
from lamina.engine.masking import ATTRIBUTE as MASK
from lamina.engine.symbolic import Node, SymbolicTensor

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Found(NamedTuple):
    """Calls that can be made as one."""

    name: str
    """What the code calls the function."""
    nodes: list[Node]
    """The calls, each of which only serves the last, whose result is the result."""
    layers: list[Any]
    """The layers that the function is handed."""
    inputs: list[SymbolicTensor]
    """What it computes with."""
    run: Callable[..., Any]
    """`run(layers, *inputs)`."""


class Readers:
    """Who reads which tensor of a graph.

    Args:
        graph: whose tensors.
    """

    def __init__(self, graph: Graph) -> None:
        self.taken: set[int] = set()
        """The nodes, by id, that are already part of a rewrite."""
        self._outputs = {id(tensor) for tensor in graph.output_list}
        self._nodes: dict[int, list[Node]] = {}
        for node in graph.nodes:
            for tensor in {id(t): t for t in node.inputs}.values():
                self._nodes.setdefault(id(tensor), []).append(node)

    def of(self, tensor: SymbolicTensor) -> list[Node]:
        """The calls that read `tensor`, in order; none if it is an output of the model, which anybody may read.

        Args:
            tensor: which tensor.
        """
        return [] if id(tensor) in self._outputs else self._nodes.get(id(tensor), [])

    def only(self, node: Node) -> Node | None:
        """The call that alone reads the one tensor that `node` makes, if there is such a call and it is not taken.

        Args:
            node: which call.
        """
        readers = self.of(node.output_list[0]) if len(node.output_list) == 1 else []
        return readers[0] if len(readers) == 1 and id(readers[0]) not in self.taken else None


Finder = Callable[[Node, Readers], "Found | None"]
"""Looks for a rewrite that begins at a node, and gives what it found."""


class Fused:
    """What stands in a rewritten graph in place of some layers."""

    def __init__(self, found: Found) -> None:
        self.name, self.layers, self.run = found.name, found.layers, found.run


class FusedCall:
    """The call of a `Fused`, with what code generation asks of a node."""

    def __init__(self, found: Found) -> None:
        last = found.nodes[-1]
        self.op = Fused(found)
        self.args: tuple[Any, ...] = tuple(found.inputs)
        self.kwargs: dict[str, Any] = {}
        self.inputs = found.inputs
        self.outputs, self.output_list = last.outputs, last.output_list


class Rewritten(Graph):
    """A graph some of whose calls have been made one.

    Args:
        graph: which graph, untouched.
        finders: what looks for rewrites, the first choice first.
    """

    def __init__(self, graph: Graph, finders: Iterable[Finder]) -> None:
        self.__dict__.update(graph.__dict__)
        self.nodes: list[Any] = list(_rewritten(graph, tuple(finders)))


def _rewritten(graph: Graph, finders: tuple[Finder, ...]) -> Iterable[Any]:
    """The calls in order, with what was found in the place of its last member."""
    readers = Readers(graph)
    places = {id(node): place for place, node in enumerate(graph.nodes)}
    calls: dict[int, FusedCall] = {}
    for node in graph.nodes:
        if id(node) in readers.taken or not node.inputs:
            continue
        for find in finders:
            found = find(node, readers)
            if found is not None:
                readers.taken.update(id(member) for member in found.nodes)
                calls[max(places[id(member)] for member in found.nodes)] = FusedCall(found)
                break
    for place, node in enumerate(graph.nodes):
        if place in calls:
            yield calls[place]
        elif id(node) not in readers.taken:
            yield node


def unwatched(layers: Iterable[Any], *inputs: Any) -> bool:
    """Whether layers may be run as one: no hook waits for a call, no mask travels along, each would be called simply.

    Args:
        layers: the layers.
        inputs: what they would be called on.
    """
    for layer in layers:
        if not layer._direct or layer._mixed is not precision.current:
            return False
    if hooked(layers):
        return False
    if not all(isinstance(x, torch.Tensor) and not hasattr(x, MASK) for x in inputs):
        return False
    kinds = {layer._input_dtype for layer in layers} - {None}
    return not kinds or kinds == {x.dtype for x in inputs}  # else a layer would convert what it is given


def hooked(layers: Iterable[Any]) -> bool:
    """Whether a hook waits for the call of one of `layers`, or of all modules.

    Args:
        layers: the layers.
    """
    hooks: Any = torch_module
    if any(getattr(hooks, f"_global{name}") for name in _HOOKS):
        return True
    return any(layer.__dict__[name] for layer in layers for name in _HOOKS)
