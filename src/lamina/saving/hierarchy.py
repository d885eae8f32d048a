"""Where Keras 3 keeps the weights of each layer: paths made of attributes' names, lists and dicts.

A layer is found by walking through attributes in alphabetical order, private ones last; a model of layers in a graph
begins with `layers`. In a list or dict a layer is called after its class, numbered. What was met before is not met
again, so that a layer that stands in two attributes is kept under the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from lamina.engine.graph import Graph
from lamina.engine.layer import Layer
from lamina.engine.torch_module import TorchModule
from lamina.engine.tracking import Container
from lamina.registry import LAYERS, snake_case

_LISTS = (torch.nn.ModuleList, torch.nn.ModuleDict)


class Place(NamedTuple):
    """A layer, or a torch module, under its path.

    Attributes:
        path: of the group in the file, without a slash at its ends; empty for the model itself.
        owner: the layer or module.
        weights: its own weights by the names that they have there.
    """

    path: str
    owner: torch.nn.Module
    weights: dict[str, torch.Tensor]


def places(model: torch.nn.Module, path: str = "") -> Iterator[Place]:
    """Every layer inside a model with its path, the model first.

    Args:
        model: a model or layer.
        path: its own path.
    """
    yield from _places(model, path, set())


def _places(module: torch.nn.Module, path: str, visited: set[int]) -> Iterator[Place]:
    if id(module) in visited:
        return
    visited.add(id(module))
    yield Place(path, module, own_weights(module))
    for child_path, child in children(module, path):
        yield from _places(child, child_path, visited)


def children(module: torch.nn.Module, path: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The layers and torch modules right inside a layer with their paths, some of them more than once.

    Args:
        module: the layer.
        path: its own path.
    """
    if not isinstance(module, Layer) or isinstance(module, TorchModule):
        return
    for name, value in _attributes(module):
        below = f"{path}/{name}" if path else name
        if _is_list(value):
            yield from _members(value, below, set())
        else:
            yield below, value


def _attributes(layer: Layer) -> Iterator[tuple[str, Any]]:
    """Attributes that hold modules, in Keras's order."""
    in_graph = isinstance(layer, (LAYERS["Sequential"], LAYERS["Functional"]))
    if in_graph:
        yield "layers", _in_keras_order(layer)
    found: dict[str, Any] = {}
    for name, value in layer._modules.items():
        if value is None:
            continue
        held = isinstance(value, Container) and name.endswith("_") and name[:-1] in layer.__dict__
        found[name[:-1] if held else name] = value
    if hasattr(layer, "layers") and not in_graph and isinstance(layer, LAYERS["Model"]):
        found.setdefault("layers", layer.layers)
    found.update(_properties(layer, found))
    for name in sorted(found, key=lambda name: f"~{name}" if name.startswith("_") else name):
        yield name, found[name]


def _in_keras_order(model: Any) -> list[Layer]:
    """The layers of a graph as Keras orders them, which takes the members of a dict by their keys."""
    graph = model.graph if model.built and isinstance(model, LAYERS["Functional"]) else None
    if graph is None or not (_has_dict(graph.inputs) or _has_dict(graph.outputs)):
        return model.layers
    return [op for op in Graph(_by_keys(graph.inputs), _by_keys(graph.outputs)).ops if isinstance(op, Layer)]


def _has_dict(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(map(_has_dict, value)))


def _by_keys(value: Any) -> Any:
    """A nest with each dict as a list of its members in the order of their keys."""
    if isinstance(value, dict):
        return [_by_keys(value[key]) for key in sorted(value)]
    return [_by_keys(member) for member in value] if isinstance(value, (list, tuple)) else value


def _properties(layer: Layer, known: dict[str, Any]) -> dict[str, Any]:
    """Layers that properties of a user's class give."""
    found: dict[str, Any] = {}
    for cls in type(layer).__mro__:
        if cls.__module__.startswith(("lamina.", "torch.")):
            continue
        for name, value in vars(cls).items():
            if isinstance(value, property) and name not in known and not hasattr(Layer, name):
                try:
                    held = getattr(layer, name)
                except Exception:  # a property may need what is not there
                    continue
                if isinstance(held, torch.nn.Module) or (_is_list(held) and any(_members(held, "", set()))):
                    found[name] = held
    return found


def _is_list(value: Any) -> bool:
    """Whether members of `value` are found one by one: a list, tuple or dict, or torch's modules of that kind."""
    if isinstance(value, _LISTS):
        return all(isinstance(member, Layer) for member in value.children())
    return isinstance(value, (list, tuple, dict))


def _members(value: Any, path: str, visited: set[int]) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules in a list, tuple or dict, called after their classes."""
    if id(value) in visited:
        return
    visited.add(id(value))
    used: dict[str, int] = {}
    for member in value.values() if isinstance(value, (dict, torch.nn.ModuleDict)) else value:
        if _is_list(member):
            yield from _members(member, f"{path}/{_numbered('container', used)}", visited)
        elif isinstance(member, torch.nn.Module):
            yield f"{path}/{_numbered(snake_case(type(member).__name__), used)}", member


def _numbered(name: str, used: dict[str, int]) -> str:
    """`name` the first time, then `name_1`, `name_2`, ..."""
    count = used[name] = used.get(name, -1) + 1
    return f"{name}_{count}" if count else name


def own_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a layer itself, numbered with the trainable ones first; of a torch module all its state by name.

    Args:
        module: the layer or module.
    """
    if isinstance(module, TorchModule):
        module = module.module
    if not isinstance(module, Layer):
        return {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    module._adopt_new_weights()
    in_graph = isinstance(module, (LAYERS["Sequential"], LAYERS["Functional"]))
    owners = [module, *_weight_lists(module)]
    trained = [] if in_graph else [p for owner in owners for p in owner._parameters.values() if p is not None]
    kept = [
        buffer
        for owner in owners
        for name, buffer in owner._buffers.items()
        if buffer is not None and name not in owner._non_persistent_buffers_set
    ]
    return {str(place): tensor for place, tensor in enumerate([*trained, *([] if in_graph else kept)])}


def graph_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters that a graph uses and no layer owns; Keras has none such, and passes them over.

    Args:
        module: any module.
    """
    if not isinstance(module, (LAYERS["Sequential"], LAYERS["Functional"])):
        return {}
    inside = {id(p) for child in module.children() for p in child.parameters()}
    return {name: p for name, p in module._parameters.items() if p is not None and id(p) not in inside}


def _weight_lists(module: torch.nn.Module) -> Iterator[Container]:
    """The lists and dicts of a layer that may hold weights."""
    for child in module.children():
        if isinstance(child, Container):
            yield child
            yield from _weight_lists(child)
