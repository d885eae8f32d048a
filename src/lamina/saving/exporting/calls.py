"""Calls of layers with symbols: by the layer's conversion, or by running its `call` on symbols."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Generator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lamina.engine import nest
from lamina.engine.abstract import Spec, abstract_call, map_arguments
from lamina.engine.graph import Graph
from lamina.engine.layer import Layer
from lamina.engine.masking import any_mask, get_mask
from lamina.engine.symbolic import Operation, SymbolicTensor, TensorProperty
from lamina.engine.torch_module import TorchModule
from lamina.errors import ExportError, NotBuiltError
from lamina.layers.core import Lambda
from lamina.saving.exporting.builder import Builder, Size
from lamina.saving.exporting.conversions import conversion_of
from lamina.saving.exporting.symbols import Mode, Symbol


def call_layer(builder: Builder, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a layer gives for symbols.

    Args:
        builder: the builder.
        layer: a built layer of the model.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Raises:
        ExportError: the layer cannot be written with torch alone.
        NotBuiltError: it has no weights yet.
    """
    with builder.naming(layer):
        if not layer.built:
            raise NotBuiltError(
                f"{type(layer).__name__} {layer.name!r} is not built, so it has no weights to convert.",
                fix="call the model on a batch of data first",
            )
        if isinstance(layer, TorchModule):
            return call_module(builder, layer.module, _cast(layer, args), kwargs)
        takes = layer._takes
        given = dict(zip(takes.names, args, strict=False)) | kwargs
        first = next(iter(takes.names), None) if args else next(iter(given))
        inputs = _cast(layer, given.pop(first) if first in given else args[0])
        mode, mask = given.pop("training", None), given.get("mask")
        if mask is None:
            given.pop("mask", None)
            mask = get_mask(inputs)
            if takes.mask and any_mask(mask):
                given["mask"] = mask
        with builder.in_mode(mode), builder.follow(False):
            convert = conversion_of(type(layer)) or traced
            outputs = convert(builder, layer, inputs, **given)
        _pass_mask(builder, layer, inputs, mask, outputs)
        return outputs


def _cast(layer: Layer, inputs: Any) -> Any:
    """Floats in the dtype of the layer's weights, as far as dtypes are known."""
    wanted = layer._input_dtype
    if wanted is None or not layer.autocast:
        return inputs

    def cast(x: Any) -> Any:
        spec = x.spec if isinstance(x, Symbol) else None
        if spec is None or not spec.dtype.is_floating_point or spec.dtype is wanted:
            return x
        y, builder = x.to(wanted), x.tracer
        builder.specs[y.node] = Spec(spec.shape, wanted)
        if x.node in builder.masks:
            builder.masks[y.node] = builder.masks[x.node]
        return y

    return nest.map_nest(cast, inputs)


def _pass_mask(builder: Builder, layer: Layer, inputs: Any, mask: Any, outputs: Any) -> None:
    """The mask of the output, as `Layer` hands it on."""
    if layer._own_mask or (layer.supports_masking and any_mask(mask)):
        with builder.follow():
            new = layer.compute_mask(inputs, mask)
        if any_mask(new):
            leaves = nest.flatten(outputs)
            masks = new if isinstance(new, (list, tuple)) else [new] * len(leaves)
            for leaf, its_mask in zip(leaves, nest.flatten(masks), strict=False):
                if isinstance(leaf, Symbol) and its_mask is not None:
                    builder.masks[leaf.node] = its_mask


def call_module(builder: Builder, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What any module gives for symbols: a torch module without layers inside is taken as it is.

    Args:
        builder: the builder.
        module: a layer or a torch module.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    if isinstance(module, Layer):
        given = (args, kwargs)
        outputs = call_layer(builder, module, args, kwargs)
        if builder.following:
            _take_specs(builder, module, given, outputs)
        return outputs
    with builder.naming(module):
        if any(isinstance(part, Layer) for part in module.modules()):
            return _run(builder, module, type(module).forward, args, kwargs)
        path = builder.path(module)
        return builder.call(path, lambda: _copy_of(module), *args, **kwargs)


def _copy_of(module: torch.nn.Module) -> torch.nn.Module:
    """A torch module of its own, without the layer that stands for it in lamina."""
    layers = [part.__dict__["_lamina_layer"] for part in module.modules() if "_lamina_layer" in part.__dict__]
    made = copy.deepcopy(module, {id(layer): None for layer in layers})
    for part in made.modules():
        part.__dict__.pop("_lamina_layer", None)
    return made


def _take_specs(builder: Builder, layer: Layer, given: tuple[Any, Any], outputs: Any) -> None:
    """Work out the specs of a layer's results."""
    args, kwargs = map_arguments(lambda leaf: leaf.spec if isinstance(leaf, Symbol) else leaf, given)
    kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask")}
    if any(isinstance(leaf, Symbol) and leaf.spec is None for leaf in nest.flatten(given)):
        return
    with contextlib.suppress(Exception):
        specs = abstract_call(layer._run_abstractly, args, kwargs)
        for leaf, spec in zip(nest.flatten(outputs), nest.flatten(specs), strict=True):
            if isinstance(leaf, Symbol):
                builder.specs[leaf.node] = spec


def traced(builder: Builder, layer: Layer, inputs: Any, **given: Any) -> Any:
    """The layer's own `call`, run on symbols. Its weights keep their names, shapes and layout.

    Args:
        builder: the builder.
        layer: the layer.
        inputs: the first argument of `call`.
        **given: the others.
    """
    if layer._takes.training:
        given["training"] = Mode() if builder.training is None else builder.training
    return _run(builder, layer, type(layer).call, (inputs,), given)


def _run(builder: Builder, module: torch.nn.Module, function: Any, args: Any, kwargs: Any) -> Any:
    """A method of `module`, with symbols in the place of its weights; the module itself is not touched."""
    path = builder.path(module)
    stand_in = object.__new__(type(module))
    members = {**module.__dict__}
    for group in ("_parameters", "_buffers", "_modules"):
        members[group] = dict(members[group])
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        if tensor is not None:
            members[name] = builder.read(f"{path}.{name}", tensor)
    members["training"] = Mode() if builder.training is None else builder.training
    members["add_loss"] = members["add_metric"] = _nothing
    stand_in.__dict__.update(members)
    builder.wrote_out |= isinstance(module, Lambda) or not function.__module__.startswith("lamina.")
    with builder.follow():
        return nest.map_nest(_taken_apart, function(stand_in, *args, **kwargs))


def _taken_apart(result: Any) -> Any:
    """The members of what a torch function gives that returns several tensors."""
    found = result.tracer.specs.get(result.node) if isinstance(result, Symbol) else None
    if not isinstance(found, (list, tuple)) or isinstance(found, Size):
        return result
    return tuple(result[place] for place in range(len(found)))


def _nothing(*args: Any, **kwargs: Any) -> None:
    """In place of what only lamina's training asks for."""


def walk(builder: Builder, graph: Graph, leaves: list[Any]) -> Any:
    """What a graph gives for symbols.

    Args:
        builder: the builder.
        graph: the graph.
        leaves: a symbol for each of its inputs.
    """
    values: dict[int, Any] = {id(tensor): leaf for tensor, leaf in zip(graph.input_list, leaves, strict=True)}
    for tensor, leaf in zip(graph.input_list, leaves, strict=True):
        builder.specs.setdefault(leaf.node, tensor.spec)

    def value(leaf: Any) -> Any:
        return values[id(leaf)] if isinstance(leaf, SymbolicTensor) else leaf

    for node in graph.nodes:
        if not node.inputs:
            continue
        args, kwargs = map_arguments(value, node.args), map_arguments(value, node.kwargs)
        if isinstance(node.op, Operation):
            result = _operation(builder, node.op.function, args, kwargs)
            found = [_member(result, path) for path in _places(node.outputs)]
        else:
            result = call_layer(builder, node.op, args, kwargs)
            places = nest.flatten(node.outputs)
            found = [
                leaf
                for leaf, place in zip(nest.flatten(result), places, strict=True)
                if isinstance(place, SymbolicTensor)
            ]
        for tensor, leaf in zip(node.output_list, found, strict=True):
            values[id(tensor)] = leaf
            builder.specs[leaf.node] = tensor.spec
    return nest.map_nest(value, graph.outputs)


def _operation(builder: Builder, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The call of a torch function."""
    if isinstance(function, TensorProperty):
        return builder.create_proxy("call_function", getattr, (args[0], function.name), {})
    if torch.overrides.is_tensor_method_or_property(function):
        return builder.create_proxy("call_method", function.__name__, args, kwargs)
    owner = str(getattr(function, "__module__", "") or "")
    if owner.startswith("lamina") or str(function).startswith("lamina."):
        raise ExportError(
            f"The model calls {function}, which is lamina's own.",
            expected="functions of torch",
            received=str(function),
            fix="use the layer or the torch function of that kind",
        )
    return builder.create_proxy("call_function", function, args, kwargs)


def _places(outputs: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each symbolic tensor in the result of an operation."""
    if isinstance(outputs, SymbolicTensor):
        return [path]
    if isinstance(outputs, dict):
        members: Any = outputs.items()
    elif isinstance(outputs, (list, tuple)):
        members = enumerate(outputs)
    else:
        return []
    return [found for key, member in members for found in _places(member, (*path, key))]


def _member(result: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        result = result[key]
    return result


class _NewTensors(TorchFunctionMode):
    """Takes calls such as `torch.zeros((x.shape[0], 3))`, in which a number is the only symbol."""

    def __init__(self, builder: Builder) -> None:
        super().__init__()
        self.builder = builder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What `func` gives."""
        kwargs = kwargs or {}
        symbols = [leaf for leaf in nest.flatten([args, kwargs]) if isinstance(leaf, torch.fx.Proxy)]
        if symbols and func in _FACTORIES:
            return self.builder.create_proxy("call_function", func, args, kwargs)
        return func(*args, **kwargs)


_FACTORIES = (torch.zeros, torch.ones, torch.full, torch.empty, torch.arange, torch.eye, torch.linspace)


@contextlib.contextmanager
def taking_calls(builder: Builder) -> Generator[None, None, None]:
    """Let modules that are called on symbols add themselves to the module that is being built.

    Kernels of lamina's own are told, as `torch.export` tells them, that a program is being written.

    Args:
        builder: the builder.
    """
    before = torch.nn.Module.__call__
    compiler: Any = torch.compiler
    compiling = compiler._is_compiling_flag

    def call(module: torch.nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(leaf, torch.fx.Proxy) for leaf in nest.flatten([args, kwargs])):
            return call_module(builder, module, args, kwargs)
        return before(module, *args, **kwargs)

    torch.nn.Module.__call__ = call
    compiler._is_compiling_flag = True
    try:
        with _NewTensors(builder):
            yield
    finally:
        torch.nn.Module.__call__ = before
        compiler._is_compiling_flag = compiling
