"""Conversions of layers with a table or a matrix, and of those around or between others."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.layers.core import Dense
from lamina.layers.embedding import Embedding
from lamina.layers.joining import Concatenate
from lamina.layers.merging import Add, Average, Maximum, Minimum, Multiply, Subtract
from lamina.layers.reshaping import Flatten, Reshape
from lamina.layers.wrappers import TimeDistributed
from lamina.saving.exporting.builder import Builder, copied
from lamina.saving.exporting.calls import call_layer
from lamina.saving.exporting.conversions import converts
from lamina.saving.exporting.elementwise import activate, as_floats
from lamina.saving.exporting.layouts import channels_last, channels_second, flattened, through


@converts(Dense)
def dense(builder: Builder, layer: Dense, x: Any) -> Any:
    """`Linear` and the activation."""
    path, kernel, bias = builder.path(layer), layer.kernel, layer.bias
    order = builder.orders.get(x.node)
    sizes = order.kind if order is not None and isinstance(order.kind, tuple) and path not in _used(builder) else None

    def make() -> nn.Module:
        module = nn.Linear(*kernel.shape, bias=bias is not None, device="meta")
        module.weight = copied(kernel, 1, 0)  # type: ignore[assignment]
        if sizes:  # the features come with the channels first
            units, (channels, *positions) = kernel.shape[1], sizes
            apart = module.weight.detach().reshape(units, math.prod(positions), channels)
            together = apart.transpose(1, 2).reshape(units, -1).contiguous()
            module.weight = nn.Parameter(together, kernel.requires_grad)
        if bias is not None:
            module.bias = copied(bias)  # type: ignore[assignment]
        return module

    x = order.inner if sizes and order is not None else as_floats(builder, x, kernel.dtype)
    y = builder.call(path, make, x)
    if not sizes:
        builder.moved(kernel, f"{path}.weight", transposed=True)
    if bias is not None:
        builder.moved(bias, f"{path}.bias")
    return activate(builder, layer.activation, y, owner=path)


def _used(builder: Builder) -> set[str]:
    """The paths of the modules that are there already."""
    return {str(node.target) for node in builder.graph.nodes if node.op == "call_module"}


@converts(Embedding)
def embedding(builder: Builder, layer: Embedding, x: Any) -> Any:
    """`Embedding`."""
    table, path, spec = layer.embeddings, builder.path(layer), builder.specs.get(x.node)
    if not isinstance(spec, Spec) or spec.dtype not in (torch.int32, torch.int64):
        x = x.to(torch.int64)

    def make() -> nn.Module:
        module = nn.Embedding(*table.shape, device="meta")
        module.weight = copied(table)  # type: ignore[assignment]
        return module

    y = builder.call(path, make, x)
    builder.moved(table, f"{path}.weight")
    return y


@converts(TimeDistributed)
def time_distributed(builder: Builder, layer: TimeDistributed, x: Any, mask: Any = None) -> Any:
    """The layer inside, of all steps at once; `Linear` takes any number of axes itself."""
    if type(layer.layer) is Dense:
        return call_layer(builder, layer.layer, (x,), {})
    steps, spec = x.size(1), builder.specs.get(x.node)
    flat = x.flatten(0, 1)
    if isinstance(spec, Spec):
        builder.specs[flat.node] = Spec((None, *spec.shape[2:]), spec.dtype)
    given = {} if mask is None else {"mask": mask.flatten(0, 1)}
    outputs = call_layer(builder, layer.layer, (flat,), given)
    return nest.map_nest(lambda y: y.unflatten(0, (-1, steps)), outputs)


@converts(Flatten)
def flatten(builder: Builder, layer: Flatten, x: Any) -> Any:
    """`Flatten`."""
    path, spec, order = builder.path(layer), builder.specs.get(x.node), builder.orders.get(x.node)
    if isinstance(spec, Spec) and len(spec.shape) == 1:
        return x.unsqueeze(1)
    if layer.data_format == "channels_first":
        x = x.movedim(1, -1)
    elif builder.channels_first and order is not None and isinstance(order.kind, int) and isinstance(spec, Spec):
        channels, positions = spec.shape[-1], spec.shape[1:-1]
        if channels is not None and None not in positions:
            y = builder.call(path, nn.Flatten, order.inner)
            return flattened(builder, y, (channels, *positions))  # type: ignore[arg-type]
    return builder.call(path, nn.Flatten, x)


@converts(Reshape)
def reshape(builder: Builder, layer: Reshape, x: Any) -> Any:
    """`reshape`."""
    return x.reshape(x.size(0), *layer.target_shape)


@converts(Add, Average, Maximum, Minimum, Multiply, Subtract)
def merged(builder: Builder, layer: Any, tensors: Any) -> Any:
    """The function, wherever the channels stand."""
    specs = [builder.specs.get(x.node) for x in tensors]
    known = [spec.shape for spec in specs if isinstance(spec, Spec)]
    masked = any(x.node in builder.masks for x in tensors)  # which only `Multiply` asks for
    if len(known) == len(specs) and len(set(known)) == 1 and not masked:
        return through(builder, lambda *together: layer.merge(list(together)), *tensors)
    if len(known) == len(specs):
        rank = max(map(len, known))
        spread = [(slice(None),) + (None,) * (rank - len(shape)) for shape in known]
        tensors = [x if len(part) == 1 else x[part] for x, part in zip(tensors, spread, strict=True)]
    with builder.follow():
        return layer.merge(list(tensors))


@converts(Concatenate)
def concatenate(builder: Builder, layer: Concatenate, tensors: Any) -> Any:
    """`torch.cat`, along axis 1 if the channels are joined and stand there."""
    orders = [builder.orders.get(x.node) for x in tensors]
    ranks = {order.kind if order is not None and isinstance(order.kind, int) else None for order in orders}
    if len(ranks) == 1 and None not in ranks:
        (rank,) = ranks
        if layer.axis in (-1, rank - 1):
            y = torch.cat([channels_second(builder, x, rank) for x in tensors], 1)
            return channels_last(builder, y, rank)
    return torch.cat(list(tensors), layer.axis)
