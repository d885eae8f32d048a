"""A functional model's graph as plain data, in the form of Keras 3's configs."""

from __future__ import annotations

from typing import Any

import torch

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import map_arguments, slice_parts
from lamina.engine.configs import plain
from lamina.engine.graph import Graph
from lamina.engine.symbolic import Node, Operation, SymbolicTensor
from lamina.errors import LoadError
from lamina.models.torch_functions import target_of
from lamina.registry import LAYERS
from lamina.saving.operations import keras_operation
from lamina.serialized import described, describes_in_full

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
        if isinstance(node.op, Operation):
            entries[id(node.op)] = write.operation(node)
            continue
        if id(node.op) not in entries:
            entries[id(node.op)] = write.layer(node.op)
        if node.inputs:
            args, kwargs = write.argument(list(node.args)), write.argument(node.kwargs)
            entries[id(node.op)]["inbound_nodes"].append({"args": args, "kwargs": kwargs})
    return {
        "layers": list(entries.values()),
        "input_layers": nest.map_nest(lambda t: _Whole(write.end(t)), graph.inputs),
        "output_layers": nest.map_nest(lambda t: _Whole(write.end(t)), graph.outputs),
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

    def layer(self, layer: Any) -> dict[str, Any]:
        """A layer without its connections."""
        return {**described(layer), "name": self._names[id(layer)], "inbound_nodes": []}

    def operation(self, node: Node) -> dict[str, Any]:
        """An operation and its call: Keras's in a file, where Keras has it, else torch's function by name."""
        op, name = node.op, self._names[id(node.op)]
        if describes_in_full():
            written = keras_operation(op.function, node.args, node.kwargs, node.outputs)
            if written is not None:
                call = {"args": self.argument(written.args), "kwargs": {}}
                config = {"name": name, **written.config}
                return _entry(written.module, written.class_name, config, name, [call])
        target = target_of(op.function)
        if target is None:
            raise LoadError(
                f"The operation {op.name!r} calls a function that a config cannot name.",
                expected="a function or method of torch, or an operator",
                received=repr(op.function),
                fix="put the call into a Layer of your own, and register it",
            )
        call = {"args": self.argument(list(node.args), True), "kwargs": self.argument(node.kwargs, True)}
        if describes_in_full():
            return _entry("lamina.models", OPERATION, {"name": name, "function": target}, name, [call])
        return {"class_name": OPERATION, "config": {"function": target}, "name": name, "inbound_nodes": [call]}

    def end(self, tensor: SymbolicTensor) -> list[Any]:
        """The same for an input or output of the model, where Keras counts the calls of a functional model from 1."""
        name, call, place = self.history(tensor)
        counts_from_one = tensor.node is not None and isinstance(tensor.node.op, LAYERS["Functional"])
        return [name, call + 1 if counts_from_one else call, place]

    def history(self, tensor: SymbolicTensor) -> list[Any]:
        """Which output of which call of which layer `tensor` is."""
        return self._history[id(tensor)]

    def argument(self, value: Any, exact: bool = False) -> Any:
        """A nest of arguments as data; in a file tuples are lists, as Keras has it, unless they are `exact`."""
        return _plain_nest(map_arguments(self._leaf, value), exact or not describes_in_full())

    def _leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, SymbolicTensor):
            kind = dtypes.standardize_dtype(leaf.dtype)
            config = {"shape": list(leaf.shape), "dtype": kind, "keras_history": self.history(leaf)}
            return {"class_name": TENSOR, "config": config}
        if isinstance(leaf, torch.Tensor):
            return self._weights[id(leaf)]
        if isinstance(leaf, torch.dtype):
            return {"class_name": "__dtype__", "config": dtypes.standardize_dtype(leaf)}
        if leaf is Ellipsis:
            return {"class_name": "__ellipsis__", "config": {}}
        return plain(leaf)


def _entry(module: str, class_name: str, config: dict[str, Any], name: str, calls: list[Any]) -> dict[str, Any]:
    """An operation as Keras writes one."""
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": class_name,
        "name": name,
        "inbound_nodes": calls,
    }


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


def _plain_nest(value: Any, exact: bool) -> Any:
    """A nest with each slice as a dict, and each tuple too, if it matters, since a file knows neither."""
    if isinstance(value, slice):
        start, stop, step = (_plain_nest(v, exact) for v in slice_parts(value))
        return {"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}}
    if isinstance(value, dict):
        return {key: _plain_nest(v, exact) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        members = [_plain_nest(v, exact) for v in value]
        return members if isinstance(value, list) or not exact else {"class_name": "__tuple__", "items": members}
    return value
