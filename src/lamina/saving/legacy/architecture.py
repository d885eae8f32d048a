"""Architectures of Keras 1 and 2, as JSON has them, made into models."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

import lamina
from lamina.engine import nest
from lamina.engine.layer import Layer
from lamina.engine.symbolic import SymbolicTensor
from lamina.errors import GraphError, LoadError
from lamina.layers.core import Lambda
from lamina.layers.input import InputLayer
from lamina.layers.rnn import RNN
from lamina.layers.wrappers import TimeDistributed
from lamina.registry import LAYERS
from lamina.saving.legacy.layers import find_class, todays_arguments
from lamina.saving.legacy.merging import merge_of
from lamina.saving.legacy.objects import custom_object, plain_name, read_activation, read_object
from lamina.saving.legacy.operations import Operations, is_operation

CONSTANT = "_CONSTANT_VALUE"
_INNER = ("layer", "backward_layer", "cell")


class Builder:
    """Makes layers and models of their descriptions.

    Args:
        custom_objects: classes and functions by name, which come before those of this library.

    Attributes:
        orders: for a model, by id, its layers in the order of the file.
        names: for a layer, by id, its name in the file where that is no name today.
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None = None) -> None:
        self.custom = dict(custom_objects or {})
        self.orders: dict[int, list[Layer]] = {}
        self.names: dict[int, str] = {}

    # ------------------------------------------------------------------ layers
    def layer(self, entry: Mapping[str, Any]) -> Any:
        """A layer or a model.

        Args:
            entry: its `class_name` and `config`.

        Raises:
            LoadError: it cannot be made from what the file says.
            UnknownNameError: nobody knows its class.
        """
        name, config = entry["class_name"], entry["config"]
        own = custom_object(name, self.custom)
        if own is not None:
            made = own.from_config(dict(config)) if hasattr(own, "from_config") else own(**config)
            return made
        name = plain_name(name)
        if name in ("Sequential", "Model", "Functional"):
            return self.model({"class_name": name, "config": config})
        if is_operation(name):
            return Operations(name, config)
        if name == "Lambda":
            return self._lambda(config)
        if name == "Merge":
            return merge_of(config)
        if name == "InputLayer":
            return self._input(config)
        return self._ordinary(name, config)

    def _ordinary(self, name: str, config: Mapping[str, Any]) -> Layer:
        cls = find_class(name)
        found: dict[str, Any] = {}
        for key, value in todays_arguments(name, config).items():
            if key in _INNER and isinstance(value, dict):
                value = self.layer(value)
            elif key == "cells" or (key == "cell" and isinstance(value, list)):
                value = [self.layer(member) for member in value]
            elif key in ("activation", "recurrent_activation"):
                value = read_activation(value, self.custom, self.layer)
            elif key.rpartition("_")[2] in ("initializer", "regularizer", "constraint"):
                value = read_object(key.rpartition("_")[2], value, self.custom)
            elif key == "dtype":
                value = _policy_name(value)
            elif isinstance(value, list):
                value = _as_tuples(value)
            found[key] = value
        self._give_name(found)
        if "dtype" not in found:
            found["dtype"] = "float32"
        beside = {key: found.pop(key) for key in ("trainable",) if key in found}
        layer = cls(**found)
        if beside.get("trainable") is False:
            layer.trainable = False
        if name == "TimeDistributedDense":
            layer = TimeDistributed(layer, name=layer.name)
        self._noted(layer, config)
        return layer

    def _give_name(self, config: dict[str, Any]) -> None:
        if isinstance(config.get("name"), str):
            config["name"] = config["name"].replace("/", "_")

    def _noted(self, layer: Layer, config: Mapping[str, Any]) -> None:
        if isinstance(config.get("name"), str) and config["name"] != layer.name:
            self.names[id(layer)] = config["name"]

    def _input(self, config: Mapping[str, Any]) -> InputLayer:
        shape = config.get("batch_input_shape", config.get("batch_shape"))
        if shape is None or config.get("ragged"):
            raise LoadError(
                f"The input {config.get('name')!r} cannot be made.",
                expected="batch_input_shape, and no ragged tensor",
                received=f"batch_input_shape={shape!r}, ragged={config.get('ragged')!r}",
                fix="give the model an Input of a fixed number of axes",
            )
        kind = config.get("dtype") or config.get("input_dtype")
        found = {"batch_shape": tuple(shape), "dtype": _policy_name(kind), "name": config.get("name")}
        self._give_name(found)
        layer = InputLayer(**found)
        self._noted(layer, config)
        return layer

    def _lambda(self, config: Mapping[str, Any]) -> Lambda:
        """A `Lambda` around a function that the user gave under the layer's or the function's name."""
        name, function = config.get("name"), config.get("function")
        if isinstance(function, dict):
            function = function.get("config")
        own = custom_object(name, self.custom)
        if own is None and isinstance(function, str) and config.get("function_type") != "lambda":
            own = custom_object(function, self.custom)
        if own is None:
            raise LoadError(
                f"The Lambda layer {name!r} is a Python function, which is not loaded from a file: it could be any "
                "code.",
                expected="the function itself",
                received=f"the name {function!r}"
                if config.get("function_type") == "function"
                else "bytecode, which nothing here reads",
                fix=f"pass custom_objects={{{name!r}: function}}",
            )
        given = config.get("arguments")
        made = Lambda(own, arguments=given if isinstance(given, dict) else None, name=name.replace("/", "_"))
        self._noted(made, config)
        return made

    # ------------------------------------------------------------------ models
    def model(self, entry: Mapping[str, Any]) -> Any:
        """A model.

        Args:
            entry: its `class_name` and `config`.

        Raises:
            LoadError: it is a subclass of Model, whose code is in no file.
        """
        name, config = plain_name(entry["class_name"]), entry["config"]
        own = custom_object(entry["class_name"], self.custom)
        if own is not None and not ("layers" in config and "input_layers" in config):
            return own.from_config(dict(config))
        if isinstance(config, list) or name == "Sequential":
            return self._sequential(config)
        if "layers" in config and "input_layers" in config:
            return self._functional(config)
        raise LoadError(
            f"The file describes a {entry['class_name']}, a model made by code that is not in the file.",
            expected="a Sequential or functional model",
            received=entry["class_name"],
            fix=f"pass custom_objects={{{entry['class_name']!r}: the class}}, or make the model and load its weights",
        )

    def _sequential(self, config: Any) -> Any:
        """Layers in a row; in Keras 1 the config is the list of them."""
        if isinstance(config, list):
            config = {"layers": config}
        entries = config["layers"]
        if entries and entries[0].get("class_name") == "Merge":
            return self._merged_branches(entries)
        layers = [self.layer(entry) for entry in entries]
        if entries and not isinstance(layers[0], InputLayer):
            begin = self._first_input(entries[0], layers[0])
            layers = [begin, *layers] if begin is not None else layers
        name = config.get("name")
        model = _model_class("Sequential")(layers, name=name.replace("/", "_") if isinstance(name, str) else None)
        shape = config.get("build_input_shape")
        if shape is not None and not model.built:
            model.build(tuple(shape))
        self.orders[id(model)] = [layer for layer in layers if not isinstance(layer, InputLayer)]
        self._noted(model, config)
        return model

    def _first_input(self, entry: Mapping[str, Any], layer: Layer) -> InputLayer | None:
        """The input that the first layer states itself, or the first layer of a model at the first place."""
        config = entry["config"]
        inner = config if isinstance(config, list) else config.get("layers")
        if plain_name(entry["class_name"]) == "Sequential" and inner:
            return self._first_input(inner[0], layer) if inner[0]["class_name"] != "InputLayer" else None
        shape = config.get("batch_input_shape") if isinstance(config, dict) else None
        if shape is None:
            return None
        kind = config.get("input_dtype") or (None if getattr(layer, "autocast", True) else "int32")
        if kind is None and entry["class_name"] == "Embedding":
            kind = "int32"
        return InputLayer(batch_shape=tuple(shape), dtype=kind, name=f"{layer.name}_input")

    def _merged_branches(self, entries: list[Any]) -> Any:
        """Keras 1's `Sequential` that begins with a `Merge` of other ones, as a functional model."""
        inputs, ends, order = [], [], []
        for number, branch in enumerate(entries[0]["config"]["layers"]):
            members = branch["config"] if isinstance(branch["config"], list) else branch["config"]["layers"]
            layers = [self.layer(member) for member in members]
            begin = self._first_input(members[0], layers[0])
            if begin is None:
                raise LoadError(f"The branch {number} of a Merge has no input shape.", expected="batch_input_shape")
            x = begin.output
            inputs.append(x)
            for layer in layers:
                x = layer(x)
            ends.append(x)
            order += layers
        rest = [merge_of(entries[0]["config"]), *map(self.layer, entries[1:])]
        y = rest[0](ends)
        for layer in rest[1:]:
            y = layer(y)
        model = _model_class("Functional")(inputs, y)
        self.orders[id(model)] = [*order, *rest]
        return model

    def _functional(self, config: Mapping[str, Any]) -> Any:
        graph = _Calls()
        for entry in config["layers"]:
            name = entry.get("name") or entry["config"]["name"]
            graph.add(name, self.layer(entry), entry.get("inbound_nodes") or [])
        graph.run(config["output_layers"])
        inputs, outputs = graph.ends(config["input_layers"]), graph.ends(config["output_layers"])
        name = config.get("name")
        model = _model_class("Functional")(
            inputs, outputs, name=name.replace("/", "_") if isinstance(name, str) else None
        )
        self.orders[id(model)] = [layer for layer in graph.made.values() if isinstance(layer, Layer)]
        self._noted(model, config)
        return model


def _model_class(name: str) -> Any:
    """A class of models, which stand on a floor above this one and register themselves."""
    if name not in LAYERS:
        _ = lamina.models
    return LAYERS[name]


class _Missing(Exception):
    """A call needs a tensor that has not been computed; the argument says which."""


class _Calls:
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
        options: dict[str, Any] = {}
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


def _policy_name(value: Any) -> str | None:
    """The name of a dtype or policy in whatever form."""
    if isinstance(value, dict):
        config = value.get("config")
        value = config.get("name") if isinstance(config, dict) else config
    if value is None or not isinstance(value, str):
        return None
    return {"mixed_float16": value, "infer": None, "_infer": None}.get(value, value)


def _as_tuples(value: list[Any]) -> Any:
    """A list of numbers as a tuple, nested ones too."""
    return tuple(_as_tuples(member) if isinstance(member, list) else member for member in value)
