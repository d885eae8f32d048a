"""What a layer around another one needs: to build it, and to make one like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina import dtypes
from lamina.engine import nest
from lamina.engine.abstract import Shape, Spec, abstract_call
from lamina.engine.layer import Layer


def build_inner(
    owner: Layer, inner: Any, shape: Shape, more: Callable[[torch.Tensor], tuple[Any, ...]] | None = None
) -> None:
    """Build `inner`, and what it holds, for an input of `shape`.

    Layers inside it that its own `build` leaves unbuilt are built by running it once without memory.

    Args:
        owner: the layer around it.
        inner: a layer; any other module has nothing to build.
        shape: the shape of its input, with the batch axis.
        more: from a tensor of that shape to the further arguments of a call.
    """
    if not isinstance(inner, Layer):
        return
    if not inner.built:
        inner.__dict__["_weight_device"] = owner._weight_device
        inner.build(shape)
    if all(module.built for module in inner.modules() if isinstance(module, Layer)):
        return
    kind = dtypes.torch_dtype(inner.variable_dtype)
    abstract_call(lambda x: inner(x, *(more(x) if more else ())), (Spec(shape, kind),), {})


def copy_of(layer: Layer, **changes: Any) -> Any:
    """An unbuilt layer like `layer`, with other values for some arguments.

    Layers among its arguments are made anew too, from their own classes, so that these need no registration.

    Args:
        layer: what to copy.
        **changes: arguments to replace.
    """
    if not changes and not type(layer).__module__.startswith("lamina."):  # may not take all that a config holds
        args, kwargs = nest.map_nest(_fresh, list(layer.__dict__["_init_arguments"]))
        return type(layer)(*args, **kwargs)
    config = layer.get_config()
    for key in config:
        held = getattr(layer, key, None)
        if isinstance(held, torch.nn.ModuleList):
            held = list(held)
        if any(isinstance(member, Layer) for member in nest.flatten(held)):
            config[key] = nest.map_nest(_fresh, held)
    return type(layer).from_config({**config, **changes})


def _fresh(argument: Any) -> Any:
    return copy_of(argument) if isinstance(argument, Layer) else argument
