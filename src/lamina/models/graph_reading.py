"""A functional model's graph, made again from plain data: lamina's own, or what Keras 3 wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lamina import dtypes
from lamina.custom_objects import CustomObjectScope
from lamina.engine.graph import Graph
from lamina.engine.layer import Layer
from lamina.engine.symbolic import Operation, SymbolicTensor, record, symbolic_leaves
from lamina.errors import GraphError, LaminaError, LoadError
from lamina.models.graph_writing import OPERATION, TENSOR
from lamina.models.torch_functions import function_of
from lamina.registry import LAYERS
from lamina.saving.operations import operation_from


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
        LoadError: the config has not the form of one.
    """
    reader = _Reader()
    waiting: list[tuple[str, int, Mapping[str, Any]]] = []
    with CustomObjectScope(custom_objects):
        for entry in _entries(config):
            name = reader.add(entry)
            waiting.extend((name, number, call) for number, call in enumerate(_list(entry, "inbound_nodes", name)))
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
    try:
        inputs = _map_references(reader.end, config["input_layers"])
        return Graph(inputs, _map_references(reader.end, config["output_layers"]))
    except _NotYet:
        raise _malformed("its inputs or outputs", "calls of layers that it has") from None


def _entries(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The layers of a config, each a dict with a name and a class."""
    for key in ("layers", "input_layers", "output_layers"):
        if key not in config:
            raise _malformed("a functional model", f"a key {key!r}")
    for entry in _list(config, "layers", "the model"):
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            raise _malformed("a layer", "a dict with 'class_name' and 'config'", entry)
    return config["layers"]


def _list(owner: Mapping[str, Any], key: str, name: str) -> list[Any]:
    found = owner.get(key, [])
    if not isinstance(found, (list, tuple)):
        raise _malformed(f"{key} of {name}", "a list", found)
    return list(found)


def _malformed(what: str, expected: str, received: Any = None) -> LoadError:
    return LoadError(
        f"The config does not describe {what} as it should.",
        expected=expected,
        received=None if received is None else f"{received!r:.200}",
        fix="write it again with get_config(), to_json() or save()",
    )


def layer_from(entry: Mapping[str, Any], custom: Mapping[str, Any]) -> Any:
    """A new layer, unbuilt.

    Args:
        entry: its `class_name` and `config`.
        custom: classes by name that the registry does not have.

    Raises:
        UnknownNameError: the class is in neither.
        LoadError: it is no layer.
    """
    with CustomObjectScope(custom):
        layer = LAYERS.deserialize(entry)
    if not isinstance(layer, Layer):
        raise LoadError(
            f"{entry.get('class_name')!r} is no layer.",
            expected="a class derived from Layer",
            received=repr(layer)[:200],
            fix="pass the class of the layer in custom_objects",
        )
    return layer


class _NotYet(Exception):
    """A tensor is needed that has not been computed."""


class _Reader:
    """The layers of a config, and the calls of them that have been repeated so far."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}  # layers, and functions for operations
        self.outputs: dict[str, list[list[SymbolicTensor]]] = {}  # of each call
        self._constants: dict[int, torch.Tensor] = {}

    def add(self, entry: Mapping[str, Any]) -> str:
        """Make the layer or operation of an entry, and give its name."""
        config = entry.get("config")
        name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
        if not isinstance(name, str) or name in self.made:
            raise _malformed("a layer", "a name that no other has", name)
        if entry["class_name"] == OPERATION:
            made: Any = _recorded(function_of(name, config.get("function") if isinstance(config, dict) else None))
        elif str(entry.get("module")).startswith("keras.src.ops"):
            made = operation_from(entry)
        else:
            made = layer_from(entry, {})
        self.made[name] = made
        nodes = made.nodes if isinstance(made, Layer) and not _list(entry, "inbound_nodes", name) else []
        self.outputs[name] = [node.output_list for node in nodes]
        return name

    def called(self, name: str, number: int, call: Any) -> bool:
        """Repeat one call, if all that it takes is there and the calls before it are done."""
        if number > len(self.outputs[name]):
            return False
        try:
            args, kwargs = self._arguments(name, call)
        except _NotYet:
            return False
        if not symbolic_leaves((args, kwargs)):
            raise _malformed(f"a call of {name!r}", "the output of a layer among its arguments", call)
        self.outputs[name].append(symbolic_leaves(self._result(name, args, kwargs)))
        return True

    def _arguments(self, name: str, call: Any) -> tuple[list[Any], dict[str, Any]]:
        if isinstance(call, list):  # Keras 2: inputs as [layer, call, output, kwargs]
            tensors = [self.tensor(reference) for reference in call]
            kwargs = next((r[3] for r in call if len(r) > 3 and isinstance(r[3], dict)), {})
            return [tensors if len(tensors) > 1 else tensors[0]], self._decoded(dict(kwargs))
        if not isinstance(call, dict) or not isinstance(call.get("args"), list):
            raise _malformed(f"a call of {name!r}", "a dict with 'args' and 'kwargs'", call)
        return self._decoded(call["args"]), self._decoded(dict(call.get("kwargs") or {}))

    def _result(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        made = self.made[name]
        try:
            if isinstance(made, Layer):
                return made(*args, **kwargs)
            before = {id(leaf) for leaf in symbolic_leaves((args, kwargs))}
            outputs = made(*args, **kwargs)
        except LaminaError:
            raise
        except Exception as error:
            raise LoadError(
                f"The call of {name!r} cannot be repeated: {str(error).strip() or type(error).__name__}"[:400],
                fix="the file may be of another version, or damaged",
            ) from error
        for leaf in symbolic_leaves(outputs)[:1]:
            if id(leaf) not in before and leaf.node is not None and isinstance(leaf.node.op, Operation):
                leaf.node.op.name = name
        return outputs

    def tensor(self, reference: Any) -> SymbolicTensor:
        """The tensor that `[layer, call, output]` refers to."""
        if not _is_reference(reference):
            raise _malformed("a tensor", "[layer, call, output]", reference)
        name, call, place = reference[:3]
        if name not in self.outputs:
            raise GraphError(f"The config refers to a layer {name!r} that it does not have.", fix="check its name")
        if call >= len(self.outputs[name]):
            raise _NotYet
        outputs = self.outputs[name][call]
        if place >= len(outputs):
            raise _malformed(f"an output of {name!r}", f"a number below {len(outputs)}", place)
        return outputs[place]

    def end(self, reference: Any) -> SymbolicTensor:
        """The same for an input or output of the model, where Keras counts the calls of a functional model from 1."""
        if _is_reference(reference) and reference[1] and _counts_from_one(self.made.get(reference[0])):
            reference = [reference[0], reference[1] - 1, *reference[2:]]
        return self.tensor(reference)

    def _decoded(self, value: Any) -> Any:
        """An argument made again from data."""
        if isinstance(value, dict) and isinstance(value.get("class_name"), str):
            read = _SPECIAL.get(value["class_name"])
            if read is not None:
                try:
                    return read(self, value)
                except (_NotYet, LaminaError):
                    raise
                except Exception as error:
                    raise _malformed(value["class_name"], "what Keras writes under that name", value) from error
        if isinstance(value, dict):
            return {key: self._decoded(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self._decoded(member) for member in value])
        return value

    def constant(self, config: Mapping[str, Any]) -> torch.Tensor:
        """A tensor that no layer owns."""
        number = config.get("number", -1)
        if number in self._constants:
            return self._constants[number]
        made = torch.tensor(config["value"], dtype=dtypes.torch_dtype(config["dtype"]))
        if config.get("parameter"):
            made = torch.nn.Parameter(made, requires_grad=bool(config["trainable"]))
        if number >= 0:
            self._constants[number] = made
        return made

    def weight(self, name: str, path: str) -> torch.Tensor:
        """A weight of a layer."""
        layer = self.made.get(name)
        found = {**dict(layer.named_parameters()), **dict(layer.named_buffers())} if isinstance(layer, Layer) else {}
        if path not in found:
            raise _NotYet
        return found[path]

    def slice(self, config: Any) -> slice:
        """A slice, from a list of its parts or a dict."""
        parts = [config.get(key) for key in ("start", "stop", "step")] if isinstance(config, dict) else config
        return slice(*(self._decoded(part) for part in parts))


_SPECIAL: dict[str, Callable[[_Reader, Mapping[str, Any]], Any]] = {
    TENSOR: lambda reader, value: reader.tensor(value["config"]["keras_history"]),
    "__tuple__": lambda reader, value: tuple(reader._decoded(member) for member in value["items"]),
    "__slice__": lambda reader, value: reader.slice(value["config"]),
    "__tensor__": lambda reader, value: reader.constant(value["config"]),
    "__numpy__": lambda reader, value: torch.as_tensor(
        np.array(value["config"]["value"], dtype=value["config"]["dtype"])
    ),
    "__weight__": lambda reader, value: reader.weight(*value["config"]),
    "__dtype__": lambda reader, value: dtypes.torch_dtype(value["config"]),
    "__ellipsis__": lambda reader, value: Ellipsis,
}


def _is_reference(value: Any) -> bool:
    """Whether `value` is `[layer, call, output]`."""
    return (
        isinstance(value, (list, tuple))
        and len(value) >= 3
        and isinstance(value[0], str)
        and all(type(number) is int and number >= 0 for number in value[1:3])
    )


def _counts_from_one(made: Any) -> bool:
    """Whether Keras counts the calls of a layer from 1: it does for functional models."""
    return isinstance(made, LAYERS["Functional"])


def _recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of torch's that becomes an operation of the graph, be it a method or an operator."""
    return lambda *args, **kwargs: record(function, args, kwargs)


def _map_references(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` of each `[layer, call, output]` in a nest."""
    if _is_reference(value):
        return function(value)
    if isinstance(value, dict):
        return {key: _map_references(function, member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_references(function, member) for member in value]
    raise _malformed("its inputs or outputs", "[layer, call, output], or a nest of such", value)
