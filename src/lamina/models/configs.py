"""A functional model's graph as plain data, in the form of Keras 3's configs, and back."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import overrides

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import map_arguments, slice_parts
from lamina.engine.configs import plain
from lamina.engine.graph import Graph
from lamina.engine.symbolic import Node, Operation, SymbolicTensor, TensorProperty, record
from lamina.errors import GraphError, LoadError
from lamina.registry import LAYERS

TENSOR = "__keras_tensor__"
OPERATION = "TorchOperation"


def graph_config(graph: Graph) -> dict[str, Any]:
    """The layers of a graph and how they are connected.

    Args:
        graph: of a functional model.

    Returns:
        A dict with `layers`, `input_layers` and `output_layers`.

    Raises:
        LoadError: the graph calls a function that is not torch's, which no file could name.
    """
    write = _Writer(graph)
    entries = write.begins()
    for node in graph.nodes:
        entry = entries.setdefault(id(node.op), write.entry(node.op))
        if node.inputs:
            args, kwargs = write.argument(list(node.args)), write.argument(node.kwargs)
            entry["inbound_nodes"].append({"args": args, "kwargs": kwargs})
    return {
        "layers": list(entries.values()),
        "input_layers": nest.map_nest(lambda t: _Whole(write.history(t)), graph.inputs),
        "output_layers": nest.map_nest(lambda t: _Whole(write.history(t)), graph.outputs),
    }


class _Writer:
    """Names for everything in a graph that a config refers to."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._history: dict[int, list[Any]] = {}  # by id of a symbolic tensor
        self._names: dict[int, str] = {}  # by id of a layer, an operation, or a tensor that nothing here makes
        self._taken = {op.name for op in graph.ops if not isinstance(op, Operation)}
        self._weights: dict[int, Any] = {}  # by id of a tensor, how a config says what it is
        for op in graph.ops:
            self._names[id(op)] = self._free_name(op.name) if isinstance(op, Operation) else op.name
        calls: dict[int, int] = {}
        for node in graph.nodes:
            number = calls[id(node.op)] = calls.get(id(node.op), -1) + 1
            for place, tensor in enumerate(node.output_list):
                self._history[id(tensor)] = [self._names[id(node.op)], number, place]
        if graph.constants():
            self._find_weights()

    def _free_name(self, name: str) -> str:
        """`name`, numbered if something has it already."""
        free, count = name, 0
        while free in self._taken:
            count += 1
            free = f"{name}_{count}"
        self._taken.add(free)
        return free

    def _find_weights(self) -> None:
        for op in self._graph.ops:
            if not isinstance(op, Operation):
                for path, tensor in [*op.named_parameters(), *op.named_buffers()]:
                    self._weights.setdefault(id(tensor), {"class_name": "__weight__", "config": [op.name, path]})
        for number, tensor in enumerate(self._graph.constants()):
            self._weights.setdefault(id(tensor), _tensor_data(tensor, number))

    def begins(self) -> dict[int, dict[str, Any]]:
        """An entry for each input that is the output of a layer outside the graph."""
        entries: dict[int, dict[str, Any]] = {}
        for tensor in self._graph.input_list:
            if id(tensor) not in self._history:
                name = self._free_name(tensor.name)
                self._history[id(tensor)] = [name, 0, 0]
                kind = dtypes.standardize_dtype(tensor.dtype)
                config = {"batch_shape": tensor.shape, "dtype": kind, "name": name}
                entries[id(tensor)] = {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}
        return entries

    def entry(self, op: Any) -> dict[str, Any]:
        """One layer or operation without its connections."""
        name = self._names[id(op)]
        if not isinstance(op, Operation):
            return {"class_name": type(op).__name__, "config": op.get_config(), "name": name, "inbound_nodes": []}
        target = _target(op.function)
        if target is None:
            raise LoadError(
                f"The operation {op.name!r} calls a function that a config cannot name.",
                expected="a function or method of torch, or an operator",
                received=repr(op.function),
                fix="put the call into a Layer of your own, and register it",
            )
        return {"class_name": OPERATION, "config": {"function": target}, "name": name, "inbound_nodes": []}

    def history(self, tensor: SymbolicTensor) -> list[Any]:
        """Which output of which call of which layer `tensor` is."""
        return self._history[id(tensor)]

    def argument(self, value: Any) -> Any:
        """A nest of arguments as data."""
        return _plain_nest(map_arguments(self._leaf, value))

    def _leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, SymbolicTensor):
            kind = dtypes.standardize_dtype(leaf.dtype)
            config = {"shape": leaf.shape, "dtype": kind, "keras_history": self.history(leaf)}
            return {"class_name": TENSOR, "config": config}
        if isinstance(leaf, torch.Tensor):
            return self._weights[id(leaf)]
        if isinstance(leaf, torch.dtype):
            return {"class_name": "__dtype__", "config": dtypes.standardize_dtype(leaf)}
        if leaf is Ellipsis:
            return {"class_name": "__ellipsis__", "config": {}}
        return plain(leaf)


def _tensor_data(tensor: torch.Tensor, number: int) -> dict[str, Any]:
    """A tensor that no layer owns, as data; `number` tells two uses of one from two tensors of equal values."""
    config = {
        "value": tensor.detach().cpu().tolist(),
        "dtype": dtypes.standardize_dtype(tensor.dtype),
        "number": number,
        "parameter": isinstance(tensor, torch.nn.Parameter),
        "trainable": tensor.requires_grad,
    }
    return {"class_name": "__tensor__", "config": config}


def unwrapped(config: Any) -> Any:
    """`config` with references to tensors as plain lists.

    Args:
        config: what `graph_config` gave.
    """
    if isinstance(config, _Whole):
        return config.value
    if isinstance(config, dict):
        return {key: unwrapped(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(unwrapped(value) for value in config)
    return config


class _Whole:
    """A list that nests take for a leaf."""

    def __init__(self, value: list[Any]) -> None:
        self.value = value


def _plain_nest(value: Any) -> Any:
    """A nest with each slice and each tuple as a dict, since a file knows neither."""
    if isinstance(value, slice):
        return {"class_name": "__slice__", "config": [_plain_nest(v) for v in slice_parts(value)]}
    if isinstance(value, dict):
        return {key: _plain_nest(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        members = [_plain_nest(v) for v in value]
        return members if isinstance(value, list) else {"class_name": "__tuple__", "items": members}
    return value


def _target(function: Callable[..., Any]) -> str | None:
    """The name under which `function` may stand in a config."""
    if isinstance(function, TensorProperty):
        return f"property.{function.name}"
    return next((name for name, known in _functions().items() if known is function), None)


@functools.lru_cache(maxsize=1)
def _functions() -> dict[str, Callable[..., Any]]:
    """Every function that a config may name: the operators, and what torch lets tensors override."""
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(operator):
        if not name.startswith("_") and callable(getattr(operator, name)):
            found[f"operator.{name}"] = getattr(operator, name)
    for functions in overrides.get_overridable_functions().values():
        for function in functions:
            name = overrides.resolve_name(function)
            if name is not None and not name.rpartition(".")[2].startswith("_"):
                found.setdefault(name, function)
    return found


def graph_from(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Graph:
    """The graph that `graph_config` described, with new layers.

    Args:
        config: a dict with `layers`, `input_layers` and `output_layers`.
        custom_objects: classes by name that the registry does not have.

    Returns:
        The graph.

    Raises:
        UnknownNameError: a class is in neither.
        GraphError: the layers need each other in a circle, or one that is not there.
    """
    custom = dict(custom_objects or {})
    reader = _Reader()
    waiting: list[tuple[str, int, Mapping[str, Any], Mapping[str, Any]]] = []
    for entry in config["layers"]:
        name = entry.get("name") or entry["config"]["name"]
        layer = reader.made[name] = None if entry["class_name"] == OPERATION else layer_from(entry, custom)
        reader.nodes[name] = [] if layer is None else list(layer.nodes)
        waiting.extend((name, number, entry, call) for number, call in enumerate(entry["inbound_nodes"]))
    while waiting:
        left = [item for item in waiting if not reader.called(*item)]
        if len(left) == len(waiting):
            names = list(dict.fromkeys(name for name, *_ in left))
            raise GraphError(
                "The layers of this config need each other in a circle.",
                received=" -> ".join([*names[:5], names[0]]),
                fix="a layer can only take the outputs of layers that do not depend on it",
            )
        waiting = left

    inputs = _map_references(reader.tensor, config["input_layers"])
    return Graph(inputs, _map_references(reader.tensor, config["output_layers"]))


def layer_from(entry: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    """A new layer, unbuilt.

    Args:
        entry: its `class_name` and `config`.
        custom: classes by name that the registry does not have.

    Raises:
        UnknownNameError: the class is in neither.
    """
    if entry["class_name"] in custom:
        return custom[entry["class_name"]].from_config(entry["config"])
    cls = LAYERS[entry["class_name"]]
    if custom and "layers" in entry["config"]:
        return cls.from_config(entry["config"], custom_objects=custom)
    return LAYERS.deserialize({"class_name": entry["class_name"], "config": entry["config"]})


class _NotYet(Exception):
    """A tensor is needed that has not been computed."""


class _Reader:
    """The layers of a config, and the calls of them that have been repeated so far."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self.nodes: dict[str, list[Node]] = {}
        self._tensors: dict[int, torch.Tensor] = {}

    def called(self, name: str, number: int, entry: Mapping[str, Any], call: Mapping[str, Any]) -> bool:
        """Repeat one call, if all that it takes is there and the calls before it are done."""
        if number > len(self.nodes[name]):
            return False
        try:
            args, kwargs = self._decoded(list(call["args"])), self._decoded(dict(call["kwargs"]))
        except _NotYet:
            return False
        if self.made[name] is not None:
            outputs = self.made[name](*args, **kwargs)
        else:
            outputs = record(_function(name, entry["config"]["function"]), tuple(args), kwargs)
        first = next(leaf for leaf in nest.flatten(outputs) if isinstance(leaf, SymbolicTensor))
        if first.node is not None:
            if isinstance(first.node.op, Operation):
                first.node.op.name = name
            self.nodes[name].append(first.node)
        return True

    def tensor(self, reference: Any) -> SymbolicTensor:
        """The tensor that `[layer, call, output]` refers to."""
        name, call, place = reference[:3]
        if name not in self.nodes:
            raise GraphError(f"The config refers to a layer {name!r} that it does not have.", fix="check its name")
        if call >= len(self.nodes[name]):
            raise _NotYet
        return self.nodes[name][call].output_list[place]

    def _decoded(self, value: Any) -> Any:
        """An argument made again from data."""
        if isinstance(value, dict) and "class_name" in value:
            kind, config = value["class_name"], value.get("config")
            if kind == "__tuple__":
                return tuple(self._decoded(member) for member in value["items"])
            if kind == TENSOR:
                return self.tensor(config["keras_history"])
            if kind == "__slice__":
                return slice(*(self._decoded(part) for part in config))
            if kind == "__tensor__":
                return self._constant(config)
            if kind == "__weight__":
                return self._weight(*config)
            if kind == "__dtype__":
                return dtypes.torch_dtype(config)
            if kind == "__ellipsis__":
                return Ellipsis
        if isinstance(value, dict):
            return {key: self._decoded(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self._decoded(member) for member in value])
        return value

    def _constant(self, config: Mapping[str, Any]) -> torch.Tensor:
        """A tensor that no layer owns."""
        number = config.get("number", -1)
        if number in self._tensors:
            return self._tensors[number]
        made = torch.tensor(config["value"], dtype=dtypes.torch_dtype(config["dtype"]))
        if config.get("parameter"):
            made = torch.nn.Parameter(made, requires_grad=config["trainable"])
        if number >= 0:
            self._tensors[number] = made
        return made

    def _weight(self, name: str, path: str) -> torch.Tensor:
        """A weight of a layer."""
        found = {**dict(self.made[name].named_parameters()), **dict(self.made[name].named_buffers())}
        if path not in found:
            raise _NotYet
        return found[path]


def _function(name: str, target: str) -> Callable[..., Any]:
    """The function that an operation of a config names."""
    kind, _, attribute = target.partition(".")
    if kind == "property" and isinstance(getattr(torch.Tensor, attribute, None), types.GetSetDescriptorType):
        return TensorProperty(attribute)
    found = _functions().get(target)
    if found is None:
        raise LoadError(
            f"The config of {name!r} names a function that is not torch's.",
            received=repr(target),
            fix="put the call into a Layer of your own, and register it",
        )
    return found


def _map_references(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` of each `[layer, call, output]` in a nest."""
    if isinstance(value, (list, tuple)) and len(value) >= 3 and isinstance(value[0], str):
        return function(value)
    if isinstance(value, dict):
        return {key: _map_references(function, member) for key, member in value.items()}
    return [_map_references(function, member) for member in value]
