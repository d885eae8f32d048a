"""The calls of a functional model of Keras 1 or 2, repeated on symbolic tensors."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from lamina.engine import nest
from lamina.engine.symbolic import SymbolicTensor
from lamina.errors import GraphError, LoadError
from lamina.layers.input import InputLayer
from lamina.layers.rnn import RNN
from lamina.saving.legacy.operations import Operations

CONSTANT = "_CONSTANT_VALUE"


class _Missing(Exception):
    """A call needs a tensor that has not been computed; the argument says which."""


class Calls:
    """The calls of a functional model, repeated in an order in which they can run."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self._outputs: dict[tuple[str, int], list[Any]] = {}
        self._waiting: dict[Any, list[Callable[[], None]]] = defaultdict(list)
        self._ready: deque[Callable[[], None]] = deque()
        self._nodes: list[Any] = []
        self._begins: dict[str, int] = {}  # the number of the first call, for models

    def add(self, name: str, layer: Any, nodes: Any) -> None:
        """Enter a layer and its calls."""
        if name in self.made:
            raise GraphError(f"The file has two layers named {name!r}.", fix="do not load this file")
        self.made[name] = layer
        if isinstance(layer, InputLayer):
            self._outputs[name, 0] = [layer.output]
            return
        self._nodes.append(nodes)
        for number, node in enumerate(nodes):
            self._ready.append(lambda name=name, number=number, node=node: self._call(name, number, node))

    def _count_from(self, references: Any) -> None:
        """Find out where the calls of models are counted from: at 1 if their own definition was call 0."""
        used: dict[str, set[int]] = defaultdict(set)
        stack: list[Any] = [self._nodes, references]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                stack.extend(value.values())
            elif isinstance(value, (list, tuple)) and value:
                if isinstance(value[0], str) and len(value) > 2 and isinstance(value[1], int):
                    used[value[0]].add(value[1])
                    stack.extend(value[3:])
                else:
                    stack.extend(value)
        self._begins = {n: 1 for n, calls in used.items() if 0 not in calls and hasattr(self.made.get(n), "fit")}

    def run(self, ends: Any) -> None:
        """Repeat every call as soon as what it takes is there.

        Args:
            ends: what the outputs of the model are called.
        """
        self._count_from(ends)
        while self._ready:
            call = self._ready.popleft()
            try:
                call()
            except _Missing as missing:
                self._waiting[missing.args[0]].append(call)
        if self._waiting:
            name, _ = next(iter(self._waiting))
            raise GraphError(
                "The layers of the file need each other in a circle, or one that is not there.",
                received=f"an output of {name!r} that never comes",
                fix="the file is damaged; get it again",
            )

    def _call(self, name: str, number: int, node: Any) -> None:
        if number and (name, number - 1) not in self._outputs:
            raise _Missing((name, number - 1))
        layer = self.made[name]
        if isinstance(node, dict) and "args" in node:  # the form of Keras 3, which writes HDF5 too
            args, options = self._of_keras_3(node["args"]), self._of_keras_3(node.get("kwargs") or {})
            self._outputs[name, number] = _leaves(layer(*args, **options))
            self._ready.extend(self._waiting.pop((name, number), ()))
            return
        options = {}
        first = self._first(node, options)
        kept = isinstance(layer, Operations)
        if isinstance(first, list) and len(first) == 1 and not kept:
            first = first[0]
        options = {key: value for key, value in self._argument(options).items() if value is not None}
        if kept:
            result = layer(first, options)
        elif isinstance(layer, RNN) or type(layer).__name__ == "Bidirectional":
            result = _run_recurrent(layer, first, options)
        else:
            result = layer(first, **options)
        self._outputs[name, number] = _leaves(result)
        self._ready.extend(self._waiting.pop((name, number), ()))

    def _first(self, node: Any, options: dict[str, Any]) -> Any:
        """The first argument of a call; the others, which every leaf repeats, go into `options`."""
        if isinstance(node, dict):
            return {key: self._first(value, options) for key, value in node.items()}
        if isinstance(node, (list, tuple)) and node and isinstance(node[0], str):
            if len(node) > 3 and isinstance(node[3], dict):
                options.update(node[3])
            return node[2] if node[0] == CONSTANT else self._tensor(node)
        return [self._first(member, options) for member in node]

    def _of_keras_3(self, value: Any) -> Any:
        """Arguments of a call as Keras 3 writes them."""
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return self._tensor(value["config"]["keras_history"])
        if isinstance(value, dict):
            return {key: self._of_keras_3(member) for key, member in value.items()}
        return [self._of_keras_3(member) for member in value] if isinstance(value, list) else value

    def _tensor(self, reference: Any) -> Any:
        name, call, place = reference[:3]
        call -= self._begins.get(name, 0)
        if (name, call) not in self._outputs:
            raise _Missing((name, call))
        return self._outputs[name, call][place]

    def _argument(self, value: Any) -> Any:
        """Another argument of a call, with tensors where it names them."""
        if isinstance(value, dict):
            return {key: self._argument(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            if len(value) in (3, 4) and isinstance(value[0], str) and value[0] in self.made:
                return self._tensor(value)
            return [self._argument(member) for member in value]
        return value

    def ends(self, references: Any) -> Any:
        """The tensors where the model begins or ends, in the form of the file; one alone without a list."""
        try:
            found = self._references(references)
        except _Missing as missing:
            raise GraphError(
                "The file names an input or output that no layer gives.", received=repr(missing.args[0])
            ) from None
        return found[0] if isinstance(found, list) and len(found) == 1 else found

    def _references(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._references(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
            return self._tensor(value)
        return [self._references(member) for member in value]


def _run_recurrent(layer: Any, first: Any, options: dict[str, Any]) -> Any:
    """A recurrent layer called on a list has its initial states behind the sequences."""
    if isinstance(first, list):
        first, *states = first
        if options.pop("constants", None) is not None:
            raise LoadError(f"The recurrent layer {layer.name!r} takes constants.", expected="initial states at most")
        options["initial_state"] = states
    return layer(first, **options)


def _leaves(result: Any) -> list[Any]:
    """The results of a call in TensorFlow's order: dicts by key."""
    if isinstance(result, dict):
        return [leaf for key in sorted(result) for leaf in _leaves(result[key])]
    if isinstance(result, (list, tuple)) and any(isinstance(leaf, SymbolicTensor) for leaf in nest.flatten(result)):
        return [leaf for member in result for leaf in _leaves(member)]
    return [result]
