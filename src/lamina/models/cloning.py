"""`clone_model`: a model of the same architecture with layers and weights of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.custom_objects import CustomObjectScope
from lamina.engine import nest
from lamina.engine.abstract import map_arguments
from lamina.engine.layer import Layer
from lamina.engine.symbolic import Operation, SymbolicTensor, record
from lamina.errors import ArgumentError
from lamina.layers.input import Input
from lamina.models.functional import Functional
from lamina.models.model import Model
from lamina.models.sequential import Sequential
from lamina.saving.objects import deserialize_keras_object, serialize_keras_object
from lamina.serialized import class_of, is_function


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A model like another one, with new layers and new weights.

    Args:
        model: a functional or sequential model; one of a class of your own is made from its config.
        input_tensors: symbolic tensors to begin with, in the form of the model's inputs; by default new ones.
        clone_function: from a layer to the one that takes its place, inputs aside; by default one of the same config.
        call_function: `f(layer, *args, **kwargs)`, which calls a layer of a functional model; it may put others around
            the call.
        recursive: whether `clone_function` sees the layers of the models inside rather than these models.

    Returns:
        The new model, compiled like the old one.

    Raises:
        ArgumentError: an argument does not go with the kind of model, or with its inputs.

    Example:
        >>> from lamina import layers
        >>> model = Sequential([layers.Input((3,)), layers.Dense(2, name="out")])
        >>> clone = clone_model(model)
        >>> clone.get_layer("out") is model.get_layer("out"), clone.count_params()
        (False, 8)
    """
    clone = _Cloner(clone_function, call_function, recursive)
    if isinstance(model, Sequential):
        if call_function is not None:
            raise _no_use("call_function", model, "functional models, in which layers are called")
        made = _sequential(model, clone, input_tensors)
    elif isinstance(model, Functional):
        made = _functional(model, clone, input_tensors)
    elif isinstance(model, Model):
        for name, value in (("input_tensors", input_tensors), ("clone_function", clone_function)):
            if value is not None:
                raise _no_use(name, model, "functional and sequential models")
        return deserialize_keras_object(serialize_keras_object(model), _classes(model))
    else:
        raise ArgumentError(
            "clone_model takes a model.",
            expected="a lamina model",
            received=f"{model!r:.200}",
            fix="use copy.deepcopy for other modules",
        )
    if model.compiled:
        with CustomObjectScope(_classes(model)):
            made.compile_from_config(model.get_compile_config())
    return made


def _no_use(argument: str, model: Any, expected: str) -> ArgumentError:
    return ArgumentError(
        f"{argument} is of no use for a model of class {type(model).__name__}.",
        expected=expected,
        received=f"{argument}=...",
        fix="leave it out",
    )


def _classes(model: torch.nn.Module) -> dict[str, Any]:
    """The classes of a user in a model, and its functions, so that these need no registration."""
    found: dict[str, Any] = {}
    for module in model.modules():
        if isinstance(module, Layer):
            found[class_of(module).__name__] = class_of(module)
            held = [value for value in vars(module).values() if hasattr(value, "get_config")]
            found.update((type(value).__name__, type(value)) for value in held)
            found.update((value.__name__, value) for value in vars(module).values() if is_function(value))
    return {name: obj for name, obj in found.items() if not str(obj.__module__).startswith(("lamina.", "torch."))}


class _Cloner:
    """Makes each layer anew, once."""

    def __init__(self, function: Callable[[Any], Any] | None, call: Callable[..., Any] | None, recursive: bool) -> None:
        self._function = function or _from_config
        self.call = call or (lambda layer, *args, **kwargs: layer(*args, **kwargs))
        self._recursive = recursive
        self._made: dict[int, Any] = {}

    def __call__(self, layer: Any) -> Any:
        if id(layer) not in self._made:
            inner = self._recursive and isinstance(layer, (Sequential, Functional))
            if inner and isinstance(layer, Sequential):
                made = _sequential(layer, self, None)
            else:
                made = _functional(layer, self, None) if inner else self._function(layer)
            self._made[id(layer)] = made
        return self._made[id(layer)]


def _from_config(layer: Any) -> Any:
    """A layer of the same config."""
    with CustomObjectScope(_classes(layer)):
        return class_of(layer).from_config(layer.get_config())  # type: ignore[attr-defined]


def _sequential(model: Sequential, clone: _Cloner, input_tensors: Any) -> Any:
    layers = [clone(layer) for layer in model.layers]
    given = nest.flatten(input_tensors)
    if input_tensors is not None:
        if len(given) != 1 or not isinstance(given[0], SymbolicTensor):
            raise _other_inputs("one symbolic tensor", input_tensors)
        layers = [Input(batch_shape=given[0].shape, dtype=given[0].dtype, name=given[0].name), *layers]
    elif model._begin is not None and not model._loose_inputs:
        begin = model._begin
        layers = [Input(batch_shape=begin.batch_shape, dtype=begin.input_dtype, name=begin.name), *layers]
    made = class_of(model)(layers, name=model.name, trainable=model.trainable)
    if model._loose_inputs and not made.built:
        made.build(model._begin.batch_shape)
    return made


def _functional(model: Functional, clone: _Cloner, input_tensors: Any) -> Any:
    graph = model.graph
    inputs = input_tensors
    if inputs is None:
        inputs = nest.map_nest(lambda t: Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), graph.inputs)
    leaves = nest.flatten(inputs)
    if len(leaves) != len(graph.input_list) or not all(isinstance(leaf, SymbolicTensor) for leaf in leaves):
        raise _other_inputs(f"{len(graph.input_list)} symbolic tensors", inputs)
    new: dict[int, Any] = {id(old): leaf for old, leaf in zip(graph.input_list, leaves, strict=True)}
    constants = _Constants(model, clone)

    def replaced(leaf: Any) -> Any:
        if isinstance(leaf, SymbolicTensor):
            return new[id(leaf)]
        return constants(leaf) if isinstance(leaf, torch.Tensor) else leaf

    for node in graph.nodes:
        if all(id(tensor) in new for tensor in node.output_list):
            continue
        args, kwargs = map_arguments(replaced, node.args), map_arguments(replaced, node.kwargs)
        if isinstance(node.op, Operation):
            outputs = record(node.op.function, args, kwargs)
        else:
            outputs = clone.call(clone(node.op), *args, **kwargs)
        tensors = [leaf for leaf in nest.flatten(outputs) if isinstance(leaf, SymbolicTensor)]
        new.update((id(old), tensor) for old, tensor in zip(node.output_list, tensors, strict=True))
    outputs = nest.map_nest(lambda t: new[id(t)], graph.outputs)
    return Functional(inputs, outputs, name=model.name, trainable=model.trainable)


class _Constants:
    """Tensors among the arguments of calls: copies, and for the weight of a layer that of its clone."""

    def __init__(self, model: Functional, clone: _Cloner) -> None:
        self._clone = clone
        self._owners = {id(p): (layer, path) for layer in model.layers for path, p in layer.named_parameters()}
        self._made: dict[int, torch.Tensor] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in self._owners:
            layer, path = self._owners[id(tensor)]
            return dict(self._clone(layer).named_parameters())[path]
        if id(tensor) not in self._made:
            copied = tensor.detach().clone()
            trained = isinstance(tensor, torch.nn.Parameter)
            made = torch.nn.Parameter(copied, requires_grad=tensor.requires_grad) if trained else copied
            self._made[id(tensor)] = made
        return self._made[id(tensor)]


def _other_inputs(expected: str, received: Any) -> ArgumentError:
    return ArgumentError(
        "These are not the inputs of the model.",
        expected=expected,
        received=f"{received!r:.200}",
        fix="pass what Input() gives, in the form of model.input",
    )
