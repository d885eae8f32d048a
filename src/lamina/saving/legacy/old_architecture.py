"""A model's config of today in the words of Keras 2."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lamina.errors import ArgumentError
from lamina.registry import ACTIVATIONS
from lamina.saving.legacy.objects import LEGACY_ACTIVATIONS
from lamina.saving.legacy.old_operations import OPERATION, Reference, old_call

TENSOR = "__keras_tensor__"

# Today's argument -> that of Keras 2, by class.
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}, "InputLayer": {"batch_shape": "batch_input_shape"}}
_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", "SimpleRNNCell", "LSTMCell", "GRUCell")
# Arguments that Keras 2 lacks, with the only value under which nothing is lost; `...` for any value.
_LACKING: dict[str, Any] = {
    "use_cudnn": ..., "seed": ..., "autocast": ..., "weights": None, "rms_scaling": False, "input_axes": ...,
    "output_axes": ..., "renorm_clipping": None, "renorm_momentum": ..., "renorm": False,
    "synchronized": False,
}  # fmt: skip
_BY_CLASS = {"ZeroPadding1D": {"data_format": "channels_last"}}
_UNKNOWN = ("TorchModule", "RMSNormalization", "CosineMerge", "MaxoutDense", "Highway", "ParametricSoftplus")
_CALLED = {"MultiHeadAttention": ("value", "key")}  # what the arguments of a call are, behind the first
_ACTIVATIONS = {
    "elu", "exponential", "gelu", "leaky_relu", "linear", "mish", "relu", "relu6", "selu", "sigmoid", "softmax",
    "softplus", "softsign", "tanh", "log_softmax", "swish",
}  # fmt: skip
_SPELLED = {"silu": "swish"}


def old_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A layer or model as Keras 2 describes it.

    Args:
        entry: its `class_name` and `config` of today.

    Raises:
        ArgumentError: Keras 2 has no such layer.
    """
    name, config = entry["class_name"], entry["config"]
    if "input_layers" in config:
        return {"class_name": "Functional", "config": _functional(config)}
    if "layers" in config and isinstance(config["layers"], list):
        return {"class_name": "Sequential", "config": _sequential(config)}
    if name in _UNKNOWN:
        raise _lost(config, f"Keras 2 has no {name}")
    return {"class_name": name, "config": _layer(name, config)}


def _lost(config: Mapping[str, Any], what: str) -> ArgumentError:
    return ArgumentError(
        f"{config.get('name')!r} cannot be written for Keras 2: {what}.",
        expected="layers and arguments of Keras 2",
        received=what,
        fix="save the model as .keras, or its weights as .safetensors",
    )


def _layer(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a layer."""
    found: dict[str, Any] = {}
    lacking = {**_LACKING, **_BY_CLASS.get(name, {})}
    for key, value in config.items():
        if key == "seed" and name not in (*_RECURRENT, "MultiHeadAttention"):
            found[key] = value if isinstance(value, int) else None
        elif key in lacking:
            if lacking[key] is not ... and value != lacking[key]:
                raise _lost(config, f"{key}={value!r} has no counterpart")
        elif key == "zero_output_for_mask" and not value:
            pass
        else:
            found[_RENAMED.get(name, {}).get(key, key)] = _value(key, value, config)
    if name == "Bidirectional":
        _join_directions(found)
    if name.startswith("LocallyConnected"):
        found["implementation"] = 1 if found.get("padding") == "valid" else 2
        found.pop("dilation_rate", None)
    if name == "MultiHeadAttention":  # which Keras 2 builds by its first call where these are not known
        found.update(query_shape=None, key_shape=None, value_shape=None)
        found.pop("flash_attention", None)
    if name == "InputLayer":
        found.update(sparse=False, ragged=False)
    return found


def _value(key: str, value: Any, config: Mapping[str, Any]) -> Any:
    """One argument."""
    if key in ("activation", "recurrent_activation"):
        return _activation(value, config)
    if key == "dtype" and isinstance(value, str) and value.startswith("mixed_"):
        return {"class_name": "Policy", "config": {"name": value}}
    if isinstance(value, Mapping) and "class_name" in value and isinstance(value.get("config"), Mapping):
        if key in ("layer", "backward_layer", "cell"):
            return old_entry(value)
        inner = {k: v for k, v in value["config"].items() if k not in _LACKING or k == "seed"}
        return {"class_name": value["class_name"], "config": inner}
    if key == "cells":
        return [old_entry(member) for member in value]
    if isinstance(value, (list, tuple)):
        return [_value("", member, config) for member in value]
    if value is None or isinstance(value, (str, int, float, bool, Mapping)):
        return value
    raise _lost(config, f"{key} is a {type(value).__name__}")


def _activation(value: Any, config: Mapping[str, Any]) -> Any:
    """The name of an activation in Keras 2."""
    if value is None:
        return "linear"
    for name in LEGACY_ACTIVATIONS.names:
        if value is LEGACY_ACTIVATIONS[name]:
            return name if not name.endswith("_2") else "hard_sigmoid"
    if isinstance(value, Mapping):
        return old_entry(value)
    name = value if isinstance(value, str) else getattr(value, "__name__", repr(value))
    if inspect.isbuiltin(value):  # a function of torch, which TensorFlow would not find; a user's can be passed again
        raise _lost(config, f"its activation {name!r} is one of torch alone")
    name = _SPELLED.get(name, name)
    if name in _ACTIVATIONS or (name not in ACTIVATIONS and name.isidentifier()):
        return name
    raise _lost(config, f"its activation {name!r} is another one there, or none")


def _join_directions(config: dict[str, Any]) -> None:
    """One layer in place of two that are alike, under the name that both have before their prefix."""
    forward, backward = config["layer"]["config"], config["backward_layer"]["config"]
    forward["name"] = forward["name"].removeprefix("forward_")
    backward["name"] = backward["name"].removeprefix("backward_")
    alike = {**backward, "name": forward["name"], "go_backwards": forward["go_backwards"]} == forward
    if alike and config["layer"]["class_name"] == config["backward_layer"]["class_name"]:
        config.pop("backward_layer")


def _sequential(config: Mapping[str, Any]) -> dict[str, Any]:
    layers = [old_entry(entry) for entry in config["layers"]]
    found = {"name": config["name"], "layers": layers}
    shape = config.get("build_input_shape")
    if shape is not None:
        found["build_input_shape"] = list(shape)
    return found


def _functional(config: Mapping[str, Any]) -> dict[str, Any]:
    models = {e["name"] for e in config["layers"] if isinstance(e["config"], Mapping) and "layers" in e["config"]}
    entries = []
    for entry in config["layers"]:
        nodes = [_Call(models, entry).read(node) for node in entry["inbound_nodes"]]
        if entry["class_name"] == OPERATION:
            entries.append(old_call(entry["name"], entry["config"]["function"], nodes, models))
            continue
        old = old_entry(entry)
        inbound = [_written(entry["class_name"], args, kwargs) for args, kwargs in nodes]
        entries.append({**old, "name": entry["name"], "inbound_nodes": inbound})
    graphs = {e["name"] for e in config["layers"] if isinstance(e["config"], Mapping) and "input_layers" in e["config"]}
    # Where the model begins and ends, the calls of functional models are counted from 1 already.
    ends = {key: _ends(config[key], models - graphs) for key in ("input_layers", "output_layers")}
    return {"name": config["name"], "trainable": config["trainable"], "layers": entries, **ends}


class _Call:
    """Reads the arguments of a call, with a `Reference` for each tensor."""

    def __init__(self, models: set[str], entry: Mapping[str, Any]) -> None:
        self._models = models
        self._entry = entry

    def read(self, node: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional arguments and the others."""
        return [self._value(v) for v in node["args"]], {k: self._value(v) for k, v in node["kwargs"].items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping) and "class_name" in value:
            kind, config = value["class_name"], value.get("config")
            if kind == TENSOR:
                ndim = len(self._value(config["shape"]))
                return Reference(*counted(config["keras_history"], self._models), ndim)
            if kind == "__tuple__":
                return tuple(self._value(member) for member in value["items"])
            if kind == "__slice__":
                return slice(*(self._value(config[part]) for part in ("start", "stop", "step")))
            if kind == "__ellipsis__":
                return Ellipsis
            if kind == "__dtype__":
                return str(config)
            if kind == "__tensor__" and not config.get("parameter"):
                return config["value"]
            raise _lost(self._entry, "it is called on a weight or on something that only torch has")
        if isinstance(value, Mapping):
            return {key: self._value(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self._value(member) for member in value]
        return value


def counted(history: list[Any], models: set[str]) -> list[Any]:
    """Which output of which call of which layer; Keras 2 counts the calls of models from 1.

    Args:
        history: the same, counted from 0.
        models: the names of the models among the layers.
    """
    name, call, place = history[:3]
    return [name, call + (name in models), place]


def _written(kind: str, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    """One call as Keras 2 writes it: every tensor of the first argument carries the other arguments."""
    first, more = args[0], dict(kwargs)
    names = ("initial_state",) if kind in (*_RECURRENT, "Bidirectional") else _CALLED.get(kind, ("mask",))
    more.update(zip(names, args[1:], strict=False))
    more = {key: value for key, value in more.items() if value is not None}
    states = more.pop("initial_state", None)
    if states is not None:
        first = [first, *(states if isinstance(states, (list, tuple)) else [states])]
    plain = _arguments(more)

    def leaf(value: Any) -> Any:
        if isinstance(value, Reference):
            return [*value[:3], plain]
        if isinstance(value, dict):
            return {key: leaf(member) for key, member in value.items()}
        return [leaf(member) for member in value]

    return [leaf(first)] if isinstance(first, Reference) else leaf(first)


def _arguments(value: Any) -> Any:
    """Arguments with each tensor as a list of name and places."""
    if isinstance(value, Reference):
        return list(value[:3])
    if isinstance(value, dict):
        return {key: _arguments(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_arguments(member) for member in value]
    return value


def _ends(references: Any, models: set[str]) -> Any:
    """Inputs or outputs of a model; one alone stands in a list."""

    def read(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: read(member) for key, member in value.items()}
        if len(value) >= 3 and isinstance(value[0], str):
            return counted(list(value), models)
        return [read(member) for member in value]

    found = read(references)
    return [found] if isinstance(found, list) and isinstance(found[0], str) else found
