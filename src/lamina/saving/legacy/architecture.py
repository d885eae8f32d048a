"""Architectures of Keras 1 and 2, as JSON has them, made into models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lamina
from lamina.engine.layer import Layer
from lamina.errors import LoadError
from lamina.layers.core import Lambda
from lamina.layers.input import InputLayer
from lamina.layers.wrappers import TimeDistributed
from lamina.registry import LAYERS
from lamina.saving.legacy.calls import Calls
from lamina.saving.legacy.layers import find_class, is_known, todays_arguments
from lamina.saving.legacy.merging import merge_of
from lamina.saving.legacy.objects import custom_object, plain_name, read_activation, read_object
from lamina.saving.legacy.operations import Operations, is_operation

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
            return self._users(own, plain_name(name), config)
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

    def _users(self, own: Any, name: str, config: Mapping[str, Any]) -> Any:
        """A layer of a class that the user gave."""
        if is_known(name) and isinstance(own, type) and issubclass(own, find_class(name)):
            return self._ordinary(name, config, own)
        found = {key: value for key, value in config.items() if key != "batch_input_shape"}
        if "dtype" in found:
            found["dtype"] = _policy_name(found["dtype"])
        self._give_name(found)
        made = own.from_config(found) if hasattr(own, "from_config") else own(**found)
        if isinstance(made, Layer):
            self._noted(made, config)
        return made

    def _ordinary(self, name: str, config: Mapping[str, Any], cls: Any = None) -> Layer:
        cls = cls or find_class(name)
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
        if name == "Sequential":
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
        graph = Calls()
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
